//! Hand-overs of the log's signing key, and the keys of a log in their order.
//!
//! ```text
//! vault.example.com/live
//! 1204
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! strongroom/hand-over/v1 vault.example.com/live+81c49c9f+Ad3j… vault.example.com/live+5d0f21aa+AbCd…
//!
//! — vault.example.com/live …                          by the key before
//! — vault.example.com/live …                          by its successor
//! ```
//!
//! A checkpoint (C2SP tlog-checkpoint) with one extension line that names both keys, signed by both: for a program that knows the
//! one or the other it is a checkpoint like any other, and says which key the later or earlier ones are signed with.
//!
//! Promises: a key is followed only along hand-overs that it and the other one signed, forwards and backwards; each key opens
//! checkpoints of its own time alone.
//! Does not promise: to tell whose hand a key was in. A key that was stolen while it was in use can sign a hand-over of its own:
//! who begins with the newest key is not led astray, who begins with the stolen one is (T-41).
//! Upholds: C-57.

use std::collections::HashSet;

use strongroom_sealing::LogSigner;

use super::checkpoint::{BadCheckpoint, Checkpoint, LogKey};

/// First word of the extension line.
const LABEL: &str = "strongroom/hand-over/v1 ";

/// One hand-over that both keys signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandOver {
    /// The tree it was signed at: the last one of the key before.
    pub checkpoint: Checkpoint,
    /// The key before.
    pub from: LogKey,
    /// Its successor.
    pub to: LogKey,
    note: String,
}

/// Why hand-overs lead nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// One is none.
    #[error("hand-over {0} is malformed, not signed by both of its keys, or does not follow the one before")]
    HandOver(u64),
    /// None of the keys is the one that is known.
    #[error("the key given is none of the log's: a hand-over is missing, or it is another log's key")]
    Unknown,
}

impl HandOver {
    /// Signs a checkpoint as a hand-over. Gives the note.
    #[must_use]
    pub fn sign(checkpoint: &Checkpoint, from: &LogSigner, to: &LogSigner) -> String {
        let [before, after] = [from, to].map(|signer| LogKey::of(signer, &checkpoint.origin));
        let text = format!("{}{LABEL}{before} {after}\n", checkpoint.text());
        let mut note = LogKey::sign_note(from, &checkpoint.origin, &text);
        note.push_str(&LogKey::signature_line(to, &checkpoint.origin, &text));
        note
    }

    /// Reads what [`Self::sign`] signed: by the keys it names, and nothing else beside.
    #[must_use]
    pub fn read(note: &str) -> Option<Self> {
        let line = note.lines().nth(3)?.strip_prefix(LABEL)?;
        let (from, to) = line.split_once(' ')?;
        let (from, to) = (LogKey::parse(from).ok()?, LogKey::parse(to).ok()?);
        let checkpoint =
            from.open(note).ok().filter(|checkpoint| to.open(note).as_ref() == Ok(checkpoint))?;
        let text = format!("{}{LABEL}{from} {to}\n\n", checkpoint.text());
        let is_whole = note.starts_with(&text) && note.rfind("\n\n") == Some(text.len() - 2);
        is_whole.then(|| Self { checkpoint, from, to, note: note.to_owned() })
    }

    /// The signed note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// The keys of a log in their order, and the hand-overs between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKeys {
    keys: Vec<LogKey>,
    /// One fewer than keys, by size.
    hand_overs: Vec<HandOver>,
}

impl LogKeys {
    /// A log that never had another key.
    #[must_use]
    pub fn only(key: LogKey) -> Self {
        Self { keys: vec![key], hand_overs: Vec::new() }
    }

    /// Follows hand-overs, in their order, from whichever of the keys is known.
    pub fn follow<N: AsRef<str>>(known: &LogKey, notes: &[N]) -> Result<Self, BadKeys> {
        let mut hand_overs: Vec<HandOver> = Vec::with_capacity(notes.len());
        for (number, note) in (0..).zip(notes) {
            let next = HandOver::read(note.as_ref()).ok_or(BadKeys::HandOver(number))?;
            let follows = hand_overs
                .last()
                .is_none_or(|last| last.to == next.from && last.checkpoint.size < next.checkpoint.size);
            if !follows || next.from.origin() != known.origin() {
                return Err(BadKeys::HandOver(number));
            }
            hand_overs.push(next);
        }
        let Some(first) = hand_overs.first() else { return Ok(Self::only(known.clone())) };
        let keys: Vec<LogKey> = std::iter::once(&first.from)
            .chain(hand_overs.iter().map(|hand_over| &hand_over.to))
            .cloned()
            .collect();
        // No key comes back: what it signed would be of two times.
        let texts: HashSet<String> = keys.iter().map(LogKey::to_string).collect();
        match (texts.len() == keys.len(), keys.contains(known)) {
            (true, true) => Ok(Self { keys, hand_overs }),
            (false, _) => Err(BadKeys::HandOver(notes.len() as u64 - 1)),
            (true, false) => Err(BadKeys::Unknown),
        }
    }

    /// The key that signs now.
    #[must_use]
    pub fn newest(&self) -> &LogKey {
        &self.keys[self.keys.len() - 1]
    }

