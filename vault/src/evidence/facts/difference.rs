//! What the access matrix has that it had not, and the other way round, since the bundle before.
//!
//! Promises: the bundle it is compared with is the one the log says, and its matrix the one that bundle's signed manifest names.
//! Upholds: C-69.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::audit::LogKeys;
use crate::authz::AccessRow;
use crate::evidence::bundle::Manifest;
use crate::evidence::tally::BundleEntry;
use crate::store::BundleRow;

/// The matrix of a bundle, by its own name in it.
pub(in crate::evidence) const ACCESS: &str = "access.json";

/// What the matrix of the bundle before is.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::evidence) enum Previous {
    /// There is no bundle before.
    None,
    /// The store has nothing of it.
    NotKept(BundleEntry),
    /// What the store has is not what the log names.
    Altered(BundleEntry),
    /// Its grants.
    Kept(BundleEntry, Vec<Value>),
}

impl Previous {
    /// Holds a row against the entry that names it.
    pub(in crate::evidence) fn of(entry: BundleEntry, row: Option<BundleRow>, keys: &LogKeys) -> Self {
        let Some(row) = row else { return Self::NotKept(entry) };
        match grants(&entry, &row, keys) {
            Some(grants) => Self::Kept(entry, grants),
            None => Self::Altered(entry),
        }
    }
}

fn grants(entry: &BundleEntry, row: &BundleRow, keys: &LogKeys) -> Option<Vec<Value>> {
    let sha256 = |text: &str| <[u8; 32]>::from(Sha256::digest(text));
    let manifest = Manifest::read(&keys.open_note(&row.manifest).ok()?)?;
    let same = hex::encode(sha256(&row.manifest)) == entry.manifest_sha256
        && manifest.files.get(ACCESS) == Some(&sha256(&row.access));
    let mut matrix: Value = same.then(|| serde_json::from_str(&row.access).ok()).flatten()?;
    serde_json::from_value(matrix.get_mut("rows")?.take()).ok()
}

/// The difference.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Difference {
    /// Whether there was something to compare with.
    pub state: State,
    /// The bundle it is compared with.
    pub since: Option<BundleEntry>,
    /// Grants that are new, or not as they were.
    pub added: Vec<Value>,
    /// Grants that are gone, or not as they were.
    pub removed: Vec<Value>,
    /// How many are as they were.
    pub same: u64,
}

/// Whether there was something to compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There was.
    Compared,
    /// No bundle was made before.
    FirstBundle,
    /// The store has nothing of that bundle.
    NotKept,
    /// What the store has is not what the log names.
    Altered,
}

impl Difference {
    pub(in crate::evidence) fn between(previous: Previous, now: &[AccessRow]) -> Self {
        let none = |state, since| Self { state, since, added: Vec::new(), removed: Vec::new(), same: 0 };
        match previous {
            Previous::None => none(State::FirstBundle, None),
            Previous::NotKept(entry) => none(State::NotKept, Some(entry)),
            Previous::Altered(entry) => none(State::Altered, Some(entry)),
            Previous::Kept(entry, before) => {
                let now = now.iter().filter_map(|row| serde_json::to_value(row).ok());
                let (mut before, mut now) = (by_text(before), by_text(now));
                let all = now.len();
                now.retain(|text, _| before.remove(text).is_none());
                let same = (all - now.len()) as u64;
                let (added, removed) = (now.into_values().collect(), before.into_values().collect());
                Self { state: State::Compared, since: Some(entry), added, removed, same }
            }
        }
    }
}

fn by_text(rows: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let text = |row: &Value| serde_json_canonicalizer::to_string(row).unwrap_or_default();
    rows.into_iter().map(|row| (text(&row), row)).collect()
}
