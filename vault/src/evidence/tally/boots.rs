//! Starts and ends of instances, as their entries tell.

use std::collections::BTreeMap;

use serde::Serialize;
use strongroom_domain::Timestamp;

use super::ROWS_MAX;
use crate::audit::Event;
use crate::evidence::entry::Entry;

/// Every start, by its id.
#[derive(Debug, Default)]
pub struct Boots {
    rows: BTreeMap<String, Boot>,
    not_itemised: u64,
}

/// One start of one instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Boot {
    /// The instance.
    pub instance: String,
    /// Its first entry.
    pub first: Timestamp,
    /// Its last entry before the end of the period.
    pub last: Timestamp,
    /// How many.
    pub entries: u64,
    /// Whether it began with `audit.start`.
    pub started: bool,
    /// Whether it ended with `audit.stop`: it runs still, or was killed, if not.
    pub stopped: bool,
    /// Numbers that are missing before its last entry. Must be 0.
    pub missing: u64,
    /// The number its next entry must have.
    #[serde(skip)]
    next: u64,
}

impl Boots {
    /// Looks at an entry; one that is later than the period counts for the numbers alone.
    pub(super) fn take(&mut self, entry: &Entry<'_>, later: bool) {
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(entry.boot_id.as_ref()) {
            self.not_itemised += u64::from(!later);
            return;
        }
        let boot = self.rows.entry(entry.boot_id.to_string()).or_insert_with(|| Boot {
            instance: entry.iid.to_string(),
            first: entry.ts,
            last: entry.ts,
            entries: 0,
            started: false,
            stopped: false,
            missing: 0,
            next: 0,
        });
        // Entries of one boot stand in the log in the order of their numbers.
        boot.missing = boot.missing.saturating_add(entry.instance_seq.saturating_sub(boot.next));
        boot.next = entry.instance_seq.saturating_add(1);
        if later {
            return;
        }
        boot.entries += 1;
        boot.first = boot.first.min(entry.ts);
        boot.last = if boot.entries == 1 { entry.ts } else { boot.last.max(entry.ts) };
        boot.started |= entry.instance_seq == 0 && entry.evt == Event::AuditStart.as_str();
        boot.stopped |= entry.evt == Event::AuditStop.as_str();
    }

    /// Each with its id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Boot)> {
        self.rows.iter().filter(|(_, boot)| boot.entries > 0).map(|(id, boot)| (id.as_str(), boot))
    }

    /// Numbers that are missing, of all together.
    pub fn missing(&self) -> u64 {
        self.rows.values().map(|boot| boot.missing).sum()
    }
}

impl Serialize for Boots {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            rows: BTreeMap<&'a str, &'a Boot>,
            entries_not_itemised: u64,
        }
        Wire { rows: self.iter().collect(), entries_not_itemised: self.not_itemised }.serialize(to)
    }
}
