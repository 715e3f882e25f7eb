//! Reading everything: the whole log once, then keys, tenants, policy and machine.
//!
//! Promises: entries are counted only if together they make the root of a checkpoint this vault signed, and only once nothing of
//! the period waits to be signed; otherwise there is no bundle.
//! Holds: one page of entries.
//! Upholds: C-62.

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::Timestamp;

use super::entry::Entry;
use super::facts::{About, Facts, Kept, Parts, Previous};
use super::ground::BundleKeys;
use super::proofs::PolicyProofs;
use super::sample::{Picker, Sample};
use super::tally::{self, Tally};
use super::{EvidenceGround, Wanted, material};
use crate::audit::tree::{Hash, Tree};
use crate::audit::{BadCheckpoint, Checkpoint, Leaf, LogKeys, SigningError};
use crate::authz::Authorizer;
use crate::review::ReviewKind;
use crate::store::inventory::KeyFacts;
use crate::store::{ReviewRow, Store, StoreError};

/// Entries read at once: about 2 MiB.
const PAGE: u32 = 2_048;
/// Entries that are looked at to see whether any of the period waits.
const WAITING_MAX: u32 = 8_192;
/// How often and how long between, until everything of the period is signed: the sequencer looks twice a second.
const LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a bundle is made from.
pub struct Sources<'a> {
    /// The store.
    pub store: &'a Arc<dyn Store>,
    /// The policy in force.
    pub authorizer: Arc<Authorizer>,
    /// Key and configuration.
    pub ground: &'a EvidenceGround,
    /// What each tenant keeps.
    pub retention: Vec<Kept>,
    /// When it is made.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: &'a str,
    /// What was proved of the policy in force, if anybody gave it.
    pub proofs: Option<PolicyProofs>,
}

/// What was read.
pub struct Collected {
    /// Everything the bundle says.
    pub facts: Facts,
    /// Entries with their proofs.
    pub samples: Vec<Sample>,
    /// The checkpoint, signed.
    pub checkpoint: String,
    /// The key that signs since.
    pub keys: BundleKeys,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Entries of the period are not signed yet.
    #[error("entries of the period are not in a signed checkpoint yet")]
    NotSigned,
    /// The newest checkpoint is not this log's.
    #[error("the newest checkpoint does not open: {0}")]
    Checkpoint(#[from] BadCheckpoint),
    /// The store's entries are not those that were signed.
    #[error("the entries in the store do not make the root that was signed")]
    Altered,
    /// Measuring ended with a defect.
    #[error("measuring ended with a defect")]
    Defect,
}

/// Reads everything.
pub async fn collect(sources: Sources<'_>, wanted: Wanted) -> Result<Collected, CollectError> {
    let Sources { store, authorizer, ground, retention, made_at, made_by, proofs } = sources;
    let (checkpoint, note, signing) = covering(&**store, ground, wanted).await?;
    let reading = Reading {
        tally: Tally::new(wanted.period),
        picker: Picker::new(checkpoint.root, wanted.sample),
        tree: Tree::default(),
    };
    let Reading { tally, picker, .. } = reading.all(&**store, &checkpoint).await?;
    let previous = previous(&**store, &signing.keys, &tally).await?;
    let reviews = reviews(&**store).await?;
    let samples = picker.prove(&**store, checkpoint.size).await?;
    let config = ground.config();
    let about = About {
        environment: config.environment,
        instance: config.instance.clone(),
        version: env!("CARGO_PKG_VERSION"),
        log: checkpoint.origin.as_str().to_owned(),
        log_key: signing.keys.newest().to_string(),
        period: wanted.period,
        made_at,
        made_by: made_by.to_owned(),
        checkpoint_size: checkpoint.size,
        checkpoint_root: format!("{:?}", checkpoint.root),
    };
    let (keys, config) = (keys(&**store).await?, Arc::clone(config));
    let suspended = store.suspensions().await?.into_iter().map(|row| (row.workload, row.since)).collect();
    // Asking policy for every grant and hashing the program take their time: not on a thread that serves.
    let facts = tokio::task::spawn_blocking(move || {
        let measured = material::measure(&config);
        let parts =
            Parts { about, log: tally, keys, retention, measured, suspended, reviews, previous, proofs };
        Facts::of(parts, &authorizer, &config)
    });
    let facts = facts.await.map_err(|_| CollectError::Defect)?;
    Ok(Collected { facts, samples, checkpoint: note, keys: signing })
}

/// The newest checkpoint, once it covers every entry of the period that is in the store.
async fn covering(
    store: &dyn Store,
    ground: &EvidenceGround,
    wanted: Wanted,
) -> Result<(Checkpoint, String, BundleKeys), CollectError> {
    let mut is_altered = false;
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // What waits first, then how far it is signed: an entry that is taken in between is counted as signed too late only.
        let waiting = store.unsequenced(WAITING_MAX).await?;
        let all_later = waiting.len() < WAITING_MAX as usize
            && waiting.iter().all(|entry| entry.leaf.time().is_some_and(|time| time >= wanted.period.until));
        let size = store.log_head().await?.size;
        let keys = match ground.keys(store).await {
            Ok(keys) => keys,
            Err(SigningError::Store(error)) => return Err(error.into()),
            Err(SigningError::Key(_)) => {
                return Err(StoreError::Away("the log's signing key cannot be had").into());
            }
            // It may have been handed over between two reads.
            Err(SigningError::Keys(_)) => {
                is_altered = true;
                continue;
            }
        };
        let Some(kept) = store.newest_checkpoint().await? else { continue };
        let checkpoint = match keys.keys.open(&kept.note) {
            Ok(checkpoint) => checkpoint,
            Err(_) if look == 0 => continue, // or since they were read
            Err(bad) => return Err(bad.into()),
        };
        is_altered = false;
        if all_later && checkpoint.size >= size {
            return Ok((checkpoint, kept.note, keys));
        }
    }
    Err(if is_altered { CollectError::Altered } else { CollectError::NotSigned })
}

