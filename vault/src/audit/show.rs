//! Reading the log for people.

use strongroom_domain::Timestamp;

use super::{EntryId, Leaf};
use crate::store::{BootRow, Store, StoreError, StoredEntry};

/// Most entries of one [`tail`].
const TAIL_MAX: u32 = 10_000;

/// The newest `n` entries of all instances, oldest first; at most 10,000.
pub async fn tail(store: &dyn Store, n: u32) -> Result<Vec<StoredEntry>, StoreError> {
    let n = n.min(TAIL_MAX);
    let mut boots = store.boots().await?;
    boots.sort_by_key(|boot| std::cmp::Reverse(boot.written_at));
    let mut newest: Vec<(Timestamp, StoredEntry)> = Vec::new();
    for boot in boots {
        if newest.len() == n as usize && newest.first().is_some_and(|(oldest, _)| boot.written_at < *oldest) {
            break;
        }
        newest.extend(end_of(store, &boot, n).await?);
        newest.sort_by_key(|(time, entry)| (*time, entry.id));
        let surplus = newest.len().saturating_sub(n as usize);
        newest.drain(..surplus);
    }
    Ok(newest.into_iter().map(|(_, entry)| entry).collect())
}

/// One entry.
pub async fn show(store: &dyn Store, id: EntryId) -> Result<Option<Leaf>, StoreError> {
    store.entry(id).await
}

async fn end_of(
    store: &dyn Store,
    boot: &BootRow,
    n: u32,
) -> Result<Vec<(Timestamp, StoredEntry)>, StoreError> {
    let from = boot.next_seq.saturating_sub(u64::from(n));
    let entries = store.entries_of(boot.boot, from, n).await?;
    Ok(entries.into_iter().map(|entry| (entry.leaf.time().unwrap_or(boot.started_at), entry)).collect())
}
