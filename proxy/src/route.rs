//! The registered destinations, and how a request finds one.
//!
//! Promises: a destination comes from files read at start; nothing in a request names a host to connect to; only callers
//! the bundle names for a route reach it.
//! Upholds: C-17, C-18.

mod book;
mod callers;
mod entry;

pub use book::{Registered, RouteBookError, read};
pub use callers::Callers;
pub use entry::{Entry, EntryError, EntryRefused, Target};

use std::sync::Arc;

use http::HeaderValue;
use strongroom_domain::route::{Account, Route};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::upstream::Pool;

/// One route, ready to be used.
pub struct Destination {
    /// The route.
    pub route: Route,
    /// Its account.
    pub account: Account,
    /// The account's credential as a header value: exactly in `account` mode. Marked sensitive.
    pub credential: Option<HeaderValue>,
    /// Connections to its upstream.
    pub pool: Pool,
    slots: Arc<Semaphore>,
}

impl Destination {
    /// A destination with all its slots free.
    #[must_use]
    pub fn new(registered: Registered, pool: Pool) -> Self {
        let slots = Arc::new(Semaphore::new(registered.route.in_flight_max.min(Semaphore::MAX_PERMITS)));
        let Registered { route, account, credential, .. } = registered;
        Self { route, account, credential, pool, slots }
    }

    /// A place among the calls at this PSP. `None`: all are taken, shed this one.
    #[must_use]
    pub fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }
}
