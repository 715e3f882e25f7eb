//! The `file` provider: wraps data keys under a key read from a file. For tests, the sandbox and small installations
//! that are not live.
//!
//! A wrapped key is `01 ‖ nonce(12) ‖ AES-256-GCM(key file, nonce, data key, AAD = RFC 8785 of the context)`.
//!
//! Promises: refuses to start when the environment is `live`, or when others may read the file.
//! Does not promise: what a KMS does. Whoever copies the file and the store can unwrap every key, and nothing logs it.
//! Upholds: C-12.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use async_trait::async_trait;
use strongroom_domain::{Environment, Random};
use zeroize::Zeroizing;

use super::{Kms, KmsError, Wrapped};
use crate::data_key::DataKey;
use crate::digest::Message;
use crate::key::KeyContext;

/// First byte of a wrapped key.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// 64 hex digits and a line end; one more byte shows that a file is too long.
const FILE_BYTES_MAX: usize = 2 * DataKey::BYTES + 3;
/// Permission bits of group and others.
const FOREIGN_BITS: u32 = 0o077;

/// Wraps data keys under a key file.
pub struct FileKms {
    key: DataKey,
    key_name: String,
    random: Arc<dyn Random>,
}

/// Why the key file was not taken. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileKmsError {
    /// The environment is `live`.
    #[error("the file KMS is not for environment \"live\": set the provider to \"aws\"")]
    Live,
    /// The file cannot be read.
    #[error(
        "cannot read the key file {path}: make it with `head -c 32 /dev/urandom > {path}` and `chmod 600 {path}`",
        path = path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Group or others may read or write it.
    #[error("the key file {path} is open to other users (mode {mode:04o}): run `chmod 600 {path}`", path = path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Neither 32 bytes nor 64 hex digits.
    #[error(
        "the key file {path} holds neither 32 bytes nor 64 hex digits: make a new one with `head -c 32 /dev/urandom > {path}`",
        path = path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// One byte repeated: a placeholder.
    #[error(
        "the key file {path} holds a placeholder, not a random key: make a new one with `head -c 32 /dev/urandom > {path}`",
        path = path.display()
    )]
    Placeholder {
        /// The file.
        path: PathBuf,
    },
}

impl FileKms {
    /// Reads the key file once. Refuses `live`.
    pub fn from_key_file(
        path: &Path,
        environment: Environment,
        random: Arc<dyn Random>,
    ) -> Result<Self, FileKmsError> {
        if environment == Environment::Live {
            return Err(FileKmsError::Live);
        }
        read_key(path).map(|key| Self::from_key(key, random))
    }

    fn from_key(key: DataKey, random: Arc<dyn Random>) -> Self {
        let digest = Message::begin(&key, b"strongroom/file-kms-key-name/v1\0").finish();
        Self { key, key_name: format!("file:{}", hex::encode(&digest[..8])), random }
    }

    fn cipher(&self) -> Aes256Gcm {
        self.key.with(|bytes| Aes256Gcm::new(bytes.into()))
    }

    fn wrap(&self, context: &KeyContext, key: &DataKey, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let mut body = Zeroizing::new([0; DataKey::BYTES]);
        key.with(|bytes| body.copy_from_slice(bytes));
        let tag = self
            .cipher()
            .encrypt_inout_detached(nonce.into(), &context.canonical(), body.as_mut_slice().into())
            .expect("a key and its context are far below the limits of AES-GCM");
        [&[VERSION], nonce.as_slice(), body.as_slice(), tag.as_slice()].concat()
    }

    fn unwrap_bytes(&self, context: &KeyContext, wrapped: &[u8]) -> Option<DataKey> {
        let (version, rest) = wrapped.split_first()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let mut key = Zeroizing::new(<[u8; DataKey::BYTES]>::try_from(body).ok()?);
        self.cipher()
            .decrypt_inout_detached(nonce.into(), &context.canonical(), key.as_mut_slice().into(), tag.into())
            .ok()?;
        Some(DataKey::take(&mut key))
    }
}

#[async_trait]
impl Kms for FileKms {
    fn provider(&self) -> &'static str {
        "file"
    }

    async fn generate_data_key(&self, context: &KeyContext) -> Result<(DataKey, Wrapped), KmsError> {
        let key = DataKey::generate(&*self.random).map_err(|_| KmsError::NoRandomness)?;
        let mut nonce = [0; NONCE_BYTES];
        self.random.fill(&mut nonce).map_err(|_| KmsError::NoRandomness)?;
        let bytes = self.wrap(context, &key, &nonce);
        Ok((key, Wrapped { bytes, kms_key: self.key_name.clone() }))
    }

    /// The tag decides, not the name: a key wrapped under another file does not unwrap here.
    async fn unwrap(
        &self,
        context: &KeyContext,
        wrapped: &[u8],
        _kms_key: &str,
    ) -> Result<DataKey, KmsError> {
        self.unwrap_bytes(context, wrapped).ok_or(KmsError::Mismatch)
    }

    async fn check(&self) -> Result<(), KmsError> {
        Ok(())
    }
}

impl std::fmt::Debug for FileKms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileKms({})", self.key_name)
    }
}

