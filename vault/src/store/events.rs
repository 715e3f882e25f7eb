//! What delivering events asks of a driver. Rows get into the outbox by the committer alone.
//!
//! Promises: reads are bounded; whoever lost the lease of a destination writes nothing more about its events.
//! Upholds: C-32.

use async_trait::async_trait;
use strongroom_domain::{Expiry, TenantId, Timestamp, TokenHash};
use uuid::Uuid;

use super::error::StoreError;
use super::outbox::{Backlog, EventFilter, EventPlace, EventRow, EventState, Lease, Settled};

/// The outbox as those who deliver see it.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Takes the lease of a destination until `until`, if nobody holds it at `now`.
    async fn lease(
        &self,
        destination: &str,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StoreError>;

    /// Prolongs a lease and keeps its place. False: another holder has it. A time that is over gives it up.
    async fn prolong(&self, lease: &Lease, until: Timestamp) -> Result<bool, StoreError>;

    /// The next event of each card that has one due at `now`, those that are due longest first.
    async fn events_due(
        &self,
        destination: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError>;

    /// Writes what became of attempts and prolongs the lease, in one transaction. False: another holder has it, and nothing was
    /// written.
    async fn settle(
        &self,
        lease: &Lease,
        settled: &[Settled],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// A page of events by when they are or were due.
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError>;

    /// What waits for a destination.
    async fn backlog(&self, destination: &str) -> Result<Backlog, StoreError>;

    /// Every destination that ever had a deliverer, configured or not.
    async fn destinations_known(&self) -> Result<Vec<String>, StoreError>;

    /// Removes events of a destination in this state that were due at `before` or earlier, oldest first. Gives how many.
    async fn forget_events(
        &self,
        destination: &str,
        state: EventState,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Looks at this many cards in the order of their hashes, after a place: which of them come near an end they were not told
    /// of?
    async fn cards_ending(
        &self,
        nearing: &Nearing,
        after: Option<TokenHash>,
        looked_at: u32,
    ) -> Result<EndingPage, StoreError>;
}

/// Which ends are near.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nearing {
    /// Expiry months from this one.
    pub first: Expiry,
    /// To this one; none if no month ends so soon.
    pub last: Option<Expiry>,
    /// Tokens that end after this time.
    pub after: Timestamp,
    /// And at this time or before.
    pub until: Timestamp,
}

/// A card whose end is near.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndingCard {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub token: TokenHash,
    /// Its expiry, if that is near and was not told.
    pub expiry: Option<Expiry>,
    /// Its token's end, if that is near and was not told.
    pub expires_at: Option<Timestamp>,
}

/// What a look found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndingPage {
    /// Cards whose end is near.
    pub cards: Vec<EndingCard>,
    /// Where the next look begins; none after the last card.
    pub next: Option<TokenHash>,
}

/// Expiry months as the store compares them.
pub(super) fn months(nearing: &Nearing) -> [String; 2] {
    // No month is after "9999" and before "0000".
    nearing.last.map_or(["9999".into(), "0000".into()], |last| [nearing.first.to_string(), last.to_string()])
}
