//! Delivering to one destination: whoever holds its lease takes what is due, sends it, and writes what became of it.
//!
//! Promises: of each card one event at a time, its earliest; an event is sent only while the lease lasts longer than the
//! attempt may take; what was not written as delivered is sent again.
//! Does not promise: that two replicas whose clocks differ by more than the lease's margin never send the same event.
//! Upholds: C-32.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use strongroom_domain::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::backoff::Backoff;
use super::destination::Destination;
use super::health::Health;
use super::{Ground, body};
use crate::store::{EventRow, Lease, Settled, Settlement, StoreError};

/// Most events taken at once: about 64 KiB, and what a kill repeats at most.
const TAKEN_MAX: u32 = 64;
/// How long a lease lasts beyond the longest attempt: how long a takeover from a killed replica takes beyond it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How often to look when nothing is due, or another replica delivers.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often to look while the store gives no answer.
const LOOK_EVERY_FAILED: Duration = Duration::from_secs(2);
/// How often keys are read anew.
const KEYS_EVERY: Duration = Duration::from_secs(5);
/// How long letting go of a lease may take at the end.
const LET_GO_TIME_MAX: Duration = Duration::from_secs(2);

/// Delivers to one destination.
pub struct Deliverer {
    ground: Ground,
    destination: Destination,
    backoff: Backoff,
    health: Health,
    held: Option<Held>,
    keys_read: Option<Instant>,
    keys_failed: bool,
}

/// A lease and when it ends.
struct Held {
    lease: Lease,
    until: Timestamp,
}

impl Deliverer {
    pub(super) fn new(ground: Ground, destination: Destination, backoff: Backoff) -> Self {
        let health = Health::default();
        Self { ground, destination, backoff, health, held: None, keys_read: None, keys_failed: false }
    }

