//! Reading the log for people.

use super::{EntryId, Leaf};
use crate::store::{Store, StoreError};

/// The newest `n` entries of all instances, oldest first.
pub async fn tail(store: &dyn Store, n: usize) -> Result<Vec<(EntryId, Leaf)>, StoreError> {
    store.newest_entries(n).await
}

/// One entry.
pub async fn show(store: &dyn Store, id: EntryId) -> Result<Option<Leaf>, StoreError> {
    store.entry(id).await
}
