//! What a receipt leads to: entries, where they stand, and the proof that they are in the tree a checkpoint signs.
//!
//! Promises: whoever has the log's public key verifies it alone, without vault, database or network; what does not hold is
//! neither made nor accepted.
//! Does not promise: that an entry was written by its instance: its MAC needs the vault's key (`audit check`). That an entry is
//! the receipt's if its bytes are not shown: what binds it to the receipt is in them; verification says which were shown.
//! Trusts: the database for availability only: a proof from altered tiles does not hold and is not given out.
//! Upholds: C-55, C-57.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::checkpoint::{BadCheckpoint, Checkpoint, LogKey};
use super::hand_over::{BadKeys, LogKeys};
use super::leaf::{EntryId, Leaf};
use super::receipt::ReceiptId;
use super::tree::{self, Hash, Range, Tiles};
use crate::store::log::TILES_READ_MAX;
use crate::store::{Store, StoreError};

/// Longest proof: a tree of 2^64 entries.
const PROOF_HASHES_MAX: usize = 64;

/// A receipt's entries and their proofs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Receipt)]
pub struct Proven {
    /// The receipt.
    #[schema(example = "019aa5a0-0000-7000-8000-000000000001.17")]
    pub id: String,
    /// `sequenced`; `pending` until a checkpoint covers the entries: ask again after `Retry-After`.
    pub state: ProvenState,
    /// The signed checkpoint the proofs are of (C2SP tlog-checkpoint); none while `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The hand-overs of the log's signing key before that checkpoint, in their order: they lead from a key of before to the one
    /// that signed it. None if the log never had another key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hand_overs: Vec<String>,
    /// The entries in their order; none while `pending`.
    pub entries: Vec<ProvenEntry>,
}

/// Whether there are proofs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ReceiptState)]
pub enum ProvenState {
    /// A checkpoint covers the entries.
    Sequenced,
    /// The entries are committed; a checkpoint comes within about a second.
    Pending,
}

/// One entry, and its proof.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReceiptEntry)]
pub struct ProvenEntry {
    /// Where it stands in the log, from 0.
    pub index: u64,
    /// The entry's bytes, as a text (`vault/docs/audit-format.md`). Not shown where they tell more than the grant allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
    /// Its hash in the tree: `SHA-256(00 ‖ leaf)`, hex.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub leaf_hash: String,
    /// Inclusion proof (RFC 9162 §2.1.3), from the leaf upwards: hashes, hex.
    pub proof: Vec<String>,
}

