//! The Merkle tree over the entries of the log (RFC 6962 §2.1), kept as tiles of 256 hashes (C2SP tlog-tiles).
//!
//! Promises: the tree of the same leaves has the same root, however they were appended; nothing here changes a leaf that is in.
//! Holds: the unfinished tile of each level, however long the log is.
//! Upholds: C-44.

mod proof;

pub use proof::{Range, Tiles, consistency, consistency_holds, inclusion, inclusion_holds, tiles_of};

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Hashes of a full tile.
pub const TILE_WIDTH: usize = 256;
/// Levels a tree of 2^64 leaves could have.
const LEVELS: usize = 8;

/// The hash of a leaf, a node or a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Bytes of a hash.
    pub const BYTES: usize = 32;
    /// The root of a tree without leaves: SHA-256 of nothing.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// `SHA-256(00 ‖ entry)`.
    #[must_use]
    pub fn of_leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
    }

    /// `SHA-256(01 ‖ left ‖ right)`.
    #[must_use]
    pub fn of_node(left: Self, right: Self) -> Self {
        Self(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// From one that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Which tile: its level and its number there. Tile `n` of level `l` holds the hashes of the subtrees of `256^l` leaves from
/// `256n` on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TileId {
    /// 0 is the leaves'.
    pub level: u8,
    /// Counts from 0.
    pub number: u64,
}

/// A tile as it is once leaves were appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tile {
    /// Which.
    pub id: TileId,
    /// 1 to 256 hashes.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// The hashes one after the other.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }

    /// Reads [`Self::bytes`]; none if they are not 1 to 256 hashes.
    #[must_use]
    pub fn read(id: TileId, bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<{ Hash::BYTES }>();
        let fits = rest.is_empty() && (1..=TILE_WIDTH).contains(&hashes.len());
        fits.then(|| Self { id, hashes: hashes.iter().copied().map(Hash).collect() })
    }
}

/// A tree that grows: how many leaves it has, and of each level the tile that is not full yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    size: u64,
    unfinished: [Vec<Hash>; LEVELS],
}

impl Tree {
    /// The tiles that hold what a tree of this size has unfinished: [`Self::resume`] takes them.
    #[must_use]
    pub fn unfinished_tiles(size: u64) -> Vec<TileId> {
        let tile = |level: u8| {
            let complete = size >> (8 * u32::from(level));
            let number = complete / TILE_WIDTH as u64;
            (!complete.is_multiple_of(TILE_WIDTH as u64)).then_some(TileId { level, number })
        };
        (0..LEVELS as u8).filter_map(tile).collect()
    }

