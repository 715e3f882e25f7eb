//! Takes audit entries into the signed log: one sequencer at a time, whichever replica holds the lease.
//!
//! Promises: a checkpoint is signed only for a tree that a commit under this sequencer's fence made durable, and only after
//! that tree was shown to continue the newest exported checkpoint; two sequencers never extend the same tree.
//! Nothing is refused for good on what was seen while another sequencer signed.
//! Does not promise: that entries are in the order they were written across instances. Within one they are.
//! Trusts: the lease row for order, not for honesty: what the database says of the past is held against what was exported.
//! Upholds: C-44.

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{BootId, Clock, DataKeyId, Timestamp};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::checkpoint::{BadCheckpoint, Checkpoint, Origin};
use super::export::{BucketExport, ExportError, LogBucket, LogFolder, Published, tree_of};
use super::hand_over::BadKeys;
use super::leaf::Leaf;
use super::signing::{LogSigners, Signing, SigningError};
use super::tree::{Hash, Tree};
use crate::store::log::{Extension, KeptCheckpoint, Lease, LogHead, Run};
use crate::store::{Store, StoreError, StoredEntry};

/// How often entries are looked for: a checkpoint at least every second while there are any.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a lease lasts unless it is held longer: takeover after a crash takes no more than this and one look.
const LEASE: Duration = Duration::from_secs(5);
/// Most entries of one extension: about 10 MiB.
const ENTRIES_MAX: u32 = 8_192;
/// How long a successor whose key cannot be had is left alone. The key before signs meanwhile.
const SUCCESSOR_PAUSE: Duration = Duration::from_secs(15);

/// Why this sequencer signs nothing more until it is started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The database's own root is not the one its tiles make.
    #[error("the log's tiles in the database are not those of its root")]
    Tiles,
    /// The database has fewer entries than were exported: it was rolled back, or restored from before.
    #[error(
        "the database has less of the log than was exported: it was rolled back or restored from a backup"
    )]
    RolledBack,
    /// The tree does not continue what was exported.
    #[error("the log in the database is not the one that was exported: entries were changed or removed")]
    Forked,
    /// An entry is longer than any this program writes.
    #[error("an entry of the database is longer than an entry can be: it was not written by a vault")]
    Oversized,
    /// The exported checkpoint is not this log's.
    #[error(
        "the exported checkpoint is not this log's: {0}; the folder, the bucket, the origin or the signing key is another"
    )]
    Foreign(BadCheckpoint),
    /// The hand-overs of the signing key are not this log's.
    #[error("the hand-overs of the log's key in the database do not lead to the key that signs: {0}")]
    Keys(BadKeys),
}

/// What one step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stepped {
    /// Somebody else has the lease.
    Waiting,
    /// Entries taken in, and the size of the tree the newest checkpoint is of.
    Sequenced {
        /// Entries taken in now.
        entries: u64,
        /// Size of the tree.
        size: u64,
    },
    /// Nothing is signed any more.
    Refused(Refusal),
}

/// Why a step did not come to its end. The next one begins from what the database holds.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The key.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

/// One replica's sequencer.
pub struct Sequencer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    holder: BootId,
    signers: Arc<dyn LogSigners>,
    origin: Origin,
    folder: Option<LogFolder>,
    /// What the log is exported to besides, and whoever is told of what was published.
    bucket: Option<(Arc<LogBucket>, watch::Sender<Option<Published>>)>,
    held: Option<Held>,
    refused: Option<Refusal>,
    /// When everything was last taken in and published, or another replica had the lease.
    current_at: Timestamp,
    /// Until when no successor is looked for.
    no_successor_until: Timestamp,
}

/// What a sequencer with the lease knows.
struct Held {
    lease: Lease,
    tree: Tree,
    signing: Signing,
    /// Size of the newest checkpoint that was kept and exported.
    published: u64,
}

/// The newest checkpoints outside the database, as they stand there: which key they are of is known once the lease is held.
struct Exported {
    in_folder: Option<String>,
    in_bucket: Option<String>,
}