struct Reading {
    tally: Tally,
    picker: Picker,
    tree: Tree,
}

impl Reading {
    async fn all(mut self, store: &dyn Store, checkpoint: &Checkpoint) -> Result<Self, CollectError> {
        while self.tree.size() < checkpoint.size {
            let at = self.tree.size();
            let count = u32::try_from(checkpoint.size - at).unwrap_or(PAGE).min(PAGE);
            let page = store.logged(at, count).await?;
            if page.len() != count as usize
                || !page.iter().map(|(index, _)| *index).eq(at..at + u64::from(count))
            {
                return Err(CollectError::Altered);
            }
            // Reading and hashing two thousand entries takes its time: not on a thread that serves.
            let read = tokio::task::spawn_blocking(move || self.page(&page));
            self = read.await.map_err(|_| CollectError::Defect)?;
        }
        if self.tree.root() == checkpoint.root { Ok(self) } else { Err(CollectError::Altered) }
    }

    fn page(mut self, page: &[(u64, Leaf)]) -> Self {
        for (index, leaf) in page {
            match Entry::read(leaf) {
                None => self.tally.unreadable += 1,
                Some(entry) => {
                    if self.tally.take(*index, &entry) {
                        self.picker.look(tally::requirement(&entry.evt), *index, leaf);
                    }
                }
            }
        }
        self.tree.append(page.iter().map(|(_, leaf)| Hash::of_leaf(leaf.as_bytes())));
        self
    }
}

/// The access matrix of the bundle before, as the log names it.
async fn previous(store: &dyn Store, keys: &LogKeys, tally: &Tally) -> Result<Previous, StoreError> {
    let Some(entry) = tally.filed.previous() else { return Ok(Previous::None) };
    let mut sha256 = [0; 32];
    let row = match hex::decode_to_slice(&entry.manifest_sha256, &mut sha256) {
        Ok(()) => store.bundle(&sha256).await?,
        Err(_) => None,
    };
    Ok(Previous::of(entry.clone(), row, keys))
}

/// Every review that was filed.
async fn reviews(store: &dyn Store) -> Result<Vec<ReviewRow>, StoreError> {
    let mut all = Vec::new();
    for kind in ReviewKind::ALL {
        let mut after = 0;
        loop {
            let page = store.reviews(kind, after).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            all.extend(page);
        }
    }
    Ok(all)
}

async fn keys(store: &dyn Store) -> Result<Vec<KeyFacts>, StoreError> {
    let mut all: Vec<KeyFacts> = Vec::new();
    loop {
        let page = store.key_facts(all.last().map(|key| key.id)).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
