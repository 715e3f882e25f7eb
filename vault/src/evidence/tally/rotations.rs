//! Keys that took over from others, as the log tells: data keys, the KMS keys that wrap them, the log's own.

use std::collections::BTreeMap;

use serde::Serialize;
use strongroom_domain::Timestamp;

use super::ROWS_MAX;
use crate::audit::{Event, Outcome};
use crate::evidence::entry::Entry;

/// What the log says of keys.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rotations {
    /// Keys that came into use in the period, in the order of the log.
    pub rows: Vec<Rotation>,
    /// Those that are in no row, because there were too many.
    pub not_itemised: u64,
    /// The newest key of each tenant and purpose, with the KMS key that wraps it.
    #[serde(skip)]
    newest: BTreeMap<(String, String), (String, String)>,
}

/// A key that came into use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Rotation {
    /// Its entry's place in the log.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// Whose: a tenant's name, or `-` for the service's own.
    pub scope: String,
    /// What it is for.
    pub purpose: String,
    /// The key.
    pub key: String,
    /// The KMS key that wraps it; empty where its entry does not say.
    pub kms_key: String,
    /// The key it took over from; empty of the first.
    pub follows: String,
    /// Which key rotated.
    pub what: Rotated,
}

/// What rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotated {
    /// Nothing: it is the first of its tenant and purpose.
    First,
    /// The data key.
    DataKey,
    /// The data key, and the KMS key that wraps it.
    KmsKey,
    /// The key the log's entries are authenticated with.
    LogKey,
}

impl Rotated {
    /// For people.
    pub(in crate::evidence) const fn words(self) -> &'static str {
        match self {
            Self::First => "the first",
            Self::DataKey => "takes over",
            Self::KmsKey => "takes over, wrapped by another KMS key",
            Self::LogKey => "takes over for entries of the log",
        }
    }
}

/// The purpose of the key an instance starts its part of the log with.
const LOG: &str = "audit-signing";

impl Rotations {
    /// Looks at an entry from before the end of the period.
    pub(super) fn take(&mut self, index: u64, entry: &Entry<'_>, within: bool) {
        let Some(key) = entry.key.as_ref().filter(|_| entry.out == Outcome::Success.as_str()) else { return };
        let is_start = entry.evt == Event::AuditStart.as_str();
        if !is_start && entry.evt != Event::DekCreate.as_str() {
            return;
        }
        let kms_key = key.kek_ref.as_deref().unwrap_or_default().to_owned();
        let (scope, purpose) = if is_start {
            ("-", LOG)
        } else {
            (entry.obj.tenant.as_deref().unwrap_or("-"), entry.obj.purpose.as_deref().unwrap_or_default())
        };
        let name = (scope.to_owned(), purpose.to_owned());
        let now = (key.dek_id.to_string(), kms_key);
        let before = self.newest.get(&name);
        if before.is_some_and(|(key, _)| *key == now.0) {
            return; // another start with the same key
        }
        let what = match before {
            None => Rotated::First,
            Some(_) if is_start => Rotated::LogKey,
            Some((_, kms_key)) if *kms_key != now.1 => Rotated::KmsKey,
            Some(_) => Rotated::DataKey,
        };
        let follows = before.map(|(key, _)| key.clone()).unwrap_or_default();
        if before.is_some() || self.newest.len() < ROWS_MAX {
            self.newest.insert(name, now.clone());
        }
        if within {
            let (key, kms_key) = now;
            let (scope, purpose) = (scope.to_owned(), purpose.to_owned());
            self.push(Rotation { index, at: entry.ts, scope, purpose, key, kms_key, follows, what });
        }
    }

    fn push(&mut self, row: Rotation) {
        if self.rows.len() < ROWS_MAX { self.rows.push(row) } else { self.not_itemised += 1 }
    }

    /// How many rotated so.
    pub fn count(&self, what: Rotated) -> u64 {
        self.rows.iter().filter(|row| row.what == what).count() as u64
    }
}
