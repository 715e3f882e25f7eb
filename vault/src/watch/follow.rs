//! One replica's watcher: goes on along the log, asks each rule, writes what was found.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_domain::{BootId, Clock, Timestamp};
use tokio_util::sync::CancellationToken;

use super::config::WatchConfig;
use super::known::Known;
use super::reviews::Minded;
use super::rules::Hit;
use super::state::State;
use super::stream::FindingsFile;
use super::suspend::Suspend;
use super::syslog::Urgent;
use crate::audit::{Event, ReceiptId, Receipts, Seen};
use crate::follow::{Consumer, Dealt, Follow, Followed, Span};
use crate::store::find::{EntryFilter, EntryRange, Follower, Following, LEAVES_READ_MAX};
use crate::store::{Change, CommitError, Committer, Store, StoreError};

/// Entries read back when the lease is taken, so that counts go on.
const LOOKED_BACK: u64 = 8_192;
/// Entries older than this teach the rules what is usual and are no finding any more: a log that was there before the rules.
const OLD: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long an entry may wait for the signed log.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Why a step did not come to its end. The next one looks at the same entries again.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A finding could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The file of findings could not be written.
    #[error("the file of findings cannot be written: {0}")]
    File(#[from] std::io::Error),
    /// Whom a rule found could not be suspended.
    #[error("a workload could not be suspended: {0}")]
    Suspend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl WatchError {
    /// Of whoever suspends.
    pub fn suspending(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Suspend(Box::new(error))
    }
}

/// One replica's watcher.
pub struct Watcher(pub(super) Follow<Rules>);

impl Watcher {
    /// A watcher that holds nothing yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        committer: Committer,
        clock: Arc<dyn Clock>,
        holder: BootId,
        config: WatchConfig,
        file: Option<FindingsFile>,
    ) -> Self {
        let rules = Rules {
            store: Arc::clone(&store),
            committer,
            state: State::new(config.clone()),
            known: Known::default(),
            config,
            file,
            suspender: None,
            urgent: None,
            reviews: None,
            stalled: false,
            unwritten: Vec::new(),
        };
        Self(Follow::new(store, clock, holder, rules))
    }

    /// The same, suspending by it whom rules find that are configured to.
    #[must_use]
    pub fn suspending(mut self, suspender: Arc<dyn Suspend>) -> Self {
        self.0.consumer.suspender = Some(suspender);
        self
    }

    /// The same, sending by it what cannot wait for the log.
    #[must_use]
    pub fn urging(mut self, urgent: Urgent) -> Self {
        self.0.consumer.urgent = Some(urgent);
        self
    }

    /// Looks until `stop`, then gives the lease up.
    pub async fn run(self, stop: CancellationToken) {
        self.0.run(stop).await;
    }

    /// Looks at what comes next, at most one batch.
    pub async fn step(&mut self) -> Result<Followed, WatchError> {
        self.0.step().await
    }
}

/// Entries are held against rules.
pub(super) struct Rules {
    pub(super) store: Arc<dyn Store>,
    committer: Committer,
    config: WatchConfig,
    file: Option<FindingsFile>,
    suspender: Option<Arc<dyn Suspend>>,
    urgent: Option<Urgent>,
    /// What the rules remember since the lease was taken.
    pub(super) state: State,
    known: Known,
    pub(super) reviews: Option<Minded>,
    /// Whether it was told that the log stalls.
    stalled: bool,
    /// Lines that say so and are not in the file yet.
    unwritten: Vec<String>,
}

#[async_trait]
impl Consumer for Rules {
    type Error = WatchError;
    const FOLLOWER: Follower = Follower::Watch;
    const BATCH: u64 = 512;
    const BEHIND: &'static str = "strongroom_watch_behind";
    const FAILURES: &'static str = "strongroom_watch_failures_total";

    async fn size(&self) -> Result<u64, StoreError> {
        self.store.index().followed(Follower::Find).await
    }

    /// Reads back what the rules remember.
    async fn take_over(&mut self, following: Following, now: Timestamp) -> Result<(), WatchError> {
        let mut state = State::new(self.config.clone());
        let index = self.store.index();
        let filter = EntryFilter {
            verb: Some(Event::AnomalyFound.as_str().to_owned()),
            from: Some(now.minus(Duration::from_secs(24 * 3_600))),
            ..EntryFilter::default()
        };
        let limit = u32::try_from(LEAVES_READ_MAX).unwrap_or(u32::MAX);
        let page = index.places(&filter, EntryRange { newest_first: true, after: None, limit }).await?;
        for told in index.leaves(&page.places).await?.iter().rev() {
            if let Some(seen) = told.intact().and_then(Seen::of) {
                state.was_told(&seen);
            }
        }
        let mut at = following.next.saturating_sub(LOOKED_BACK);
        while at < following.next {
            let count = Self::BATCH.min(following.next - at);
            for (place, leaf) in self.store.logged(at, u32::try_from(count).unwrap_or(u32::MAX)).await? {
                if let Some(seen) = Seen::of(&leaf) {
                    state.observe(place, &seen);
                }
            }
            at += count;
        }
        (self.state, self.known) = (state, Known::default());
        Ok(())
    }

