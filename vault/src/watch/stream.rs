//! Findings to a file, a line each, for whoever collects logs.
//!
//! Promises: a line is on disk before the place after it counts as looked at; a file it makes is its owner's alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file that lines are appended to. It is opened anew for each batch, so that it can be moved away (logrotate).
#[derive(Clone, Debug)]
pub struct FindingsFile(PathBuf);

impl FindingsFile {
    /// Makes sure it can be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Self(path.to_owned());
        file.appending()?;
        Ok(file)
    }

    fn appending(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.0)
    }

    /// Appends lines, durably.
    pub async fn append(&self, lines: Vec<String>) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = self.clone();
        let write = move || {
            let mut file = file.appending()?;
            file.write_all(lines.concat().as_bytes())?;
            file.sync_data()
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}
