//! Holding a bundle against its manifest, offline: by one of the log's public keys alone.
//!
//! Promises: every file is the one that was signed and none is there besides; each sampled entry stands once, is of its requirement
//! and of the period, has the score it says, and is in the tree of the signed checkpoint that is in the bundle.
//! Each review in it is signed by the key of the certificate beside it; that this is the one the log names takes the log.
//! Does not promise: that no other entry has a lesser score, nor the populations: whoever has the log counts both again. Nor that
//! the bundle is the only one of its period: the log names every bundle that was made.
//! Upholds: C-62, C-63.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Period;
use super::bundle::{MANIFEST, Manifest};
use super::facts::ReviewFile;
use super::sample::Sample;
use crate::audit::{BadCheckpoint, BadKeys, Checkpoint, LogKey, LogKeys, hand_overs_in};

/// Where what is of the log's own layout stands in a bundle.
const LOG: &str = "log";
/// Where the checkpoint and the samples stand.
pub(super) const CHECKPOINT: &str = "log/checkpoint";
pub(super) const SAMPLES: &str = "samples/";
/// Where reviews stand.
const REVIEWS: &str = "reviews/";
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
    /// Reviews whose signatures hold.
    pub reviews: u64,
}

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    /// A file cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The hand-overs in it, or given with it, do not lead from the key.
    #[error(transparent)]
    Keys(BadKeys),
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
    #[error("{0:?} is not in the manifest")]
    Surplus(String),
    /// The checkpoint in it is not this log's.
    #[error("the checkpoint in the bundle does not open: {0}")]
    Checkpoint(BadCheckpoint),
    /// A review whose signature does not hold, or that is not one.
    #[error("{0} was not signed by the key of the certificate in it")]
    Review(String),
    /// A sampled entry is not in the log, not of its requirement or of the period, stands twice, or has another score.
    #[error(
        "entry {index} of {file} is not in the tree of the checkpoint, not of that requirement or of the period, \
         not in its order, or has another score"
    )]
    Sample {
        /// Which file.
        file: String,
        /// Which entry.
        index: u64,
    },
}

/// Verifies an unpacked bundle.
pub fn verify(folder: &Path, key: &LogKey) -> Result<VerifiedBundle, Unsound> {
    verify_in(folder, key, &[])
}

/// The same with the hand-overs of an exported log: for a key that came after the bundle.
pub fn verify_in(folder: &Path, key: &LogKey, hand_overs: &[String]) -> Result<VerifiedBundle, Unsound> {
    let told = if hand_overs.is_empty() { told(folder)? } else { hand_overs.to_vec() };
    let keys = LogKeys::follow(key, &told).map_err(Unsound::Keys)?;
    let note = text(folder, MANIFEST)?;
    // The key that signs once this checkpoint is signed: a key of before signs no bundle any more.
    let newest = text(folder, CHECKPOINT).ok().and_then(|note| Checkpoint::unverified(&note));
    let key = keys.due(newest.map_or(0, |newest| newest.size).saturating_add(1));
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
    let checkpoint = keys.open(&text(folder, CHECKPOINT)?).map_err(Unsound::Checkpoint)?;
    let mut samples = 0;
    for file in manifest.files.keys().filter(|path| path.starts_with(SAMPLES)) {
        samples += sample(folder, file, manifest.period, &checkpoint)?;
    }
    let mut reviews = 0;
    for file in manifest.files.keys().filter(|path| path.starts_with(REVIEWS)) {
        let review: Option<ReviewFile> = serde_json::from_str(&text(folder, file)?).ok();
        if !review.is_some_and(|review| review.holds()) {
            return Err(Unsound::Review(file.clone()));
        }
        reviews += 1;
    }
    Ok(VerifiedBundle { manifest, sha256: Sha256::digest(&note).into(), checkpoint, samples, reviews })
}

/// The hand-overs a bundle brings with it.
fn told(folder: &Path) -> Result<Vec<String>, Unsound> {
    hand_overs_in(&folder.join(LOG)).map_err(|_| Unsound::File(format!("{LOG}/handover")))
}

