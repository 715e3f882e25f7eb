//! The Ed25519 key (RFC 8032) that signs checkpoints of the audit log.
//!
//! Promises: the private half is derived from a data key and stays in this crate; equal keys and origins give equal signers.
//! Does not promise: that a signature is due. Whoever calls has proved that the tree only grew.
//! Upholds: C-44.

use std::fmt;

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::data_key::DataKey;
use crate::digest::Message;

/// Signs as one log.
pub struct LogSigner {
    pair: Ed25519KeyPair,
}

impl LogSigner {
    /// `seed = HMAC-SHA-256(key, "strongroom/log-signing/v1" 00 ‖ LP(origin))`. The key is the service's own, of purpose
    /// `audit-signing`.
    ///
    /// # Panics
    /// If `origin` is longer than 64 KiB.
    #[must_use]
    pub fn derive(key: &DataKey, origin: &str) -> Self {
        let seed = Message::begin(key, b"strongroom/log-signing/v1\0")
            .field(origin.as_bytes())
            .finish_in(zeroize::Zeroizing::new([0; 32]));
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).expect("a seed is 32 bytes");
        Self { pair }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key is 32 bytes")
    }

    /// The signature of a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().expect("an Ed25519 signature is 64 bytes")
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSigner([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(LogSigner: Clone, fmt::Display, PartialEq, serde::Serialize);

    #[test]
    fn the_signer_is_the_documented_construction() {
        // Python: seed = hmac(bytes([1]) * 32, b"strongroom/log-signing/v1\0" + LP(b"example.com/log")), Ed25519 of it
        let signer = LogSigner::derive(&DataKey::take(&mut [1; 32]), "example.com/log");
        assert_eq!(
            hex::encode(signer.public()),
            "4c9199a00d9185c8b521cfb866a8229d63d51b8fdda7e9bb169a3f92df425f4b"
        );
        assert_eq!(format!("{signer:?}"), "LogSigner([REDACTED])");
    }

    #[test]
    fn another_key_or_origin_is_another_signer() {
        let public = |byte: u8, origin| LogSigner::derive(&DataKey::take(&mut [byte; 32]), origin).public();
        assert_eq!(public(1, "a"), public(1, "a"));
        assert_ne!(public(1, "a"), public(1, "b"));
        assert_ne!(public(1, "a"), public(2, "a"));
    }
}
