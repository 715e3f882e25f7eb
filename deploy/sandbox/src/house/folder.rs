//! The data folder: where everything of a house lies, and how it is written.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::HouseError;

/// Where everything of a house lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates the folder, for its owner only, if it is not there.
    pub(super) fn create(path: &Path) -> Result<Self, HouseError> {
        create(path)?;
        let path = path.canonicalize().map_err(|error| HouseError::file(path, error))?;
        let folder = Self(path);
        for inside in [folder.vault(), folder.secrets(), folder.psp()] {
            create(&inside)?;
        }
        Ok(folder)
    }

    /// The data folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Certificates and keys.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// The vault at rest: database and the key file of its KMS. No card number may ever be in it.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }

    /// The SQLite database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.vault().join("vault.db")
    }

    /// Where the signed audit log is exported to.
    #[must_use]
    pub fn signed_log(&self) -> PathBuf {
        self.vault().join("log")
    }

    /// The key file of the file KMS.
    #[must_use]
    pub fn kms_key(&self) -> PathBuf {
        self.vault().join("kms.key")
    }

    /// The policy bundle, which vault and proxy read.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.0.join("policies")
    }

    /// What the proxy presents to PSPs.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    /// The sandbox PSP's log and state: the one place where card numbers lie.
    #[must_use]
    pub fn psp(&self) -> PathBuf {
        self.0.join("psp")
    }

    /// The log of vault and proxy.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("house.log")
    }

    /// The configuration the vault runs with: `strongroom-vault audit tail --config` takes it.
    #[must_use]
    pub fn vault_config(&self) -> PathBuf {
        self.0.join("vault.toml")
    }

    /// The configuration the proxy runs with.
    #[must_use]
    pub fn proxy_config(&self) -> PathBuf {
        self.0.join("proxy.toml")
    }

    /// Takes the folder for this process, until the file is dropped.
    pub(super) fn lock(&self) -> Result<fs::File, HouseError> {
        let path = self.0.join("lock");
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| HouseError::file(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(HouseError::InUse(self.0.clone())),
            Err(TryLockError::Error(error)) => Err(HouseError::file(&path, error)),
        }
    }

    pub(super) fn manifest(&self) -> PathBuf {
        self.0.join("generated.json")
    }
}

fn create(folder: &Path) -> Result<(), HouseError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| HouseError::file(folder, error))
}

/// A file's text, if it is there.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, HouseError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HouseError::file(path, error)),
    }
}

/// Writes a whole file, beside and renamed: a vault that watches the folder never reads half of one.
pub(super) fn write(path: &Path, text: &str) -> Result<(), HouseError> {
    if let Some(parent) = path.parent() {
        create(parent)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| HouseError::file(path, error))
}

/// Writes a secret for the owner only, unless it is there. Says whether it was written.
pub(super) fn write_secret_once(path: &Path, secret: &[u8]) -> Result<bool, HouseError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(HouseError::file(path, error)),
    };
    file.write_all(secret).and_then(|()| file.sync_all()).map_err(|error| HouseError::file(path, error))?;
    Ok(true)
}
