//! The folder a long command keeps its state and reports in: one command at a time, readable by its owner only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::CliError;

/// Owner only: what lies there names tokens.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// A folder that this process holds for itself.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none, and keeps other commands out of it until this process ends.
    pub(super) fn hold(path: &Path) -> Result<Self, CliError> {
        let unusable = |error| format!("the folder {} cannot be used: {error}", path.display());
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(unusable)?;
        let lock = private().create(true).truncate(false).open(path.join("lock")).map_err(unusable)?;
        lock.try_lock().map_err(|_| {
            format!("another command works with the folder {}: wait for it, or give another", path.display())
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a whole file, or leaves the one that is there as it is.
    pub(super) fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (path, new) = (self.file(name), self.file(&format!("{name}.new")));
        let mut out = BufWriter::new(private().create(true).truncate(true).open(&new)?);
        write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(new, path)?;
        self.sync()?;
        Ok(())
    }

    /// A new name in the folder is durable only when the folder is.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Options for files that only the owner reads.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_command_at_a_time_and_files_for_the_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::hold(&path).unwrap();
        assert!(Folder::hold(&path).is_err());
        folder.replace("x", |out| Ok(out.write_all(b"x")?)).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.file("x"))), (FOLDER_MODE, FILE_MODE));
        drop(folder);
        assert!(Folder::hold(&path).is_ok());
    }
}