impl Sequencer {
    /// A sequencer that holds nothing yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        holder: BootId,
        signers: Arc<dyn LogSigners>,
        origin: &Origin,
        folder: Option<LogFolder>,
    ) -> Self {
        let current_at = clock.now();
        Self {
            store,
            clock,
            holder,
            signers,
            origin: origin.clone(),
            folder,
            bucket: None,
            held: None,
            refused: None,
            current_at,
            no_successor_until: Timestamp::from_unix_micros(0),
        }
    }

    /// The same, and what exports to a bucket whatever it publishes.
    #[must_use]
    pub fn exporting_to(mut self, bucket: Arc<LogBucket>) -> (Self, BucketExport) {
        let (tell, published) = watch::channel(None);
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let export = BucketExport::new(store, clock, Arc::clone(&bucket), published);
        self.bucket = Some((bucket, tell));
        (self, export)
    }

    /// Who it is.
    #[must_use]
    pub const fn holder(&self) -> BootId {
        self.holder
    }

    /// Steps until `stop`, once more for what came last, then gives the lease up.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            self.look().await;
        }
        self.look().await;
        self.give_up().await;
    }

    async fn look(&mut self) {
        match self.step().await {
            Ok(stepped) => measure(stepped),
            Err(error) => {
                metrics::gauge!("strongroom_log_leader").set(0.0);
                metrics::counter!("strongroom_log_failures_total").increment(1);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the log was not brought up to date; the next look tries again"
                );
            }
        }
        let now = self.clock.now();
        metrics::gauge!("strongroom_log_lag_seconds").set(now.since(self.current_at).as_secs_f64());
        let age = self.held.as_ref().map_or(Duration::ZERO, |held| held.signing.age(now));
        metrics::gauge!("strongroom_log_key_age_seconds").set(age.as_secs_f64());
    }

    /// Takes in what waits and publishes a checkpoint. After an error it begins from what the database holds.
    pub async fn step(&mut self) -> Result<Stepped, StepError> {
        if let Some(refusal) = self.refused {
            return Ok(Stepped::Refused(refusal));
        }
        let result = self.try_step().await;
        match &result {
            Ok(Stepped::Refused(refusal)) => {
                self.refused = Some(*refusal);
                tracing::error!(%refusal, "the audit log is not signed any more: a person must look");
                metrics::gauge!("strongroom_log_refused").set(1.0);
                self.give_up().await;
            }
            Err(_) => self.held = None,
            Ok(_) => self.current_at = self.clock.now(),
        }
        result
    }

    async fn try_step(&mut self) -> Result<Stepped, StepError> {
        if self.held.is_none() {
            match self.take_over().await? {
                Ok(None) => return Ok(Stepped::Waiting),
                Ok(held) => self.held = held,
                Err(refusal) => return Ok(Stepped::Refused(refusal)),
            }
        }
        // Before entries are read: the one that says who asked for a successor is then in the tree it is handed over at.
        let successor = self.successor().await?;
        let mut entries = 0;
        loop {
            let waiting = self.store.unsequenced(ENTRIES_MAX).await?;
            if waiting.iter().any(|entry| entry.leaf.as_bytes().len() > Leaf::BYTES_MAX) {
                return Ok(Stepped::Refused(Refusal::Oversized));
            }
            let full = waiting.len() == ENTRIES_MAX as usize;
            let Some(taken) = self.take_in(waiting).await? else {
                self.held = None; // overtaken
                return Ok(Stepped::Waiting);
            };
            entries += taken;
            if !full {
                break;
            }
        }
        let size = self.publish(successor).await?;
        Ok(Stepped::Sequenced { entries, size })
    }

    /// Takes the lease if it is free. If nothing can be signed under it, it is given up at once: another replica may see what
    /// this one does not. What was exported is asked before: storage may take longer to answer than a lease lasts, and what it
    /// held then is no more than the head that is read later.
    async fn take_over(&self) -> Result<Result<Option<Held>, Refusal>, StepError> {
        if !self.store.lease_is_free(self.holder, self.clock.now()).await? {
            return Ok(Ok(None));
        }
        let exported = self.exported().await?;
        let now = self.clock.now();
        let Some(lease) = self.store.take_lease(self.holder, now, now.plus(LEASE)).await? else {
            return Ok(Ok(None));
        };
        let past = Timestamp::from_unix_micros(0);
        match self.judge(lease, exported).await {
            Ok(Ok(held)) => Ok(Ok(Some(held))),
            // Only while nobody else had the lease is what was read one state of the log.
            Ok(Err(refusal)) if self.store.keep_lease(lease, past).await? => Ok(Err(refusal)),
            Ok(Err(_)) => Ok(Ok(None)),
            Err(error) => {
                // If it cannot be said, the lease ends by itself.
                let _ = self.store.keep_lease(lease, past).await;
                Err(error)
            }
        }
    }

    /// Storage that does not answer is no reason to sign: what it holds is not known.
    async fn exported(&self) -> Result<Exported, StepError> {
        let in_folder = self.folder.as_ref().map(LogFolder::newest).transpose();
        let in_folder = in_folder.map_err(ExportError::from)?.flatten();
        let in_bucket = match &self.bucket {
            Some((bucket, _)) => bucket.newest().await.map_err(ExportError::from)?,
            None => None,
        };
        Ok(Exported { in_folder, in_bucket: in_bucket.map(|newest| newest.note) })
    }

    /// Proves that the tree continues what was published.
    async fn judge(&self, lease: Lease, exported: Exported) -> Result<Result<Held, Refusal>, StepError> {
        let head = self.store.log_head().await?;
        let tree = tree_of(&*self.store, head.size).await?.filter(|tree| tree.root() == head.root);
        let Some(tree) = tree else { return Ok(Err(Refusal::Tiles)) };
        let signing = match Signing::now(&*self.store, &*self.signers, &self.origin).await {
            Ok(signing) => signing,
            Err(SigningError::Keys(bad)) => return Ok(Err(Refusal::Keys(bad))),
            Err(error) => return Err(error.into()),
        };
        let kept = self.store.newest_checkpoint().await?.map(|kept| kept.note);
        let opened = |note: Option<String>| note.map(|note| signing.keys.open(&note)).transpose();
        let notes = (opened(kept), opened(exported.in_folder), opened(exported.in_bucket));
        let (kept, in_folder, in_bucket) = match notes {
            (Ok(kept), Ok(in_folder), Ok(in_bucket)) => (kept, in_folder, in_bucket),
            (Err(bad), _, _) | (_, Err(bad), _) | (_, _, Err(bad)) => return Ok(Err(Refusal::Foreign(bad))),
        };
        for checkpoint in kept.iter().chain(&in_folder).chain(&in_bucket) {
            if let Some(refusal) = self.contradiction(&tree, checkpoint).await? {
                return Ok(Err(refusal));
            }
        }
        let published = match &self.folder {
            Some(_) => in_folder.map_or(0, |checkpoint| checkpoint.size),
            None => kept.map_or(0, |checkpoint| checkpoint.size),
        };
        Ok(Ok(Held { lease, tree, signing, published }))
    }

    /// How the database's tree contradicts a checkpoint that was published, if it does.
    async fn contradiction(
        &self,
        tree: &Tree,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Refusal>, StepError> {
        if checkpoint.size > tree.size() {
            return Ok(Some(Refusal::RolledBack));
        }
        let then = tree_of(&*self.store, checkpoint.size).await?;
        Ok((then.map(|tree| tree.root()) != Some(checkpoint.root)).then_some(Refusal::Forked))
    }

    /// Extends the tree by these entries. None: somebody else has the lease.
    async fn take_in(&mut self, waiting: Vec<StoredEntry>) -> Result<Option<u64>, StepError> {
        let Some(held) = &mut self.held else { return Ok(None) };
        let until = self.clock.now().plus(LEASE);
        if waiting.is_empty() {
            return Ok(self.store.keep_lease(held.lease, until).await?.then_some(0));
        }
        let mut tree = held.tree.clone();
        let from = tree.size();
        let tiles = tree.append(waiting.iter().map(|entry| Hash::of_leaf(entry.leaf.as_bytes())));
        let head = LogHead { size: tree.size(), root: tree.root() };
        let extension = Extension { from, head, runs: runs(from, &waiting), tiles };
        if !self.store.extend(held.lease, &extension, until).await? {
            return Ok(None);
        }
        held.tree = tree;
        Ok(Some(waiting.len() as u64))
    }

    /// The data key to hand over to, if there is one.
    async fn successor(&self) -> Result<Option<DataKeyId>, StepError> {
        let Some(held) = &self.held else { return Ok(None) };
        if self.clock.now() < self.no_successor_until {
            return Ok(None);
        }
        let due = self.signers.due().await?;
        Ok(held.signing.gives_way_to(due).then_some(due))
    }

    /// Signs the tree as it is, keeps the checkpoint and exports it, unless that was done. What is exported is what is kept:
    /// there is one checkpoint of each size, whoever signed it.
    async fn publish(&mut self, successor: Option<DataKeyId>) -> Result<u64, StepError> {
        let Some(held) = &self.held else { return Ok(0) };
        let size = held.tree.size();
        if size == held.published {
            return Ok(size);
        }
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root: held.tree.root() };
        if let Some(successor) = successor {
            self.hand_over(&checkpoint, successor).await?;
        }
        let Some(held) = &mut self.held else { return Ok(0) };
        let note = checkpoint.sign(&held.signing.signer);
        let kept = KeptCheckpoint { size, note, signed_at: self.clock.now() };
        let note = self.store.keep_checkpoint(&kept).await?;
        let keys = &held.signing.keys;
        if let Some(folder) = &self.folder {
            folder.bring_up(&*self.store, held.published, &checkpoint, &note, keys).await?;
        }
        if let Some((_, tell)) = &self.bucket {
            let key = keys.newest().clone();
            tell.send_replace(Some(Published { checkpoint, note, key }));
        }
        held.published = size;
        Ok(size)
    }

    /// Makes a successor the key that signs after this checkpoint, which both sign. If that cannot be, the key before signs it.
    async fn hand_over(&mut self, checkpoint: &Checkpoint, successor: DataKeyId) -> Result<(), StepError> {
        let signer = match self.signers.signer(successor).await {
            Ok(signer) => signer,
            Err(error) => {
                self.no_successor_until = self.clock.now().plus(SUCCESSOR_PAUSE);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the log's key was not handed over: its successor cannot be had; the key before signs meanwhile"
                );
                return Ok(());
            }
        };
        let Some(held) = self.held.take() else { return Ok(()) };
        let now = self.clock.now();
        let made = held.signing.hand_over(checkpoint, successor, &signer, now);
        let is_made = self.store.hand_over(held.lease, &made, now.plus(LEASE)).await?;
        let signing = if is_made { held.signing.handed_over(&made, signer)? } else { held.signing };
        if is_made {
            metrics::counter!("strongroom_log_hand_overs_total").increment(1);
            let (log_key, size) = (signing.keys.newest(), made.size);
            tracing::info!(%log_key, size, "the log's key was handed over: later checkpoints are signed with this one");
        }
        self.held = Some(Held { signing, ..held });
        Ok(())
    }

    /// Lets another replica take the lease at once.
    async fn give_up(&mut self) {
        if let Some(held) = self.held.take() {
            // If it cannot be said, the lease ends by itself.
            let _ = self.store.keep_lease(held.lease, Timestamp::from_unix_micros(0)).await;
        }
    }
}

/// Which entries stand where. A number that is missing ends a run: the hole stays visible.
fn runs(from: u64, entries: &[StoredEntry]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, entry) in (from..).zip(entries) {
        match runs.last_mut() {
            Some(run) if run.first.boot == entry.id.boot && run.first.seq + run.entries == entry.id.seq => {
                run.entries += 1;
            }
            _ => runs.push(Run { index, first: entry.id, entries: 1 }),
        }
    }
    runs
}

#[expect(clippy::cast_precision_loss, reason = "a count of entries is far below 2^52")]
fn measure(stepped: Stepped) {
    match stepped {
        Stepped::Sequenced { entries, size } => {
            metrics::counter!("strongroom_log_entries_total").increment(entries);
            metrics::gauge!("strongroom_log_size").set(size as f64);
            metrics::gauge!("strongroom_log_leader").set(1.0);
        }
        Stepped::Waiting | Stepped::Refused(_) => metrics::gauge!("strongroom_log_leader").set(0.0),
    }
}
