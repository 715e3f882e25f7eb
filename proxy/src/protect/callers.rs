//! Rate and places of each caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_domain::WorkloadId;
use strongroom_domain::route::Rate;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{Bucket, Limited, Scope};

/// Most callers remembered at once. Only those of the bundle come this far; about 300 B each.
const CALLERS_MAX: usize = 16 * 1024;

/// Limits that each caller has to itself.
pub struct CallerLimits {
    rate: Rate,
    in_flight_max: usize,
    known: Mutex<HashMap<WorkloadId, Arc<OfOne>>>,
}

struct OfOne {
    bucket: Bucket,
    places: Arc<Semaphore>,
}

/// A place a caller holds until this is dropped.
#[derive(Debug)]
pub struct CallerPlace(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

impl CallerLimits {
    /// Nobody has called yet.
    #[must_use]
    pub fn new(rate: Rate, in_flight_max: usize) -> Self {
        let in_flight_max = in_flight_max.min(Semaphore::MAX_PERMITS);
        Self { rate, in_flight_max, known: Mutex::default() }
    }

    /// Counts a call and gives it a place, or says which limit is reached.
    pub fn enter(&self, caller: &WorkloadId, scope: Scope, now: Instant) -> Result<CallerPlace, Limited> {
        let of_one = self.of(caller, now).ok_or(Limited::Places { scope })?;
        of_one.bucket.take(now).map_err(|again| Limited::Rate { scope, again })?;
        let place = of_one.places.clone().try_acquire_owned();
        place.map(CallerPlace).map_err(|_| Limited::Places { scope })
    }

    fn of(&self, caller: &WorkloadId, now: Instant) -> Option<Arc<OfOne>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(caller) {
            return Some(found.clone());
        }
        if known.len() >= CALLERS_MAX {
            known.retain(|_, one| !one.may_be_forgotten(now, self.in_flight_max));
        }
        if known.len() >= CALLERS_MAX {
            return None;
        }
        let places = Arc::new(Semaphore::new(self.in_flight_max));
        let one = Arc::new(OfOne { bucket: Bucket::new(self.rate, now), places });
        known.insert(caller.clone(), one.clone());
        Some(one)
    }
}

impl OfOne {
    fn may_be_forgotten(&self, now: Instant, places: usize) -> bool {
        self.bucket.is_full(now) && self.places.available_permits() == places
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn callers_that_rest_are_forgotten_before_one_is_refused() {
        let limits = CallerLimits::new(Rate::new(1, 1), 1);
        let caller = |at: usize| WorkloadId::parse(&format!("spiffe://a/{at}")).unwrap();
        let now = Instant::now();
        let held = limits.enter(&caller(0), Scope::Caller, now).unwrap();
        for at in 1..CALLERS_MAX {
            limits.enter(&caller(at), Scope::Caller, now).unwrap();
        }
        let refused = limits.enter(&caller(CALLERS_MAX), Scope::Caller, now).unwrap_err();
        assert_eq!(refused, Limited::Places { scope: Scope::Caller });
        let later = now + Duration::from_secs(2);
        assert!(limits.enter(&caller(CALLERS_MAX), Scope::Caller, later).is_ok());
        let refused = limits.enter(&caller(0), Scope::Caller, later).unwrap_err();
        assert_eq!(refused, Limited::Places { scope: Scope::Caller }, "its call goes on");
        drop(held);
    }
}
