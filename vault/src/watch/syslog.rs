//! Findings to a syslog server, by one replica at a time, apart from the rules and from every request.
//!
//! Promises: every finding on the log is sent at least once, in the order of the log: the place that was reached is in the store and
//! goes on only once the server has read what came before it. A server that is away or refuses delays nothing else: no request,
//! no rule, no readiness. Memory is one batch.
//! Does not promise: that a finding comes once, nor what the server does with it.
//! Upholds: C-65.

mod config;
mod message;
mod session;

pub use config::{CloseNotify, SyslogConfig};
pub use message::Sender;
pub use session::SyslogError;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_domain::{BootId, Clock, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::audit::{Event, Seen};
use crate::store::find::{EntryFilter, EntryRange, Follower, Following};
use crate::store::{Store, StoreError};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a lease lasts unless it is held longer.
const LEASE: Duration = Duration::from_secs(90);
/// A lease is held longer once no more than this is left of it: a session, whose time has a bound below, fits in.
const RENEWED_BEFORE: Duration = Duration::from_secs(75);
/// Findings of one session: some 200 KiB.
const BATCH: u32 = 64;
/// After the first failure; doubled with each.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// And no longer than this.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Findings that do not wait for the log: there is one that the log stalls, and then no second.
const URGENT_MAX: usize = 4;

/// What one look did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Somebody else sends, or it is not time to try again.
    Waiting,
    /// Sent up to here.
    UpTo {
        /// The first place that is not done.
        place: u64,
        /// Findings of this look.
        findings: u64,
        /// Whether more waits.
        more: bool,
    },
}

/// Why a look did not come to its end. The same findings are sent again.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server.
    #[error(transparent)]
    Syslog(#[from] SyslogError),
}

/// Findings that are to be sent at once, by whichever replica found them: the log that would carry them stalls.
#[derive(Clone, Default)]
pub struct Urgent(Arc<Mutex<Vec<Seen>>>);

impl Urgent {
    /// Adds one. Beyond four the oldest goes: all of them are entries, and follow once the log goes on.
    pub(super) fn push(&self, seen: Seen) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= URGENT_MAX {
            waiting.remove(0);
        }
        waiting.push(seen);
    }

    fn waiting(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sent(&self, seen: &[Seen]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|waits| !seen.contains(waits));
    }
}

/// One replica's sender.
pub struct Syslog {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    holder: BootId,
    config: SyslogConfig,
    sender: Sender,
    urgent: Urgent,
    held: Option<(Following, Timestamp)>,
    /// Not before then, and how long to wait after the next failure.
    again: (Timestamp, Duration),
}

