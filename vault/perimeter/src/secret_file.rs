//! Secrets in files: one check for every one of them.
//!
//! Promises: a secret others may open is refused with what to do; what was checked is the file that is read; what was
//! read is wiped when dropped; no error shows any of it.
//! Upholds: C-42.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Permission bits of group and others.
const FOREIGN_BITS: u32 = 0o077;
/// Largest secret: a private key of 16,384 bits in PEM form is 13 KiB.
const BYTES_MAX: usize = 64 * 1024;

/// A file of a secret that cannot be used. Names the file, says what to do, shows nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("secret file {}: cannot be read; check that it exists, is a file and this user may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may open it.
    #[error("secret file {}: others may open it (mode {mode:04o}); `chmod 600` it, and replace the secret if they did", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold what is looked for.
    #[error("secret file {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
}

impl SecretFileError {
    /// A file that holds the wrong thing.
    #[must_use]
    pub fn content(path: &Path, reason: &'static str) -> Self {
        Self::Content { path: path.to_owned(), reason }
    }
}

/// Reads a secret, whole.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    // Of the opened file, not of the path: nobody can swap it in between.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::ErrorKind::InvalidInput.into()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & FOREIGN_BITS != 0 {
        return Err(SecretFileError::Permissions { path: path.to_owned(), mode });
    }
    // At its full size from the beginning: growth would leave copies behind.
    let mut content = Zeroizing::new(vec![0; BYTES_MAX + 1]);
    let mut length = 0;
    while length < content.len() {
        match file.read(&mut content[length..]).map_err(unreadable)? {
            0 => break,
            more => length += more,
        }
    }
    if length > BYTES_MAX {
        return Err(SecretFileError::content(path, "is larger than 64 KiB, so it is no secret"));
    }
    content.truncate(length);
    Ok(content)
}

/// Reads a secret of one line: visible ASCII, without spaces around it; a line end after it is not part of it.
pub fn read_line(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let content = read(path)?;
    let text = std::str::from_utf8(&content).unwrap_or_default().trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.trim() != text || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(SecretFileError::content(
            path,
            "must hold one line: the secret, in visible ASCII, without spaces around it",
        ));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("psp.key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_secret_others_may_open_is_refused_with_what_to_do() {
        for (mode, allowed) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o644, false)]
        {
            let (_folder, path) = file(b"sk_secret\n", mode);
            match read_line(&path) {
                Ok(line) => assert!(allowed && *line == "sk_secret", "{mode:o}"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(!allowed && told.contains("chmod 600") && !told.contains("sk_secret"), "{told}");
                }
            }
        }
    }

    #[test]
    fn a_secret_is_one_line_and_no_error_shows_it() {
        for content in [&b""[..], b"\n", b"a\nb\n", b" a", b"a ", b"\xff", b"a\tb"] {
            let (_folder, path) = file(content, 0o600);
            let told = read_line(&path).unwrap_err().to_string();
            assert!(told.contains("one line"), "{told}");
        }
        let (folder, path) = file(&vec![b'a'; BYTES_MAX + 1], 0o600);
        assert!(read(&path).is_err(), "too large");
        assert!(read(folder.path()).is_err() && read(&folder.path().join("none")).is_err());
    }
}
