//! The files of a bundle, the signed manifest over them, and both as one zip.
//!
//! ```text
//! strongroom evidence v1
//! vault.example.com/live                              the log's name
//! 2026-07-01T00:00:00Z 2026-10-01T00:00:00Z           the period: from, before
//! 5d2c…  csv/access.csv                               SHA-256 and path of each file, by path
//! …
//!
//! — vault.example.com/live …                          a signature of the log's key (C2SP signed-note)
//! ```
//!
//! Promises: what is signed here is never read as a checkpoint, nor the other way round: a log's name has no space.
//! `sha256sum -c manifest` holds the files against it.
//! Upholds: C-62.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use sha2::{Digest as _, Sha256};
use strongroom_domain::Timestamp;
use strongroom_sealing::LogSigner;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::Period;
use crate::audit::{LogKey, Origin};

/// The manifest's own name in a bundle.
pub(super) const MANIFEST: &str = "manifest";
const HEADER: &str = "strongroom evidence v1";

/// The files, by path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bundle(BTreeMap<String, Vec<u8>>);

/// What a manifest says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The log's name.
    pub log: Origin,
    /// The time the bundle is about.
    pub period: Period,
    /// SHA-256 of each file, by path.
    pub files: BTreeMap<String, [u8; 32]>,
}

impl Bundle {
    /// Adds a file; one of this name that was there is replaced.
    pub(super) fn add(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), bytes.into());
    }

    /// Every file, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    /// Signs for all files that are in. Gives the manifest and its hash.
    pub(super) fn seal(&mut self, log: &Origin, period: Period, signer: &LogSigner) -> ([u8; 32], String) {
        let hash = |(path, bytes): (&String, &Vec<u8>)| (path.clone(), Sha256::digest(bytes).into());
        let files = self.0.iter().map(hash).collect();
        let text = Manifest { log: log.clone(), period, files }.text();
        let note = LogKey::sign_note(signer, log, &text);
        let sha256 = Sha256::digest(&note).into();
        self.add(MANIFEST, note.as_bytes());
        (sha256, note)
    }

    /// All of it as a zip: files as they are, without compression and without times.
    pub(super) fn zip(&self) -> zip::result::ZipResult<Vec<u8>> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(0o644);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (path, bytes) in self.files() {
            writer.start_file(path, options)?;
            writer.write_all(bytes)?;
        }
        Ok(writer.finish()?.into_inner())
    }
}

impl Manifest {
    fn text(&self) -> String {
        let mut text =
            format!("{HEADER}\n{}\n{} {}\n", self.log.as_str(), self.period.from, self.period.until);
        for (path, sha256) in &self.files {
            text.push_str(&format!("{}  {path}\n", hex::encode(sha256)));
        }
        text
    }

    /// Reads what a key signed. None if it is not a manifest.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEADER {
            return None;
        }
        let log = Origin::parse(lines.next()?).ok()?;
        let (from, until) = lines.next()?.split_once(' ')?;
        let period =
            Period { from: Timestamp::parse_rfc3339(from)?, until: Timestamp::parse_rfc3339(until)? };
        let mut files = BTreeMap::new();
        for line in lines {
            let (sha256, path) = line.split_once("  ")?;
            let mut bytes = [0; 32];
            hex::decode_to_slice(sha256, &mut bytes).ok()?;
            let new = is_path(path) && files.insert(path.to_owned(), bytes).is_none();
            new.then_some(())?;
        }
        let read = Self { log, period, files };
        (read.text() == text).then_some(read)
    }
}

/// Whether it is a path of a bundle: below it, by plain names.
pub(super) fn is_path(path: &str) -> bool {
    let name = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    path.len() <= 200 && path.split('/').all(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{BadCheckpoint, Checkpoint};

    fn signer() -> (LogSigner, Origin) {
        let origin = Origin::parse("vault.example.com/test").unwrap();
        let key = strongroom_sealing::DataKey::take(&mut [9; 32]);
        (LogSigner::derive(&key, origin.as_str()), origin)
    }

    fn period() -> Period {
        let time = |text| Timestamp::parse_rfc3339(text).unwrap();
        Period { from: time("2026-07-01T00:00:00Z"), until: time("2026-10-01T00:00:00Z") }
    }

    #[test]
    fn a_manifest_names_every_file_and_opens_under_the_key_alone() {
        let (signer, origin) = signer();
        let mut bundle = Bundle::default();
        bundle.add("index.html", *b"<p>");
        bundle.add("csv/keys.csv", *b"id\r\n");
        let (sha256, _) = bundle.seal(&origin, period(), &signer);
        let note = String::from_utf8(bundle.0[MANIFEST].clone()).unwrap();
        assert_eq!(sha256, <[u8; 32]>::from(Sha256::digest(&note)));
        let key = LogKey::of(&signer, &origin);
        let read = Manifest::read(&key.open_note(&note).unwrap()).unwrap();
        assert_eq!(read.files.len(), 2);
        assert_eq!(read.files["index.html"], <[u8; 32]>::from(Sha256::digest("<p>")));
        assert_eq!((read.log, read.period), (origin.clone(), period()));
        assert_eq!(key.open_note(&note.replacen("index", "indey", 1)), Err(BadCheckpoint::Unsigned));
    }

    #[test]
    fn a_manifest_is_no_checkpoint_and_a_checkpoint_no_manifest() {
        let (signer, origin) = signer();
        let mut bundle = Bundle::default();
        bundle.add("index.html", *b"<p>");
        bundle.seal(&origin, period(), &signer);
        let note = String::from_utf8(bundle.0[MANIFEST].clone()).unwrap();
        let key = LogKey::of(&signer, &origin);
        assert_eq!(key.open(&note), Err(BadCheckpoint::Malformed));
        let root = crate::audit::tree::Hash::EMPTY;
        let checkpoint = Checkpoint { origin: origin.clone(), size: 0, root }.sign(&signer);
        assert!(key.open(&checkpoint).is_ok());
        assert_eq!(key.open_note(&checkpoint).ok().and_then(|text| Manifest::read(&text)), None);
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["index.html", "csv/a-b.csv", "machine/sbom.cdx.json"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "a\\b", "a b", "C:x", "a/"] {
            assert!(!is_path(path), "{path}");
        }
    }
}
