//! Verifying an exported or served log: every entry, tile and checkpoint, by one of the log's public keys alone.
//!
//! Promises: finds an entry or tile that was altered, removed or moved, a log that was cut or forked, a checkpoint that is not
//! signed or does not continue the one before, and numbers of an instance that are missing; names the first place. Where the log's
//! key was handed over it follows to the newest, and each key vouches for its own time alone.
//! Does not promise: that entries were written by their instances: their MACs need the vault's key (`audit check`).
//! Holds one bundle, the unfinished tiles, one file of the history and one number for each boot, however long the log is.
//! Upholds: C-44, C-57.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use strongroom_domain::BootId;

use super::checkpoint::{BadCheckpoint, Checkpoint, LogKey};
use super::hand_over::{BadKeys, LogKeys};
use super::layout::{self, CHECKPOINT, bundle_path, hand_over_path, history_path, tile_path};
use super::leaf::Leaf;
use super::tree::{Hash, TILE_WIDTH, Tile, Tree};

/// Largest file that is read: a bundle of the longest entries is 16 MiB, a file of the history about 20.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no checkpoint: it is no log.
    #[error("there is no checkpoint in {0}: no log is there")]
    NoLog(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log's keys do not lead from the one that is known.
    #[error(transparent)]
    Keys(#[from] BadKeys),
    /// The newest checkpoint is not this key's: what it covers is anybody's word.
    #[error("the newest checkpoint does not open: {0}")]
    Checkpoint(#[from] BadCheckpoint),
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The newest checkpoint.
    pub checkpoint: Checkpoint,
    /// Entries read.
    pub entries: u64,
    /// Tiles read.
    pub tiles: u64,
    /// Checkpoints held against the tree, the newest among them.
    pub checkpoints: u64,
    /// Boots seen.
    pub boots: u64,
    /// The first thing that is wrong.
    pub damage: Option<Damage>,
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// A bundle is missing, cut, or has more or fewer entries than the checkpoint counts.
    #[error("entries from {0} on are missing or cut")]
    Bundle(u64),
    /// An entry is not the one the tree was made with.
    #[error("entry {0} is not the one in the tree")]
    Entry(u64),
    /// A tile is missing or not whole.
    #[error("the tile over entries from {0} on is missing or malformed")]
    Tile(u64),
    /// A tile above the leaves is not what is below it makes.
    #[error("the tile over entries from {0} on is not that of its entries")]
    Node(u64),
    /// The entries do not make the root that was signed.
    #[error("entries {from} to {to} are not those of the checkpoint of {to} entries")]
    Root {
        /// Size of the last checkpoint that holds.
        from: u64,
        /// Size of the one that does not.
        to: u64,
    },
    /// A checkpoint of the history is not this log's.
    #[error("a checkpoint after that of {0} entries is malformed or not signed by the log's key")]
    History(u64),
    /// A hand-over of the key is not in the history.
    #[error("the hand-over at {0} entries is not in the history")]
    HandOver(u64),
    /// An entry is not one, or not the next of its boot.
    #[error(
        "entry {0} is malformed, or not the next of its boot: entries between were removed before they were sequenced"
    )]
    Hole(u64),
}

/// Where a log's files are read from.
pub trait LogFiles {
    /// A file, by its path below the log. None if it is not there, or is more than any file of a log.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Where that is, for people.
    fn place(&self) -> PathBuf;

    /// Whether the log goes on while it is read: checkpoints beyond the newest that was read are then nobody's damage.
    fn grows(&self) -> bool {
        false
    }
}

/// Verifies a folder. `progress` is told how many of how many entries were read.
pub fn verify(folder: &Path, key: &LogKey, progress: impl FnMut(u64, u64)) -> Result<Verified, VerifyError> {
    verify_from(&Folder(folder), key, progress)
}

/// Verifies a log wherever its files are.
pub fn verify_from(
    files: &dyn LogFiles,
    key: &LogKey,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let files = Files(files);
    let note = files.text(Path::new(CHECKPOINT))?.ok_or_else(|| VerifyError::NoLog(files.0.place()))?;
    // After the newest checkpoint: a hand-over of later is none of what is verified.
    let keys = LogKeys::follow(key, &files.hand_overs()?)?;
    let checkpoint = keys.open(&note)?;
    let mut open = BTreeMap::from([(checkpoint.size, vec![checkpoint.clone()])]);
    let handed_over = keys.hand_overs().iter().map(|made| &made.checkpoint);
    for made in handed_over.filter(|made| made.size <= checkpoint.size) {
        open.entry(made.size).or_default().push(made.clone());
    }
    let mut walk = Walk {
        files,
        keys,
        tree: Tree::default(),
        next: HashMap::new(),
        open,
        history: None,
        last_good: 0,
        found: Verified { checkpoint, entries: 0, tiles: 0, checkpoints: 0, boots: 0, damage: None },
    };
    let damage = walk.all(&mut progress)?.err();
    walk.found.damage = damage;
    walk.found.boots = walk.next.len() as u64;
    Ok(walk.found)
}

