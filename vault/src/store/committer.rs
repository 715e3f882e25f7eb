//! Writes meet here: requests in flight while a commit runs join the next one (design §9).
//!
//! One task owns the writing connection. It takes whatever waits, makes it one transaction of few statements, numbers
//! and authenticates the audit entries of what really happened, commits, and answers each request for itself. There is
//! no timer: an idle committer commits a lone request at once.
//!
//! Promises: what is answered `Done` is durable, with its entries. Entry numbers of a boot have no gap and no number
//! stands for two entries, whatever broke when: if a commit's answer was lost, the task finds out before it goes on.
//! An event is told of in the transaction of its change, or not at all.
//! A request that is refused does not fail its neighbours. A request nobody waits for any more is not begun.
//! Does not promise: that a request answered `Unavailable` did not happen, if the connection broke during COMMIT.
//! Upholds: C-04, C-07, C-22, C-32.

mod round;
mod task;
mod uses;

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{BootId, Clock, DataKeyId};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::round::Item;
use self::task::Task;
use super::Store;
use super::change::{Change, CommitError, Committed};
use super::error::{StoreError, WriteError};
use super::outbox::Outbox;
use super::rows::BootRow;
use crate::audit::{Draft, EntryId, EntryMac, Event, InstanceId, KeyRef, Leaf, Object, Outcome};

/// Most requests that wait: at the slowest disk seen (2,000 rows/s) about two seconds of work; more would time out
/// in the queue anyway. About 8 MiB.
const QUEUE_MAX: usize = 4_096;
/// Most requests of one transaction: beyond it rows are no cheaper, and all wait for the last (`recv_many(512)` was
/// measured best).
const BATCH_MAX: usize = 512;
/// Most cards of one transaction, whatever the number of requests: a few tens of milliseconds that all wait for.
const ROWS_MAX: usize = 4_096;
/// Most cards that wait inside batches: as many seconds of work as the queue has for single ones. About 16 MiB.
const BATCHED_MAX: usize = 16_384;
/// A request that waited longer is answered `Unavailable` and not begun: its caller has given up or is about to.
const WAIT_TIME_MAX: Duration = Duration::from_secs(5);

/// Who writes the log: what numbers and MACs belong to.
#[derive(Clone, Debug)]
pub struct LogIdentity {
    /// This instance, as configured.
    pub instance: InstanceId,
    /// This start of it. Never used twice.
    pub boot: BootId,
    /// The MAC of this boot.
    pub mac: EntryMac,
    /// The `audit-signing` data key the MAC derives from.
    pub mac_key: DataKeyId,
}

/// Why a committer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store gave no answer.
    #[error("the store is not available to begin the audit log")]
    Store(#[from] StoreError),
    /// The first entry was not accepted.
    #[error("the audit log's first entry was not written")]
    Write(#[from] WriteError),
}

/// A handle to the one task that writes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<Item>,
    /// Room for the cards of batches; single ones are bounded by the queue.
    room: Arc<Semaphore>,
}

/// The task itself.
#[derive(Debug)]
pub struct CommitterTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Committer {
    /// Writes `audit.start` and begins to take changes. Nobody is told of them.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        identity: LogIdentity,
    ) -> Result<(Self, CommitterTask), StartError> {
        Self::start_telling(store, clock, identity, Outbox::default()).await
    }

    /// The same, with events for these destinations in the transactions of their changes.
    pub async fn start_telling(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        identity: LogIdentity,
        outbox: Outbox,
    ) -> Result<(Self, CommitterTask), StartError> {
        let mut writer = store.writer().await?;
        let previous = store.last_boot(&identity.instance).await?;
        let now = clock.now();
        let id = EntryId { boot: identity.boot, seq: 0 };
        let first = Leaf::seal(
            &first_entry(now, &identity, previous.as_ref()),
            &identity.instance,
            id,
            &identity.mac,
        );
        let boot = BootRow {
            boot: identity.boot,
            instance: identity.instance.clone(),
            mac_key: identity.mac_key,
            started_at: now,
            written_at: now,
            next_seq: 1,
        };
        writer.open_boot(&boot, &first).await?;
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let stop = CancellationToken::new();
        let task = Task::new(store, clock, identity, outbox, writer, waiting, stop.clone());
        let room = Arc::new(Semaphore::new(BATCHED_MAX));
        Ok((Self { queue, room }, CommitterTask { stop, task: tokio::spawn(task.run()) }))
    }

    /// Commits one change with its audit entries. When this returns `Ok`, what it says is durable.
    pub async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        if change.entries().is_empty() {
            return Err(CommitError::Refused);
        }
        // Given back when the answer is there.
        let _room = match change.weight() {
            1 => None,
            weight => Some(self.room(weight)?),
        };
        let (reply, answer) = oneshot::channel();
        let item = Item::new(change, reply, Instant::now());
        self.queue.try_send(item).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommitError::Full,
            mpsc::error::TrySendError::Closed(_) => CommitError::Unavailable,
        })?;
        answer.await.unwrap_or(Err(CommitError::Unavailable))
    }

    fn room(&self, weight: usize) -> Result<SemaphorePermit<'_>, CommitError> {
        let weight = u32::try_from(weight).map_err(|_| CommitError::Refused)?;
        self.room.try_acquire_many(weight).map_err(|_| CommitError::Full)
    }

    /// Waits until the task has ended: after [`CommitterTask::stop`], or because the store does not hold what this
    /// process wrote. Nothing can be committed then; the process should end.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Whether changes are taken.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }
}

impl CommitterTask {
    /// Takes no more changes, commits those that wait, writes `audit.stop`, ends.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.task.await.is_err() {
            tracing::error!("the committer ended with a defect");
        }
    }
}

/// `audit.start`: names the key of its MACs, and how many entries the boot before it wrote, so that a cut tail shows.
fn first_entry(
    now: strongroom_domain::Timestamp,
    identity: &LogIdentity,
    previous: Option<&BootRow>,
) -> Draft {
    let object = previous.map_or(Object::Log, |previous| Object::Boot(previous.boot));
    let draft = Draft::by_service(now, Event::AuditStart, Outcome::Success, object)
        .with_key(KeyRef::of(identity.mac_key));
    match previous {
        Some(previous) => draft.counting(previous.next_seq),
        None => draft,
    }
}
