//! Checking the whole log: every number there, once, in its place, under its own MAC.
//!
//! Promises: finds an entry that was removed, changed, moved, or written by anybody without the instance's key, and a
//! boot whose newest entries were removed if the boot's own row or a later boot of the same instance still counts them.
//! Does not promise: to find the newest entries removed together with every row that counts them. The signed tree will.
//! Holds one page of entries and one row for each boot, however long the log is.

use std::collections::HashMap;

use strongroom_domain::{BootId, DataKeyId};

use super::leaf::ReadLeaf;
use super::{EntryId, EntryMac, Event, InstanceId};
use crate::store::{BootRow, Store, StoreError, StoredEntry};

/// Entries read at once: about a megabyte.
const PAGE: u32 = 1_024;

/// Where the MACs of past boots come from.
#[async_trait::async_trait]
pub trait MacKeys: Send + Sync {
    /// The MAC of one boot. `None`: the key is not one the service ever had.
    async fn mac_of(
        &self,
        instance: &InstanceId,
        boot: BootId,
        key: DataKeyId,
    ) -> Result<Option<EntryMac>, StoreError>;
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Entries read.
    pub entries: u64,
    /// Boots read.
    pub boots: u64,
    /// The first thing that is wrong, in order of boots and numbers.
    pub first_bad: Option<BadEntry>,
    /// How many entries are wrong or missing.
    pub bad: u64,
}

impl Checked {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.first_bad.is_none()
    }

    fn note(&mut self, id: EntryId, finding: Finding, count: u64) {
        self.bad = self.bad.saturating_add(count);
        let bad = BadEntry { id, finding };
        if self.first_bad.is_none_or(|first| bad.id < first.id) {
            self.first_bad = Some(bad);
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEntry {
    /// Where.
    pub id: EntryId,
    /// What.
    pub finding: Finding,
}

/// What can be wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Finding {
    /// A number is not there.
    #[error("entry is missing")]
    Missing,
    /// The bytes are not an entry's.
    #[error("entry is not canonical or lacks fields")]
    Malformed,
    /// The bytes say they belong elsewhere.
    #[error("entry stands in another's place")]
    Misplaced,
    /// The MAC is not the instance's.
    #[error("entry was not written by its instance, or was changed")]
    NotAuthentic,
    /// No such key, so nothing of this boot can be checked.
    #[error("boot names a key that is not the service's")]
    UnknownKey,
    /// A number is there twice.
    #[error("entry's number stands twice")]
    Duplicate,
    /// The entry follows its boot's `audit.stop`.
    #[error("entry is beyond the end of its boot")]
    Surplus,
    /// The row that counts the boot's entries is gone.
    #[error("the row that counts the boot's entries is missing")]
    UnknownBoot,
    /// The boot's newest entries are gone: the next boot of the same instance counted more.
    #[error("the newest entries of the boot are gone")]
    CutTail,
}

/// Reads every entry and checks it.
pub async fn check(store: &dyn Store, keys: &dyn MacKeys) -> Result<Checked, StoreError> {
    // Boots first: an entry committed while this reads is then at most beyond the count, never missing.
    let rows: HashMap<BootId, BootRow> =
        store.boots().await?.into_iter().map(|boot| (boot.boot, boot)).collect();
    let mut check = Check { keys, rows, checked: Checked::default(), current: None, ends: HashMap::new() };
    let mut after = None;
    loop {
        let page = store.entries(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for entry in page {
            check.entry(entry).await?;
        }
    }
    Ok(check.finish())
}

struct Check<'a> {
    keys: &'a dyn MacKeys,
    rows: HashMap<BootId, BootRow>,
    checked: Checked,
    current: Option<Boot>,
    /// How many entries each boot has.
    ends: HashMap<BootId, u64>,
}

/// The boot being read.
struct Boot {
    id: BootId,
    next: u64,
    mac: Option<EntryMac>,
    stopped: bool,
}

impl Check<'_> {
    async fn entry(&mut self, entry: StoredEntry) -> Result<(), StoreError> {
        self.checked.entries += 1;
        let mut boot = match self.current.take() {
            Some(boot) if boot.id == entry.id.boot => boot,
            before => {
                self.end(before);
                self.begin(entry.id.boot).await?
            }
        };
        match entry.id.seq.checked_sub(boot.next) {
            Some(0) => {}
            Some(missing) => {
                self.checked.note(EntryId { boot: boot.id, seq: boot.next }, Finding::Missing, missing);
            }
            None => self.checked.note(entry.id, Finding::Duplicate, 1),
        }
        boot.next = entry.id.seq + 1;
        match finding(&boot, &entry) {
            Ok(read) => {
                let event = read.fields.get("evt").and_then(serde_json::Value::as_str);
                boot.stopped |= event == Some(Event::AuditStop.as_str());
                if event == Some(Event::AuditStart.as_str()) {
                    self.previous(&read);
                }
            }
            Err(finding) => self.checked.note(entry.id, finding, 1),
        }
        self.current = Some(boot);
        Ok(())
    }

    async fn begin(&mut self, id: BootId) -> Result<Boot, StoreError> {
        self.checked.boots += 1;
        let first = EntryId { boot: id, seq: 0 };
        let mac = match self.rows.get(&id) {
            None => {
                self.checked.note(first, Finding::UnknownBoot, 1);
                None
            }
            Some(row) => {
                let mac = self.keys.mac_of(&row.instance, id, row.mac_key).await?;
                if mac.is_none() {
                    self.checked.note(first, Finding::UnknownKey, 1);
                }
                mac
            }
        };
        Ok(Boot { id, next: 0, mac, stopped: false })
    }

    /// What a start says of the boot before it: how many entries that one wrote.
    fn previous(&mut self, start: &ReadLeaf) {
        let boot = start.fields.get("obj").and_then(|object| {
            let is_boot = object.get("type")?.as_str()? == "boot";
            BootId::parse(object.get("ref")?.as_str()?).filter(|_| is_boot)
        });
        let counted = start.fields.get("n").and_then(serde_json::Value::as_u64);
        if let (Some(boot), Some(counted)) = (boot, counted) {
            let found = self.ends.get(&boot).copied().unwrap_or(0);
            if found < counted {
                self.checked.note(EntryId { boot, seq: found }, Finding::CutTail, counted - found);
            }
        }
    }

    fn end(&mut self, boot: Option<Boot>) {
        let Some(boot) = boot else { return };
        self.ends.insert(boot.id, boot.next);
        let counted = self.rows.remove(&boot.id).map_or(boot.next, |row| row.next_seq);
        if boot.next < counted {
            let id = EntryId { boot: boot.id, seq: boot.next };
            self.checked.note(id, Finding::Missing, counted - boot.next);
        }
    }

    fn finish(mut self) -> Checked {
        let last = self.current.take();
        self.end(last);
        for (boot, row) in std::mem::take(&mut self.rows) {
            self.checked.boots += 1;
            self.checked.note(EntryId { boot, seq: 0 }, Finding::Missing, row.next_seq);
        }
        self.checked
    }
}

/// What is wrong with one entry by itself.
fn finding(boot: &Boot, entry: &StoredEntry) -> Result<ReadLeaf, Finding> {
    let read = entry.leaf.read().map_err(|_| Finding::Malformed)?;
    if read.id != entry.id {
        return Err(Finding::Misplaced);
    }
    if boot.mac.as_ref().is_some_and(|mac| !read.is_authentic(mac)) {
        return Err(Finding::NotAuthentic);
    }
    if boot.stopped { Err(Finding::Surplus) } else { Ok(read) }
}
