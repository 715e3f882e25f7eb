//! What is known of an import, on disk before the next word: one line for each acknowledged batch, in order.
//!
//! Promises: a batch is counted once it is on disk, with its tokens; after a kill the import goes on behind the last such
//! batch. Batches that were under way are asked for again under the keys they had, so they are answered, not doubled.
//! Does not promise: that beyond the vault's memory of keys (24 hours); then a person decides (see [`Past::is_forgotten`]).

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strongroom_domain::{TenantId, Timestamp};

use super::batch::Batch;
use super::kind::Kind;
use super::report::Tally;
use crate::cli::CliError;
use crate::cli::card::fields::Fault;
use crate::cli::card::folder::{Folder, private};
use crate::cli::card::source::{Format, SourceFacts};

/// The file's name in its folder.
pub(super) const FILE: &str = "state.jsonl";
/// The vault remembers idempotency keys for 24 hours; clocks differ.
const REMEMBERED: Duration = Duration::from_secs(23 * 3_600);

/// The first line: what is imported. Every later run must be about the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// Names the import.
    pub(super) import: uuid::Uuid,
    /// What becomes of its lines.
    #[serde(default)]
    pub(super) kind: Kind,
    pub(super) tenant: TenantId,
    pub(super) format: Format,
    /// What the source is; `None` if it comes over standard input.
    pub(super) source: Option<SourceFacts>,
    pub(super) at: Timestamp,
}

/// Every other line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Entry {
    /// A batch the vault answered.
    Batch(Acknowledged),
    /// Nothing is under way: the command ended in order.
    Rest { at: Timestamp },
}

/// A batch the vault answered.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledged {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    /// First and last line.
    pub(super) lines: (u64, u64),
    /// SHA-256 of the source up to here.
    pub(super) through: Option<String>,
    /// Whether the vault had answered it before.
    pub(super) replayed: bool,
    pub(super) cards: Vec<Imported>,
    /// Lines refused before anything was sent.
    pub(super) faults: Vec<Fault>,
    /// Lines the vault refused.
    pub(super) refused: Vec<Fault>,
}

/// A card that has its token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Imported {
    pub(super) line: u64,
    pub(super) token: String,
    pub(super) brand: Option<String>,
    pub(super) alias: Option<String>,
    /// What was changed, and the card's version after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) changed: Option<(Cow<'static, str>, u64)>,
}

/// What earlier runs left.
#[derive(Default)]
pub(super) struct Past {
    pub(super) tally: Tally,
    /// How many batches are acknowledged.
    pub(super) batches: u64,
    last: Option<Timestamp>,
    at_rest: bool,
    /// Lines of the newest batch, and the source's digest up to there.
    reached: ((u64, u64), Option<String>),
}

/// The file, open for more.
pub(super) struct Journal {
    file: File,
    pub(super) head: Head,
}

impl Journal {
    /// Begins an import, or takes up one that is about the same.
    pub(super) fn open(folder: &Folder, wanted: Head) -> Result<(Self, Past), CliError> {
        let path = folder.file(FILE);
        let file = private().create(true).truncate(false).open(&path)?;
        let mut past = Past::default();
        let (head, whole) = scan(&path, |entry| past.count(&entry))?;
        let mut journal = Self { file, head: head.clone().unwrap_or(wanted.clone()) };
        journal.file.set_len(whole)?; // what a kill left half-written was never counted
        journal.file.seek(SeekFrom::End(0))?;
        match head {
            Some(head) => {
                past.last = past.last.or(Some(head.at));
                same(&head, &wanted, &path)?;
            }
            None => {
                journal.append(&wanted)?;
                folder.sync()?;
            }
        }
        Ok((journal, past))
    }

    /// Writes acknowledged batches. They are on disk when this returns.
    pub(super) fn acknowledge(&mut self, batches: Vec<Acknowledged>) -> io::Result<()> {
        let mut text = Vec::new();
        for batch in batches {
            serde_json::to_writer(&mut text, &Entry::Batch(batch))?;
            text.push(b'\n');
        }
        self.file.write_all(&text)?;
        self.file.sync_data()
    }

    /// Says that nothing is under way.
    pub(super) fn rest(&mut self, at: Timestamp) -> io::Result<()> {
        self.append(&Entry::Rest { at })
    }

    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_all()
    }
}

/// Every batch of a finished import, in order.
pub(super) fn each_batch(
    folder: &Folder,
    mut each: impl FnMut(&Acknowledged) -> io::Result<()>,
) -> Result<(), CliError> {
    let mut failed = Ok(());
    scan(&folder.file(FILE), |entry| {
        if let (Entry::Batch(batch), true) = (&entry, failed.is_ok()) {
            failed = each(batch);
        }
    })?;
    Ok(failed?)
}

/// Reads a journal. Gives its head and how many of its bytes are whole lines.
fn scan(path: &Path, mut each: impl FnMut(Entry)) -> Result<(Option<Head>, u64), CliError> {
    let damaged = |line: u64| {
        format!(
            "{} is damaged at line {line}: keep it, and import what is left with another folder",
            path.display()
        )
    };
    let mut reader = BufReader::new(File::open(path)?);
    let (mut head, mut whole, mut number, mut text) = (None, 0, 0, Vec::new());
    loop {
        text.clear();
        let length = reader.read_until(b'\n', &mut text)?;
        if !text.ends_with(b"\n") {
            return Ok((head, whole));
        }
        number += 1;
        if head.is_none() {
            head = Some(serde_json::from_slice(&text).map_err(|_| damaged(number))?);
        } else {
            each(serde_json::from_slice(&text).map_err(|_| damaged(number))?);
        }
        whole += length as u64;
    }
}

