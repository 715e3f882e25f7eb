//! Where tiles, entry bundles and checkpoints stand in a folder, and what a bundle's bytes are (C2SP tlog-tiles).
//!
//! ```text
//! checkpoint                          the newest signed checkpoint
//! tile/0/x001/234                     256 hashes of level 0, tile 1,234
//! tile/0/x001/235.p/17                17 hashes of tile 1,235, which is not full
//! tile/entries/x001/234               256 entries, each u16be(length) ‖ bytes
//! history/000                         every checkpoint of trees below 65,536 entries, one after the other
//! handover/000                        the first hand-over of the signing key
//! ```
//!
//! Over HTTP the same paths stand below a prefix.

use std::fmt;
use std::path::PathBuf;

use super::leaf::Leaf;
use super::tree::{TILE_WIDTH, TileId};

/// The newest checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// Tree sizes whose checkpoints share a file of the history, as a power of two: about 20 MiB at one checkpoint an entry.
pub(super) const HISTORY_BITS: u32 = 16;

/// One file of the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogFile {
    /// The newest checkpoint.
    Checkpoint,
    /// The first hashes of a tile, or all 256.
    Tile(TileId, usize),
    /// The first entries of a bundle, or all 256.
    Bundle(u64, usize),
    /// Checkpoints of trees of `65,536 n` entries and more.
    History(u64),
    /// A hand-over of the signing key, counted from 0.
    HandOver(u64),
}

impl LogFile {
    /// Reads a path as [`Self`] displays it; every other spelling is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let file = match text.split_once('/') {
            None => Self::Checkpoint,
            Some(("history", rest)) => Self::History(numbers(rest)?),
            Some(("handover", rest)) => Self::HandOver(numbers(rest)?),
            Some(("tile", rest)) => {
                let (kind, rest) = rest.split_once('/')?;
                let (full, width) = match rest.split_once(".p/") {
                    Some((full, width)) => (full, width.parse().ok()?),
                    None => (rest, TILE_WIDTH),
                };
                let number = numbers(full)?;
                match kind {
                    "entries" => Self::Bundle(number, width),
                    level => Self::Tile(TileId { level: level.parse().ok()?, number }, width),
                }
            }
            Some(_) => return None,
        };
        (file.to_string() == text).then_some(file)
    }

    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match *self {
            Self::Checkpoint => CHECKPOINT.into(),
            Self::Tile(id, width) => tile_path(id, width),
            Self::Bundle(number, width) => bundle_path(number, width),
            Self::History(number) => numbered(PathBuf::from("history"), number, TILE_WIDTH),
            Self::HandOver(number) => hand_over_path(number),
        }
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

/// The number in groups of three digits, all but the last after an `x`.
fn numbers(path: &str) -> Option<u64> {
    path.split('/').try_fold(0_u64, |number, group| {
        let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        number.checked_mul(1_000)?.checked_add(group)
    })
}

/// Path of a tile of this many hashes.
#[must_use]
pub fn tile_path(id: TileId, width: usize) -> PathBuf {
    numbered(PathBuf::from("tile").join(id.level.to_string()), id.number, width)
}

/// Path of a bundle of this many entries.
#[must_use]
pub fn bundle_path(number: u64, width: usize) -> PathBuf {
    numbered(PathBuf::from("tile/entries"), number, width)
}

/// The folder of a tile's or bundle's unfinished forms: of no use once it is full.
pub(super) fn unfinished(full: PathBuf) -> PathBuf {
    let mut name = full.into_os_string();
    name.push(".p");
    PathBuf::from(name)
}

/// The file of the history a checkpoint of this size is in.
#[must_use]
pub fn history_path(size: u64) -> PathBuf {
    numbered(PathBuf::from("history"), size >> HISTORY_BITS, TILE_WIDTH)
}

/// The file of a hand-over.
#[must_use]
pub fn hand_over_path(number: u64) -> PathBuf {
    numbered(PathBuf::from("handover"), number, TILE_WIDTH)
}

fn numbered(mut path: PathBuf, number: u64, width: usize) -> PathBuf {
    let mut groups = vec![format!("{:03}", number % 1_000)];
    let mut rest = number / 1_000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1_000));
        rest /= 1_000;
    }
    path.extend(groups.iter().rev());
    if width < TILE_WIDTH { unfinished(path).join(width.to_string()) } else { path }
}

