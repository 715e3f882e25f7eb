//! The outbox: which changes are told, to whom, and the rows that say so.
//!
//! Promises: an event is written in the transaction of its change, once for each destination whose audience the tenant is in;
//! where no destination is configured nothing is written. An event holds a token's reference and facts, never a number or a
//! token.
//! Does not promise: delivery. That is `crate::events`.
//! Upholds: C-32.

mod event;
mod row;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{TenantId, TokenHash};

pub use self::event::{CardEvent, CardEventKind};
pub use self::row::{
    Backlog, DestinationName, EventFilter, EventPlace, EventRow, EventState, InvalidDestinationName, Lease,
    Settled, Settlement,
};

/// Who is told of what. Made once, at start.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    subscriptions: Arc<[Subscription]>,
    keep_trying: Duration,
}

/// One destination and whose cards it is told of.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The destination.
    pub destination: DestinationName,
    /// Whose cards.
    pub audience: Audience,
}

/// Whose cards a destination is told of.
#[derive(Clone, Debug)]
pub enum Audience {
    /// Every tenant's.
    Everyone,
    /// Those of these tenants, and of tenants in these groups.
    Some {
        /// By name.
        tenants: HashSet<TenantId>,
        /// By group.
        groups: HashSet<String>,
    },
}

impl Audience {
    fn holds(&self, tenant: &TenantId, of_tenant: &[String]) -> bool {
        match self {
            Self::Everyone => true,
            Self::Some { tenants, groups } => {
                tenants.contains(tenant) || of_tenant.iter().any(|group| groups.contains(group))
            }
        }
    }
}

/// The groups of tenants, as the transaction sees them.
pub(super) type TenantGroups = HashMap<TenantId, Vec<String>>;

/// An event and the destinations that are told of it.
pub(super) struct Told<'a> {
    pub(super) event: &'a CardEvent<'a>,
    pub(super) destinations: Vec<&'a DestinationName>,
}

impl Outbox {
    /// Tells these destinations, and keeps trying for so long.
    #[must_use]
    pub fn new(subscriptions: Vec<Subscription>, keep_trying: Duration) -> Self {
        Self { subscriptions: subscriptions.into(), keep_trying }
    }

    /// Whether nobody is told anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    /// How long an event is tried before it is given up.
    #[must_use]
    pub const fn keep_trying(&self) -> Duration {
        self.keep_trying
    }

    /// A destination by its name.
    #[must_use]
    pub fn destination(&self, name: &str) -> Option<&DestinationName> {
        self.destinations().find(|destination| destination.as_str() == name)
    }

    /// Every destination.
    pub fn destinations(&self) -> impl Iterator<Item = &DestinationName> {
        self.subscriptions.iter().map(|subscription| &subscription.destination)
    }

    /// Whether anybody is told of this tenant's cards.
    #[must_use]
    pub fn tells_of(&self, tenant: &TenantId, groups: &[String]) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.audience.holds(tenant, groups))
    }

    /// Whether groups decide who is told.
    pub(super) fn asks_for_groups(&self) -> bool {
        let by_group =
            |audience: &Audience| matches!(audience, Audience::Some { groups, .. } if !groups.is_empty());
        self.subscriptions.iter().any(|subscription| by_group(&subscription.audience))
    }

    /// Events with those they are told to; events nobody is told of are left out.
    pub(super) fn told<'a>(&'a self, events: &'a [CardEvent<'a>], groups: &TenantGroups) -> Vec<Told<'a>> {
        let told = events.iter().map(|event| {
            let of_tenant = groups.get(event.tenant).map_or(&[][..], Vec::as_slice);
            let told_of = |subscription: &&Subscription| subscription.audience.holds(event.tenant, of_tenant);
            let destinations = self.subscriptions.iter().filter(told_of);
            Told { event, destinations: destinations.map(|subscription| &subscription.destination).collect() }
        });
        told.filter(|told| !told.destinations.is_empty()).collect()
    }

    /// The rows to write. `sequences` has the number of every event that is not its card's first.
    pub(super) fn rows<'a>(
        &self,
        told: &'a [Told<'a>],
        sequences: &HashMap<TokenHash, u64>,
    ) -> Option<Vec<NewRow<'a>>> {
        let mut rows = Vec::with_capacity(told.len());
        for Told { event, destinations } in told {
            let sequence = match event.kind {
                CardEventKind::Created => 1,
                _ => *sequences.get(&event.token)?,
            };
            let give_up_at = event.at.plus(self.keep_trying);
            let data = Arc::<str>::from(event.data.to_string());
            rows.extend(destinations.iter().map(|destination| NewRow {
                event,
                destination,
                sequence,
                data: Arc::clone(&data),
                give_up_at,
            }));
        }
        Some(rows)
    }
}

/// A row to write.
pub(super) struct NewRow<'a> {
    pub(super) event: &'a CardEvent<'a>,
    pub(super) destination: &'a DestinationName,
    pub(super) sequence: u64,
    pub(super) data: Arc<str>,
    pub(super) give_up_at: strongroom_domain::Timestamp,
}

/// The tenants of events, once each.
pub(super) fn tenants_of<'a>(events: &'a [CardEvent<'a>]) -> Vec<&'a str> {
    let tenants: HashSet<&str> = events.iter().map(|event| event.tenant.as_str()).collect();
    tenants.into_iter().collect()
}

/// The cards whose events are counted in their rows: all but the new ones.
pub(super) fn counted<'a>(told: &[Told<'a>]) -> Vec<&'a [u8]> {
    let later = told.iter().filter(|told| told.event.kind != CardEventKind::Created);
    later.map(|told| told.event.token.as_bytes().as_slice()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_told_of_its_audience_alone() {
        let tenant = |name: &str| TenantId::parse(name).unwrap();
        let destination = |name: &str| DestinationName::parse(name).unwrap();
        let some = |tenants: &[&str], groups: &[&str]| Audience::Some {
            tenants: tenants.iter().map(|name| tenant(name)).collect(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        let subscribe = |name, audience| Subscription { destination: destination(name), audience };
        let outbox = Outbox::new(
            vec![
                subscribe("all", Audience::Everyone),
                subscribe("acme", some(&["acme"], &[])),
                subscribe("shops", some(&["globex"], &["shops"])),
            ],
            Duration::from_secs(1),
        );
        assert!(outbox.asks_for_groups());
        let groups: TenantGroups = [(tenant("acme"), vec!["shops".to_owned()])].into();
        let (acme, globex, other) = (tenant("acme"), tenant("globex"), tenant("other"));
        for (of, expected) in
            [(&acme, &["all", "acme", "shops"][..]), (&globex, &["all", "shops"]), (&other, &["all"])]
        {
            let event = CardEvent::erased_for_test(of);
            let events = [event];
            let told = outbox.told(&events, &groups);
            let names: Vec<&str> = told[0].destinations.iter().map(|name| name.as_str()).collect();
            assert_eq!(names, expected, "{of}");
        }
        assert!(Outbox::default().is_empty());
    }
}