    /// A tree of `size` leaves from its stored tiles, which may be further than it. None if they are too short or one is missing.
    #[must_use]
    pub fn resume(size: u64, tiles: &Tiles) -> Option<Self> {
        let mut tree = Self { size, ..Self::default() };
        for id in Self::unfinished_tiles(size) {
            let width = (size >> (8 * u32::from(id.level))) as usize % TILE_WIDTH;
            tree.unfinished[usize::from(id.level)] = tiles.get(&id)?.hashes.get(..width)?.to_vec();
        }
        Some(tree)
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends leaves. Gives every tile that changed, each once, as it is now.
    pub fn append(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<Tile> {
        let mut changed = Vec::new();
        let mut touched = [false; LEVELS];
        for leaf in leaves {
            self.size += 1;
            self.push(0, leaf, &mut changed, &mut touched);
        }
        changed.extend(self.unfinished().into_iter().filter(|tile| touched[usize::from(tile.id.level)]));
        changed
    }

    /// Of each level the tile that is not full, if it has anything.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Tile> {
        let tile = |level| Tile { id: self.open_tile(level), hashes: self.unfinished[level].clone() };
        (0..LEVELS).filter(|level| !self.unfinished[*level].is_empty()).map(tile).collect()
    }

    fn push(&mut self, level: usize, hash: Hash, full: &mut Vec<Tile>, touched: &mut [bool; LEVELS]) {
        touched[level] = true;
        self.unfinished[level].push(hash);
        if self.unfinished[level].len() == TILE_WIDTH {
            let id = TileId { number: self.open_tile(level).number - 1, level: level as u8 };
            let hashes = std::mem::take(&mut self.unfinished[level]);
            let root = proof::perfect(&hashes);
            full.push(Tile { id, hashes });
            if level + 1 < LEVELS {
                self.push(level + 1, root, full, touched);
            }
        }
    }

    fn open_tile(&self, level: usize) -> TileId {
        TileId { level: level as u8, number: (self.size >> (8 * level)) / TILE_WIDTH as u64 }
    }

    /// The root (RFC 6962 §2.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let peaks = self.unfinished.iter().rev().flat_map(|hashes| proof::peaks(hashes));
        let peaks: Vec<Hash> = peaks.collect();
        peaks.into_iter().rev().reduce(|right, left| Hash::of_node(left, right)).unwrap_or(Hash::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn leaf(n: u64) -> Hash {
        Hash::of_leaf(format!("{{\"event\":\"example\",\"n\":{n}}}").as_bytes())
    }

    /// The definition in the RFC, word for word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::EMPTY,
            [one] => *one,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                Hash::of_node(defined(&leaves[..k]), defined(&leaves[k..]))
            }
        }
    }

    #[test]
    fn roots_match_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/log.json")).unwrap();
        for case in vectors["trees"].as_array().unwrap() {
            let mut tree = Tree::default();
            tree.append((0..case["size"].as_u64().unwrap()).map(leaf));
            assert_eq!(format!("{:?}", tree.root()), case["root"].as_str().unwrap());
        }
    }

    #[test]
    fn however_leaves_come_the_tree_and_its_tiles_are_the_same() {
        let leaves: Vec<Hash> = (0..70_000).map(leaf).collect();
        let (mut whole, mut stored) = (Tree::default(), BTreeMap::new());
        for tile in whole.append(leaves.iter().copied()) {
            stored.insert(tile.id, tile);
        }
        assert_eq!(stored.keys().filter(|id| id.level == 2).count(), 1);
        let (mut grown, mut pieces) = (Tree::default(), BTreeMap::new());
        let (mut at, mut step) = (0, 1);
        while at < leaves.len() {
            let end = (at + step).min(leaves.len());
            for tile in grown.append(leaves[at..end].iter().copied()) {
                pieces.insert(tile.id, tile);
            }
            grown = Tree::resume(grown.size(), &Tiles::new(pieces.values().cloned())).unwrap();
            if end < 2_000 {
                assert_eq!(grown.root(), defined(&leaves[..end]), "{end}");
            }
            (at, step) = (end, step % 700 + 1);
        }
        assert_eq!((&grown, grown.root()), (&whole, whole.root()));
        assert_eq!(pieces, stored);
        assert_eq!(whole.root(), defined(&leaves));
    }

    #[test]
    fn an_older_tree_comes_out_of_the_tiles_of_a_newer_one() {
        let leaves: Vec<Hash> = (0..66_000).map(leaf).collect();
        let tiles = Tiles::new(Tree::default().append(leaves.iter().copied()));
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 66_000] {
            let tree = Tree::resume(size, &tiles).unwrap();
            assert_eq!(tree.root(), defined(&leaves[..size as usize]), "{size}");
        }
        assert_eq!(Tree::resume(66_001, &tiles), None);
        assert_eq!(Tree::resume(1, &Tiles::default()), None);
    }

    #[test]
    fn a_tile_is_whole_hashes_and_not_too_many() {
        let id = TileId { level: 0, number: 0 };
        let tile = Tile { id, hashes: vec![leaf(0), leaf(1)] };
        assert_eq!(Tile::read(id, &tile.bytes()), Some(tile));
        for bytes in [vec![], vec![0; 31], vec![0; 33], vec![0; 257 * 32]] {
            assert_eq!(Tile::read(id, &bytes), None);
        }
    }
}
