//! Sealed card records, data keys and the KMS: the only crate that sees key bytes.
//!
//! A card is sealed under a data key into a record that opens in its own row alone ([`seal`], [`open`]). Data keys are
//! made and unwrapped by a KMS ([`Kms`], [`kms::aws::AwsKms`], [`kms::file::FileKms`]), kept wrapped in the store
//! ([`KeyStore`]) and held unwrapped for minutes by a [`KeyRing`]. The record format is `vault/docs/record-format.md`.
//!
//! Promises: a data key leaves this crate wrapped or not at all; a record moved, altered or rolled back does not open.
//! Does not promise: that a host whose memory is read keeps its secrets; locked pages and wiping shorten the window.
//! Trusts: the KMS for who may unwrap; the store for availability only.
//! Upholds: C-03 (envelope encryption), C-04 (a record opens only in its own row).

mod context;
mod data_key;
mod digest;
mod encoding;
mod key;
mod key_ring;
pub mod kms;
mod record;
mod store;
#[cfg(test)]
mod testing;

pub use context::SealContext;
pub use data_key::DataKey;
pub use digest::{Fingerprint, InstanceMac, fingerprint, idempotency_digest};
pub use key::{KeyContext, KeyScope, KeyState, Purpose, SEALS_FOR, WrappedKey};
pub use key_ring::{HeldKey, InvalidKeyRingConfig, KeyError, KeyRing, KeyRingConfig};
pub use kms::{Kms, KmsError, Wrapped};
pub use record::{CardSecrets, OpenError, SealError, open, record_key_id, seal};
pub use store::{KeyStore, KeyStoreError};
