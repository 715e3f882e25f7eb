//! The log outside the database: a folder of tiles, entry bundles and checkpoints that anybody can verify.
//!
//! Promises: a checkpoint is there only when everything it covers is, on disk and read back; nothing that is full is written again.
//! The history gets every checkpoint that was kept, whoever signed it, also those an export that was interrupted left out.
//! Does not promise: that the folder is kept from its administrator. Put it on storage that others administer.
//! Trusts: the folder for nothing: what is in it is verified by whoever reads it, this program first.
//! Upholds: C-44, C-57.

mod bucket;
mod continuous;
mod history;
mod request;

pub use bucket::{BucketError, LogBucket};
pub use continuous::{BucketExport, BucketExportError, Published};

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::checkpoint::Checkpoint;
use super::hand_over::{HandOver, LogKeys};
use super::layout::{self, CHECKPOINT, bundle_path, hand_over_path, tile_path};
use super::leaf::Leaf;
use super::tree::{TILE_WIDTH, Tile, TileId, Tiles, Tree};
use crate::store::{Store, StoreError};

/// Held by the process that exports. Nothing is in it.
const LOCK: &str = "lock";
/// Bundles written between two looks at the database: about 2 MiB of entries.
const BUNDLES_AT_ONCE: u64 = 8;

/// Why the log was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder.
    #[error("the log's folder cannot be used")]
    Folder(#[from] io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Object storage.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// What was written reads otherwise.
    #[error("a file of the log reads otherwise than it was written")]
    ReadBack,
    /// The database does not have what its head counts.
    #[error("the database lacks a part of the log that its head counts")]
    Incomplete,
    /// Another hand-over stands in the place of one.
    #[error("another hand-over of the log's key was exported before than the one in the database")]
    HandOver,
}

/// The folder. One process at a time: two that write a checkpoint there could put a newer one back.
#[derive(Clone, Debug)]
pub struct LogFolder {
    path: PathBuf,
    /// The size of the last checkpoint of the history, once it is known.
    remembered: Arc<Mutex<Option<u64>>>,
    _lock: Arc<File>,
}

impl LogFolder {
    /// A folder that is there, or is made. Refused while another process has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another vault exports its log there"),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path: path.to_owned(), remembered: Arc::default(), _lock: Arc::new(lock) })
    }

    /// The newest checkpoint exported here, if there is one: nobody's word until a key opens it.
    pub fn newest(&self) -> io::Result<Option<String>> {
        match fs::read(self.path.join(CHECKPOINT)) {
            Ok(note) => Ok(Some(String::from_utf8_lossy(&note).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Exports what is new since a tree of `from` entries, and then the checkpoint.
    pub async fn bring_up(
        &self,
        store: &dyn Store,
        from: u64,
        checkpoint: &Checkpoint,
        note: &str,
        keys: &LogKeys,
    ) -> Result<(), ExportError> {
        let width = TILE_WIDTH as u64;
        let mut at = from - from % width;
        while at < checkpoint.size {
            let end = (at + BUNDLES_AT_ONCE * width).min(checkpoint.size);
            self.keep(bundles(store, at, end).await?).await?;
            at = end;
        }
        for (id, hashes) in changed_tiles(from, checkpoint.size) {
            self.keep(vec![tile(store, id, hashes).await?]).await?;
        }
        let (folder, note) = (self.clone(), note.to_owned());
        let made = made_since(keys, from, checkpoint.size);
        blocking(move || {
            made.iter().try_for_each(|(path, hand_over)| folder.keep_hand_over(path, hand_over))?;
            folder.write(Path::new(CHECKPOINT), note.as_bytes())
        })
        .await?;
        self.remember(store, checkpoint.size).await
    }

    /// Before the checkpoint: whoever verifies that one needs its key, and passes over a hand-over that is ahead.
    fn keep_hand_over(&self, path: &Path, note: &str) -> Result<(), ExportError> {
        match fs::read(self.path.join(path)) {
            Ok(kept) if kept == note.as_bytes() => Ok(()),
            Ok(_) => Err(ExportError::HandOver),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write(path, note.as_bytes()),
            Err(error) => Err(error.into()),
        }
    }

    async fn keep(&self, files: Vec<NewFile>) -> Result<(), ExportError> {
        let folder = self.clone();
        blocking(move || {
            files.into_iter().try_for_each(|file| {
                folder.write(&file.path, &file.bytes)?;
                if let Some(unfinished) = file.instead_of {
                    // Of no use once the full one is there. That they could not be removed does no harm.
                    let _ = fs::remove_dir_all(folder.path.join(unfinished));
                }
                Ok(())
            })
        })
        .await
    }

    /// Writes a file as a whole or not at all, and reads it back.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.path.join(path);
        let folder = make_parent(&path)?;
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".new");
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(folder)?.sync_all()?;
        if fs::read(&path)? == bytes { Ok(()) } else { Err(ExportError::ReadBack) }
    }
}

/// The hand-overs beyond a tree of `from` entries and up to one of `size`, and where they stand.
fn made_since(keys: &LogKeys, from: u64, size: u64) -> Vec<(PathBuf, String)> {
    let all = (0..).zip(keys.hand_overs());
    let new = all.filter(|(_, made)| from < made.checkpoint.size && made.checkpoint.size <= size);
    new.map(|(number, made): (u64, &HandOver)| (hand_over_path(number), made.note().to_owned())).collect()
}

/// A tile or a bundle to be written.
struct NewFile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// The shorter forms that a full one makes useless.
    instead_of: Option<PathBuf>,
}

