//! Proofs that an entry is in a tree and that a tree only grew (RFC 9162 §2.1.3 and §2.1.4).

use std::collections::BTreeMap;

use super::{Hash, TILE_WIDTH, Tile, TileId};

/// Leaves from `start` on, before `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    start: u64,
    end: u64,
}

/// Stored tiles a proof is made from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tiles(BTreeMap<TileId, Tile>);

impl Tiles {
    /// From what the store gave.
    pub fn new(tiles: impl IntoIterator<Item = Tile>) -> Self {
        Self(tiles.into_iter().map(|tile| (tile.id, tile)).collect())
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &TileId) -> Option<&Tile> {
        self.0.get(id)
    }

    /// The hash of a range: an aligned power of two of leaves is inside one tile, anything else is two ranges.
    #[must_use]
    pub fn hash_of(&self, range: Range) -> Option<Hash> {
        match range.perfect() {
            Some((id, from, width)) => Some(perfect(self.get(&id)?.hashes.get(from..from + width)?)),
            None => {
                let (left, right) = range.split();
                Some(Hash::of_node(self.hash_of(left)?, self.hash_of(right)?))
            }
        }
    }
}

impl Range {
    /// The whole of a tree that has leaves.
    #[must_use]
    pub const fn tree(size: u64) -> Self {
        Self { start: 0, end: size }
    }

    /// Where its hash is in the tiles, if it is a subtree of a power of two leaves: tile, first hash, how many hashes.
    fn perfect(self) -> Option<(TileId, usize, usize)> {
        let length = self.end - self.start;
        if !length.is_power_of_two() || !self.start.is_multiple_of(length) {
            return None;
        }
        let height = length.trailing_zeros();
        let level = height / 8;
        let place = self.start >> (8 * level);
        let number = place / TILE_WIDTH as u64;
        let id = TileId { level: u8::try_from(level).ok()?, number };
        Some((id, (place % TILE_WIDTH as u64) as usize, 1 << (height % 8)))
    }

    /// Where the tree over it divides: before the largest power of two below its length.
    fn split(self) -> (Self, Self) {
        let length = self.end - self.start;
        let middle = self.start + length.next_power_of_two() / 2;
        (Self { start: self.start, end: middle }, Self { start: middle, end: self.end })
    }

    const fn is_one(self) -> bool {
        self.end - self.start == 1
    }
}

/// The ranges whose hashes prove that the leaf is in the tree, from the leaf upwards. None if it is not.
#[must_use]
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range>> {
    if index >= size {
        return None;
    }
    let (mut proof, mut range) = (Vec::new(), Range::tree(size));
    while !range.is_one() {
        let (left, right) = range.split();
        let (beside, next) = if index < right.start { (right, left) } else { (left, right) };
        proof.push(beside);
        range = next;
    }
    proof.reverse();
    Some(proof)
}

/// The ranges whose hashes prove that the tree of `old` leaves is the beginning of the tree of `new`. None if it cannot be.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Option<Vec<Range>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut proof, mut range) = (Vec::new(), Range::tree(new));
    // As long as the old tree's end lies inside.
    while range.end != old {
        let (left, right) = range.split();
        if old <= right.start {
            proof.push(right);
            range = left;
        } else {
            proof.push(left);
            range = right;
        }
    }
    if range.start != 0 {
        proof.push(range);
    }
    proof.reverse();
    Some(proof)
}

