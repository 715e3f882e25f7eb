//! Following the log: one replica at a time goes on from a place in the store, behind the sequencer, apart from every request.
//!
//! Promises: whoever holds no lease does nothing; the lease is held longer before anything is done; the place goes on only once what lies
//! before it was dealt with, so after an error, a crash or another's takeover the same entries come again.
//! Does not promise: that entries come once.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_domain::{BootId, Clock, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::find::{Follower, Following};
use crate::store::{Store, StoreError};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lease lasts unless it is held longer: takeover after a crash.
const LEASE: Duration = Duration::from_secs(30);
/// A lease is held longer once no more than this is left of it: whoever is idle writes four times a minute.
const RENEWED_BEFORE: Duration = Duration::from_secs(15);
/// Between two steps while much is behind: whoever commits cards takes its turn.
const PAUSE: Duration = Duration::from_millis(10);

/// Entries to deal with: from the place that is reached up to `next`.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// The right to, and the place that is reached.
    pub(crate) following: Following,
    /// The first place that is not to be dealt with now.
    pub(crate) next: u64,
    /// When it is.
    pub(crate) now: Timestamp,
    /// Until when the lease is to last.
    pub(crate) until: Timestamp,
}

/// What became of a span.
pub(crate) struct Dealt {
    /// How many things came of it.
    pub(crate) found: u64,
    /// Whether the place was written with it, and whether that could be; none if it is to be written now.
    pub(crate) went_on: Option<bool>,
}

/// What is done with entries.
#[async_trait]
pub(crate) trait Consumer: Send {
    /// Why a span was not dealt with.
    type Error: From<StoreError> + Error + Send + Sync + 'static;
    /// Whose place it is.
    const FOLLOWER: Follower;
    /// Most entries of one step.
    const BATCH: u64;
    /// The gauge of entries that wait.
    const BEHIND: &'static str;
    /// The counter of steps that failed.
    const FAILURES: &'static str;

    /// How far it may go.
    async fn size(&self) -> Result<u64, StoreError>;

    /// The lease was taken: begins with what is read back from the log.
    async fn take_over(&mut self, following: Following, now: Timestamp) -> Result<(), Self::Error>;

    /// Deals with a span; also with one that is empty.
    async fn deal(&mut self, span: Span) -> Result<Dealt, Self::Error>;
}

/// What a step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Followed {
    /// Somebody else has the lease.
    Waiting,
    /// Everything up to here was dealt with.
    UpTo {
        /// The first place that was not.
        place: u64,
        /// How many entries wait.
        behind: u64,
        /// How many things came of this step.
        found: u64,
    },
}

/// One replica's follower.
pub(crate) struct Follow<C> {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    holder: BootId,
    held: Option<(Following, Timestamp)>,
    pub(crate) consumer: C,
}

impl<C: Consumer> Follow<C> {
    /// A follower that holds nothing yet.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, holder: BootId, consumer: C) -> Self {
        Self { store, clock, holder, held: None, consumer }
    }

    /// Looks until `stop`, then gives the lease up.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
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
            let _ = self.store.index().go_on(C::FOLLOWER, following, following.next, past).await;
        }
    }

    /// One step, told. Gives whether more waits.
    async fn look(&mut self) -> bool {
        match self.step().await {
            Ok(Followed::Waiting) => {
                // Another replica's to say.
                metrics::gauge!(C::BEHIND).set(0.0);
                false
            }
            Ok(Followed::UpTo { behind, .. }) => {
                #[expect(clippy::cast_precision_loss, reason = "a count of entries is far below 2^52")]
                metrics::gauge!(C::BEHIND).set(behind as f64);
                behind > 0
            }
            Err(error) => {
                metrics::counter!(C::FAILURES).increment(1);
                let (error, follower) = (&error as &dyn Error, C::FOLLOWER.as_str());
                tracing::warn!(
                    error,
                    follower,
                    "the log was not followed up to its end; the next look tries again"
                );
                false
            }
        }
    }

    /// Deals with what comes next, at most one batch. After an error it begins from what the database holds.
    pub(crate) async fn step(&mut self) -> Result<Followed, C::Error> {
        let result = self.try_step().await;
        if !matches!(result, Ok(Followed::UpTo { .. })) {
            self.held = None;
        }
        result
    }

    async fn try_step(&mut self) -> Result<Followed, C::Error> {
        let now = self.clock.now();
        let until = now.plus(LEASE);
        let index = self.store.index();
        let (following, mut ends) = match self.held {
            Some(held) => held,
            None => {
                let taken = index.follow(C::FOLLOWER, self.holder, now, until).await?;
                let Some(following) = taken else { return Ok(Followed::Waiting) };
                self.consumer.take_over(following, now).await?;
                (following, until)
            }
        };
        let from = following.next;
        // Before anything is done: whoever slept does nothing.
        if ends <= now.plus(RENEWED_BEFORE) {
            if !index.go_on(C::FOLLOWER, following, from, until).await? {
                return Ok(Followed::Waiting);
            }
            ends = until;
        }
        let size = self.consumer.size().await?;
        let next = size.min(from.saturating_add(C::BATCH)).max(from);
        let Dealt { found, went_on } = self.consumer.deal(Span { following, next, now, until }).await?;
        if next > from {
            let went_on = match went_on {
                Some(went_on) => went_on,
                None => index.go_on(C::FOLLOWER, following, next, until).await?,
            };
            if !went_on {
                return Ok(Followed::Waiting);
            }
            ends = until;
        }
        self.held = Some((Following { next, ..following }, ends));
        Ok(Followed::UpTo { place: next, behind: size.saturating_sub(next), found })
    }
}