impl Proven {
    /// Entries that no checkpoint covers yet.
    #[must_use]
    pub fn pending(id: ReceiptId) -> Self {
        Self {
            id: id.to_string(),
            state: ProvenState::Pending,
            checkpoint: None,
            hand_overs: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// The same without the entries' bytes: their hashes prove that they are there, and tell nothing, not even whose they are.
    #[must_use]
    pub fn without_leaves(mut self) -> Self {
        self.entries.iter_mut().for_each(|entry| entry.leaf = None);
        self
    }
}

/// Why entries were not proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the database holds does not make the root that was signed.
    #[error("the log's tiles do not prove an entry that is in it")]
    Damaged,
}

/// Proves the entries of a receipt by the newest checkpoint. `Pending` if it covers them not yet.
pub async fn prove(store: &dyn Store, id: ReceiptId, leaves: &[Leaf]) -> Result<Proven, ProveError> {
    let mut places = Vec::with_capacity(leaves.len());
    for entry in id.entries() {
        places.push(store.log_place(entry).await?);
    }
    // After the places: it can only cover more of them.
    let Some(kept) = store.newest_checkpoint().await? else { return Ok(Proven::pending(id)) };
    let checkpoint = Checkpoint::unverified(&kept.note).ok_or(ProveError::Damaged)?;
    let covered = |place: Option<u64>| place.filter(|place| *place < checkpoint.size);
    let Some(places) = places.into_iter().map(covered).collect::<Option<Vec<u64>>>() else {
        return Ok(Proven::pending(id));
    };
    let tiles = tiles_for(store, &places, checkpoint.size).await?;
    let entry = |(place, leaf): (&u64, &Leaf)| entry(*place, leaf, &checkpoint, &tiles);
    let entries = places.iter().zip(leaves).map(entry).collect::<Option<Vec<_>>>();
    let hand_overs = store.hand_overs().await?.into_iter().filter(|made| made.size <= checkpoint.size);
    Ok(Proven {
        id: id.to_string(),
        state: ProvenState::Sequenced,
        checkpoint: Some(kept.note),
        hand_overs: hand_overs.map(|made| made.note).collect(),
        entries: entries.ok_or(ProveError::Damaged)?,
    })
}

async fn tiles_for(store: &dyn Store, places: &[u64], size: u64) -> Result<Tiles, StoreError> {
    let ranges: Vec<Range> =
        places.iter().flat_map(|place| tree::inclusion(*place, size).unwrap_or_default()).collect();
    let mut tiles = Vec::new();
    for some in tree::tiles_of(&ranges).chunks(TILES_READ_MAX) {
        tiles.extend(store.log_tiles(some).await?);
    }
    Ok(Tiles::new(tiles))
}

/// None if the proof does not hold.
fn entry(index: u64, leaf: &Leaf, checkpoint: &Checkpoint, tiles: &Tiles) -> Option<ProvenEntry> {
    let ranges = tree::inclusion(index, checkpoint.size)?;
    let proof = ranges.into_iter().map(|range| tiles.hash_of(range)).collect::<Option<Vec<Hash>>>()?;
    let hash = Hash::of_leaf(leaf.as_bytes());
    let holds = tree::inclusion_holds(hash, index, checkpoint.size, &proof, checkpoint.root);
    let text = |hash: &Hash| hex::encode(hash.as_bytes());
    holds.then_some(ProvenEntry {
        index,
        leaf: Some(String::from_utf8(leaf.as_bytes().to_vec()).ok()?),
        leaf_hash: text(&hash),
        proof: proof.iter().map(text).collect(),
    })
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    /// Not the form of an answered receipt.
    #[error("this is no receipt as the vault answers it")]
    Malformed,
    /// No proof was made yet.
    #[error("this receipt holds no proof: it was asked for before a checkpoint covered it; ask again")]
    Pending,
    /// The hand-overs in it, or given with it, do not lead from the key.
    #[error(transparent)]
    Keys(#[from] BadKeys),
    /// Its checkpoint is not the log's.
    #[error(transparent)]
    Checkpoint(#[from] BadCheckpoint),
    /// An entry is not the one the receipt names, or its hash is another's.
    #[error("entry {0} is not the one the receipt names")]
    OtherEntry(u64),
    /// A proof does not lead to the checkpoint's root.
    #[error("entry {0} is not in the tree of the checkpoint")]
    NotIncluded(u64),
}

/// What a receipt that holds proves.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "an entry that was not shown is the receipt's by the vault's word alone"]
pub struct VerifiedReceipt {
    /// Whose tree the entries are in.
    pub checkpoint: Checkpoint,
    /// The entries in their order.
    pub entries: Vec<VerifiedEntry>,
}

/// One place in the tree, and how far it is known to be the receipt's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifiedEntry {
    /// Where it stands in the log, from 0.
    pub index: u64,
    /// Whether its bytes were shown, which name the receipt's own entry. Without them any other entry of the tree would do.
    pub is_shown: bool,
}

impl VerifiedReceipt {
    /// Whether every entry is shown to be the receipt's own.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.entries.iter().all(|entry| entry.is_shown)
    }
}

/// Verifies an answered receipt by one of the log's keys alone.
pub fn verify_receipt(document: &[u8], key: &LogKey) -> Result<VerifiedReceipt, BadReceipt> {
    verify_receipt_in(document, key, &[])
}

/// The same with the hand-overs of an exported log: for a key that came after the answer.
pub fn verify_receipt_in(
    document: &[u8],
    key: &LogKey,
    hand_overs: &[String],
) -> Result<VerifiedReceipt, BadReceipt> {
    let proven: Proven = serde_json::from_slice(document).map_err(|_| BadReceipt::Malformed)?;
    let id = ReceiptId::parse(&proven.id).ok_or(BadReceipt::Malformed)?;
    let note = proven.checkpoint.as_deref().filter(|_| proven.state == ProvenState::Sequenced);
    let note = note.ok_or(BadReceipt::Pending)?;
    let told = if hand_overs.is_empty() { proven.hand_overs.as_slice() } else { hand_overs };
    let checkpoint = LogKeys::follow(key, told)?.open(note)?;
    if proven.entries.len() != id.count() as usize {
        return Err(BadReceipt::Malformed);
    }
    for (named, entry) in id.entries().zip(&proven.entries) {
        let proof = entry.proof.iter().map(|text| hash(text)).collect::<Option<Vec<_>>>();
        let proof = proof.filter(|proof| proof.len() <= PROOF_HASHES_MAX).ok_or(BadReceipt::Malformed)?;
        let leaf_hash = hash(&entry.leaf_hash).ok_or(BadReceipt::Malformed)?;
        if entry.leaf.as_ref().is_some_and(|leaf| !is_named(leaf, leaf_hash, named)) {
            return Err(BadReceipt::OtherEntry(entry.index));
        }
        if !tree::inclusion_holds(leaf_hash, entry.index, checkpoint.size, &proof, checkpoint.root) {
            return Err(BadReceipt::NotIncluded(entry.index));
        }
    }
    let verified = |entry: &ProvenEntry| VerifiedEntry { index: entry.index, is_shown: entry.leaf.is_some() };
    Ok(VerifiedReceipt { checkpoint, entries: proven.entries.iter().map(verified).collect() })
}

fn is_named(leaf: &str, hash: Hash, named: EntryId) -> bool {
    let read = Leaf::from_bytes(leaf.as_bytes().to_vec()).read();
    Hash::of_leaf(leaf.as_bytes()) == hash && read.is_ok_and(|read| read.id == named)
}

fn hash(text: &str) -> Option<Hash> {
    let mut bytes = [0; Hash::BYTES];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(Hash::from_bytes(bytes))
}