struct Walk<'a> {
    files: Files<'a>,
    keys: LogKeys,
    tree: Tree,
    /// The number each boot's next entry must have.
    next: HashMap<BootId, u64>,
    /// Checkpoints that were not reached yet, by size.
    open: BTreeMap<u64, Vec<Checkpoint>>,
    /// The file of the history that is in `open`.
    history: Option<PathBuf>,
    last_good: u64,
    found: Verified,
}

/// `Err` is damage; reading may fail besides.
type Sound = Result<Result<(), Damage>, VerifyError>;

/// Goes on unless something is wrong.
macro_rules! sound {
    ($found:expr) => {
        match $found {
            Ok(value) => value,
            Err(damage) => return Ok(Err(damage)),
        }
    };
}

impl Walk<'_> {
    fn all(&mut self, progress: &mut impl FnMut(u64, u64)) -> Sound {
        let size = self.found.checkpoint.size;
        sound!(self.load_history(0)?);
        sound!(self.hold_against(0));
        while self.tree.size() < size {
            sound!(self.bundle(size)?);
            progress(self.tree.size(), size);
        }
        // The file that begins at the end, where the size is its first: it may hold what came after.
        sound!(self.load_history(size)?);
        sound!(self.hold_against(size));
        sound!(self.unfinished()?);
        // A later file of the history: the newest checkpoint was put back.
        let to = ((size >> layout::HISTORY_BITS) + 1) << layout::HISTORY_BITS;
        let later = !self.files.0.grows() && self.files.read(&history_path(to))?.is_some();
        Ok(if later { Err(Damage::Root { from: size, to }) } else { Ok(()) })
    }

    /// Reads one bundle, its tile, and every tile that becomes full with it.
    fn bundle(&mut self, size: u64) -> Sound {
        let first = self.tree.size();
        let number = first / TILE_WIDTH as u64;
        let width = usize::try_from((size - first).min(TILE_WIDTH as u64)).unwrap_or(TILE_WIDTH);
        sound!(self.load_history(first)?);
        sound!(self.hold_against(first));
        let bytes = self.files.read(&bundle_path(number, width))?;
        let entries = bytes.and_then(|bytes| layout::entries_of(&bytes)).filter(|found| found.len() == width);
        let entries = sound!(entries.ok_or(Damage::Bundle(first)));
        let hashes: Vec<Hash> = entries.iter().map(|leaf| Hash::of_leaf(leaf.as_bytes())).collect();
        if width == TILE_WIDTH || self.tree.size() + width as u64 == size {
            let id = super::tree::TileId { level: 0, number };
            let tile = sound!(self.tile(id, width)?);
            if let Some(at) = (first..).zip(hashes.iter().zip(&tile.hashes)).find(|(_, (a, b))| a != b) {
                return Ok(Err(Damage::Entry(at.0)));
            }
        }
        let mut rest = hashes.as_slice();
        let mut leaves = entries.iter();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.until_checkpoint().min(rest.len()));
            for leaf in leaves.by_ref().take(now.len()) {
                sound!(self.entry(leaf));
            }
            let changed = self.tree.append(now.iter().copied());
            for tile in changed.iter().filter(|tile| tile.id.level > 0 && tile.hashes.len() == TILE_WIDTH) {
                sound!(self.node(tile)?);
            }
            sound!(self.hold_against(self.tree.size()));
            rest = later;
        }
        Ok(Ok(()))
    }

    /// How many entries the tree may grow by before it is held against a checkpoint.
    fn until_checkpoint(&self) -> usize {
        let next = self.open.range(self.tree.size() + 1..).next();
        next.map_or(TILE_WIDTH, |(size, _)| usize::try_from(size - self.tree.size()).unwrap_or(TILE_WIDTH))
    }

    fn entry(&mut self, leaf: &Leaf) -> Result<(), Damage> {
        let hole = Damage::Hole(self.found.entries);
        let read = leaf.read().map_err(|_| hole.clone())?;
        let next = self.next.entry(read.id.boot).or_default();
        if read.id.seq != *next {
            return Err(hole);
        }
        *next += 1;
        self.found.entries += 1;
        Ok(())
    }

    /// Holds a tile above the leaves against what the entries make.
    fn node(&mut self, made: &Tile) -> Sound {
        let covered = 1 << (8 * u32::from(made.id.level));
        let stored = sound!(self.tile(made.id, made.hashes.len())?);
        let differs = (0..).zip(made.hashes.iter().zip(&stored.hashes)).find(|(_, (a, b))| a != b);
        Ok(match differs {
            Some((at, _)) => Err(Damage::Node((made.id.number * TILE_WIDTH as u64 + at) * covered)),
            None => Ok(()),
        })
    }

    /// The last, unfinished tile of every level above the leaves'.
    fn unfinished(&mut self) -> Sound {
        for tile in self.tree.unfinished().into_iter().filter(|tile| tile.id.level > 0) {
            sound!(self.node(&tile)?);
        }
        Ok(Ok(()))
    }

    fn tile(&mut self, id: super::tree::TileId, width: usize) -> Result<Result<Tile, Damage>, VerifyError> {
        let bytes = self.files.read(&tile_path(id, width))?;
        let tile = bytes.and_then(|bytes| Tile::read(id, &bytes)).filter(|tile| tile.hashes.len() == width);
        self.found.tiles += 1;
        let first = (id.number * TILE_WIDTH as u64) << (8 * u32::from(id.level));
        Ok(tile.ok_or(Damage::Tile(first)))
    }

    /// Reads the file of the history that has checkpoints from this size on, unless it is read.
    fn load_history(&mut self, size: u64) -> Sound {
        let path = history_path(size);
        if self.history.as_ref() == Some(&path) {
            return Ok(Ok(()));
        }
        let text = self.files.text(&path)?;
        self.history = Some(path);
        // The last file of a bucket is not there before it is complete.
        let Some(text) = text else { return Ok(Ok(())) };
        let notes = sound!(layout::notes_of(&text).ok_or(Damage::History(self.last_good)));
        sound!(self.has_hand_overs(size, &notes));
        for note in notes {
            let checkpoint = sound!(self.keys.open(&note).map_err(|_| Damage::History(self.last_good)));
            if checkpoint.size < size {
                return Ok(Err(Damage::History(self.last_good)));
            }
            if checkpoint.size > self.found.checkpoint.size && self.files.0.grows() {
                continue;
            }
            // Beyond the newest: the newest was put back, which cuts the log.
            if checkpoint.size > self.found.checkpoint.size {
                let (from, to) = (self.found.checkpoint.size, checkpoint.size);
                return Ok(Err(Damage::Root { from, to }));
            }
            self.open.entry(checkpoint.size).or_default().push(checkpoint);
        }
        Ok(Ok(()))
    }

    /// Every hand-over of these sizes is among the history's notes. The newest checkpoint may not have reached it.
    fn has_hand_overs(&self, size: u64, notes: &[String]) -> Result<(), Damage> {
        let number = size >> layout::HISTORY_BITS;
        let made = self.keys.hand_overs().iter().filter(|made| {
            let at = made.checkpoint.size;
            at >> layout::HISTORY_BITS == number && at < self.found.checkpoint.size
        });
        let missing = made.into_iter().find(|made| !notes.iter().any(|note| note == made.note()));
        missing.map_or(Ok(()), |made| Err(Damage::HandOver(made.checkpoint.size)))
    }

    /// Every checkpoint of this size says this root.
    fn hold_against(&mut self, size: u64) -> Result<(), Damage> {
        let Some(checkpoints) = self.open.remove(&size) else { return Ok(()) };
        let root = self.tree.root();
        if checkpoints.iter().any(|checkpoint| checkpoint.root != root) {
            return Err(Damage::Root { from: self.last_good, to: size });
        }
        self.last_good = size;
        self.found.checkpoints += checkpoints.len() as u64;
        Ok(())
    }
}

