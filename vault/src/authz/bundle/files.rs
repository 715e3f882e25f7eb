//! The bundle's files, from a folder or from memory.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BundleError;

/// Most files of a bundle: a thousand accounts at each of several PSPs.
const FILES_MAX: usize = 10_000;
/// Largest file: a route with hundreds of places is under 100 KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Folders below the bundle's that belong to it, and how deep each goes.
const FOLDERS: [(&str, usize); 2] = [("routes", 2), ("accounts", 2)];

/// Where the bundle's files are.
#[derive(Clone, Debug)]
pub enum PolicySource {
    /// A folder like `policies/`.
    Folder(PathBuf),
    /// Files in memory: path inside the bundle, with `/`, and text.
    Files(Vec<(String, String)>),
}

impl PolicySource {
    /// Names the content as it is now, valid or not: [`super::Bundle::sha256`] of the bundle it would be.
    ///
    /// # Errors
    /// What cannot be read, or is too much.
    pub fn sha256(&self) -> Result<[u8; 32], BundleError> {
        Ok(Files::read(self)?.sha256())
    }
}

/// Path inside the bundle → text.
pub(super) struct Files(BTreeMap<String, String>);

impl Files {
    pub(super) fn read(source: &PolicySource) -> Result<Self, BundleError> {
        let mut read = Self(BTreeMap::new());
        match source {
            PolicySource::Folder(folder) => {
                read.read_folder(folder, "", 0)?;
                for (name, depth) in FOLDERS {
                    if folder.join(name).is_dir() {
                        read.read_folder(&folder.join(name), name, depth - 1)?;
                    }
                }
            }
            PolicySource::Files(files) => {
                for (path, text) in files.iter().filter(|(path, _)| belongs(path)) {
                    read.add(path.clone(), text.clone())?;
                }
            }
        }
        Ok(read)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str, deeper: usize) -> Result<(), BundleError> {
        let shown = || if prefix.is_empty() { folder.display().to_string() } else { prefix.to_owned() };
        let unreadable =
            |error: std::io::Error| BundleError::new(shown(), format!("cannot be read: {error}"));
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| BundleError::new(shown(), "a file name is not UTF-8"))?;
            let inside = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            // Follows links: mounted configuration is links to a versioned folder whose name begins with a dot.
            let is_folder = entry.path().is_dir();
            if is_folder && deeper > 0 && !name.starts_with('.') {
                self.read_folder(&entry.path(), &inside, deeper - 1)?;
            } else if !is_folder && belongs(&inside) {
                self.add(inside.clone(), read_text(&entry.path(), &inside)?)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: String, text: String) -> Result<(), BundleError> {
        if self.0.len() == FILES_MAX {
            return Err(BundleError::new(path, format!("a bundle has at most {FILES_MAX} files")));
        }
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(BundleError::new(path, format!("a file has at most {FILE_BYTES_MAX} bytes")));
        }
        match self.0.insert(path.clone(), text) {
            None => Ok(()),
            Some(_) => Err(BundleError::new(path, "is given twice")),
        }
    }

    /// The text of a file the bundle cannot be without.
    pub(super) fn required(&self, path: &str) -> Result<&str, BundleError> {
        self.0.get(path).map(String::as_str).ok_or_else(|| BundleError::new(path, "is missing"))
    }

    /// Files directly in `folder` (`""`: the bundle's own) with this ending: name without ending, path, text.
    pub(super) fn with_ending<'a>(
        &'a self,
        folder: &'a str,
        ending: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.0.iter().filter_map(move |(path, text)| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let stem = name.strip_suffix(ending)?;
            (parent == folder).then_some((stem, path.as_str(), text.as_str()))
        })
    }

    /// Names of the folders under `accounts`.
    pub(super) fn account_folders(&self) -> impl Iterator<Item = &str> {
        let inside = |path: &'_ str| path.strip_prefix("accounts/").map(str::len);
        let mut names: Vec<&str> = Vec::new();
        for path in self.0.keys().filter(|path| inside(path).is_some()) {
            if let Some(name) = path.split('/').nth(1).filter(|_| path.split('/').count() == 3) {
                names.push(name);
            }
        }
        names.dedup();
        names.into_iter()
    }

    /// Hash of each file.
    pub(super) fn each_sha256(&self) -> BTreeMap<String, [u8; 32]> {
        self.0.iter().map(|(path, text)| (path.clone(), Sha256::digest(text).into())).collect()
    }

    /// A warning for each file that nothing reads.
    pub(super) fn unexpected(&self) -> Vec<String> {
        let read = |path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            match parts.as_slice() {
                ["bundle.toml" | "schema.cedarschema" | "workloads.json"] => true,
                [name] => name.ends_with(".cedar"),
                ["routes", name] => name.ends_with(".toml") || name.ends_with(".pem"),
                ["routes", _, name] => name.ends_with(".pem"),
                ["accounts", _, name] => name.ends_with(".toml"),
                _ => false,
            }
        };
        let unread = self.0.keys().filter(|path| !read(path));
        unread.map(|path| format!("{path}: nothing reads this file")).collect()
    }

    /// `SHA-256("strongroom/bundle/v1" 00 ‖ (LP(path) ‖ u64be(len) ‖ bytes)…)`, files sorted by path.
    pub(super) fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"strongroom/bundle/v1\0");
        for (path, text) in &self.0 {
            // Paths are file names two folders deep: far below 64 KiB.
            hash.update(u16::try_from(path.len()).unwrap_or(u16::MAX).to_be_bytes());
            hash.update(path.as_bytes());
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().into()
    }
}

/// What is part of the bundle: its own files and those below `routes` and `accounts`; not what people read
/// (`README.md`) or run (`tests`, `prove`), nor hidden files.
fn belongs(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let hidden = parts.iter().any(|part| part.starts_with('.') || part.is_empty());
    let inside = match parts.as_slice() {
        [name] => !name.ends_with(".md"),
        [folder, rest @ ..] => FOLDERS.iter().any(|(name, depth)| name == folder && rest.len() <= *depth),
        [] => false,
    };
    inside && !hidden
}

fn read_text(path: &Path, inside: &str) -> Result<String, BundleError> {
    let unreadable = |error: std::io::Error| BundleError::new(inside, format!("cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    // One byte more than allowed, so that a larger file is seen to be one.
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
