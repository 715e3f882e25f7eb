//! Telling the vault how forwards ended, off the caller's path.
//!
//! Promises: an answer never waits for this, and a vault that is down never turns a paid charge into an error.
//! Does not promise: that every outcome arrives. One that waited too long, found the queue full, or was lost in a crash
//! stays open at the vault, which closes it as `unknown`.
//! Upholds: C-19.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use strongroom_domain::ForwardId;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::measure;
use crate::vault::{OutcomeReport, RecordError, VaultClient};

/// Outcomes waiting. At 200 forwards a second this bridges more than a minute without a vault; each takes under 300 B.
const QUEUE_MAX: usize = 16 * 1024;
/// Outcomes being recorded at once: bounds the connections this takes from the vault.
const AT_ONCE_MAX: usize = 16;
/// How long one outcome is tried. The vault closes forwards without one by itself.
const TRIED_MAX: Duration = Duration::from_secs(600);
/// First and longest pause between tries.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Where outcomes are left. Cheap to clone.
#[derive(Clone)]
pub struct OutcomeQueue(mpsc::Sender<Ending>);

struct Ending {
    id: ForwardId,
    report: OutcomeReport,
}

/// The other end of an [`OutcomeQueue`].
pub struct OutcomeRecorder {
    waiting: mpsc::Receiver<Ending>,
    vault: Arc<VaultClient>,
}

/// A queue and its recorder.
#[must_use]
pub fn queue(vault: Arc<VaultClient>) -> (OutcomeQueue, OutcomeRecorder) {
    let (sender, waiting) = mpsc::channel(QUEUE_MAX);
    (OutcomeQueue(sender), OutcomeRecorder { waiting, vault })
}

impl OutcomeQueue {
    /// Leaves an outcome to be recorded. Never waits.
    pub fn push(&self, id: ForwardId, report: OutcomeReport) {
        if self.0.try_send(Ending { id, report }).is_err() {
            measure::outcome_lost("queue-full");
            tracing::error!(forward = %id, "outcome dropped: the queue is full; the vault will call it unknown");
        }
        measure::outcomes_waiting(self.0.max_capacity() - self.0.capacity());
    }
}

impl OutcomeRecorder {
    /// Records until every [`OutcomeQueue`] is gone and all is told, or until `give_up`.
    pub async fn run(mut self, give_up: CancellationToken) {
        let slots = Arc::new(Semaphore::new(AT_ONCE_MAX));
        let tasks = TaskTracker::new();
        while let Some(Ok(slot)) = give_up.run_until_cancelled(slots.clone().acquire_owned()).await {
            let Some(Some(ending)) = give_up.run_until_cancelled(self.waiting.recv()).await else { break };
            measure::outcomes_waiting(self.waiting.len());
            let vault = self.vault.clone();
            tasks.spawn(async move {
                record(&vault, ending).await;
                drop(slot);
            });
        }
        tasks.close();
        let _ = give_up.run_until_cancelled(tasks.wait()).await;
        let left = self.waiting.len() + tasks.len();
        if left > 0 {
            tracing::error!(
                outcomes = left,
                "stopping with outcomes untold; the vault will call them unknown"
            );
        }
    }
}

async fn record(vault: &VaultClient, mut ending: Ending) {
    let began = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        match vault.record(ending.id, &ending.report).await {
            Ok(()) => return,
            // A vault of the release before knows no timings; the outcome itself matters more.
            Err(RecordError::Refused(StatusCode::BAD_REQUEST)) if ending.report.timings.take().is_some() => {}
            Err(RecordError::Refused(status)) => {
                measure::outcome_lost("refused");
                tracing::error!(forward = %ending.id, status = status.as_u16(), "the vault refused an outcome");
                return;
            }
            Err(RecordError::Later) if began.elapsed() + pause < TRIED_MAX => {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(RecordError::Later) => {
                measure::outcome_lost("too-late");
                tracing::error!(forward = %ending.id, "outcome given up; the vault will call it unknown");
                return;
            }
        }
    }
}
