//! Sealed card records, data keys and the KMS: the only crate that sees key bytes.
//!
//! A card is sealed under a data key into a record that opens in its own row alone ([`seal`], [`open`]). Data keys are
//! made and unwrapped by a KMS ([`Kms`], [`kms::aws::AwsKms`], [`kms::file::FileKms`]), kept wrapped in the store
//! ([`KeyStore`]) and held unwrapped for minutes by a [`KeyRing`]. The record format is `vault/docs/record-format.md`.
//!
//! Promises: a data key leaves this crate wrapped or not at all; a record moved, altered or rolled back does not open.
//! Does not promise: that a host whose memory is read keeps its secrets; locked pages and wiping shorten the window.
//! Trusts: the KMS for who may unwrap; the store for availability only.
//! Upholds: C-01 (records sealed, each in its own row), C-12 (data keys only wrapped), C-14 (keyed digests only), C-44 (checkpoints).
//!
//! # To seal and to open
//!
//! 1. [`KeyRing::active`] for the tenant and [`Purpose::Card`]; the first call makes the key.
//! 2. [`seal`]; the insert asserts in its own transaction that the key is still active. If it is not:
//!    [`KeyRing::forget`] it and begin again.
//! 3. Later: [`record_key_id`], [`KeyRing::by_id`], [`open`].
//!
//! # What failures mean
//!
//! | error | means | answer |
//! |---|---|---|
//! | [`KeyError::Unavailable`], [`KeyError::Store`] | KMS or store does not answer and no key is fresh | 503, Retry-After |
//! | [`KeyError::Denied`] | the KMS or a custodian forbids the key | 503, and a person looks |
//! | [`KeyError::Unknown`], [`KeyError::Tampered`], any [`OpenError`] | the store is not what it was | 500, and a person is called |
//! | [`SealError::ContextMismatch`], [`SealError::ExpiresAt`] | the caller put together what does not belong together: a bug | 500 |
//!
//! # What the KMS identity needs
//!
//! `kms:GenerateDataKey`, `kms:Decrypt` and `kms:DescribeKey` on the configured key, and `kms:Decrypt` on former ones;
//! nothing else. A key policy can demand `kms:EncryptionContext:app = strongroom` and the environment. Keys are called
//! once per key and five minutes, never once per request.
//!
//! # Metrics
//!
//! | name | labels |
//! |---|---|
//! | `strongroom_kms_calls_total` | `provider`, `op` (`generate-data-key`, `decrypt`, `check`), `outcome` ([`KmsError::as_str`] or `ok`) |
//! | `strongroom_kms_call_seconds` | `provider`, `op` |
//! | `strongroom_key_cache_entries`, `strongroom_key_cache_oldest_seconds` | |
//! | `strongroom_key_pages_unlocked_total` | pages of keys the system refused to lock; must stay 0 |

mod aws_signing_key;
mod context;
mod data_key;
mod digest;
mod encoding;
mod key;
mod key_ring;
pub mod kms;
mod log_signer;
mod record;
mod store;
#[cfg(test)]
mod testing;
mod webhook;

pub use aws_signing_key::AwsSigningKey;
pub use context::SealContext;
pub use data_key::DataKey;
pub use digest::{
    Fingerprint, InstanceMac, alias_mac, alias_mac_holds, export_mac, export_mac_holds, fingerprint,
    idempotency_digest, reference_digest,
};
pub use key::{KeyContext, KeyScope, KeyState, Purpose, SEALS_FOR, WrappedKey};
pub use key_ring::{HeldKey, InvalidKeyRingConfig, KeyError, KeyRing, KeyRingConfig};
pub use kms::{Kms, KmsError, Wrapped};
pub use log_signer::LogSigner;
pub use record::{CardSecrets, OpenError, SealError, open, record_key_id, seal};
pub use store::{KeyStore, KeyStoreError};
pub use webhook::{WebhookKey, WebhookKeyError};
