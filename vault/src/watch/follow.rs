//! One replica's watcher: goes on along the log, asks each rule, writes what was found.

use std::sync::Arc;
use std::time::Duration;

use sha2::Digest as _;
use strongroom_domain::route::RouteName;
use strongroom_domain::{BootId, Clock, Timestamp, TokenRef};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::config::WatchConfig;
use super::rules::{Hit, Rule};
use super::state::State;
use super::stream::FindingsFile;
use super::suspend::Suspend;
use super::syslog::Urgent;
use crate::audit::{Event, ReceiptId, Receipts, Seen};
use crate::store::find::{EntryFilter, EntryRange, Follower, Following, LEAVES_READ_MAX};
use crate::store::{Change, CommitError, Committer, Store, StoreError};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lease lasts unless it is held longer.
const LEASE: Duration = Duration::from_secs(30);
/// A lease is held longer once no more than this is left of it.
const RENEWED_BEFORE: Duration = Duration::from_secs(15);
/// Entries of one step.
const BATCH: u64 = 512;
/// Between two steps while much is behind.
const PAUSE: Duration = Duration::from_millis(10);
/// Entries read back when the lease is taken, so that counts go on.
const LOOKED_BACK: u64 = 8_192;
/// Entries older than this teach the rules what is usual and are no finding any more: a log that was there before the rules.
const OLD: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long an entry may wait for the signed log.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Most pairs of card and caller that are remembered as known.
const KNOWN_MAX: usize = 65_536;

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

/// What one step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// Somebody else watches.
    Waiting,
    /// Looked at everything up to here.
    UpTo {
        /// The first place that was not looked at.
        place: u64,
        /// How many entries wait.
        behind: u64,
        /// How many findings were written.
        found: u64,
    },
}

/// One replica's watcher.
pub struct Watcher {
    store: Arc<dyn Store>,
    committer: Committer,
    clock: Arc<dyn Clock>,
    holder: BootId,
    config: WatchConfig,
    file: Option<FindingsFile>,
    suspender: Option<Arc<dyn Suspend>>,
    urgent: Option<Urgent>,
    held: Option<Held>,
    /// Whether it was told that the log stalls.
    stalled: bool,
    /// Lines that say so and are not in the file yet.
    unwritten: Vec<String>,
}

