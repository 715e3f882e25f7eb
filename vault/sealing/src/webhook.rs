//! The key events are signed with on their way to one destination (Standard Webhooks, symmetric: HMAC-SHA-256).
//!
//! Promises: a key is read from a file that is its owner's alone; nothing of it is shown.
//! Upholds: C-32.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What stands before the key in its file.
const PREFIX: &str = "whsec_";
/// Lengths the specification allows, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Longest file: prefix, 64 bytes in base64 and a line end, with room.
const FILE_BYTES_MAX: usize = 256;
/// Anybody but the owner.
const FOREIGN_BITS: u32 = 0o077;

/// Signs what one destination is told. The receiver holds the same key.
pub struct WebhookKey(hmac::Key);

/// Why a key is not used. Names the file, shows nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum WebhookKeyError {
    /// The file cannot be read.
    #[error("cannot read the secret file {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the secret file {path} is open to other users: run `chmod 600 {path}`", path = path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
    },
    /// Not a secret in the form of the specification.
    #[error(
        "the secret file {path} does not hold whsec_ and 24 to 64 bytes in base64: make one with `echo whsec_$(openssl rand -base64 32) > {path}`",
        path = path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
}

impl WebhookKey {
    /// Reads a secret file: `whsec_` and 24 to 64 bytes in base64.
    pub fn from_file(path: &Path) -> Result<Self, WebhookKeyError> {
        let read = |source| WebhookKeyError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        // Of the opened file, not of the path: nobody can swap it in between.
        if file.metadata().map_err(read)?.mode() & FOREIGN_BITS != 0 {
            return Err(WebhookKeyError::Permissions { path: path.to_owned() });
        }
        let mut content = Zeroizing::new([0; FILE_BYTES_MAX]);
        let mut length = 0;
        while length < FILE_BYTES_MAX {
            match file.read(&mut content[length..]).map_err(read)? {
                0 => break,
                more => length += more,
            }
        }
        Self::parse(&content[..length]).ok_or_else(|| WebhookKeyError::Content { path: path.to_owned() })
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?.trim_end().strip_prefix(PREFIX)?;
        let mut key = Zeroizing::new([0; FILE_BYTES_MAX]);
        let length = STANDARD.decode_slice(text, key.as_mut_slice()).ok()?;
        KEY_BYTES.contains(&length).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &key[..length])))
    }

    /// `v1,` and the base64 of `HMAC-SHA-256(key, id "." timestamp "." body)`.
    #[must_use]
    pub fn sign(&self, id: &str, unix_seconds: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{unix_seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(WebhookKey: Clone, fmt::Display, PartialEq, serde::Serialize);

    /// The example secret of the specification's own libraries, less what stands before it.
    const EXAMPLE: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_that_of_the_published_example() {
        let key = WebhookKey::parse(format!("{PREFIX}{EXAMPLE}\n").as_bytes()).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{key:?}"), "WebhookKey([REDACTED])");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        let short = format!("{PREFIX}{}", STANDARD.encode([7; 23]));
        let long = format!("{PREFIX}{}", STANDARD.encode([7; 65]));
        for wrong in ["", "whsec_", EXAMPLE, "whsec_not base64", &short, &long] {
            assert!(WebhookKey::parse(wrong.as_bytes()).is_none());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, format!("{PREFIX}{EXAMPLE}")).unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, mode(0o644)).unwrap();
        assert!(matches!(WebhookKey::from_file(&path), Err(WebhookKeyError::Permissions { .. })));
        std::fs::set_permissions(&path, mode(0o600)).unwrap();
        WebhookKey::from_file(&path).unwrap();
        std::fs::write(&path, "whsec_secret-that-is-none").unwrap();
        let told = WebhookKey::from_file(&path).unwrap_err().to_string();
        assert!(!told.contains("secret-that"), "{told}");
        let gone = WebhookKey::from_file(&folder.path().join("none")).unwrap_err();
        assert!(matches!(gone, WebhookKeyError::Read { .. }));
    }
}