    async fn deal(&mut self, span: Span) -> Result<Dealt, WatchError> {
        let mut found = 0;
        if span.next > span.following.next {
            found += self.pass(span.following.next, span.next, span.now).await?;
        }
        found += self.must_not_stall(span.now).await?;
        found += self.mind_reviews(span.now).await?;
        Ok(Dealt { found, went_on: None })
    }
}

impl Rules {
    /// Looks at the entries of a batch and writes what was found.
    async fn pass(&mut self, from: u64, next: u64, now: Timestamp) -> Result<u64, WatchError> {
        let (mut hits, mut lines) = (Vec::new(), Vec::new());
        let count = u32::try_from(next - from).unwrap_or(u32::MAX);
        for (place, leaf) in self.store.logged(from, count).await? {
            let Some(seen) = Seen::of(&leaf) else { continue };
            lines.extend(super::ocsf::line(Some(place), &seen));
            let mut all = self.state.observe(place, &seen);
            let index = self.store.index();
            all.extend(self.known.first_of(index, place, &seen).await?);
            if seen.ts.plus(OLD) > now {
                all.extend(self.known.new_caller(index, place, &seen).await?);
                hits.extend(all);
            }
        }
        let news: Vec<Hit> = hits.into_iter().filter(|hit| self.state.is_news(hit)).collect();
        self.tell(&news, now, &Receipts::default()).await?;
        if let Some(file) = &self.file {
            file.append(lines).await?;
        }
        Ok(news.len() as u64)
    }

    pub(super) async fn tell(
        &self,
        news: &[Hit],
        now: Timestamp,
        receipts: &Receipts,
    ) -> Result<(), WatchError> {
        if news.is_empty() {
            return Ok(());
        }
        self.suspend(news, now).await?;
        let entries = news.iter().map(|hit| hit.entry(now).receipted(receipts.clone())).collect();
        self.committer.commit(Change::Entries { entries }).await?;
        for hit in news {
            let (rule, severity) = (hit.rule.as_str(), hit.rule.severity().as_str());
            metrics::counter!("strongroom_findings_total", "rule" => rule, "severity" => severity)
                .increment(1);
            let principal = hit.principal.as_ref().map_or("-", |principal| principal.as_str());
            tracing::warn!(rule, severity, principal, count = hit.count, "a rule found something in the log");
        }
        Ok(())
    }

    /// Before anything is told: what is told already is no news to whoever looks again.
    async fn suspend(&self, news: &[Hit], now: Timestamp) -> Result<(), WatchError> {
        let Some(suspender) = &self.suspender else { return Ok(()) };
        let config = &self.config.suspend;
        for hit in news {
            if let Some(workload) = config.whom(hit, now) {
                suspender.suspend(workload, hit.rule, config.most_per_hour, now).await?;
            }
        }
        Ok(())
    }

    /// Entries that wait for the signed log too long: nobody signs it. The line does not wait for the log to go on.
    async fn must_not_stall(&mut self, now: Timestamp) -> Result<u64, WatchError> {
        let found = self.look_for_stall(now).await?;
        if let Some(file) = &self.file {
            file.append(self.unwritten.clone()).await?;
        }
        self.unwritten.clear();
        Ok(found)
    }

    async fn look_for_stall(&mut self, now: Timestamp) -> Result<u64, WatchError> {
        let waiting = self.store.unsequenced(1).await?;
        let oldest = waiting.first().and_then(|entry| entry.leaf.time());
        let Some(oldest) = oldest.filter(|oldest| oldest.plus(STALLED_AFTER) < now) else {
            self.stalled = false;
            return Ok(0);
        };
        if self.stalled {
            return Ok(0);
        }
        let hit = Hit::of_stalled(now, now.since(oldest));
        let is_news = self.state.is_news(&hit);
        if is_news {
            let receipts = Receipts::default();
            self.tell(std::slice::from_ref(&hit), now, &receipts).await?;
            self.stalled = true;
            for id in receipts.so_far().iter().flat_map(ReceiptId::entries) {
                let Some(seen) = self.store.entry(id).await?.as_ref().and_then(Seen::of) else { continue };
                self.unwritten.extend(super::ocsf::line(None, &seen));
                if let Some(urgent) = &self.urgent {
                    urgent.push(seen);
                }
            }
        }
        self.stalled = true;
        Ok(u64::from(is_news))
    }
}
