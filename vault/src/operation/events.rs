//! Looking at what destinations are told, and telling it again.
//!
//! Promises: one entry for every look and every replay; a replay names whose cards' events it repeats.
//! Upholds: C-32.

use strongroom_domain::{TenantId, Timestamp};

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, Object};
use crate::authz::{ManageEvents, Permit};
use crate::store::{Change, Committed, EventFilter, EventPlace, EventRow};

/// Most events of one page or one replay: an answer of some tens of kilobytes, one short transaction.
pub const EVENTS_MAX: u32 = 100;

/// What came of a replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// Events put in line again.
    pub replayed: u64,
    /// Whether another call would find more.
    pub more: bool,
}

impl Vault {
    /// A page of what a destination is told.
    pub async fn list_events(
        &self,
        asking: &Asking,
        permit: Permit<ManageEvents>,
        filter: &EventFilter,
        after: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<EventRow>, OperationError> {
        let page = self.store.events().events(filter, after, limit.min(EVENTS_MAX)).await?;
        let object = events_of(filter.tenant.as_ref());
        let entry = Self::allowed(asking, Event::EventsRead, permit.decision(), object);
        self.record(entry.counting(page.len() as u64)).await?;
        Ok(page)
    }

    /// Puts events in line again that were delivered or given up, those first that were so first.
    pub async fn replay_events(
        &self,
        asking: &Asking,
        permit: Permit<ManageEvents>,
        filter: EventFilter,
    ) -> Result<Replayed, OperationError> {
        let found = self.store.events().events(&filter, None, EVENTS_MAX).await?;
        let object = events_of(filter.tenant.as_ref());
        let entry = Self::allowed(asking, Event::EventsReplay, permit.decision(), object);
        let entry = entry.counting(found.len() as u64);
        let replayed = found.len() as u64;
        if found.is_empty() {
            self.record(entry.because("nothing-found")).await?;
            return Ok(Replayed { replayed, more: false });
        }
        let change = Change::ReplayEvents {
            destination: filter.destination,
            events: found.iter().map(|event| (event.token, event.sequence)).collect(),
            at: asking.at,
            give_up_at: self.give_up_at(asking.at),
            entry: entry.naming(found.iter().map(|event| event.token.token_ref()).collect()),
        };
        match self.committer.commit(change).await? {
            Committed::Done => Ok(Replayed { replayed, more: found.len() >= EVENTS_MAX as usize }),
            _ => Err(OperationError::Defect("replaying events depends on nothing")),
        }
    }

    fn give_up_at(&self, at: Timestamp) -> Timestamp {
        at.plus(self.outbox.keep_trying())
    }
}

fn events_of(tenant: Option<&TenantId>) -> Object {
    tenant.cloned().map_or(Object::Service("events"), Object::Tenant)
}