fn sample(folder: &Path, file: &str, period: Period, checkpoint: &Checkpoint) -> Result<u64, Unsound> {
    let sample: Sample =
        serde_json::from_str(&text(folder, file)?).map_err(|_| Unsound::File(file.to_owned()))?;
    if file != format!("{SAMPLES}{}.json", sample.requirement) {
        return Err(Unsound::File(file.to_owned()));
    }
    match sample.unsound(period, checkpoint.size, checkpoint.root) {
        Some(index) => Err(Unsound::Sample { file: file.to_owned(), index }),
        None => Ok(sample.entries.len() as u64),
    }
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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use strongroom_domain::Timestamp;
    use strongroom_sealing::{DataKey, LogSigner};

    use super::super::bundle::Bundle;
    use super::super::sample::{Sampled, score};
    use super::*;
    use crate::audit::Origin;
    use crate::audit::tree::Hash;

    const OF: &str = "10.2.1.1";

    fn time(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn entry(evt: &str, ts: &str) -> String {
        format!(
            r#"{{"actor":{{"id":"-"}},"boot_id":"b","evt":"{evt}","iid":"i","instance_seq":1,"obj":{{"ref":"x","type":"log"}},"out":"success","ts":"{ts}"}}"#
        )
    }

    /// A bundle of a log of two entries, whose sample of 10.2.1.1 has those of these indexes, signed as it is.
    fn verified(leaves: [&str; 2], picked: &[u64], file: &str) -> Result<VerifiedBundle, Unsound> {
        let hashes = leaves.map(|leaf| Hash::of_leaf(leaf.as_bytes()));
        let root = Hash::of_node(hashes[0], hashes[1]);
        let sampled = |index: &u64| Sampled {
            index: *index,
            score: hex::encode(score(root, OF, *index)),
            leaf: leaves[*index as usize].to_owned(),
            proof: vec![STANDARD.encode(hashes[1 - *index as usize].as_bytes())],
        };
        let entries = picked.iter().map(sampled).collect();
        let sample = Sample { requirement: OF.to_owned(), population: 2, entries };
        let origin = Origin::parse("vault.example.com/test").unwrap();
        let signer = LogSigner::derive(&DataKey::take(&mut [9; 32]), origin.as_str());
        let mut bundle = Bundle::default();
        bundle.add(CHECKPOINT, Checkpoint { origin: origin.clone(), size: 2, root }.sign(&signer));
        bundle.add(file, serde_json::to_vec(&sample).unwrap());
        let period = Period { from: time("2026-07-01T00:00:00Z"), until: time("2026-10-01T00:00:00Z") };
        bundle.seal(&origin, period, &signer);
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in bundle.files() {
            let at = folder.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, bytes).unwrap();
        }
        verify(folder.path(), &LogKey::of(&signer, &origin))
    }

    /// All of these are in the tree with their true scores, under a good signature.
    #[test]
    fn a_sample_of_the_wrong_entries_does_not_hold_however_it_is_signed() {
        let file = "samples/10.2.1.1.json";
        let first = entry("pan.forward", "2026-07-01T00:00:00.000000Z");
        let second = entry("pan.forward", "2026-09-30T23:59:59.999999Z");
        assert_eq!(verified([&first, &second], &[0, 1], file).unwrap().samples, 2);
        let earlier = entry("pan.forward", "2026-06-30T23:59:59.999999Z");
        let later = entry("pan.forward", "2026-10-01T00:00:00.000000Z");
        let another = entry("policy.activate", "2026-09-01T00:00:00.000000Z");
        for (leaf, picked, wrong) in [
            (&second, [0, 0].as_slice(), 0),
            (&second, &[1, 0], 0),
            (&earlier, &[0, 1], 1),
            (&later, &[0, 1], 1),
            (&another, &[0, 1], 1),
            (&"{}".to_owned(), &[0, 1], 1),
        ] {
            let told = verified([&first, leaf], picked, file);
            assert!(matches!(told, Err(Unsound::Sample { index, .. }) if index == wrong), "{leaf}: {told:?}");
        }
        assert!(matches!(verified([&first, &second], &[0], "samples/other.json"), Err(Unsound::File(_))));
    }

    /// The manifest names the file and its signature is good: the review in it still has to hold by itself.
    #[test]
    fn a_review_nobody_signed_does_not_hold_however_the_bundle_is_signed() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let record = r#"{"access":{"access_sha256":"a","bundle_sha256":"b","bundle_version":1,"grants":1},"decision":"approved","environment":"test","kind":"access","log":"vault.example.com/test","number":1,"person":"one","remarks":"","reviewer":"spiffe://strongroom.test/reviewer","v":1}"#;
        let private = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let signature = crate::review::sign(record, private.into()).unwrap();
        let file = |record: &str| ReviewFile {
            index: 1,
            record: record.to_owned(),
            signature: STANDARD.encode(&signature),
            certificate: STANDARD.encode(certificate.der()),
        };
        assert!(file(record).holds());
        assert!(!file(&record.replace("approved", "follow-up")).holds());
        assert!(!file(&record.replace("\"grants\":1", "\"grants\":2")).holds());
        let held = |review: &ReviewFile| {
            let origin = Origin::parse("vault.example.com/test").unwrap();
            let signer = LogSigner::derive(&DataKey::take(&mut [9; 32]), origin.as_str());
            let mut bundle = Bundle::default();
            let empty = Checkpoint { origin: origin.clone(), size: 0, root: Hash::EMPTY };
            bundle.add(CHECKPOINT, empty.sign(&signer));
            bundle.add("reviews/access-1.json", serde_json::to_vec(review).unwrap());
            let period = Period { from: time("2026-07-01T00:00:00Z"), until: time("2026-10-01T00:00:00Z") };
            bundle.seal(&origin, period, &signer);
            let folder = tempfile::tempdir().unwrap();
            for (path, bytes) in bundle.files() {
                let at = folder.path().join(path);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, bytes).unwrap();
            }
            verify(folder.path(), &LogKey::of(&signer, &origin))
        };
        assert_eq!(held(&file(record)).unwrap().reviews, 1);
        let wrong = held(&file(&record.replace("\"grants\":1", "\"grants\":2")));
        assert!(matches!(wrong, Err(Unsound::Review(file)) if file == "reviews/access-1.json"));
    }
}
