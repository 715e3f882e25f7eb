//! The files of the log as they come out of the database, for whoever reads it over the network (C2SP tlog-tiles).
//!
//! Promises: only what the newest checkpoint covers; a tile or bundle of a width has the same bytes for ever.
//! Does not promise: that the bytes were not altered in the database. Whoever reads verifies, and holds the checkpoint against
//! one that was exported.
//! Upholds: C-56, C-57.

use super::checkpoint::Checkpoint;
use super::layout::{self, HISTORY_BITS, LogFile};
use super::leaf::Leaf;
use super::tree::{TILE_WIDTH, Tile, TileId};
use crate::store::{Store, StoreError};

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How many entries it shows; hashes show none.
    pub entries: u64,
    /// Whether it never changes.
    pub is_final: bool,
}

/// A file of the log; none if the newest checkpoint does not cover it.
pub async fn serve(store: &dyn Store, file: LogFile) -> Result<Option<Served>, StoreError> {
    let Some(newest) = store.newest_checkpoint().await? else { return Ok(None) };
    let size = match Checkpoint::unverified(&newest.note) {
        Some(checkpoint) => checkpoint.size,
        None => return Err(StoreError::Corrupt("log_checkpoints.note")),
    };
    Ok(match file {
        LogFile::Checkpoint => Some(Served { bytes: newest.note.into_bytes(), entries: 0, is_final: false }),
        LogFile::Tile(id, width) => tile(store, id, width, size).await?,
        LogFile::Bundle(number, width) => bundle(store, number, width, size).await?,
        LogFile::History(number) => history(store, number, size).await?,
        LogFile::HandOver(number) => hand_over(store, number, size).await?,
    })
}

/// Whether a tree has that many of this number's.
fn covers(size: u64, number: u64, width: usize) -> bool {
    let end = number.checked_mul(TILE_WIDTH as u64).and_then(|start| start.checked_add(width as u64));
    (1..=TILE_WIDTH).contains(&width) && end.is_some_and(|end| end <= size)
}

async fn tile(store: &dyn Store, id: TileId, width: usize, size: u64) -> Result<Option<Served>, StoreError> {
    let hashes = size.checked_shr(8 * u32::from(id.level)).unwrap_or(0);
    if !covers(hashes, id.number, width) {
        return Ok(None);
    }
    let stored = store.log_tiles(&[id]).await?.pop();
    let hashes = stored.and_then(|tile| tile.hashes.get(..width).map(<[_]>::to_vec));
    let hashes = hashes.ok_or(StoreError::Corrupt("log_tiles.hashes"))?;
    Ok(Some(Served { bytes: Tile { id, hashes }.bytes(), entries: 0, is_final: true }))
}

async fn bundle(
    store: &dyn Store,
    number: u64,
    width: usize,
    size: u64,
) -> Result<Option<Served>, StoreError> {
    if !covers(size, number, width) {
        return Ok(None);
    }
    let first = number * TILE_WIDTH as u64;
    let entries = store.logged(first, u32::try_from(width).unwrap_or(u32::MAX)).await?;
    let is_whole = entries.iter().map(|(index, _)| *index).eq(first..first + width as u64);
    let leaves = entries.iter().map(|(_, leaf): &(u64, Leaf)| leaf);
    let bytes = layout::bundle(leaves).filter(|_| is_whole).ok_or(StoreError::Corrupt("audit_entries"))?;
    Ok(Some(Served { bytes, entries: width as u64, is_final: true }))
}

async fn history(store: &dyn Store, number: u64, size: u64) -> Result<Option<Served>, StoreError> {
    let span = 1_u64 << HISTORY_BITS;
    let Some(from) = number.checked_mul(span).filter(|from| *from <= size) else { return Ok(None) };
    let until = from.saturating_add(span);
    // Not beyond the newest that was read before: whoever verifies takes a later one for a newest that was put back.
    let notes = store.checkpoints(from, until.min(size.saturating_add(1))).await?;
    if notes.is_empty() {
        return Ok(None);
    }
    let bytes = notes.iter().flat_map(|note| [note.as_bytes(), b"\n"].concat()).collect();
    Ok(Some(Served { bytes, entries: 0, is_final: until <= size }))
}

async fn hand_over(store: &dyn Store, number: u64, size: u64) -> Result<Option<Served>, StoreError> {
    let mut all = store.hand_overs().await?.into_iter();
    let found = all.find(|found| found.number == number && found.size <= size);
    Ok(found.map(|found| Served { bytes: found.note.into_bytes(), entries: 0, is_final: true }))
}
