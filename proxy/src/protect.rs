//! What keeps one caller, or one PSP that does not answer, from taking everything: rates, places, a breaker, a deadline.
//!
//! ```text
//! header ─▶ the caller's rate and places ─▶ its rate and places at the route ─▶ the route's ─▶ body ─▶ breaker ─▶ connect ─▶ open
//! ```
//!
//! Promises: whoever is refused here opened no forward and sent nothing; a caller over its own rate takes nothing from the
//! route's; places are given back when the call ends, whoever hangs up.
//! Does not promise: one count across proxies. N proxies allow N times as much.
//! Upholds: C-47.

mod breaker;
mod budget;
mod callers;
mod rate;

pub use breaker::{Breaker, Passage, Verdict};
pub use budget::{Budget, InvalidTimeout, Spent, TIMEOUT};
pub use callers::{CallerLimits, CallerPlace};
pub use rate::Bucket;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use metrics::counter;
use strongroom_domain::WorkloadId;
use strongroom_domain::route::{BreakerSettings, Rate, Route, RouteName, Upstream};
use tokio::time::Instant;

/// Whose limit is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The caller's, at all routes together.
    Caller,
    /// The caller's at this route.
    CallerAtRoute,
    /// The route's, for all callers.
    Route,
}

impl Scope {
    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::CallerAtRoute => "caller-at-route",
            Self::Route => "route",
        }
    }
}

/// A limit is reached. Nothing was opened or sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Limited {
    /// Too many calls in too short a time.
    #[error("a rate is used up")]
    Rate {
        /// Whose.
        scope: Scope,
        /// When there is room for one more.
        again: Duration,
    },
    /// Too many calls at once.
    #[error("all places are taken")]
    Places {
        /// Whose.
        scope: Scope,
    },
}

/// What a call holds from its header to its end.
#[derive(Debug)]
pub struct Admitted {
    /// Its time.
    pub budget: Budget,
    /// Its places, the caller's and the caller's at the route; none of a request that is only looked at.
    pub places: Option<[CallerPlace; 2]>,
}

impl Admitted {
    /// For a request that is only looked at: it takes no place, and what names its caller's time is taken out.
    #[must_use]
    pub fn to_look(headers: &mut HeaderMap, now: Instant) -> Self {
        headers.remove(&TIMEOUT);
        Self { budget: Budget::whole(now, LOOK_TIME), places: None }
    }
}

/// Nothing is asked or sent meanwhile.
const LOOK_TIME: Duration = Duration::from_secs(60);

/// What every call at a route passes.
pub struct Gate {
    rate: Bucket,
    callers: CallerLimits,
}

impl Gate {
    fn new(settings: GateSettings, now: Instant) -> Self {
        let GateSettings { rate, caller_rate, caller_in_flight_max } = settings;
        Self { rate: Bucket::new(rate, now), callers: CallerLimits::new(caller_rate, caller_in_flight_max) }
    }