impl Syslog {
    /// Reads the files of its configuration.
    ///
    /// # Errors
    /// If a session could not be opened with them.
    pub fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        holder: BootId,
        instance: &str,
        config: SyslogConfig,
    ) -> Result<Self, SyslogError> {
        session::check(&config)?;
        let (host, process) = (instance.to_owned(), holder.to_string());
        let sender = Sender { host, process, enterprise: config.enterprise_number };
        let again = (Timestamp::from_unix_micros(0), RETRY_MIN);
        Ok(Self { store, clock, holder, config, sender, urgent: Urgent::default(), held: None, again })
    }

    /// Where the rules of this replica put what cannot wait for the log.
    #[must_use]
    pub fn urgent(&self) -> Urgent {
        self.urgent.clone()
    }

    /// Sends until `stop`, then gives the lease up.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            // A session that is cut off is one whose findings are sent again.
            while stop.run_until_cancelled(self.look()).await == Some(true) {}
        }
        self.let_go().await;
    }

    /// One step, told. Gives whether more waits.
    async fn look(&mut self) -> bool {
        match self.step().await {
            Ok(Sent::Waiting) => false,
            Ok(Sent::UpTo { more, .. }) => more,
            Err(error) => {
                let why = match &error {
                    SendError::Store(_) => "store",
                    SendError::Syslog(error) => error.why(),
                };
                metrics::counter!("strongroom_syslog_failures_total", "why" => why).increment(1);
                let refused = matches!(&error, SendError::Syslog(error) if error.is_refusal());
                metrics::gauge!("strongroom_syslog_refused").set(f64::from(u8::from(refused)));
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "findings were not sent to the syslog server; they wait, and are sent again"
                );
                false
            }
        }
    }

    /// Sends what comes next, at most one batch.
    ///
    /// # Errors
    /// If it is not known to have been read; then it is tried again, later each time.
    pub async fn step(&mut self) -> Result<Sent, SendError> {
        let now = self.clock.now();
        if now < self.again.0 {
            return Ok(Sent::Waiting);
        }
        let sent = self.try_step(now).await;
        match &sent {
            Ok(_) => self.again.1 = RETRY_MIN,
            Err(_) => {
                self.again = (now.plus(self.again.1), self.again.1.saturating_mul(2).min(RETRY_MAX));
                // Perhaps another replica reaches the server.
                self.let_go().await;
            }
        }
        sent
    }

    async fn try_step(&mut self, now: Timestamp) -> Result<Sent, SendError> {
        self.send_urgent().await?;
        let (following, ends) = match self.held {
            Some(held) => held,
            None => {
                let until = now.plus(LEASE);
                match self.store.index().follow(Follower::Syslog, self.holder, now, until).await? {
                    Some(following) => (following, until),
                    None => {
                        // Another replica's to say.
                        metrics::gauge!("strongroom_syslog_lag_seconds").set(0.0);
                        metrics::gauge!("strongroom_syslog_refused").set(0.0);
                        return Ok(Sent::Waiting);
                    }
                }
            }
        };
        self.held = Some((following, ends));
        let (found, next, more) = self.next(following.next).await?;
        let oldest = found.first().map_or(Duration::ZERO, |(_, seen)| now.since(seen.ts));
        metrics::gauge!("strongroom_syslog_lag_seconds").set(oldest.as_secs_f64());
        let messages: Vec<String> =
            found.iter().filter_map(|(place, seen)| self.sender.message(Some(*place), seen)).collect();
        if !messages.is_empty() {
            session::deliver(&self.config, &messages).await?;
            metrics::counter!("strongroom_syslog_sent_total").increment(messages.len() as u64);
            metrics::gauge!("strongroom_syslog_lag_seconds").set(0.0);
            metrics::gauge!("strongroom_syslog_refused").set(0.0);
        }
        // Where nothing was found the place is written with the lease, four times a minute.
        if !messages.is_empty() || more || ends <= now.plus(RENEWED_BEFORE) {
            let until = self.clock.now().plus(LEASE);
            if !self.store.index().go_on(Follower::Syslog, following, next, until).await? {
                self.held = None;
                return Ok(Sent::Waiting);
            }
            self.held = Some((Following { next, ..following }, until));
        }
        Ok(Sent::UpTo { place: next, findings: messages.len() as u64, more })
    }

    /// The findings from a place on that fill a session; the first place after all that was looked at; whether more waits.
    async fn next(&self, from: u64) -> Result<(Vec<(u64, Seen)>, u64, bool), StoreError> {
        let index = self.store.index();
        let size = index.followed(Follower::Find).await?.max(from);
        let filter =
            EntryFilter { verb: Some(Event::AnomalyFound.as_str().to_owned()), ..EntryFilter::default() };
        let range = EntryRange { newest_first: false, after: from.checked_sub(1), limit: BATCH };
        let page = index.places(&filter, range).await?;
        let until = page.next.map_or(size, |last| size.min(last + 1));
        let places: Vec<u64> =
            page.places.into_iter().filter(|place| (from..until).contains(place)).collect();
        let mut found = Vec::with_capacity(places.len());
        for logged in index.leaves(&places).await? {
            match logged.intact().and_then(Seen::of) {
                Some(seen) => found.push((logged.place, seen)),
                // It was changed in the database: the log's verifiers say so, and nobody is told another's words.
                None => metrics::counter!("strongroom_syslog_unreadable_total").increment(1),
            }
        }
        Ok((found, until, until < size))
    }

    async fn send_urgent(&self) -> Result<(), SyslogError> {
        let waiting = self.urgent.waiting();
        let messages: Vec<String> =
            waiting.iter().filter_map(|seen| self.sender.message(None, seen)).collect();
        if !messages.is_empty() {
            session::deliver(&self.config, &messages).await?;
            metrics::counter!("strongroom_syslog_sent_total").increment(messages.len() as u64);
        }
        self.urgent.sent(&waiting);
        Ok(())
    }

    async fn let_go(&mut self) {
        if let Some((following, _)) = self.held.take() {
            // If it cannot be said, the lease ends by itself.
            let past = Timestamp::from_unix_micros(0);
            let _ = self.store.index().go_on(Follower::Syslog, following, following.next, past).await;
        }
    }
}
