//! Samples nobody can choose: of each requirement the entries whose hash with the checkpoint's root is least.
//!
//! ```text
//! score = SHA-256("strongroom/evidence-sample/v1" 00 ‖ root ‖ LP(requirement) ‖ u64be(index))
//! ```
//!
//! Promises: the same checkpoint and period give the same sample; every entry of the period is as likely; each sample carries
//! the proof that it is in the tree of the checkpoint.
//! Does not promise: to show from the bundle alone that the sampled entries have the least scores: that takes the log. Nor that
//! nobody made many bundles and kept one. Each making is an entry: an assessor sees how many there were.
//! Upholds: C-63.

use std::collections::{BTreeMap, BinaryHeap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::entry::Entry;
use super::{Period, tally};
use crate::audit::Leaf;
use crate::audit::tree::{Hash, Range, Tiles, inclusion, inclusion_holds, tiles_of};
use crate::store::log::TILES_READ_MAX;
use crate::store::{Store, StoreError};

/// Most entries of one sample: more than any sampling guidance asks for.
pub const SAMPLE_MAX: u32 = 500;

/// Picks while entries go by.
#[derive(Debug)]
pub(super) struct Picker {
    root: Hash,
    most: usize,
    strata: BTreeMap<&'static str, Stratum>,
}

#[derive(Debug, Default)]
struct Stratum {
    population: u64,
    /// The greatest score on top.
    picked: BinaryHeap<Picked>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Picked {
    score: [u8; 32],
    index: u64,
    leaf: Vec<u8>,
}

/// The sample of one requirement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// The requirement.
    pub requirement: String,
    /// How many entries of it the period has.
    pub population: u64,
    /// The entries that were picked, by their place in the log.
    pub entries: Vec<Sampled>,
}

/// One entry with its proof.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sampled {
    /// Its place in the log.
    pub index: u64,
    /// Why it was picked, in hex: the least scores are.
    pub score: String,
    /// Its bytes.
    pub leaf: String,
    /// Hashes from the leaf upwards (RFC 9162 §2.1.3), base64.
    pub proof: Vec<String>,
}

impl Picker {
    pub(super) fn new(root: Hash, most: u32) -> Self {
        Self { root, most: most.min(SAMPLE_MAX) as usize, strata: BTreeMap::new() }
    }

    /// Looks at an entry of the period.
    pub(super) fn look(&mut self, requirement: &'static str, index: u64, leaf: &Leaf) {
        let stratum = self.strata.entry(requirement).or_default();
        stratum.population += 1;
        let score = score(self.root, requirement, index);
        let full = stratum.picked.len() >= self.most;
        if full && stratum.picked.peek().is_none_or(|greatest| greatest.score <= score) {
            return;
        }
        stratum.picked.push(Picked { score, index, leaf: leaf.as_bytes().to_vec() });
        if stratum.picked.len() > self.most {
            stratum.picked.pop();
        }
    }

    /// The samples with their proofs in a tree of this size.
    pub(super) async fn prove(self, store: &dyn Store, size: u64) -> Result<Vec<Sample>, StoreError> {
        let mut samples = Vec::new();
        for (requirement, Stratum { population, picked }) in self.strata {
            let mut picked = picked.into_vec();
            picked.sort_unstable_by_key(|entry| entry.index);
            let mut entries = Vec::with_capacity(picked.len());
            for Picked { score, index, leaf } in picked {
                let proof = proof(store, index, size).await?;
                let leaf = String::from_utf8(leaf).map_err(|_| StoreError::Corrupt("audit_entries.leaf"))?;
                entries.push(Sampled { index, score: hex::encode(score), leaf, proof });
            }
            samples.push(Sample { requirement: requirement.to_owned(), population, entries });
        }
        Ok(samples)
    }
}

pub(super) fn score(root: Hash, requirement: &str, index: u64) -> [u8; 32] {
    let length = u16::try_from(requirement.len()).unwrap_or(u16::MAX);
    Sha256::new()
        .chain_update(b"strongroom/evidence-sample/v1\0")
        .chain_update(root.as_bytes())
        .chain_update(length.to_be_bytes())
        .chain_update(requirement)
        .chain_update(index.to_be_bytes())
        .finalize()
        .into()
}

async fn proof(store: &dyn Store, index: u64, size: u64) -> Result<Vec<String>, StoreError> {
    let ranges = inclusion(index, size).ok_or(StoreError::Corrupt("log_runs.first_index"))?;
    let mut tiles = Vec::new();
    for ids in tiles_of(&ranges).chunks(TILES_READ_MAX) {
        tiles.extend(store.log_tiles(ids).await?);
    }
    let tiles = Tiles::new(tiles);
    let hash = |range: Range| tiles.hash_of(range).ok_or(StoreError::Corrupt("log_tiles.hashes"));
    ranges.into_iter().map(|range| Ok(STANDARD.encode(hash(range)?.as_bytes()))).collect()
}

impl Sample {
    /// The first entry that may not be in this sample as it is; entries rise by their place, none stands twice.
    pub(super) fn unsound(&self, period: Period, size: u64, root: Hash) -> Option<u64> {
        let mut before = None;
        let unsound = |entry: &&Sampled| {
            let rises = before.is_none_or(|before| before < entry.index);
            before = Some(entry.index);
            !(rises && entry.holds(&self.requirement, period, size, root))
        };
        self.entries.iter().find(unsound).map(|entry| entry.index)
    }
}

impl Sampled {
    /// Whether the entry is one of this requirement and period, has its score, and is in the tree of this size and root.
    fn holds(&self, requirement: &str, period: Period, size: u64, root: Hash) -> bool {
        let hash = |text: &String| {
            let bytes = STANDARD.decode(text).ok()?;
            Some(Hash::from_bytes(bytes.try_into().ok()?))
        };
        let Some(proof) = self.proof.iter().map(hash).collect::<Option<Vec<_>>>() else { return false };
        let of_both = serde_json::from_str::<Entry<'_>>(&self.leaf)
            .is_ok_and(|entry| tally::requirement(&entry.evt) == requirement && period.holds(entry.ts));
        let leaf = Hash::of_leaf(self.leaf.as_bytes());
        of_both
            && hex::encode(score(root, requirement, self.index)) == self.score
            && inclusion_holds(leaf, self.index, size, &proof, root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(root: u8, most: u32, order: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut picker = Picker::new(Hash::from_bytes([root; 32]), most);
        for index in order {
            picker.look("10.2.1.1", index, &Leaf::from_bytes(index.to_string().into_bytes()));
        }
        let stratum = picker.strata.remove("10.2.1.1").unwrap();
        assert_eq!(stratum.population, 1_000);
        let mut found: Vec<_> = stratum.picked.into_iter().map(|entry| entry.index).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn the_checkpoint_alone_says_what_is_picked() {
        let found = picked(7, 25, 0..1_000);
        assert_eq!(found.len(), 25);
        assert_eq!(picked(7, 25, (0..1_000).rev()), found, "whatever the order");
        assert_ne!(picked(8, 25, 0..1_000), found, "another checkpoint");
        // By the definition, without a heap.
        let mut all: Vec<_> =
            (0..1_000).map(|index| (score(Hash::from_bytes([7; 32]), "10.2.1.1", index), index)).collect();
        all.sort_unstable();
        let mut least: Vec<_> = all[..25].iter().map(|(_, index)| *index).collect();
        least.sort_unstable();
        assert_eq!(found, least);
        assert_eq!(picked(7, 0, 0..1_000), Vec::<u64>::new());
    }
}
