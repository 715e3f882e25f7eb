//! The log's digest: what is on it since the last review, counted.
//!
//! Promises: the entries that are counted are those that lead from the tree of the last review to the root of a checkpoint this vault
//! signed; otherwise there is no digest.
//! Holds: one page of entries.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use strongroom_domain::Timestamp;

use crate::audit::tree::{Hash, Tiles, Tree};
use crate::audit::{BadCheckpoint, Event, Leaf, LogKeys, Outcome, Seen};
use crate::store::{Store, StoreError};

/// Entries read at once: about 2 MiB.
const PAGE: u32 = 2_048;
/// Names of events and rules that are counted apart; beyond them everything is one row. The program's own are far fewer.
const ROWS_MAX: usize = 1_000;
/// What stands before a digest in its hash.
const LABEL: &[u8] = b"strongroom/log-digest/v1\0";
const OTHER: &str = "other";

/// What is on the log between two places.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LogDigest {
    /// The first entry's place.
    pub from: u64,
    /// The place after the last.
    pub size: u64,
    /// The root of the tree of that size, in hex.
    pub root: String,
    /// Time of the first entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// Time of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Entries, by event and outcome.
    pub events: Vec<DigestEvent>,
    /// Findings of rules, by rule.
    pub findings: BTreeMap<String, u64>,
    /// Leaves that are no entries of a format this program knows.
    pub unreadable: u64,
}

/// Entries of one event and outcome.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct DigestEvent {
    /// The event.
    pub event: String,
    /// How it ended.
    pub outcome: String,
    /// How many.
    pub entries: u64,
}

impl LogDigest {
    /// How many entries were refused or failed.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let refused = self.events.iter().filter(|row| row.outcome != Outcome::Success.as_str());
        refused.map(|row| row.entries).sum()
    }

    /// How many findings there are.
    #[must_use]
    pub fn findings(&self) -> u64 {
        self.findings.values().sum()
    }

    /// `SHA-256("strongroom/log-digest/v1" 00 ‖ RFC 8785 JSON of it)`. None only by a defect.
    #[must_use]
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let text = serde_json_canonicalizer::to_string(self).ok()?;
        Some(Sha256::new().chain_update(LABEL).chain_update(text).finalize().into())
    }
}

/// Up to where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// The newest checkpoint.
    Newest,
    /// The tree of this size.
    Size(u64),
}

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing is signed yet.
    #[error("there is no checkpoint yet")]
    NoCheckpoint,
    /// The newest checkpoint is not this log's.
    #[error("the newest checkpoint does not open: {0}")]
    Checkpoint(#[from] BadCheckpoint),
    /// The store's entries are not those that were signed.
    #[error("the entries in the store do not make the root that was signed")]
    Altered,
    /// There is no such tree, or nothing came since.
    #[error("the log has no tree of this size, or nothing that was not reviewed")]
    NoSuchTree,
    /// Counting ended with a defect.
    #[error("counting ended with a defect")]
    Defect,
}

/// Counts from one place, whose tree must have this root (in hex; none at the beginning of the log), up to another. Gives besides when the
/// entry after the last was written, if there is one.
pub async fn digest(
    store: &dyn Store,
    keys: &LogKeys,
    (from, root): (u64, Option<&str>),
    until: Until,
) -> Result<(LogDigest, Option<Timestamp>), DigestError> {
    let kept = store.newest_checkpoint().await?.ok_or(DigestError::NoCheckpoint)?;
    let checkpoint = keys.open(&kept.note)?;
    let size = match until {
        Until::Newest => checkpoint.size,
        Until::Size(size) => size,
    };
    let is_nothing = from == size && until != Until::Newest;
    if size > checkpoint.size || from > size || is_nothing {
        return Err(DigestError::NoSuchTree);
    }
    let tiles = Tiles::new(store.log_tiles(&Tree::unfinished_tiles(from)).await?);
    let tree = Tree::resume(from, &tiles).ok_or(DigestError::Altered)?;
    if root.is_some_and(|root| root != format!("{:?}", tree.root())) {
        return Err(DigestError::Altered);
    }
    let mut counting = Counting::new(tree, from, size);
    while counting.tree.size() < checkpoint.size {
        let at = counting.tree.size();
        let count = u32::try_from(checkpoint.size - at).unwrap_or(PAGE).min(PAGE);
        let page = store.logged(at, count).await?;
        if !page.iter().map(|(index, _)| *index).eq(at..at + u64::from(count)) {
            return Err(DigestError::Altered);
        }
        // Reading and hashing two thousand entries takes its time: not on a thread that serves.
        let counted = tokio::task::spawn_blocking(move || counting.page(page));
        counting = counted.await.map_err(|_| DigestError::Defect)?;
    }
    if counting.tree.root() != checkpoint.root {
        return Err(DigestError::Altered);
    }
    Ok(counting.finish())
}

struct Counting {
    tree: Tree,
    size: u64,
    root: Hash,
    events: BTreeMap<(String, String), u64>,
    digest: LogDigest,
    next: Option<Timestamp>,
}

impl Counting {
    fn new(tree: Tree, from: u64, size: u64) -> Self {
        let digest = LogDigest { from, size, ..LogDigest::default() };
        let root = tree.root();
        Self { tree, size, root, events: BTreeMap::new(), digest, next: None }
    }

    fn page(mut self, page: Vec<(u64, Leaf)>) -> Self {
        let hash = |(_, leaf): &(u64, Leaf)| Hash::of_leaf(leaf.as_bytes());
        let (within, beyond) = page.split_at(page.partition_point(|(index, _)| *index < self.size));
        self.tree.append(within.iter().map(hash));
        within.iter().for_each(|(_, leaf)| self.take(leaf));
        if self.tree.size() == self.size {
            self.root = self.tree.root();
        }
        if let Some((index, leaf)) = beyond.first()
            && *index == self.size
        {
            self.next = leaf.time();
        }
        self.tree.append(beyond.iter().map(hash));
        self
    }

    fn take(&mut self, leaf: &Leaf) {
        let Some(seen) = Seen::of(leaf) else {
            self.digest.unreadable += 1;
            return;
        };
        self.digest.first = Some(self.digest.first.map_or(seen.ts, |first| first.min(seen.ts)));
        self.digest.last = Some(self.digest.last.map_or(seen.ts, |last| last.max(seen.ts)));
        if seen.evt == Event::AnomalyFound.as_str() {
            let rule = seen.rsn.clone().unwrap_or_else(|| OTHER.to_owned());
            let known = self.digest.findings.len() < ROWS_MAX || self.digest.findings.contains_key(&rule);
            *self.digest.findings.entry(if known { rule } else { OTHER.to_owned() }).or_default() += 1;
        }
        let key = (seen.evt, seen.out);
        let known = self.events.len() < ROWS_MAX || self.events.contains_key(&key);
        let key = if known { key } else { (OTHER.to_owned(), OTHER.to_owned()) };
        *self.events.entry(key).or_default() += 1;
    }

    fn finish(mut self) -> (LogDigest, Option<Timestamp>) {
        self.digest.root = format!("{:?}", self.root);
        let row = |((event, outcome), entries)| DigestEvent { event, outcome, entries };
        self.digest.events = self.events.into_iter().map(row).collect();
        (self.digest, self.next)
    }
}
