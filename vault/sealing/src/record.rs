//! The sealed record: `vault/docs/record-format.md`, design §4.
//!
//! Promises: a record opens only in its own row, at its own version, under its own data key; every other answer is one
//! of five named errors. What does not open again is not sealed.
//! Does not promise: that the record is the newest. The row's version is bound in; that the row itself is the newest is
//! the audit log's to say.
//! Trusts: the store for availability only; a record it altered does not open.
//! Upholds: C-01, C-06.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf;
use strongroom_domain::{DataKeyId, Expiry, Holder, Pan, Random, RandomUnavailable};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::context::SealContext;
use crate::data_key::DataKey;
use crate::key::Purpose;

mod plaintext;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;

/// First byte of every record.
const VERSION: u8 = 1;
/// HKDF-SHA512, key commitment, AES-256-GCM.
const SUITE: [u8; 2] = [0, 1];
const KEY_ID_BYTES: usize = 16;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const COMMITMENT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + SUITE.len() + KEY_ID_BYTES + SALT_BYTES + NONCE_BYTES + COMMITMENT_BYTES;

/// What is sealed. There is no verification code here and no way to put one in.
#[derive(Debug)]
pub struct CardSecrets {
    /// The number.
    pub pan: Pan,
    /// When the card ends, if it says.
    pub expiry: Option<Expiry>,
    /// Whose name it bears, if known.
    pub holder: Option<Holder>,
}

/// Why a card was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The facts are not this card's, or the number does not belong to this environment: it would not open again.
    #[error("the card is not the one its context describes")]
    ContextMismatch,
    /// `expires_at` is not a whole, positive number of seconds.
    #[error("the expiry of the token is not a whole number of seconds after 1970")]
    ExpiresAt,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// Why a record did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a record of a length, version and suite known here.
    #[error("unsupported record format")]
    UnsupportedFormat,
    /// The record names another data key than its row.
    #[error("record names another data key than its row")]
    UnknownKey,
    /// Sealed for another row, version, tenant, environment or set of facts, or under another key.
    #[error("record was sealed for another row")]
    ContextMismatch,
    /// Altered since it was sealed.
    #[error("record was altered")]
    Tampered,
    /// Sealed by something that does not keep the format.
    #[error("record holds something other than one canonical card")]
    Malformed,
}

impl OpenError {
    /// As vectors, logs and audit entries name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedFormat => "unsupported_format",
            Self::UnknownKey => "unknown_key",
            Self::ContextMismatch => "context_mismatch",
            Self::Tampered => "tampered",
            Self::Malformed => "malformed",
        }
    }
}

/// Seals a card for one row.
pub fn seal(
    key: &DataKey,
    context: &SealContext<'_>,
    card: &CardSecrets,
    random: &dyn Random,
) -> Result<Vec<u8>, SealError> {
    let aad = context.authenticated_bytes(Purpose::Card).ok_or(SealError::ExpiresAt)?;
    let mut body = plaintext::encode(card);
    plaintext::parse(&body, context).map_err(|_| SealError::ContextMismatch)?;
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt)?;
    let mut nonce = [0; NONCE_BYTES];
    random.fill(&mut nonce)?;
    Ok(seal_bytes(key, context.data_key, &aad, &mut body, &salt, &nonce))
}

/// Encrypts `body` in place and puts the record together around it.
fn seal_bytes(
    key: &DataKey,
    key_id: DataKeyId,
    aad: &[u8],
    body: &mut [u8],
    salt: &[u8; SALT_BYTES],
    nonce: &[u8; NONCE_BYTES],
) -> Vec<u8> {
    let derived = Derived::from_key(key, salt, aad);
    let tag = derived
        .cipher()
        .encrypt_inout_detached(nonce.into(), aad, (&mut *body).into())
        .expect("a card and its context are far below the limits of AES-GCM");
    let mut record = Vec::with_capacity(HEADER_BYTES + body.len() + TAG_BYTES);
    record.push(VERSION);
    record.extend_from_slice(&SUITE);
    record.extend_from_slice(key_id.as_uuid().as_bytes());
    record.extend_from_slice(salt);
    record.extend_from_slice(nonce);
    record.extend_from_slice(derived.commitment.as_slice());
    record.extend_from_slice(body);
    record.extend_from_slice(&tag);
    record
}

