//! Files of the infrastructure: whole or not there, keys for their owner only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Identity, PkiError};

/// Mode of keys and of everything else that only the owner may read.
const OWNER_ONLY: u32 = 0o600;
/// Mode of certificates and revocation lists: public.
const PUBLIC: u32 = 0o644;

/// The paths of an identity. The stem is a file name, nothing else.
pub(super) fn identity(folder: &Path, stem: &str) -> Result<Identity, PkiError> {
    let right = !stem.is_empty()
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !stem.starts_with('.');
    if !right {
        return Err(PkiError::Name);
    }
    Ok(Identity {
        certificate_pem_path: folder.join(format!("{stem}.pem")),
        key_pem_path: folder.join(format!("{stem}.key")),
    })
}

pub(super) fn create_folder(folder: &Path) -> Result<(), PkiError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| PkiError::file(folder, error))
}

pub(super) fn write_key(path: &Path, pem: &str) -> Result<(), PkiError> {
    write(path, pem, OWNER_ONLY).map_err(|error| PkiError::file(path, error))
}

pub(super) fn write_public(path: &Path, pem: &str) -> Result<(), PkiError> {
    write(path, pem, PUBLIC).map_err(|error| PkiError::file(path, error))
}

/// Writes beside and renames, so that a reader never sees half a file.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