fn read_key(path: &Path) -> Result<DataKey, FileKmsError> {
    let read = |source| FileKmsError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    // Of the opened file, not of the path: nobody can swap it in between.
    let mode = file.metadata().map_err(read)?.mode() & 0o7777;
    if mode & FOREIGN_BITS != 0 {
        return Err(FileKmsError::Permissions { path: path.to_owned(), mode });
    }
    let mut content = Zeroizing::new([0; FILE_BYTES_MAX]);
    let mut length = 0;
    while length < FILE_BYTES_MAX {
        match file.read(&mut content[length..]).map_err(read)? {
            0 => break,
            more => length += more,
        }
    }
    let mut key =
        decode(&content[..length]).ok_or_else(|| FileKmsError::Content { path: path.to_owned() })?;
    if key.iter().all(|byte| *byte == key[0]) {
        return Err(FileKmsError::Placeholder { path: path.to_owned() });
    }
    Ok(DataKey::take(&mut key))
}

/// 32 raw bytes, or 64 hex digits and perhaps a line end.
fn decode(content: &[u8]) -> Option<Zeroizing<[u8; DataKey::BYTES]>> {
    let mut key = Zeroizing::new([0; DataKey::BYTES]);
    if content.len() == DataKey::BYTES {
        key.copy_from_slice(content);
        return Some(key);
    }
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let digits = line.strip_suffix(b"\r").unwrap_or(line);
    hex::decode_to_slice(digits, key.as_mut_slice()).ok().map(|()| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use strongroom_domain::{DataKeyId, TenantId};

    use crate::key::{KeyScope, Purpose};
    use crate::testing::Scripted;

    fn bytes(value: &serde_json::Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    fn context(value: &serde_json::Value) -> KeyContext {
        let text = |name: &str| value[name].as_str().unwrap();
        KeyContext {
            environment: if text("environment") == "live" { Environment::Live } else { Environment::Test },
            scope: KeyScope::Tenant(TenantId::parse(text("tenant")).unwrap()),
            purpose: Purpose::parse(text("purpose")).unwrap(),
            key_id: DataKeyId::parse(text("key_id")).unwrap(),
        }
    }

    #[tokio::test]
    async fn wrapped_keys_match_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/wrapped_key.json")).unwrap();
        let case = &vectors["cases"][0];
        let random = Scripted::new([bytes(&case["key"]), bytes(&case["nonce"])].concat());
        let kms = FileKms::from_key(DataKey::take(&mut bytes(&case["kek"]).try_into().unwrap()), random);
        let (key, wrapped) = kms.generate_data_key(&context(&case["context"])).await.unwrap();
        assert_eq!(hex::encode(&wrapped.bytes), case["wrapped"].as_str().unwrap());
        assert!(key.with(|key| key.as_slice() == bytes(&case["key"])));
        let again = kms.unwrap(&context(&case["context"]), &wrapped.bytes, &wrapped.kms_key).await.unwrap();
        assert!(again.with(|key| key.as_slice() == bytes(&case["key"])));

        let failures = vectors["failures"].as_array().unwrap();
        assert_eq!(failures.len(), 4);
        for failure in failures {
            assert_eq!(failure["expect"], "context_mismatch");
            let opened = kms.unwrap(&context(&failure["context"]), &bytes(&failure["wrapped"]), "").await;
            assert_eq!(opened.unwrap_err(), KmsError::Mismatch, "{}", failure["name"]);
        }
        for length in 0..wrapped.bytes.len() {
            assert!(kms.unwrap_bytes(&context(&case["context"]), &wrapped.bytes[..length]).is_none());
        }
        let spent = kms.generate_data_key(&context(&case["context"])).await;
        assert_eq!(spent.unwrap_err(), KmsError::NoRandomness);
    }

    fn from_file(content: &[u8], mode: u32) -> Result<FileKms, FileKmsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.key");
        let mut file = File::create(&path).unwrap();
        file.write_all(content).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        FileKms::from_key_file(&path, Environment::Test, Scripted::new(Vec::new()))
    }

    #[test]
    fn a_key_file_is_32_bytes_or_64_hex_digits() {
        let raw: Vec<u8> = (0..32).collect();
        let name = from_file(&raw, 0o600).unwrap().key_name;
        let digits = hex::encode(&raw);
        for content in [digits.clone(), format!("{digits}\n"), format!("{digits}\r\n"), digits.to_uppercase()]
        {
            assert_eq!(from_file(content.as_bytes(), 0o400).unwrap().key_name, name);
        }
        for wrong in [&raw[..31], &digits.as_bytes()[..63], format!("{digits}\n\n").as_bytes(), b"", &[7; 33]]
        {
            assert!(matches!(from_file(wrong, 0o600), Err(FileKmsError::Content { .. })), "{wrong:?}");
        }
        assert!(matches!(from_file(&[0; 32], 0o600), Err(FileKmsError::Placeholder { .. })));
    }

    #[test]
    fn a_key_file_others_may_open_is_refused_with_what_to_do() {
        let raw: Vec<u8> = (0..32).collect();
        for mode in [0o640, 0o604, 0o620, 0o644, 0o666] {
            let error = from_file(&raw, mode).unwrap_err();
            assert!(matches!(error, FileKmsError::Permissions { .. }), "{mode:o}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn live_and_missing_files_are_refused_with_what_to_do() {
        let path = Path::new("/nonexistent/kms.key");
        let error = FileKms::from_key_file(path, Environment::Live, Scripted::new(Vec::new())).unwrap_err();
        assert!(matches!(error, FileKmsError::Live) && error.to_string().contains("aws"));
        let error = FileKms::from_key_file(path, Environment::Test, Scripted::new(Vec::new())).unwrap_err();
        assert!(matches!(error, FileKmsError::Read { .. }) && error.to_string().contains("/dev/urandom"));
    }
}
