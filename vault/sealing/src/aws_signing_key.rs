//! The secret access key that requests to object storage are signed with (AWS Signature Version 4).
//!
//! Promises: nothing of it is shown; it is wiped when it is dropped.
//! Upholds: C-56.

use std::fmt;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// Signs what the vault asks of object storage.
pub struct AwsSigningKey(Zeroizing<Vec<u8>>);

impl AwsSigningKey {
    /// From the secret access key.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(Zeroizing::new([b"AWS4", secret.as_bytes()].concat()))
    }

    /// The signature of a string, hex, for the day (`YYYYMMDD`), region and service it is scoped to.
    #[must_use]
    pub fn sign(&self, day: &str, region: &str, service: &str, string: &str) -> String {
        let tag =
            |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let mut signed = tag(&self.0, day);
        for step in [region, service, "aws4_request", string] {
            signed = tag(signed.as_ref(), step);
        }
        hex::encode(signed)
    }
}

impl fmt::Debug for AwsSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsSigningKey([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(AwsSigningKey: Clone, fmt::Display, PartialEq, serde::Serialize);

    #[test]
    fn a_signature_is_the_documented_construction() {
        // Python: k = b"AWS4" + b"secret"; for step in (b"20130524", b"us-east-1", b"s3", b"aws4_request", b"text"): k = hmac(k, step)
        let key = AwsSigningKey::new("secret");
        assert_eq!(key.sign("20130524", "us-east-1", "s3", "text"), SIGNATURE);
        assert_ne!(key.sign("20130525", "us-east-1", "s3", "text"), SIGNATURE);
        assert_eq!(format!("{key:?}"), "AwsSigningKey([REDACTED])");
    }

    const SIGNATURE: &str = "3d684a0419f7241f6e27e34c952e1c3389bc11d68526648ca8c011b376c070d1";
}