/// Opens a record in its row.
pub fn open(key: &DataKey, context: &SealContext<'_>, record: &[u8]) -> Result<CardSecrets, OpenError> {
    open_for(Purpose::Card, key, context, record)
}

/// The data key a record names, for the look-up. It is authenticated only by [`open`].
pub fn record_key_id(record: &[u8]) -> Result<DataKeyId, OpenError> {
    Parts::of(record).map(|parts| parts.key_id)
}

/// Callers cannot choose the purpose; the vectors do, to show that it is bound in.
fn open_for(
    purpose: Purpose,
    key: &DataKey,
    context: &SealContext<'_>,
    record: &[u8],
) -> Result<CardSecrets, OpenError> {
    let parts = Parts::of(record)?;
    if parts.key_id != context.data_key {
        return Err(OpenError::UnknownKey);
    }
    // A time the format cannot hold was never sealed.
    let aad = context.authenticated_bytes(purpose).ok_or(OpenError::ContextMismatch)?;
    let derived = Derived::from_key(key, parts.salt, &aad);
    if !bool::from(derived.commitment.as_slice().ct_eq(parts.commitment)) {
        return Err(OpenError::ContextMismatch);
    }
    let mut body = Zeroizing::new(parts.ciphertext.to_vec());
    derived
        .cipher()
        .decrypt_inout_detached(parts.nonce.into(), &aad, body.as_mut_slice().into(), parts.tag.into())
        .map_err(|_| OpenError::Tampered)?;
    plaintext::parse(&body, context).map_err(|plaintext::Malformed| OpenError::Malformed)
}

/// A record taken apart; nothing of it is believed yet.
struct Parts<'a> {
    key_id: DataKeyId,
    salt: &'a [u8; SALT_BYTES],
    nonce: &'a [u8; NONCE_BYTES],
    commitment: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    fn of(record: &'a [u8]) -> Result<Self, OpenError> {
        Self::split(record).ok_or(OpenError::UnsupportedFormat)
    }

    /// Length first, then version and suite.
    fn split(record: &'a [u8]) -> Option<Self> {
        let body_bytes = record.len().checked_sub(HEADER_BYTES + TAG_BYTES)?;
        if !plaintext::SIZES.contains(&body_bytes) {
            return None;
        }
        let (version, rest) = record.split_first()?;
        let (suite, rest) = rest.split_first_chunk()?;
        if *version != VERSION || *suite != SUITE {
            return None;
        }
        let (key_id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_at_checked(COMMITMENT_BYTES)?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        let key_id = DataKeyId::from_uuid(uuid::Uuid::from_bytes(*key_id));
        Some(Self { key_id, salt, nonce, commitment, ciphertext, tag })
    }
}

/// What one record's salt and context make of the data key.
struct Derived {
    record_key: Zeroizing<[u8; DataKey::BYTES]>,
    commitment: Zeroizing<[u8; COMMITMENT_BYTES]>,
}

impl Derived {
    fn from_key(key: &DataKey, salt: &[u8; SALT_BYTES], aad: &[u8]) -> Self {
        let context_hash = digest(&SHA256, aad);
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA512, salt);
        let root = key.with(|bytes| salt.extract(bytes));
        Self {
            record_key: expand(&root, b"strongroom/record-key/v1", context_hash.as_ref()),
            commitment: expand(&root, b"strongroom/record-commit/v1", context_hash.as_ref()),
        }
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.record_key).into())
    }
}

/// `HKDF-Expand(PRK, suite ‖ label ‖ H, 32)`.
fn expand(root: &hkdf::Prk, label: &[u8], context_hash: &[u8]) -> Zeroizing<[u8; 32]> {
    struct ThirtyTwo;
    impl hkdf::KeyType for ThirtyTwo {
        fn len(&self) -> usize {
            32
        }
    }
    let mut out = Zeroizing::new([0; 32]);
    root.expand(&[&SUITE, label, context_hash], ThirtyTwo)
        .and_then(|material| material.fill(out.as_mut_slice()))
        .expect("HKDF-SHA512 gives 32 bytes");
    out
}
