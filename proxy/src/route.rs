//! The registered destinations, and how a request finds one.
//!
//! Promises: a destination comes from files read at start or reload; nothing in a request names a host to connect to; only
//! callers the bundle names for a route and account reach it.
//! Upholds: C-17, C-18, C-37.

mod book;
mod callers;
mod entry;
mod key_id;

pub use book::{Registered, RouteBookError, read};
pub(crate) use book::{names, text};
pub use callers::Callers;
pub use entry::{Bound, Entry, EntryError, EntryRefused, Listed, ListedAccount, Target, host_of};
pub use key_id::KeyIds;

use std::sync::Arc;

use strongroom_domain::route::{Account, Route, Upstream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credential::AccountKeys;
use crate::protect::Guard;
use crate::upstream::Pool;

/// One account of one route, ready to be used.
#[derive(Clone)]
pub struct Destination {
    /// The route.
    pub route: Arc<Route>,
    /// The account.
    pub account: Account,
    /// The account's secrets. Replaced with the whole destination when their files change.
    pub keys: Arc<AccountKeys>,
    /// Where calls go: the route's upstream, under the account's own host if it has one.
    pub upstream: Upstream,
    /// Connections there.
    pub pool: Pool,
    /// What protects it, and others from it.
    pub guard: Guard,
    slots: Arc<Semaphore>,
}

impl Destination {
    /// A destination that shares the route's slots.
    #[must_use]
    pub fn new(registered: Registered, pool: Pool, guard: Guard, slots: Arc<Semaphore>) -> Self {
        let upstream = registered.upstream();
        let Registered { route, account, keys, .. } = registered;
        Self { route, account, keys: Arc::new(keys), upstream, pool, guard, slots }
    }

    /// The same with stand-ins for the account's secrets: to explain a request, not to send one.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        Self { keys: Arc::new(AccountKeys::stand_in(&self.route, &self.account)), ..self.clone() }
    }

    /// Slots for all calls at a route, whatever the account.
    #[must_use]
    pub fn slots_of(route: &Route) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(route.in_flight_max.min(Semaphore::MAX_PERMITS)))
    }

    /// The slots, for a destination that takes this one's place.
    #[must_use]
    pub fn slots(&self) -> Arc<Semaphore> {
        self.slots.clone()
    }

    /// Whether a call would be shed now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.slots.available_permits() == 0
    }

    /// A place among the calls at this PSP. `None`: all are taken, shed this one.
    #[must_use]
    pub fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }
}