    /// The hand-overs, in their order.
    #[must_use]
    pub fn hand_overs(&self) -> &[HandOver] {
        &self.hand_overs
    }

    /// The key that checkpoints of this size are signed with: up to a hand-over and with it the one before.
    #[must_use]
    pub fn due(&self, size: u64) -> &LogKey {
        &self.keys[self.hand_overs.partition_point(|hand_over| hand_over.checkpoint.size < size)]
    }

    /// The checkpoint in a note, if the key of its time signed it.
    pub fn open(&self, note: &str) -> Result<Checkpoint, BadCheckpoint> {
        let size = Checkpoint::unverified(note).map_or(0, |checkpoint| checkpoint.size);
        self.due(size).open(note)
    }

    /// The text of a note that is no checkpoint and says no size, if a key of the log signed it.
    pub(crate) fn open_note(&self, note: &str) -> Result<String, BadCheckpoint> {
        let opened = self.keys.iter().rev().find_map(|key| key.open_note(note).ok());
        opened.ok_or(BadCheckpoint::Unsigned)
    }

    /// These and the one that was just made.
    #[must_use]
    pub(super) fn and(mut self, note: &str) -> Option<Self> {
        let next = HandOver::read(note).filter(|next| next.from == *self.newest())?;
        self.keys.push(next.to.clone());
        self.hand_overs.push(next);
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use strongroom_sealing::DataKey;

    use super::super::checkpoint::Origin;
    use super::super::tree::Hash;
    use super::*;

    fn signer(number: u8) -> LogSigner {
        LogSigner::derive(&DataKey::take(&mut [number; 32]), "a.example/test")
    }

    fn key(number: u8) -> LogKey {
        LogKey::of(&signer(number), &Origin::parse("a.example/test").unwrap())
    }

    fn at(size: u64) -> Checkpoint {
        let origin = Origin::parse("a.example/test").unwrap();
        Checkpoint { origin, size, root: Hash::of_leaf(&size.to_be_bytes()) }
    }

    fn made(size: u64, from: u8, to: u8) -> String {
        HandOver::sign(&at(size), &signer(from), &signer(to))
    }

    #[test]
    fn a_hand_over_reads_as_it_is_signed_and_in_no_other_form() {
        let note = made(12, 1, 2);
        let read = HandOver::read(&note).unwrap();
        assert_eq!((read.checkpoint.clone(), read.from.clone(), read.to.clone()), (at(12), key(1), key(2)));
        for number in [1, 2] {
            assert_eq!(key(number).open(&note), Ok(at(12)));
        }
        // Whoever else signs does no harm; what is not signed by both, or says more or otherwise, is none.
        assert!(HandOver::read(&format!("{note}— witness.example AAAAAAAAAAAA\n")).is_some());
        let (text, signatures) = note.split_once("\n\n").unwrap();
        let lines: Vec<&str> = signatures.lines().collect();
        let origin = &at(12).origin;
        let signed = |text: &str| {
            let by = |number| LogKey::signature_line(&signer(number), origin, text);
            format!("{text}\n{}{}", by(1), by(2))
        };
        assert!(HandOver::read(&signed(&format!("{text}\n"))).is_some());
        for wrong in [
            format!("{text}\n\n{}\n", lines[0]),
            format!("{text}\n\n{}\n", lines[1]),
            signed(&format!("{text}\nmore\n")),
            signed(&format!("{text} \n")),
            signed(&format!("{text}\n\nmore\n")),
            signed(&text.replace("v1", "v2")),
            signed(&at(12).text()),
            note.replacen("\n12\n", "\n13\n", 1),
            at(12).sign(&signer(1)),
            String::new(),
        ] {
            assert_eq!(HandOver::read(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_are_followed_from_any_of_them_and_each_opens_its_own_time() {
        let notes = [made(10, 1, 2), made(20, 2, 3)];
        for known in [1, 2, 3] {
            let keys = LogKeys::follow(&key(known), &notes).unwrap();
            assert_eq!(*keys.newest(), key(3));
            for (size, number) in [(0, 1), (9, 1), (10, 1), (11, 2), (20, 2), (21, 3), (u64::MAX, 3)] {
                assert_eq!(*keys.due(size), key(number), "{size}");
                for other in [1, 2, 3] {
                    let opened = keys.open(&at(size).sign(&signer(other)));
                    let wanted = if other == number { Ok(at(size)) } else { Err(BadCheckpoint::Unsigned) };
                    assert_eq!(opened, wanted, "{size} by {other}");
                }
            }
        }
        assert_eq!(LogKeys::follow(&key(4), &notes), Err(BadKeys::Unknown));
        assert_eq!(LogKeys::follow(&key(4), &[""; 0]), Ok(LogKeys::only(key(4))));
        let apart = [made(10, 1, 2), made(20, 4, 3)];
        let back = [made(10, 1, 2), made(20, 2, 1)];
        let smaller = [made(20, 1, 2), made(20, 2, 3)];
        for wrong in [apart, back, smaller] {
            assert_eq!(LogKeys::follow(&key(1), &wrong), Err(BadKeys::HandOver(1)));
        }
        assert_eq!(LogKeys::follow(&key(1), &[made(10, 1, 1)]), Err(BadKeys::HandOver(0)));
    }
}
