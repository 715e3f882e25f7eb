//! A circuit breaker for one upstream at one route.
//!
//! ```text
//!  closed ──enough failures, and enough of all──▶ open ──after a while──▶ half-open ──as many successes──▶ closed
//!                                                   ▲                        │
//!                                                   └─────── a failure ──────┘
//! ```
//!
//! Promises: only what says something about the PSP counts ([`Verdict`]); a call that began before the last change of
//! state changes nothing any more; half-open lets a bounded number through, however they end, and half of them of one
//! caller at once, so that no flood of calls that say nothing keeps the others from trying.
//! Does not promise: to tell a PSP that is down from a caller that makes it answer 5xx.
//! Upholds: C-47.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use metrics::{counter, gauge};
use strongroom_domain::WorkloadId;
use strongroom_domain::route::BreakerSettings;
use tokio::time::Instant;

use crate::upstream::{ConnectError, SendError};

/// Into so many parts the window is cut: what is older than the window goes part by part.
const PARTS: usize = 10;
/// When a caller that was no probe may ask again: by then the probes have told more.
const HALF_OPEN_AGAIN: Duration = Duration::from_secs(1);

/// What a call says about the PSP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It answered, whatever it answered: anything but 5xx.
    Works,
    /// No connection, no answer in its whole time, a reset, or 5xx.
    Fails,
    /// Nothing: refused by us or by the vault, or given up before the PSP had its whole time.
    Nothing,
}

impl Verdict {
    /// What an answer's status says.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        if status.is_server_error() { Self::Fails } else { Self::Works }
    }

    /// What a failed connection says. An address the guard refuses is our refusal, not the PSP's failure.
    #[must_use]
    pub const fn of_connect(error: &ConnectError) -> Self {
        match error {
            ConnectError::ForbiddenAddress(_) => Self::Nothing,
            ConnectError::Unresolved(_)
            | ConnectError::Tcp(_)
            | ConnectError::Tls(_)
            | ConnectError::TimedOut
            | ConnectError::Http(_) => Self::Fails,
        }
    }

    /// What an exchange without a complete answer says. Silence says something only if the PSP had its whole time: else a
    /// caller that sends slowly would open the breaker for all.
    #[must_use]
    pub const fn of_exchange(error: &SendError, whole_time: bool) -> Self {
        match error {
            SendError::Broken(_) => Self::Fails,
            SendError::TimedOut if whole_time => Self::Fails,
            // Too large an answer is one call's; a request that came back was not sent.
            SendError::TimedOut | SendError::TooLarge | SendError::NotSent(_) => Self::Nothing,
        }
    }
}

/// The breaker.
pub struct Breaker {
    settings: BreakerSettings,
    route: String,
    upstream: String,
    state: Mutex<Inner>,
}

struct Inner {
    /// Counts changes of state: a call that began before the last one is not heard.
    generation: u64,
    state: State,
}

enum State {
    Closed(Window),
    Open { until: Instant },
    HalfOpen(Probes),
}

/// Who tries the PSP.
#[derive(Default)]
struct Probes {
    trying: u32,
    good: u32,
    /// Only callers of the bundle come this far; they are forgotten at the next change.
    callers: HashMap<WorkloadId, Prober>,
}

#[derive(Default)]
struct Prober {
    trying: u32,
    /// Its last probe said nothing: until then others go first.
    again: Option<Instant>,
}

struct Window {
    parts: [(u32, u32); PARTS],
    began: Instant,
    /// The part that `parts` was last written in, counted from `began`.
    at: u64,
}

