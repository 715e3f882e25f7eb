//! Holding a bundle against its manifest, offline: by the log's public key alone.
//!
//! Promises: every file is the one that was signed and none is there besides; each sampled entry was picked by its score, and is
//! in the tree of the signed checkpoint that is in the bundle.
//! Does not promise: that the bundle is the only one of its period: the log names every bundle that was made.
//! Upholds: C-62, C-63.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bundle::{MANIFEST, Manifest};
use super::sample::Sample;
use crate::audit::{BadCheckpoint, Checkpoint, LogKey};

/// Where the checkpoint and the samples stand in a bundle.
pub(super) const CHECKPOINT: &str = "log/checkpoint";
pub(super) const SAMPLES: &str = "samples/";
/// Largest file that is read.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 4;

/// What was found sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedBundle {
    /// What the manifest says.
    pub manifest: Manifest,
    /// The manifest's hash: the log names it.
    pub sha256: [u8; 32],
    /// The checkpoint in it.
    pub checkpoint: Checkpoint,
    /// Samples whose proofs hold.
    pub samples: u64,
}

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest is not this log's.
    #[error("the manifest does not open: {0}")]
    Manifest(BadCheckpoint),
    /// The key signed something else.
    #[error("the manifest is none")]
    NoManifest,
    /// A file is missing or another.
    #[error("{0} is missing, or not the file that was signed")]
    File(String),
    /// A file nobody signed.
    #[error("{0} is not in the manifest")]
    Surplus(String),
    /// The checkpoint in it is not this log's.
    #[error("the checkpoint in the bundle does not open: {0}")]
    Checkpoint(BadCheckpoint),
    /// A sample is not in the log, or was not picked by its score.
    #[error("entry {index} of {file} is not in the tree of the checkpoint, or was not picked by its score")]
    Sample {
        /// Which file.
        file: String,
        /// Which entry.
        index: u64,
    },
}

/// Verifies an unpacked bundle.
pub fn verify(folder: &Path, key: &LogKey) -> Result<VerifiedBundle, Unsound> {
    let note = text(folder, MANIFEST)?;
    let manifest = key.open_note(&note).map_err(Unsound::Manifest)?;
    let manifest = Manifest::read(&manifest).filter(|manifest| manifest.log == *key.origin());
    let manifest = manifest.ok_or(Unsound::NoManifest)?;
    for (path, sha256) in &manifest.files {
        let same = read(folder, path).is_ok_and(|bytes| <[u8; 32]>::from(Sha256::digest(bytes)) == *sha256);
        if !same {
            return Err(Unsound::File(path.clone()));
        }
    }
    let known: BTreeSet<&str> =
        manifest.files.keys().map(String::as_str).chain(std::iter::once(MANIFEST)).collect();
    surplus(folder, "", DEPTH_MAX, &known)?;
    let checkpoint = key.open(&text(folder, CHECKPOINT)?).map_err(Unsound::Checkpoint)?;
    let mut samples = 0;
    for file in manifest.files.keys().filter(|path| path.starts_with(SAMPLES)) {
        samples += sample(folder, file, &checkpoint)?;
    }
    Ok(VerifiedBundle { manifest, sha256: Sha256::digest(&note).into(), checkpoint, samples })
}

fn sample(folder: &Path, file: &str, checkpoint: &Checkpoint) -> Result<u64, Unsound> {
    let sample: Sample =
        serde_json::from_str(&text(folder, file)?).map_err(|_| Unsound::File(file.to_owned()))?;
    for entry in &sample.entries {
        if !entry.holds(&sample.requirement, checkpoint.size, checkpoint.root) {
            return Err(Unsound::Sample { file: file.to_owned(), index: entry.index });
        }
    }
    Ok(sample.entries.len() as u64)
}

/// Every file that is there must be known.
fn surplus(folder: &Path, inside: &str, deeper: usize, known: &BTreeSet<&str>) -> Result<(), Unsound> {
    let at = folder.join(inside);
    let unreadable = |source| Unsound::Unreadable { path: at.clone(), source };
    for entry in fs::read_dir(&at).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
        let is_folder = entry.file_type().map_err(unreadable)?.is_dir();
        match is_folder {
            true if deeper > 0 => surplus(folder, &path, deeper - 1, known)?,
            _ if known.contains(path.as_str()) => {}
            _ => return Err(Unsound::Surplus(path)),
        }
    }
    Ok(())
}

fn text(folder: &Path, path: &str) -> Result<String, Unsound> {
    let bytes = read(folder, path)?;
    String::from_utf8(bytes).map_err(|_| Unsound::File(path.to_owned()))
}

fn read(folder: &Path, path: &str) -> Result<Vec<u8>, Unsound> {
    let at = folder.join(path);
    let unreadable = |source| Unsound::Unreadable { path: at.clone(), source };
    let found = fs::symlink_metadata(&at).map_err(unreadable)?;
    if !found.is_file() || found.len() > BYTES_MAX {
        return Err(Unsound::File(path.to_owned()));
    }
    fs::read(&at).map_err(unreadable)
}