/// The bytes of a bundle. None if an entry is longer than 65,535 bytes, which none of ours is.
#[must_use]
pub(super) fn bundle<'a>(entries: impl IntoIterator<Item = &'a Leaf>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.as_bytes().len()).ok()?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry.as_bytes());
    }
    Some(bytes)
}

/// Reads [`bundle`]. None if the lengths do not add up.
#[must_use]
pub(super) fn entries_of(mut bytes: &[u8]) -> Option<Vec<Leaf>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(Leaf::from_bytes(entry.to_vec()));
        bytes = rest;
    }
    Some(entries)
}

/// The notes of a file of the history. None if it is not whole notes.
#[must_use]
pub(super) fn notes_of(text: &str) -> Option<Vec<String>> {
    let (notes, rest) = whole_notes(text);
    rest.is_empty().then_some(notes)
}

/// The whole notes a file of the history begins with, and what follows them.
#[must_use]
pub(super) fn whole_notes(text: &str) -> (Vec<String>, &str) {
    let mut notes = Vec::new();
    let mut rest = text;
    while let Some(end) = note_end(rest) {
        notes.push(rest[..end].to_owned());
        rest = &rest[end + 1..];
    }
    (notes, rest)
}

fn note_end(text: &str) -> Option<usize> {
    let body = text.find("\n\n")? + 2;
    Some(body + text[body..].find("\n\n")? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, number, width| tile_path(TileId { level, number }, width).display().to_string();
        assert_eq!(tile(0, 0, 256), "tile/0/000");
        assert_eq!(tile(1, 67, 3), "tile/1/067.p/3");
        assert_eq!(tile(0, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(bundle_path(1_234_067, 1).display().to_string(), "tile/entries/x001/x234/067.p/1");
        assert_eq!(history_path(65_535).display().to_string(), "history/000");
        assert_eq!(history_path(65_536 * 1_000).display().to_string(), "history/x001/000");
    }

    #[test]
    fn a_path_is_read_as_it_is_written_and_in_no_other_spelling() {
        let tile = |level, number, width| LogFile::Tile(TileId { level, number }, width);
        for (text, file) in [
            ("checkpoint", LogFile::Checkpoint),
            ("tile/0/000", tile(0, 0, 256)),
            ("tile/1/067.p/3", tile(1, 67, 3)),
            ("tile/0/x001/x234/067", tile(0, 1_234_067, 256)),
            ("tile/entries/x001/x234/067.p/1", LogFile::Bundle(1_234_067, 1)),
            ("history/x001/000", LogFile::History(1_000)),
            ("handover/000", LogFile::HandOver(0)),
        ] {
            assert_eq!((LogFile::parse(text), file.to_string().as_str()), (Some(file), text));
        }
        for wrong in [
            "",
            "lock",
            "Checkpoint",
            "/checkpoint",
            "tile",
            "tile/0",
            "tile/0/0",
            "tile/00/000",
            "tile/256/000",
            "tile/0/001/234",
            "tile/0/x000/001",
            "tile/0/000.p/256",
            "tile/0/000.p/03",
            "tile/0/-01",
            "tile/0/../000",
            "tile/entries/000.p/",
            "history/000.p/1",
            "handover/0",
            "other/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(LogFile::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written_and_nothing_else() {
        let entries = [b"{}".to_vec(), Vec::new(), vec![b'x'; 65_535]].map(Leaf::from_bytes);
        let bytes = bundle(&entries).unwrap();
        assert_eq!(entries_of(&bytes).unwrap(), entries);
        assert_eq!(entries_of(&[]), Some(Vec::new()));
        for cut in [&bytes[..1], &bytes[..3], &bytes[..bytes.len() - 1]] {
            assert_eq!(entries_of(cut), None);
        }
    }

    #[test]
    fn a_history_is_whole_notes() {
        let (first, second) = ("a\n1\nx\n\n— a AAAA\n", "a\n2\ny\n\n— a BBBB\n— w CCCC\n");
        let text = format!("{first}\n{second}\n");
        assert_eq!(notes_of(&text).unwrap(), [first, second]);
        assert_eq!(notes_of(""), Some(Vec::new()));
        assert_eq!(notes_of(&text[..text.len() - 1]), None);
        assert_eq!(notes_of("a\n1\nx\n"), None);
    }
}
