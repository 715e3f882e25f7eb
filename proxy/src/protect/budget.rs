//! The time a call has: the route's, and what its caller still waits.
//!
//! Promises: nothing begins after the caller has given up: no connection, no forward, no byte to the PSP.
//! Does not promise: that a call which began ends with its caller's patience. Once a byte has left, the route's time holds:
//! giving up earlier would make an unknown outcome of an answer on its way.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

/// How many milliseconds the caller still waits, counted from the arrival of the request's header. Never travels on.
pub const TIMEOUT: HeaderName = HeaderName::from_static("strongroom-timeout-ms");
/// Most digits of it: a day has 86,400,000 ms.
const DIGITS_MAX: usize = 8;

/// The time of one call.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    begin_until: Instant,
    ends: Instant,
}

/// The caller's time is no number of milliseconds from 1 to 99,999,999, or there are several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the caller's timeout cannot be read")]
pub struct InvalidTimeout;

/// The time is used up and nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the call's time is used up")]
pub struct Spent;

impl Budget {
    /// The time of a call that arrived then, at a route with this much for the whole. Takes the caller's header out.
    pub fn of(headers: &mut HeaderMap, arrived: Instant, total: Duration) -> Result<Self, InvalidTimeout> {
        let mut given = headers.get_all(&TIMEOUT).iter();
        let (first, more) = (given.next(), given.next());
        let of_caller = match (first, more) {
            (None, _) => None,
            (Some(value), None) => Some(value.to_str().ok().and_then(milliseconds).ok_or(InvalidTimeout)?),
            (Some(_), Some(_)) => return Err(InvalidTimeout),
        };
        headers.remove(&TIMEOUT);
        let ends = arrived + total;
        let begin_until = of_caller.map_or(ends, |time| ends.min(arrived + time));
        Ok(Self { begin_until, ends })
    }

    /// The time of a call whose caller named none.
    #[must_use]
    pub fn whole(arrived: Instant, total: Duration) -> Self {
        Self { begin_until: arrived + total, ends: arrived + total }
    }

    /// Until when something may begin: the route's time, or the caller's if that is shorter.
    #[must_use]
    pub const fn begin_until(&self) -> Instant {
        self.begin_until
    }

    /// Until when a call that began may last.
    #[must_use]
    pub const fn ends(&self) -> Instant {
        self.ends
    }

    /// Whether something may begin now.
    pub fn check(&self, now: Instant) -> Result<(), Spent> {
        if now < self.begin_until { Ok(()) } else { Err(Spent) }
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    let digits = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds = text.parse().ok().filter(|number| digits && *number > 0)?;
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn budget(values: &[&'static str]) -> Result<(u64, u64), InvalidTimeout> {
        let values = values.iter().map(|value| (TIMEOUT, HeaderValue::from_static(value)));
        let (mut headers, arrived) = (values.collect::<HeaderMap>(), Instant::now());
        let budget = Budget::of(&mut headers, arrived, Duration::from_secs(30))?;
        assert!(headers.is_empty(), "it never travels on");
        let seconds = |until: Instant| (until - arrived).as_secs();
        assert!(budget.check(arrived).is_ok() && budget.check(budget.begin_until()).is_err());
        Ok((seconds(budget.begin_until()), seconds(budget.ends())))
    }

    #[test]
    fn the_shorter_time_decides_what_begins_and_the_route_s_when_it_ends() {
        assert_eq!(budget(&[]), Ok((30, 30)));
        assert_eq!(budget(&["10000"]), Ok((10, 30)));
        assert_eq!(budget(&["99999999"]), Ok((30, 30)));
        for wrong in
            [&["0"][..], &["00"], &[""], &["-1"], &["+1"], &["1.5"], &["1s"], &["100000000"], &["1", "1"]]
        {
            assert_eq!(budget(wrong), Err(InvalidTimeout), "{wrong:?}");
        }
    }
}