    /// Delivers until `stop`. What is being sent then is sent again by whoever comes next.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                pause = self.round() => pause,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        let _ = timeout(LET_GO_TIME_MAX, self.destination.end()).await;
        if let Some(Held { lease, .. }) = &self.held {
            let over = self.ground.clock.now();
            // A lease nobody lets go of ends by itself.
            let _ = timeout(LET_GO_TIME_MAX, self.ground.store.events().prolong(lease, over)).await;
        }
    }

    /// One look. Gives how long to wait before the next.
    async fn round(&mut self) -> Duration {
        self.renew_keys().await;
        match self.look().await {
            Ok(true) => Duration::ZERO,
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                let destination = self.destination.name.as_str();
                tracing::warn!(%error, destination, "events cannot be read or marked; the next look tries again");
                LOOK_EVERY_FAILED
            }
        }
    }

    /// Takes what is due, sends it, writes what became of it. Gives whether there may be more.
    async fn look(&mut self) -> Result<bool, StoreError> {
        let now = self.ground.clock.now();
        if !self.hold(now).await? {
            return Ok(false);
        }
        let limit = if self.health.is_in_doubt() && !self.health.is_paused() { 1 } else { TAKEN_MAX };
        let name = self.destination.name.as_str();
        let due = self.ground.store.events().events_due(name, now, limit).await?;
        let settled = self.attempt_all(due).await;
        let paused = f64::from(u8::from(self.health.is_paused()));
        metrics::gauge!("strongroom_events_paused", "destination" => name.to_owned()).set(paused);
        if settled.is_empty() {
            return Ok(false);
        }
        self.settle(&settled).await?;
        Ok(true)
    }

    /// Sees to a lease that lasts.
    async fn hold(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let until = now.plus(self.destination.timeout + LEASE_MARGIN);
        let events = self.ground.store.events();
        match &mut self.held {
            Some(held) if now.plus(self.destination.timeout + LEASE_MARGIN / 2) < held.until => {}
            Some(held) => match events.prolong(&held.lease, until).await? {
                true => held.until = until,
                false => self.held = None,
            },
            None => {
                let name = self.destination.name.as_str();
                let lease = events.lease(name, self.ground.holder, now, until).await?;
                self.held = lease.map(|lease| Held { lease, until });
                if self.held.is_some() {
                    tracing::info!(destination = name, "this instance delivers the destination's events now");
                }
            }
        }
        Ok(self.held.is_some())
    }

    async fn attempt_all(&self, due: Vec<EventRow>) -> Vec<Settled> {
        let attempts = stream::iter(due).map(|event| self.attempt(event));
        attempts.buffer_unordered(self.destination.at_once).filter_map(std::future::ready).collect().await
    }

    /// One event. None: it was not tried and is due still.
    async fn attempt(&self, event: EventRow) -> Option<Settled> {
        let now = self.ground.clock.now();
        let over = event.give_up_at <= now;
        let lasts = self.held.as_ref().is_some_and(|held| now.plus(self.destination.timeout) <= held.until);
        let settled = |now| Some(Settled { token: event.token, sequence: event.sequence, now });
        if self.health.is_paused() {
            return if over { settled(Settlement::GivenUp("unreachable".into())) } else { None };
        }
        if !lasts {
            return None;
        }
        let started = Instant::now();
        let body = body::render(self.ground.environment, &event);
        let came = self.destination.attempt(&event, body, now).await;
        self.count(&came, started);
        self.learn(&came);
        let (met, wait) = match came {
            Attempt::Taken => return settled(Settlement::Delivered),
            Attempt::Away(_) if !over => return None,
            Attempt::Away(why) => (why.to_owned(), None),
            Attempt::Gone => ("status-410".to_owned(), None),
            Attempt::Refused { met, wait } => (met, wait),
        };
        if over {
            return settled(Settlement::GivenUp(met));
        }
        let pause = self.backoff.after(event.attempts, &*self.ground.random).max(wait.unwrap_or_default());
        settled(Settlement::Postponed(self.ground.clock.now().plus(pause).min(event.give_up_at), met))
    }

    /// What an attempt says of the destination.
    fn learn(&self, came: &Attempt) {
        let (random, destination) = (&*self.ground.random, self.destination.name.as_str());
        match came {
            Attempt::Taken => self.health.took(),
            Attempt::Refused { .. } => self.health.refused(random),
            Attempt::Away(why) => {
                self.health.away(random);
                tracing::warn!(destination, why, "a destination of events cannot be reached");
            }
            Attempt::Gone => {
                self.health.gone(random);
                tracing::error!(destination, "a destination of events says that it is gone (410)");
            }
        }
    }

    async fn settle(&mut self, settled: &[Settled]) -> Result<(), StoreError> {
        let Some(held) = &mut self.held else { return Ok(()) };
        let now = self.ground.clock.now();
        let until = now.plus(self.destination.timeout + LEASE_MARGIN);
        if !self.ground.store.events().settle(&held.lease, settled, now, until).await? {
            self.held = None;
            return Ok(()); // another replica delivers by now, and delivers these again
        }
        held.until = until;
        let given_up = settled.iter().filter(|item| matches!(item.now, Settlement::GivenUp(_))).count();
        if given_up > 0 {
            let destination = self.destination.name.as_str().to_owned();
            tracing::error!(destination, given_up, "events were given up; `events list --dead` shows them");
            metrics::counter!("strongroom_events_dead_total", "destination" => destination)
                .increment(given_up as u64);
        }
        Ok(())
    }

    fn count(&self, came: &Attempt, started: Instant) {
        let destination = self.destination.name.as_str().to_owned();
        metrics::counter!(
            "strongroom_events_attempts_total",
            "destination" => destination.clone(), "outcome" => came.as_str()
        )
        .increment(1);
        metrics::histogram!("strongroom_events_attempt_seconds", "destination" => destination)
            .record(started.elapsed().as_secs_f64());
    }

    /// A key that is rotated takes effect within seconds; one that cannot be read does not stop what works.
    async fn renew_keys(&mut self) {
        if self.keys_read.is_some_and(|read| read.elapsed() < KEYS_EVERY) {
            return;
        }
        self.keys_read = Some(Instant::now());
        match self.destination.read_keys().await {
            Ok(()) => self.keys_failed = false,
            Err(error) => {
                if !self.keys_failed {
                    tracing::error!(error, destination = %self.destination.name, "the keys in use stay");
                }
                let destination = self.destination.name.as_str().to_owned();
                metrics::counter!("strongroom_events_key_failures_total", "destination" => destination)
                    .increment(1);
                self.keys_failed = true;
            }
        }
    }
}