/// The hand-overs an exported log has: for whoever verifies a receipt or a bundle by a key of before or after.
pub fn hand_overs_in(folder: &Path) -> Result<Vec<String>, VerifyError> {
    Files(&Folder(folder)).hand_overs()
}

/// A folder.
struct Folder<'a>(&'a Path);

impl LogFiles for Folder<'_> {
    /// Reads a file of at most `BYTES_MAX`; anything else that stands there is as bad as nothing.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = self.0.join(path);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(found) if !found.is_file() || found.len() > BYTES_MAX => Ok(None),
            Ok(_) => {
                let mut bytes = Vec::new();
                fs::File::open(&path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
        }
    }

    fn place(&self) -> PathBuf {
        self.0.to_owned()
    }
}

/// The files, and which one cannot be read.
#[derive(Clone, Copy)]
struct Files<'a>(&'a dyn LogFiles);

impl Files<'_> {
    fn read(self, path: &Path) -> Result<Option<Vec<u8>>, VerifyError> {
        self.0.read(path).map_err(|source| self.unreadable(path, source))
    }

    fn text(self, path: &Path) -> Result<Option<String>, VerifyError> {
        let text = self.read(path)?.map(String::from_utf8).transpose();
        text.map_err(|error| self.unreadable(path, io::Error::other(error)))
    }

    /// Every hand-over, up to the first that is not there.
    fn hand_overs(self) -> Result<Vec<String>, VerifyError> {
        let mut notes = Vec::new();
        while let Some(note) = self.text(&hand_over_path(notes.len() as u64))? {
            notes.push(note);
        }
        Ok(notes)
    }

    fn unreadable(self, path: &Path, source: io::Error) -> VerifyError {
        VerifyError::Unreadable { path: self.0.place().join(path), source }
    }
}
