//! Follows the log and keeps its index: one replica at a time, behind the sequencer, apart from every request.
//!
//! Promises: the index holds every entry of the tree up to the place it says, and no transaction of it holds the
//! database for long: requests come first.
//! Does not promise: that an entry can be found in the second it was written.
//! Upholds: C-58.

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{BootId, Clock, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Leaf, Seen};
use crate::store::find::{Follower, Following, IndexRow};
use crate::store::{Store, StoreError};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lease lasts unless it is held longer: takeover after a crash.
const LEASE: Duration = Duration::from_secs(30);
/// A lease is held longer once no more than this is left of it: an idle index writes four times a minute.
const RENEWED_BEFORE: Duration = Duration::from_secs(15);
/// Entries of one transaction: some five milliseconds.
const BATCH: u32 = 256;
/// Between two transactions while much is behind: whoever commits cards takes its turn.
const PAUSE: Duration = Duration::from_millis(10);

/// What one look did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indexed {
    /// Somebody else has the lease.
    Waiting,
    /// Up to here, and entries of the log that are not in yet.
    UpTo {
        /// The first place that is not indexed.
        place: u64,
        /// How many wait.
        behind: u64,
    },
}

/// One replica's indexer.
pub struct Indexer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    holder: BootId,
    held: Option<(Following, Timestamp)>,
}

impl Indexer {
    /// An indexer that holds nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, holder: BootId) -> Self {
        Self { store, clock, holder, held: None }
    }

    /// Looks until `stop`, then gives the lease up.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            while self.look().await && !stop.is_cancelled() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if let Some((following, _)) = self.held.take() {
            // If it cannot be said, the lease ends by itself.
            let past = Timestamp::from_unix_micros(0);
            let _ = self.store.index().go_on(Follower::Find, following, following.next, past).await;
        }
    }

    /// One step, told. Gives whether more waits.
    async fn look(&mut self) -> bool {
        match self.step().await {
            Ok(Indexed::Waiting) => {
                // Another replica's to say.
                metrics::gauge!("strongroom_log_index_behind").set(0.0);
                false
            }
            Ok(Indexed::UpTo { behind, .. }) => {
                #[expect(clippy::cast_precision_loss, reason = "a count of entries is far below 2^52")]
                metrics::gauge!("strongroom_log_index_behind").set(behind as f64);
                behind > 0
            }
            Err(error) => {
                metrics::counter!("strongroom_log_index_failures_total").increment(1);
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "the log's index was not brought up to date; the next look tries again"
                );
                false
            }
        }
    }

    /// Takes in what comes next, at most one batch. After an error it begins from what the database holds.
    pub async fn step(&mut self) -> Result<Indexed, StoreError> {
        let result = self.try_step().await;
        if !matches!(result, Ok(Indexed::UpTo { .. })) {
            self.held = None;
        }
        result
    }

    async fn try_step(&mut self) -> Result<Indexed, StoreError> {
        let now = self.clock.now();
        let until = now.plus(LEASE);
        let (following, ends) = match self.held {
            Some(held) => held,
            None => match self.store.index().follow(Follower::Find, self.holder, now, until).await? {
                Some(following) => (following, until),
                None => return Ok(Indexed::Waiting),
            },
        };
        let size = self.store.log_head().await?.size;
        let next = size.min(following.next.saturating_add(u64::from(BATCH))).max(following.next);
        let (went_on, ends) = if next > following.next {
            let rows = self.rows(following.next, next).await?;
            (self.store.index().index_entries(following, next, &rows, until).await?, until)
        } else if ends <= now.plus(RENEWED_BEFORE) {
            (self.store.index().go_on(Follower::Find, following, next, until).await?, until)
        } else {
            (true, ends)
        };
        if !went_on {
            return Ok(Indexed::Waiting);
        }
        self.held = Some((Following { next, ..following }, ends));
        Ok(Indexed::UpTo { place: next, behind: size.saturating_sub(next) })
    }

    async fn rows(&self, from: u64, to: u64) -> Result<Vec<IndexRow>, StoreError> {
        let count = u32::try_from(to.saturating_sub(from)).unwrap_or(BATCH);
        let entries = self.store.logged(from, count).await?;
        Ok(entries.iter().map(|(place, leaf)| row_of(*place, leaf)).collect())
    }
}

/// What the index keeps of an entry. Bytes that are no entry are found by the verb `-`.
#[must_use]
pub fn row_of(place: u64, leaf: &Leaf) -> IndexRow {
    let Some(seen) = Seen::of(leaf) else {
        return IndexRow {
            place,
            at: Timestamp::from_unix_micros(0),
            verb: "-".into(),
            outcome: "failure".into(),
            caller: "-".into(),
            proxy: None,
            route: None,
            tenant: None,
            cards: Vec::new(),
            released: false,
        };
    };
    IndexRow {
        place,
        at: seen.ts,
        cards: seen.tokens().collect(),
        released: seen.released(),
        verb: seen.evt,
        outcome: seen.out,
        caller: seen.actor.id,
        proxy: seen.asserted_by,
        route: seen.dst.map(|dst| dst.route_id),
        tenant: seen.obj.tenant,
    }
}
