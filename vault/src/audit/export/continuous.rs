//! The export to object storage, apart from the sequencer: storage that is slow or away delays no checkpoint.
//!
//! Promises: whatever the sequencer published is exported as soon as the storage takes it; how far behind that is is a metric.
//! Nothing is written over a checkpoint that the database's tree does not continue.
//! Upholds: C-56, C-57.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strongroom_domain::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::bucket::{BucketError, LogBucket};
use super::{ExportError, tree_of};
use crate::audit::checkpoint::{Checkpoint, LogKey};
use crate::audit::hand_over::LogKeys;
use crate::store::Store;

/// How often storage that failed is tried again, and how far behind it is told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the last export of a process that ends may take.
const LAST_TIME_MAX: Duration = Duration::from_secs(20);

/// A checkpoint that was signed and kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: String,
    /// The key that signs since, or that signed it.
    pub key: LogKey,
}

/// Why an export to a bucket did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BucketExportError {
    /// The storage or the database; the next look tries again.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What is in the bucket is another log, or another past of this one.
    #[error("the checkpoint in the bucket is not one of this log's past: a person must look")]
    Contradicted,
}

/// One replica's export. It works while this replica sequences.
pub struct BucketExport {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    bucket: Arc<LogBucket>,
    published: watch::Receiver<Option<Published>>,
    /// Size of the newest checkpoint known to be in the bucket.
    exported: u64,
    /// How many files of the history are known to be there.
    history: AtomicU64,
    /// Since when it is behind.
    behind_since: Option<Timestamp>,
}

impl BucketExport {
    /// An export that knows nothing of the bucket yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        bucket: Arc<LogBucket>,
        published: watch::Receiver<Option<Published>>,
    ) -> Self {
        Self { store, clock, bucket, published, exported: 0, history: AtomicU64::new(0), behind_since: None }
    }

    /// What was published last.
    #[must_use]
    pub fn newest(&self) -> Option<Published> {
        self.published.borrow().clone()
    }

    /// Exports until `stop`, then once more. An export that runs then ends at once: the last begins from the checkpoint that is there.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let _ = stop.run_until_cancelled(self.look()).await;
        }
        if tokio::time::timeout(LAST_TIME_MAX, self.look()).await.is_err() {
            tracing::warn!("the end of the log was not exported to object storage: it takes too long");
        }
    }

    async fn look(&mut self) {
        let newest = self.published.borrow_and_update().clone();
        let behind = newest.filter(|published| published.checkpoint.size != self.exported);
        match behind {
            None => self.behind_since = None,
            Some(published) => {
                self.behind_since.get_or_insert(self.clock.now());
                self.try_export(&published).await;
            }
        }
        let lag = self.behind_since.map_or(Duration::ZERO, |since| self.clock.now().since(since));
        metrics::gauge!("strongroom_log_bucket_lag_seconds").set(lag.as_secs_f64());
    }

    async fn try_export(&mut self, published: &Published) {
        match self.export(published).await {
            Ok(size) => {
                self.exported = size;
                // Overtaken, it is behind still.
                if size >= published.checkpoint.size {
                    self.behind_since = None;
                }
                metrics::gauge!("strongroom_log_bucket_refused").set(0.0);
                #[expect(clippy::cast_precision_loss, reason = "a count of entries is far below 2^52")]
                metrics::gauge!("strongroom_log_bucket_size").set(size as f64);
            }
            Err(error) => {
                metrics::counter!("strongroom_log_bucket_failures_total").increment(1);
                let told = &error as &dyn std::error::Error;
                if matches!(error, BucketExportError::Contradicted) {
                    metrics::gauge!("strongroom_log_bucket_refused").set(1.0);
                    tracing::error!(
                        error = told,
                        "nothing is exported to object storage: a person must look (vault/docs/audit-log.md)"
                    );
                } else {
                    tracing::warn!(
                        error = told,
                        "the log was not exported to object storage; the next look tries again"
                    );
                }
            }
        }
    }

    /// Brings the bucket up to a checkpoint. Gives the size of the one published, which is then there or overtaken.
    pub async fn export(&self, published: &Published) -> Result<u64, BucketExportError> {
        let size = published.checkpoint.size;
        let newest = self.bucket.newest().await.map_err(ExportError::from)?;
        // After the bucket: another replica may have handed the key over meanwhile.
        let kept = self.store.hand_overs().await.map_err(ExportError::from)?;
        let notes: Vec<&str> = kept.iter().map(|made| made.note.as_str()).collect();
        let keys = LogKeys::follow(&published.key, &notes).map_err(|_| BucketExportError::Contradicted)?;
        let mut from = 0;
        if let Some(newest) = &newest {
            let known = keys.open(&newest.note).map_err(|_| BucketExportError::Contradicted)?;
            let then = tree_of(&*self.store, known.size).await.map_err(ExportError::from)?;
            if then.map(|tree| tree.root()) != Some(known.root) {
                return Err(BucketExportError::Contradicted);
            }
            if known.size >= size {
                self.keep_history(known.size).await?;
                return Ok(size);
            }
            from = known.size;
        }
        let (checkpoint, note) = (&published.checkpoint, &published.note);
        match self.bucket.bring_up(&*self.store, newest.as_ref(), from, checkpoint, note, &keys).await {
            // Another replica took over and was faster: what it wrote is judged at the next look.
            Err(ExportError::Bucket(BucketError::Overtaken)) => Ok(from),
            Err(error) => Err(error.into()),
            Ok(()) => {
                self.keep_history(size).await?;
                Ok(size)
            }
        }
    }

    async fn keep_history(&self, size: u64) -> Result<(), ExportError> {
        let known = self.history.load(Ordering::Relaxed);
        let there = self.bucket.keep_history(&*self.store, known, size).await?;
        self.history.fetch_max(there, Ordering::Relaxed);
        Ok(())
    }
}