    /// Counts a call of this caller and gives it a place, or says which limit is reached.
    pub fn enter(&self, caller: &WorkloadId, now: Instant) -> Result<CallerPlace, Limited> {
        let place = self.callers.enter(caller, Scope::CallerAtRoute, now)?;
        self.rate.take(now).map_err(|again| Limited::Rate { scope: Scope::Route, again })?;
        Ok(place)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct GateSettings {
    rate: Rate,
    caller_rate: Rate,
    caller_in_flight_max: usize,
}

impl GateSettings {
    fn of(route: &Route) -> Self {
        let protect = &route.protect;
        // A quarter of the places stays with the others.
        let default = route.in_flight_max - route.in_flight_max / 4;
        let caller_in_flight_max = protect.caller_in_flight_max.map_or(default, usize::from);
        Self { rate: protect.rate, caller_rate: protect.caller_rate, caller_in_flight_max }
    }
}

/// What protects one destination.
#[derive(Clone)]
pub struct Guard {
    /// The route's, whatever the account.
    pub gate: Arc<Gate>,
    /// The upstream's, at this route.
    pub breaker: Arc<Breaker>,
}

type BreakerKey = (RouteName, String, u16, BreakerSettings);

/// The guards of everything served. What a reload leaves as it was keeps its counts.
#[derive(Default)]
pub struct Guards {
    gates: HashMap<(RouteName, GateSettings), Arc<Gate>>,
    breakers: HashMap<BreakerKey, Arc<Breaker>>,
}

impl Guards {
    /// The guard of a route's upstream: the one there is, the one that was, or a new one.
    pub fn of(&mut self, route: &Route, upstream: &Upstream, before: Option<&Self>, now: Instant) -> Guard {
        let settings = GateSettings::of(route);
        let key = (route.name.clone(), settings);
        let old = before.and_then(|before| before.gates.get(&key)).cloned();
        let gate = self.gates.entry(key);
        let gate = gate.or_insert_with(|| old.unwrap_or_else(|| Arc::new(Gate::new(settings, now)))).clone();

        let settings = route.protect.breaker;
        let key = (route.name.clone(), upstream.host.clone(), upstream.port, settings);
        let old = before.and_then(|before| before.breakers.get(&key)).cloned();
        let make = || Arc::new(Breaker::new(settings, route.name.as_str(), &upstream.host, now));
        let breaker = self.breakers.entry(key).or_insert_with(|| old.unwrap_or_else(make)).clone();
        Guard { gate, breaker }
    }
}

/// Counts a refusal.
pub fn refused(route: &str, limited: Limited) {
    let (what, scope) = match limited {
        Limited::Rate { scope, .. } => ("rate", scope),
        Limited::Places { scope } => ("places", scope),
    };
    let route = route.to_owned();
    counter!("strongroom_proxy_limited_total", "route" => route, "limit" => what, "scope" => scope.as_str())
        .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Environment;

    fn route(protect: &str) -> Route {
        let text = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\ncredential = {{ header = \"Authorization\" }}\n\
             in_flight_max = 8\n[route.psp.protect]\n{protect}"
        );
        Route::parse("psp", &text, Environment::Live).unwrap()
    }

    fn caller(name: &str) -> WorkloadId {
        WorkloadId::parse(&format!("spiffe://a/{name}")).unwrap()
    }

    #[tokio::test]
    async fn a_caller_over_its_own_rate_takes_nothing_from_the_route() {
        let text = "rate = { per_second = 1, burst = 5 }\ncaller_rate = { per_second = 1, burst = 3 }";
        let (route, now) = (route(text), Instant::now());
        let guard = Guards::default().of(&route, &route.upstream, None, now);
        for _ in 0..3 {
            assert!(guard.gate.enter(&caller("one"), now).is_ok());
        }
        for _ in 0..100 {
            let refused = guard.gate.enter(&caller("one"), now).err();
            let again = Duration::from_secs(1);
            assert_eq!(refused, Some(Limited::Rate { scope: Scope::CallerAtRoute, again }));
        }
        for _ in 0..2 {
            assert!(guard.gate.enter(&caller("two"), now).is_ok());
        }
        let refused = guard.gate.enter(&caller("two"), now).err();
        assert!(matches!(refused, Some(Limited::Rate { scope: Scope::Route, .. })), "{refused:?}");
        assert!(guard.gate.enter(&caller("one"), now + Duration::from_secs(1)).is_ok());
    }

    #[tokio::test]
    async fn one_caller_leaves_a_quarter_of_the_places() {
        let (route, now) = (route(""), Instant::now());
        let guard = Guards::default().of(&route, &route.upstream, None, now);
        let held: Vec<_> = (0..6).map(|_| guard.gate.enter(&caller("one"), now).unwrap()).collect();
        let refused = guard.gate.enter(&caller("one"), now).err();
        assert_eq!(refused, Some(Limited::Places { scope: Scope::CallerAtRoute }));
        assert!(guard.gate.enter(&caller("two"), now).is_ok());
        drop(held);
        assert!(guard.gate.enter(&caller("one"), now).is_ok());
    }

    #[tokio::test]
    async fn a_reload_keeps_the_counts_of_what_did_not_change() {
        let now = Instant::now();
        let (same, other) = (route(""), route("rate = { per_second = 7, burst = 7 }"));
        let mut first = Guards::default();
        let old = first.of(&same, &same.upstream, None, now);
        let mut second = Guards::default();
        let kept = second.of(&same, &same.upstream, Some(&first), now);
        assert!(Arc::ptr_eq(&old.gate, &kept.gate) && Arc::ptr_eq(&old.breaker, &kept.breaker));
        let changed = second.of(&other, &other.upstream, Some(&first), now);
        assert!(!Arc::ptr_eq(&old.gate, &changed.gate) && Arc::ptr_eq(&old.breaker, &changed.breaker));
        let elsewhere = Upstream { host: "m501.psp.example".into(), ..same.upstream.clone() };
        let elsewhere = second.of(&same, &elsewhere, Some(&first), now);
        assert!(Arc::ptr_eq(&old.gate, &elsewhere.gate) && !Arc::ptr_eq(&old.breaker, &elsewhere.breaker));
    }
}
