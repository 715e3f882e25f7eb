//! Checkpoints: what the log was at a size, signed (C2SP tlog-checkpoint, signed-note; Ed25519).
//!
//! Promises: a checkpoint is read only from a note whose signature by a known key holds.
//! Trusts: the signing key, which the KMS wraps. Whoever has it can fork the log; exported checkpoints show that.
//! Upholds: C-44.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use strongroom_sealing::LogSigner;

use super::tree::Hash;

/// Type of a key in signed-note: Ed25519.
const ED25519: u8 = 1;
/// Longest note that is read: a checkpoint has three lines and few signatures.
pub(super) const NOTE_BYTES_MAX: usize = 4_096;

/// The name of a log: a URL without scheme, unique to one vault deployment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin(String);

/// Not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin is 1 to 200 visible ASCII characters without `+`: a name like vault.example.com/live")]
pub struct InvalidOrigin;

impl Origin {
    /// ```
    /// # use strongroom_vault::audit::Origin;
    /// assert!(Origin::parse("vault.example.com/live").is_ok());
    /// assert!(Origin::parse("a log").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let right = (1..=200).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
        if right { Ok(Self(text.to_owned())) } else { Err(InvalidOrigin) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The log at a size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// A public key of a log, as `vkey` of signed-note writes it: `origin+id+key`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKey {
    origin: Origin,
    public: [u8; 32],
}

/// Not a public key of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log's key is ORIGIN+ID+KEY, as `audit key` prints it")]
pub struct InvalidLogKey;

/// Why a note is not a checkpoint of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// Not the form of a note that holds a checkpoint.
    #[error("checkpoint is malformed")]
    Malformed,
    /// Of another log.
    #[error("checkpoint is another log's")]
    OtherLog,
    /// No signature of this key, or one that does not hold.
    #[error("checkpoint is not signed by the log's key")]
    Unsigned,
}

impl LogKey {
    /// The key a signer signs with.
    #[must_use]
    pub fn of(signer: &LogSigner, origin: &Origin) -> Self {
        Self { origin: origin.clone(), public: signer.public() }
    }

    /// Reads a `vkey`.
    pub fn parse(text: &str) -> Result<Self, InvalidLogKey> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(origin), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidLogKey);
        };
        let origin = Origin::parse(origin).map_err(|_| InvalidLogKey)?;
        let bytes = STANDARD.decode(key).map_err(|_| InvalidLogKey)?;
        let [ED25519, public @ ..] = bytes.as_slice() else { return Err(InvalidLogKey) };
        let key = Self { origin, public: public.try_into().map_err(|_| InvalidLogKey)? };
        if hex::encode(key.id()) == id { Ok(key) } else { Err(InvalidLogKey) }
    }

    /// Which log.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// First four bytes of `SHA-256(name ‖ 0A ‖ 01 ‖ key)`.
    fn id(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(self.origin.as_str())
            .chain_update([b'\n', ED25519])
            .chain_update(self.public)
            .finalize();
        let mut id = [0; 4];
        id.copy_from_slice(&digest[..4]);
        id
    }

    /// The checkpoint in a note this key signed.
    pub fn open(&self, note: &str) -> Result<Checkpoint, BadCheckpoint> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(BadCheckpoint::Malformed);
        }
        let end = note.rfind("\n\n").ok_or(BadCheckpoint::Malformed)?;
        let (text, signatures) = (&note[..=end], &note[end + 2..]);
        let checkpoint = Checkpoint::read(text).ok_or(BadCheckpoint::Malformed)?;
        if checkpoint.origin != self.origin {
            return Err(BadCheckpoint::OtherLog);
        }
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, self.public);
        let signed = signatures
            .lines()
            .filter_map(|line| self.signature(line))
            .any(|signature| key.verify(text.as_bytes(), &signature).is_ok());
        if signed { Ok(checkpoint) } else { Err(BadCheckpoint::Unsigned) }
    }

    /// This key's signature on a line, if it is one.
    fn signature(&self, line: &str) -> Option<Vec<u8>> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        (name == self.origin.as_str() && *id == self.id()).then(|| signature.to_vec())
    }
}

/// Notes that are no checkpoints: whoever reads one must tell it from a checkpoint by its first line.
impl LogKey {
    /// The text of a note this key signed, whatever it says.
    pub(crate) fn open_note(&self, note: &str) -> Result<String, BadCheckpoint> {
        let end = note.rfind("\n\n").ok_or(BadCheckpoint::Malformed)?;
        let (text, signatures) = (&note[..=end], &note[end + 2..]);
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, self.public);
        let mut signatures = signatures.lines().filter_map(|line| self.signature(line));
        let signed = signatures.any(|signature| key.verify(text.as_bytes(), &signature).is_ok());
        if signed { Ok(text.to_owned()) } else { Err(BadCheckpoint::Unsigned) }
    }

    /// A signed note of this text, which ends with a line break.
    pub(crate) fn sign_note(signer: &LogSigner, origin: &Origin, text: &str) -> String {
        format!("{text}\n{}", Self::signature_line(signer, origin, text))
    }

    /// A signature of this text, as a line of a note.
    pub(super) fn signature_line(signer: &LogSigner, origin: &Origin, text: &str) -> String {
        let mut signature = Self::of(signer, origin).id().to_vec();
        signature.extend(signer.sign(text.as_bytes()));
        format!("— {} {}\n", origin.as_str(), STANDARD.encode(signature))
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend(self.public);
        write!(f, "{}+{}+{}", self.origin.as_str(), hex::encode(self.id()), STANDARD.encode(key))
    }
}