/// Every tile the hashes of these ranges are made from.
#[must_use]
pub fn tiles_of(ranges: &[Range]) -> Vec<TileId> {
    let (mut ids, mut open) = (Vec::new(), ranges.to_vec());
    while let Some(range) = open.pop() {
        match range.perfect() {
            Some((id, ..)) => ids.push(id),
            None => {
                let (left, right) = range.split();
                open.extend([left, right]);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Whether a proof shows this leaf at this place of the tree with this root (RFC 9162 §2.1.3.2).
#[must_use]
pub fn inclusion_holds(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for beside in proof {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            hash = Hash::of_node(*beside, hash);
            while place % 2 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = Hash::of_node(hash, *beside);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == root
}

/// Whether a proof shows that one tree is the beginning of the other (RFC 9162 §2.1.4.2).
#[must_use]
pub fn consistency_holds(old: u64, old_root: Hash, new: u64, new_root: Hash, proof: &[Hash]) -> bool {
    match (old, new) {
        (0, _) => return proof.is_empty() && old_root == Hash::EMPTY,
        _ if old > new => return false,
        _ if old == new => return proof.is_empty() && old_root == new_root,
        _ => {}
    }
    let whole = old.is_power_of_two().then_some(old_root);
    let mut path = whole.into_iter().chain(proof.iter().copied());
    let (mut place, mut last) = (old - 1, new - 1);
    while place % 2 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let Some(first) = path.next() else { return false };
    let (mut older, mut newer) = (first, first);
    for beside in path {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            older = Hash::of_node(beside, older);
            newer = Hash::of_node(beside, newer);
            while place % 2 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            newer = Hash::of_node(newer, beside);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && older == old_root && newer == new_root
}

/// The root of 2^n hashes.
///
/// # Panics
/// If there are none.
pub(super) fn perfect(hashes: &[Hash]) -> Hash {
    match hashes {
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Hash::of_node(perfect(left), perfect(right))
        }
    }
}

/// The roots of the largest perfect subtrees a tile divides into, from the left.
pub(super) fn peaks(hashes: &[Hash]) -> Vec<Hash> {
    let (mut peaks, mut rest) = (Vec::new(), hashes);
    while !rest.is_empty() {
        let width = 1 << rest.len().ilog2();
        let (first, others) = rest.split_at(width);
        peaks.push(perfect(first));
        rest = others;
    }
    peaks
}

#[cfg(test)]
mod tests {
    use super::super::Tree;
    use super::*;

    fn leaf(n: u64) -> Hash {
        Hash::of_leaf(format!("{{\"event\":\"example\",\"n\":{n}}}").as_bytes())
    }

    fn made(ranges: &[Range], tiles: &Tiles) -> Vec<Hash> {
        let needed = tiles_of(ranges);
        let only = Tiles::new(needed.iter().map(|id| tiles.get(id).unwrap().clone()));
        ranges.iter().map(|range| only.hash_of(*range).unwrap()).collect()
    }

    #[test]
    fn inclusion_proofs_match_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/log.json")).unwrap();
        let mut shown = 0;
        for case in vectors["trees"].as_array().unwrap() {
            let size = case["size"].as_u64().unwrap();
            let tiles = Tiles::new(Tree::default().append((0..size).map(leaf)));
            let Some(index) = case["inclusion"]["index"].as_u64() else { continue };
            let proof = made(&inclusion(index, size).unwrap(), &tiles);
            let given: Vec<&str> = case["inclusion"]["proof"]
                .as_array()
                .unwrap()
                .iter()
                .map(|hash| hash.as_str().unwrap())
                .collect();
            assert_eq!(proof.iter().map(|hash| format!("{hash:?}")).collect::<Vec<_>>(), given);
            shown += 1;
        }
        assert!(shown >= 9);
    }

    #[test]
    fn every_inclusion_and_consistency_of_small_trees_holds_and_no_other() {
        let mut tree = Tree::default();
        let mut roots = vec![Hash::EMPTY];
        for n in 0..70 {
            tree.append([leaf(n)]);
            roots.push(tree.root());
        }
        let tiles = Tiles::new(Tree::default().append((0..70).map(leaf)));
        for size in 1..=70_u64 {
            for index in 0..size {
                let mut proof = made(&inclusion(index, size).unwrap(), &tiles);
                let root = roots[size as usize];
                assert!(inclusion_holds(leaf(index), index, size, &proof, root));
                assert!(!inclusion_holds(leaf(index + 1), index, size, &proof, root));
                assert!(!inclusion_holds(leaf(index), index + 1, size, &proof, root));
                proof.push(root);
                assert!(!inclusion_holds(leaf(index), index, size, &proof, root));
            }
            for old in 0..=size {
                let proof = made(&consistency(old, size).unwrap(), &tiles);
                let (old_root, root) = (roots[old as usize], roots[size as usize]);
                assert!(consistency_holds(old, old_root, size, root, &proof), "{old} {size}");
                if old > 0 {
                    assert!(!consistency_holds(old, roots[old as usize - 1], size, root, &proof));
                    assert!(!consistency_holds(old, old_root, size, roots[size as usize - 1], &proof));
                }
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(!consistency_holds(old, old_root, size, root, shorter), "{old} {size}");
                }
            }
        }
        assert!(inclusion(7, 7).is_none() && consistency(8, 7).is_none());
    }

    #[test]
    fn proofs_cross_tiles() {
        let sizes = [255_u64, 256, 257, 65_536, 65_537, 66_100];
        let tiles = Tiles::new(Tree::default().append((0..66_100).map(leaf)));
        let root = |size| Tree::resume(size, &tiles).unwrap().root();
        for size in sizes {
            for index in [0, 254, size - 1] {
                let proof = made(&inclusion(index, size).unwrap(), &tiles);
                assert!(inclusion_holds(leaf(index), index, size, &proof, root(size)));
            }
            for old in sizes.into_iter().filter(|old| *old <= size) {
                let proof = made(&consistency(old, size).unwrap(), &tiles);
                assert!(consistency_holds(old, root(old), size, root(size), &proof));
            }
            assert_eq!(tiles.hash_of(Range::tree(size)), Some(root(size)));
        }
    }
}