/// A later run must be about the same cards.
fn same(held: &Head, wanted: &Head, path: &Path) -> Result<(), CliError> {
    let differs = if held.kind != wanted.kind {
        "another kind"
    } else if held.tenant != wanted.tenant {
        "another tenant"
    } else if held.format != wanted.format {
        "another format"
    } else if held.source != wanted.source {
        "another source: the file changed since, or is another one"
    } else {
        return Ok(());
    };
    Err(format!("{} is the state of an import of {differs}; give another folder", path.display()).into())
}

impl Head {
    /// The idempotency key of a batch: the same for every run, of letters only, so that no part can be taken for a number.
    pub(super) fn key(&self, batch: u64) -> String {
        let mut hash = Sha256::new();
        hash.update(b"strongroom/import-batch/v1\0");
        hash.update(self.import.as_bytes());
        let source = self.source.as_ref().and_then(|source| source.sha256.as_deref()).unwrap_or_default();
        hash.update((source.len() as u16).to_be_bytes());
        hash.update(source);
        hash.update(batch.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(b'a' + half)).collect()
    }
}

impl Past {
    fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Batch(batch) => {
                self.tally.add(batch);
                self.batches = batch.number + 1;
                self.reached = (batch.lines, batch.through.clone());
                (self.last, self.at_rest) = (Some(batch.at), false);
            }
            Entry::Rest { at } => (self.last, self.at_rest) = (Some(*at), true),
        }
    }

    /// Whether the source still says what it said when this batch was acknowledged.
    pub(super) fn check(&self, batch: &Batch) -> Result<(), CliError> {
        let lines = (batch.first_line, batch.last_line);
        if batch.number + 1 == self.batches && self.reached != (lines, batch.through.clone()) {
            return Err(
                "the source is not the one that was imported so far: it changed; give another folder for it"
                    .into(),
            );
        }
        Ok(())
    }

    /// Whether batches may have been under way so long ago that the vault does not know their keys any more.
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.last.is_some_and(|last| !self.at_rest && now.since(last) > REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            import: uuid::Uuid::from_u128(7),
            kind: Kind::Import,
            tenant: TenantId::parse("acme").unwrap(),
            format: Format::Csv,
            source: Some(SourceFacts { sha256: Some("ab".repeat(32)), bytes: 9 }),
            at: Timestamp::from_unix_seconds(1_000_000),
        }
    }

    fn batch(number: u64) -> Acknowledged {
        Acknowledged {
            number,
            at: Timestamp::from_unix_seconds(1_000_001),
            lines: (2, 2),
            through: None,
            replayed: false,
            cards: vec![Imported {
                line: 2,
                token: "tok".into(),
                brand: Some("visa".into()),
                alias: None,
                changed: None,
            }],
            faults: Vec::new(),
            refused: Vec::new(),
        }
    }

    #[test]
    fn a_half_written_line_is_cut_off_and_what_is_whole_is_counted() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::hold(&parent.path().join("import")).unwrap();
        let (mut journal, past) = Journal::open(&folder, head()).unwrap();
        assert_eq!(past.batches, 0);
        journal.acknowledge(vec![batch(0), batch(1)]).unwrap();
        journal.file.write_all(b"{\"batch\":{\"number\":2,\"at\"").unwrap();
        drop(journal);
        let (mut journal, past) = Journal::open(&folder, head()).unwrap();
        assert_eq!((past.batches, past.tally.imported), (2, 2));
        journal.acknowledge(vec![batch(2)]).unwrap();
        let (_, past) = Journal::open(&folder, head()).unwrap();
        assert_eq!((past.batches, past.tally.imported), (3, 3));
        std::fs::write(folder.file(FILE), b"{}\n").unwrap();
        assert!(Journal::open(&folder, head()).is_err(), "damage is said");
    }

    #[test]
    fn another_source_tenant_or_format_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::hold(&parent.path().join("import")).unwrap();
        Journal::open(&folder, head()).unwrap();
        let other = |change: fn(&mut Head)| {
            let mut head = head();
            change(&mut head);
            Journal::open(&folder, head).is_err()
        };
        assert!(other(|head| head.source = Some(SourceFacts { sha256: Some("cd".repeat(32)), bytes: 9 })));
        assert!(other(|head| head.tenant = TenantId::parse("globex").unwrap()));
        assert!(other(|head| head.format = Format::Jsonl));
        assert!(!other(|head| head.import = uuid::Uuid::from_u128(8)), "the first run's name stays");
    }

    #[test]
    fn keys_differ_by_batch_and_import_and_hold_no_digit() {
        let one = head();
        let other = Head { import: uuid::Uuid::from_u128(8), ..head() };
        assert_eq!(one.key(1), head().key(1));
        assert_ne!(one.key(1), one.key(2));
        assert_ne!(one.key(1), other.key(1));
        assert!(one.key(1).bytes().all(|byte| byte.is_ascii_lowercase()));
        assert!(crate::operation::IdempotencyKey::parse(&one.key(1)).is_ok());
    }

    #[test]
    fn after_a_day_only_what_ended_in_order_goes_on_by_itself() {
        let mut past = Past::default();
        past.count(&Entry::Batch(batch(0)));
        let soon = Timestamp::from_unix_seconds(1_000_002);
        let late = soon.plus(Duration::from_secs(24 * 3_600));
        assert!(!past.is_forgotten(soon) && past.is_forgotten(late));
        past.count(&Entry::Rest { at: soon });
        assert!(!past.is_forgotten(late));
    }
}