struct Held {
    following: Following,
    ends: Timestamp,
    state: State,
    known: std::collections::HashSet<(TokenRef, String)>,
    /// Certificates and routes that were seen since the lease was taken.
    seen: std::collections::HashSet<[u8; 32]>,
}

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
        Self {
            store,
            committer,
            clock,
            holder,
            config,
            file,
            suspender: None,
            urgent: None,
            held: None,
            stalled: false,
            unwritten: Vec::new(),
        }
    }

    /// The same, suspending by it whom rules find that are configured to.
    #[must_use]
    pub fn suspending(self, suspender: Arc<dyn Suspend>) -> Self {
        Self { suspender: Some(suspender), ..self }
    }

    /// The same, sending by it what cannot wait for the log.
    #[must_use]
    pub fn urging(self, urgent: Urgent) -> Self {
        Self { urgent: Some(urgent), ..self }
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
        if let Some(Held { following, .. }) = self.held.take() {
            // If it cannot be said, the lease ends by itself.
            let past = Timestamp::from_unix_micros(0);
            let _ = self.store.index().go_on(Follower::Watch, following, following.next, past).await;
        }
    }

    async fn look(&mut self) -> bool {
        match self.step().await {
            Ok(Watched::Waiting) => {
                // Another replica's to say.
                metrics::gauge!("strongroom_watch_behind").set(0.0);
                false
            }
            Ok(Watched::UpTo { behind, .. }) => {
                #[expect(clippy::cast_precision_loss, reason = "a count of entries is far below 2^52")]
                metrics::gauge!("strongroom_watch_behind").set(behind as f64);
                behind > 0
            }
            Err(error) => {
                metrics::counter!("strongroom_watch_failures_total").increment(1);
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the log was not watched up to its end; the next look tries again");
                false
            }
        }
    }

    /// Looks at what comes next, at most one batch.
    pub async fn step(&mut self) -> Result<Watched, WatchError> {
        let result = self.try_step().await;
        if !matches!(result, Ok(Watched::UpTo { .. })) {
            self.held = None;
        }
        result
    }

    async fn try_step(&mut self) -> Result<Watched, WatchError> {
        let now = self.clock.now();
        let mut held = match self.held.take() {
            Some(held) => held,
            None => match self.take_over(now).await? {
                Some(held) => held,
                None => return Ok(Watched::Waiting),
            },
        };
        let (from, until) = (held.following.next, now.plus(LEASE));
        // Before anything is told: whoever slept tells nothing.
        if held.ends <= now.plus(RENEWED_BEFORE) {
            if !self.store.index().go_on(Follower::Watch, held.following, from, until).await? {
                return Ok(Watched::Waiting);
            }
            held.ends = until;
        }
        let size = self.store.index().followed(Follower::Find).await?;
        let next = size.min(from.saturating_add(BATCH)).max(from);
        let mut found = 0;
        if next > from {
            found += self.pass(&mut held, from, next, now).await?;
        }
        found += self.must_not_stall(&mut held, now).await?;
        if next > from {
            if !self.store.index().go_on(Follower::Watch, held.following, next, until).await? {
                return Ok(Watched::Waiting);
            }
            held.ends = until;
        }
        held.following.next = next;
        self.held = Some(held);
        Ok(Watched::UpTo { place: next, behind: size.saturating_sub(next), found })
    }

    /// Takes the lease if it is free, and reads back what the rules remember.
    async fn take_over(&self, now: Timestamp) -> Result<Option<Held>, WatchError> {
        let until = now.plus(LEASE);
        let index = self.store.index();
        let Some(following) = index.follow(Follower::Watch, self.holder, now, until).await? else {
            return Ok(None);
        };
        let mut state = State::new(self.config.clone());
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
            let count = BATCH.min(following.next - at);
            for (place, leaf) in self.store.logged(at, u32::try_from(count).unwrap_or(u32::MAX)).await? {
                if let Some(seen) = Seen::of(&leaf) {
                    state.observe(place, &seen);
                }
            }
            at += count;
        }
        let (known, seen) = Default::default();
        Ok(Some(Held { following, ends: until, state, known, seen }))
    }

    /// Looks at the entries of a batch and writes what was found.
    async fn pass(&self, held: &mut Held, from: u64, next: u64, now: Timestamp) -> Result<u64, WatchError> {
        let (mut hits, mut lines) = (Vec::new(), Vec::new());
        let count = u32::try_from(next - from).unwrap_or(u32::MAX);
        for (place, leaf) in self.store.logged(from, count).await? {
            let Some(seen) = Seen::of(&leaf) else { continue };
            lines.extend(super::ocsf::line(Some(place), &seen));
            let mut all = held.state.observe(place, &seen);
            all.extend(self.first_of(held, place, &seen).await?);
            if seen.ts.plus(OLD) > now {
                all.extend(self.new_caller(held, place, &seen).await?);
                hits.extend(all);
            }
        }
        let news: Vec<Hit> = hits.into_iter().filter(|hit| held.state.is_news(hit)).collect();
        self.tell(&news, now, &Receipts::default()).await?;
        if let Some(file) = &self.file {
            file.append(lines).await?;
        }
        Ok(news.len() as u64)
    }

    async fn tell(&self, news: &[Hit], now: Timestamp, receipts: &Receipts) -> Result<(), WatchError> {
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

    /// A certificate or a route that this caller, known by others, never came with before.
    async fn first_of(&self, held: &mut Held, place: u64, seen: &Seen) -> Result<Vec<Hit>, WatchError> {
        let (mut hits, who) = (Vec::new(), seen.actor.id.as_str());
        if seen.actor.r#type == "system" || who == "-" {
            return Ok(hits);
        }
        if let Some(certificate) = &seen.actor.cert_sha256
            && self.is_another(held, ["certificate", who], certificate, place).await?
        {
            let mut sha256 = [0; 32];
            let certificate = hex::decode_to_slice(certificate, &mut sha256).ok().map(|()| sha256);
            hits.push(Hit { certificate, tenant: None, ..Hit::of(Rule::NewCertificate, place, seen) });
        }
        if let Some(dst) = seen.dst.as_ref().filter(|_| seen.released())
            && self
                .is_another(held, ["route", who], &format!("{}/{}", dst.route_id, dst.account), place)
                .await?
        {
            let route = RouteName::parse(&dst.route_id);
            hits.push(Hit { route, ..Hit::of(Rule::NewRoute, place, seen) });
        }
        Ok(hits)
    }

    /// Whether this is new of somebody who had another before.
    async fn is_another(
        &self,
        held: &mut Held,
        [kind, who]: [&str; 2],
        what: &str,
        place: u64,
    ) -> Result<bool, WatchError> {
        let is_first = self.is_first(held, &[kind, who], place).await?;
        Ok(self.is_first(held, &[kind, who, what], place).await? && !is_first)
    }

    async fn is_first(&self, held: &mut Held, parts: &[&str], place: u64) -> Result<bool, WatchError> {
        let mut hash = sha2::Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let name: [u8; 32] = hash.finalize().into();
        if held.seen.contains(&name) {
            return Ok(false);
        }
        if held.seen.len() >= KNOWN_MAX {
            held.seen.clear();
        }
        held.seen.insert(name);
        Ok(self.store.index().first_seen(&name, place).await? == place)
    }

    /// A card others had, and this caller never.
    async fn new_caller(&self, held: &mut Held, place: u64, seen: &Seen) -> Result<Option<Hit>, WatchError> {
        let Some(token) = seen.token().filter(|_| seen.released()) else { return Ok(None) };
        let pair = (token, seen.actor.id.clone());
        if held.known.contains(&pair) {
            return Ok(None);
        }
        let (by_anybody, by_this) = self.store.index().used_before(&pair.0, &pair.1, place).await?;
        if held.known.len() >= KNOWN_MAX {
            held.known.clear();
        }
        let token = pair.0.clone();
        held.known.insert(pair);
        let is_new = by_anybody && !by_this;
        Ok(is_new.then(|| Hit { token: Some(token), ..Hit::of(Rule::NewCaller, place, seen) }))
    }

    /// Entries that wait for the signed log too long: nobody signs it. The line does not wait for the log to go on.
    async fn must_not_stall(&mut self, held: &mut Held, now: Timestamp) -> Result<u64, WatchError> {
        let found = self.look_for_stall(held, now).await?;
        if let Some(file) = &self.file {
            file.append(self.unwritten.clone()).await?;
        }
        self.unwritten.clear();
        Ok(found)
    }

    async fn look_for_stall(&mut self, held: &mut Held, now: Timestamp) -> Result<u64, WatchError> {
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
        let is_news = held.state.is_news(&hit);
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