impl NewFile {
    fn new(path: impl Fn(usize) -> PathBuf, width: usize, bytes: Vec<u8>) -> Self {
        let instead_of = (width == TILE_WIDTH).then(|| layout::unfinished(path(TILE_WIDTH)));
        Self { path: path(width), bytes, instead_of }
    }
}

async fn bundles(store: &dyn Store, from: u64, end: u64) -> Result<Vec<NewFile>, ExportError> {
    let entries = store.logged(from, u32::try_from(end - from).unwrap_or(u32::MAX)).await?;
    if !entries.iter().map(|(index, _)| *index).eq(from..end) {
        return Err(ExportError::Incomplete);
    }
    let file = |(number, bundle): (u64, &[(u64, Leaf)])| {
        let bytes = layout::bundle(bundle.iter().map(|(_, leaf)| leaf)).ok_or(ExportError::Incomplete)?;
        Ok(NewFile::new(|width| bundle_path(number, width), bundle.len(), bytes))
    };
    (from / TILE_WIDTH as u64..).zip(entries.chunks(TILE_WIDTH)).map(file).collect()
}

/// The tiles that are not what they were when the tree had `from` entries, and how many hashes each has.
fn changed_tiles(from: u64, size: u64) -> impl Iterator<Item = (TileId, usize)> {
    let width = TILE_WIDTH as u64;
    (0_u8..8).flat_map(move |level| {
        let (before, now) = (from >> (8 * u32::from(level)), size >> (8 * u32::from(level)));
        let end = if now == before { 0 } else { now.div_ceil(width) };
        (before / width..end).map(move |number| {
            let hashes = usize::try_from((now - number * width).min(width)).unwrap_or(TILE_WIDTH);
            (TileId { level, number }, hashes)
        })
    })
}

/// One tile: a log that is exported for the first time has millions, and none is kept longer than it takes to write it.
async fn tile(store: &dyn Store, id: TileId, hashes: usize) -> Result<NewFile, ExportError> {
    let tile = store.log_tiles(&[id]).await?.pop().ok_or(ExportError::Incomplete)?;
    let hashes = tile.hashes.get(..hashes).ok_or(ExportError::Incomplete)?.to_vec();
    let tile = Tile { id, hashes };
    Ok(NewFile::new(|width| tile_path(id, width), tile.hashes.len(), tile.bytes()))
}

/// Writing waits for the disk: not on the threads that serve requests.
async fn blocking(
    write: impl FnOnce() -> Result<(), ExportError> + Send + 'static,
) -> Result<(), ExportError> {
    tokio::task::spawn_blocking(write)
        .await
        .unwrap_or_else(|_| Err(ExportError::Folder(io::Error::other("writing ended with a defect"))))
}

fn make_parent(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The tree of `size` entries as the database's tiles have it: none if they lack a part.
pub(super) async fn tree_of(store: &dyn Store, size: u64) -> Result<Option<Tree>, StoreError> {
    let tiles = store.log_tiles(&Tree::unfinished_tiles(size)).await?;
    Ok(Tree::resume(size, &Tiles::new(tiles)))
}