/// A call that may go on. Say what came of it, or drop it: then it says nothing.
#[must_use = "a call nobody judges leaves a place for probes taken until this is dropped"]
pub struct Passage {
    breaker: Arc<Breaker>,
    generation: u64,
    /// Whose probe it is, if it is one.
    prober: Option<WorkloadId>,
    told: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings, route: &str, upstream: &str, now: Instant) -> Self {
        let state = State::Closed(Window::new(now));
        let (route, upstream) = (route.to_owned(), upstream.to_owned());
        Self { settings, route, upstream, state: Mutex::new(Inner { generation: 0, state }) }
    }

    /// Whether a call would be refused now, and when to ask again. Takes no probe's place.
    #[must_use]
    pub fn refuses(&self, now: Instant) -> Option<Duration> {
        match self.lock().state {
            State::Open { until } => {
                Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
            }
            State::Closed(_) | State::HalfOpen(_) => None,
        }
    }

    /// Lets a caller's call through, or says when to ask again.
    pub fn admit(self: &Arc<Self>, caller: &WorkloadId, now: Instant) -> Result<Passage, Duration> {
        let mut inner = self.lock();
        if let State::Open { until } = inner.state
            && now >= until
        {
            self.change(&mut inner, State::HalfOpen(Probes::default()));
        }
        let prober = match &mut inner.state {
            State::Closed(_) => None,
            State::Open { until } => return Err(until.saturating_duration_since(now)),
            State::HalfOpen(probes) => {
                if !probes.begin(caller, self.settings.probes.get(), now) {
                    return Err(HALF_OPEN_AGAIN);
                }
                Some(caller.clone())
            }
        };
        Ok(Passage { breaker: self.clone(), generation: inner.generation, prober, told: false })
    }

    fn hear(&self, generation: u64, prober: Option<&WorkloadId>, verdict: Verdict, now: Instant) {
        let mut inner = self.lock();
        if inner.generation != generation {
            return;
        }
        let next = match (&mut inner.state, verdict) {
            (State::Closed(window), Verdict::Works) => {
                window.part(now, self.settings.window()).0 += 1;
                None
            }
            (State::Closed(window), Verdict::Fails) => {
                window.part(now, self.settings.window()).1 += 1;
                window.is_bad(&self.settings).then(|| self.opened(now))
            }
            (State::HalfOpen(probes), Verdict::Nothing | Verdict::Works) => {
                probes.end(prober, verdict, now);
                (probes.good >= self.settings.probes.get()).then(|| State::Closed(Window::new(now)))
            }
            (State::HalfOpen(_), Verdict::Fails) => Some(self.opened(now)),
            (State::Closed(_), Verdict::Nothing) | (State::Open { .. }, _) => None,
        };
        if let Some(next) = next {
            self.change(&mut inner, next);
        }
    }

    fn opened(&self, now: Instant) -> State {
        State::Open { until: now + self.settings.open() }
    }

    /// Each change is a line of the log and a step of the gauge: 0 closed, 1 half-open, 2 open.
    fn change(&self, inner: &mut Inner, next: State) {
        let (route, upstream) = (self.route.clone(), self.upstream.clone());
        let level = match next {
            State::Closed(_) => {
                tracing::info!(route, upstream, "the breaker closed: the psp answers again");
                0
            }
            State::HalfOpen(_) => {
                tracing::info!(route, upstream, "the breaker lets a few calls through to try the psp");
                1
            }
            State::Open { .. } => {
                tracing::error!(
                    route,
                    upstream,
                    "the breaker opened: calls to this psp fail; none is sent for now"
                );
                counter!("strongroom_proxy_breaker_opened_total", "route" => route.clone(), "upstream" => upstream.clone())
                    .increment(1);
                2
            }
        };
        gauge!("strongroom_proxy_breaker_state", "route" => route, "upstream" => upstream).set(level);
        inner.state = next;
        inner.generation += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probes {
    /// Takes a place for a probe of this caller, if it may have one now.
    fn begin(&mut self, caller: &WorkloadId, places: u32, now: Instant) -> bool {
        let of_caller = self.callers.get(caller);
        let has_half = of_caller.is_some_and(|one| one.trying >= places.div_ceil(2));
        let gives_way = of_caller.and_then(|one| one.again).is_some_and(|again| now < again);
        let may = self.trying + self.good < places && !has_half && !gives_way;
        if may {
            self.trying += 1;
            self.callers.entry(caller.clone()).or_default().trying += 1;
        }
        may
    }

    /// Gives the place back. One that said nothing was no try: whoever waits for it goes first.
    fn end(&mut self, caller: Option<&WorkloadId>, verdict: Verdict, now: Instant) {
        self.trying = self.trying.saturating_sub(1);
        self.good += u32::from(verdict == Verdict::Works);
        if let Some(one) = caller.and_then(|caller| self.callers.get_mut(caller)) {
            one.trying = one.trying.saturating_sub(1);
            one.again = (verdict == Verdict::Nothing).then(|| now + HALF_OPEN_AGAIN);
        }
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { parts: [(0, 0); PARTS], began: now, at: 0 }
    }

    /// The part of now; those that fell out of the window meanwhile are emptied.
    fn part(&mut self, now: Instant, window: Duration) -> &mut (u32, u32) {
        let length = (window.as_nanos() / PARTS as u128).max(1);
        let at = now.saturating_duration_since(self.began).as_nanos() / length;
        let at = u64::try_from(at).unwrap_or(u64::MAX).max(self.at);
        for passed in (self.at + 1..=at).take(PARTS) {
            self.parts[place(passed)] = (0, 0);
        }
        self.at = at;
        &mut self.parts[place(at)]
    }

    fn is_bad(&self, settings: &BreakerSettings) -> bool {
        let sum = |which: fn(&(u32, u32)) -> u32| self.parts.iter().map(|part| u64::from(which(part))).sum();
        let (works, fails): (u64, u64) = (sum(|part| part.0), sum(|part| part.1));
        fails >= settings.failures.get().into()
            && fails * 100 >= (works + fails) * u64::from(settings.percent.get())
    }
}

/// The remainder is below ten.
fn place(at: u64) -> usize {
    usize::try_from(at % PARTS as u64).unwrap_or_default()
}

impl Passage {
    /// Says what came of the call.
    pub fn tell(mut self, verdict: Verdict, now: Instant) {
        self.told = true;
        self.breaker.hear(self.generation, self.prober.as_ref(), verdict, now);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.hear(self.generation, self.prober.as_ref(), Verdict::Nothing, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
