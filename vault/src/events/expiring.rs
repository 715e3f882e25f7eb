//! The walk that tells of cards whose end comes near: all cards in the order of their hashes, a few at a time.
//!
//! Promises: one event for each card and end, in the transaction that marks it as told, whatever is killed when. The walk costs
//! no index that every new card would pay for.
//! Does not promise: the very day. A walk over all cards begins every hour; with many millions of cards it takes longer.
//! Upholds: C-32.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use strongroom_domain::{Expiry, TenantId, Timestamp};
use tokio_util::sync::CancellationToken;

use super::Ground;
use crate::audit::{Draft, Event, Object, Outcome};
use crate::operation::OperationError;
use crate::store::{Change, Committed, Committer, EndingCard, Lease, Nearing, Outbox};

/// The lease of the walk: no destination's name begins like this.
const LEASE: &str = "-expiring";
/// How long it lasts without a step.
const LEASE_TIME: Duration = Duration::from_secs(30);
/// Cards looked at in one step: a few milliseconds of the database.
const LOOKED_AT: u32 = 1_000;
/// Most changes at once: one transaction, between those of requests.
const TOLD_AT_ONCE: usize = 128;
/// Between two steps: 4,000 cards a second.
const STEP_PAUSE: Duration = Duration::from_millis(250);
/// Between the end of a walk and the next.
const WALK_EVERY: Duration = Duration::from_secs(3_600);
/// How often to look whether another replica walks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Walks over all cards.
pub struct Walk {
    ground: Ground,
    committer: Committer,
    outbox: Outbox,
    ahead: Duration,
    lease: Option<Lease>,
}

/// What one step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Another replica walks.
    Elsewhere,
    /// So many cards were told of, and there are more cards.
    On(u64),
    /// So many were told of, and the last card was among those looked at.
    AtTheEnd(u64),
}

impl Walk {
    /// Tells of ends so far ahead.
    #[must_use]
    pub fn new(ground: Ground, committer: Committer, outbox: Outbox, ahead: Duration) -> Self {
        Self { ground, committer, outbox, ahead, lease: None }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match stop.run_until_cancelled(self.step()).await {
                None => break,
                Some(Ok(Step::On(_))) => STEP_PAUSE,
                Some(Ok(Step::AtTheEnd(_))) => WALK_EVERY,
                Some(Ok(Step::Elsewhere)) => LOOK_EVERY,
                Some(Err(error)) => {
                    tracing::warn!(%error, "cards near their end were not all told of; the next look tries again");
                    LOOK_EVERY
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
    }

    /// Looks at some cards. The place is kept with the lease, so whoever takes it goes on from there.
    pub async fn step(&mut self) -> Result<Step, OperationError> {
        let now = self.ground.clock.now();
        let events = self.ground.store.events();
        let until = now.plus(LEASE_TIME);
        let mut lease = match self.lease.take() {
            Some(lease) if events.prolong(&lease, until).await? => lease,
            _ => match events.lease(LEASE, self.ground.holder, now, until).await? {
                Some(lease) => lease,
                None => return Ok(Step::Elsewhere),
            },
        };
        let Some(nearing) = nearing(now, self.ahead) else { return Ok(Step::AtTheEnd(0)) };
        let page = events.cards_ending(&nearing, lease.place, LOOKED_AT).await?;
        let told = self.tell(&page.cards, now).await?;
        lease.place = page.next;
        // At the end it is held until the next walk: all replicas together begin one.
        let (step, until) = match page.next {
            Some(_) => (Step::On(told), until),
            None => (Step::AtTheEnd(told), now.plus(WALK_EVERY)),
        };
        if events.prolong(&lease, until).await? {
            self.lease = Some(lease);
        }
        Ok(step)
    }

    async fn tell(&self, cards: &[EndingCard], now: Timestamp) -> Result<u64, OperationError> {
        let mut groups: HashMap<&TenantId, Vec<String>> = HashMap::new();
        let mut changes = Vec::new();
        for card in cards {
            if !groups.contains_key(&card.tenant) {
                let row = self.ground.store.tenant(&card.tenant).await?;
                groups.insert(&card.tenant, row.map(|row| row.settings.groups).unwrap_or_default());
            }
            if self.outbox.tells_of(&card.tenant, &groups[&card.tenant]) {
                changes.push(change(card, now));
            }
        }
        let mut told = 0;
        for changes in changes.chunks(TOLD_AT_ONCE) {
            let commits = changes.iter().map(|change| self.committer.commit(change.clone()));
            for became in join_all(commits).await {
                told += u64::from(became? == Committed::Done);
            }
        }
        metrics::counter!("strongroom_events_expiring_total").increment(told);
        Ok(told)
    }
}

fn change(card: &EndingCard, at: Timestamp) -> Change {
    let object = Object::Token { token: card.token.token_ref(), tenant: Some(card.tenant.clone()) };
    Change::TellExpiring {
        tenant: card.tenant.clone(),
        token: card.token,
        expiry: card.expiry,
        expires_at: card.expires_at,
        at,
        entry: Draft::by_service(at, Event::CardExpiring, Outcome::Success, object),
    }
}

/// Months that end within `ahead`, from this one on, and tokens that do.
fn nearing(now: Timestamp, ahead: Duration) -> Option<Nearing> {
    let until = now.plus(ahead);
    let first = Expiry::month_of(now).ok()?;
    let last = Expiry::month_of(until).and_then(Expiry::month_before).ok().filter(|last| *last >= first);
    Some(Nearing { first, last, after: now, until })
}

#[cfg(test)]
mod tests {
    use super::super::DAY;
    use super::*;

    #[test]
    fn a_month_is_near_its_end_that_many_days_before_and_until_it_is_over() {
        let months = |now: &str, days: u32| {
            let nearing = nearing(Timestamp::parse_rfc3339(now).unwrap(), DAY * days).unwrap();
            nearing.last.map(|last| (nearing.first.to_string(), last.to_string()))
        };
        let pair = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
        assert_eq!(months("2026-10-01T23:59:59Z", 29), None);
        assert_eq!(months("2026-10-31T23:59:59Z", 30), pair("2610", "2610"));
        assert_eq!(months("2026-11-01T00:00:00Z", 30), pair("2611", "2611"));
        assert_eq!(months("2026-11-30T23:59:59Z", 30), pair("2611", "2611"));
        assert_eq!(months("2026-12-01T00:00:00Z", 30), None);
        assert_eq!(months("2026-12-02T00:00:00Z", 30), pair("2612", "2612"));
        assert_eq!(months("2026-11-15T12:00:00Z", 90), pair("2611", "2701"));
    }
}