impl Checkpoint {
    /// What is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin.as_str(), self.size, STANDARD.encode(self.root.as_bytes()))
    }

    /// The signed note.
    #[must_use]
    pub fn sign(&self, signer: &LogSigner) -> String {
        LogKey::sign_note(signer, &self.origin, &self.text())
    }

    /// What a note says, whoever signed it: for whoever hands it on to be verified.
    #[must_use]
    pub fn unverified(note: &str) -> Option<Self> {
        let end = note.rfind("\n\n").filter(|_| note.len() <= NOTE_BYTES_MAX)?;
        Self::read(&note[..=end])
    }

    /// Reads [`Self::text`]. Lines after the third are extensions, and passed over.
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = Origin::parse(lines.next()?).ok()?;
        let number = lines.next()?;
        let size: u64 = number.parse().ok().filter(|size: &u64| size.to_string() == number)?;
        let root = STANDARD.decode(lines.next()?).ok()?;
        Some(Self { origin, size, root: Hash::from_bytes(root.try_into().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/vectors/log.json")).unwrap()
    }

    #[test]
    fn checkpoints_of_the_vectors_open_and_read_as_they_are() {
        let vectors = vectors();
        let vkey = vectors["vkey"].as_str().unwrap();
        let key = LogKey::parse(vkey).unwrap();
        assert_eq!(key.to_string(), vkey);
        for case in vectors["trees"].as_array().unwrap() {
            let note = case["checkpoint"].as_str().unwrap();
            let checkpoint = key.open(note).unwrap();
            assert_eq!(checkpoint.size, case["size"].as_u64().unwrap());
            assert_eq!(format!("{:?}", checkpoint.root), case["root"].as_str().unwrap());
            assert!(note.starts_with(&checkpoint.text()));
        }
    }

    #[test]
    fn what_a_signer_signs_its_key_opens() {
        let signer = LogSigner::derive(&strongroom_sealing::DataKey::take(&mut [3; 32]), "a.example/test");
        let origin = Origin::parse("a.example/test").unwrap();
        let checkpoint = Checkpoint { origin: origin.clone(), size: 12, root: Hash::of_leaf(b"x") };
        let (note, key) = (checkpoint.sign(&signer), LogKey::of(&signer, &origin));
        assert_eq!(key.open(&note), Ok(checkpoint));
        assert_eq!(LogKey::parse(&key.to_string()), Ok(key.clone()));
        // Another's signature beside ours does no harm; without ours it does not count.
        let stranger = "— witness.example AAAAAAAAAAAA\n";
        assert!(key.open(&format!("{note}{stranger}")).is_ok());
        let (text, _) = note.split_once("\n\n").unwrap();
        assert_eq!(key.open(&format!("{text}\n\n{stranger}")), Err(BadCheckpoint::Unsigned));
    }

    #[test]
    fn changed_foreign_and_malformed_checkpoints_are_refused() {
        let vectors = vectors();
        let key = LogKey::parse(vectors["vkey"].as_str().unwrap()).unwrap();
        let note = vectors["trees"][4]["checkpoint"].as_str().unwrap();
        let changed = |from: &str, to: &str| {
            assert!(note.contains(from), "{from}");
            key.open(&note.replacen(from, to, 1))
        };
        assert_eq!(changed("\n7\n", "\n8\n"), Err(BadCheckpoint::Unsigned));
        assert_eq!(changed("\n7\n", "\n07\n"), Err(BadCheckpoint::Malformed));
        assert_eq!(changed("\n7\n", "\n-7\n"), Err(BadCheckpoint::Malformed));
        assert_eq!(
            changed("example.com/strongroom/acme\n", "example.com/other\n"),
            Err(BadCheckpoint::OtherLog)
        );
        assert_eq!(changed("\n\n", "\n"), Err(BadCheckpoint::Malformed));
        assert_eq!(key.open(&"a\n".repeat(NOTE_BYTES_MAX)), Err(BadCheckpoint::Malformed));
        for vkey in ["", "example.com", "example.com+00000000+AQ==", "a b+81c49c9f+AQ=="] {
            assert_eq!(LogKey::parse(vkey), Err(InvalidLogKey));
        }
    }
}
