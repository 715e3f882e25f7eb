//! Checking the whole log: every number there, once, in its place, under its own MAC.

use strongroom_domain::{BootId, DataKeyId};

use super::{EntryId, EntryMac, InstanceId};
use crate::store::{Store, StoreError};

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
    /// The first entry that is wrong, in order of boots and numbers.
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
    /// The entry is behind the end of its boot.
    #[error("entry is beyond the end of its boot")]
    Surplus,
    /// The boot's newest entries are gone: the next boot of the same instance counted more.
    #[error("the newest entries of the boot are gone")]
    CutTail,
}

/// Reads every entry and checks it.
pub async fn check(store: &dyn Store, keys: &dyn MacKeys) -> Result<Checked, StoreError> {
    let _ = (store.boots().await?, keys);
    Err(StoreError::Corrupt("no check yet"))
}
