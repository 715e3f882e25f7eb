//! What the proxy counts and times: metrics, and the `Server-Timing` of each answer.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderValue;
use metrics::{counter, gauge, histogram};
use tokio::time::Instant;

/// The stages of a call, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Reading the request's body.
    Receive,
    /// Checking path, headers, credential; finding tokens.
    Plan,
    /// A connection to the PSP: idle or new.
    Connect,
    /// The vault: decision, audit, card data.
    Open,
    /// Card data into the body.
    Inject,
    /// Encrypting to the PSP, and signing.
    Sign,
    /// From the first byte sent to the last byte received.
    Upstream,
    /// Decoding and scrubbing the answer.
    Scrub,
}

impl Stage {
    const ALL: [Self; 8] = [
        Self::Receive,
        Self::Plan,
        Self::Connect,
        Self::Open,
        Self::Inject,
        Self::Sign,
        Self::Upstream,
        Self::Scrub,
    ];

    /// As metrics and `Server-Timing` name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Plan => "plan",
            Self::Connect => "connect",
            Self::Open => "open",
            Self::Inject => "inject",
            Self::Sign => "sign",
            Self::Upstream => "upstream",
            Self::Scrub => "scrub",
        }
    }
}

/// How long each stage of one call took, as far as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages([Option<Duration>; Stage::ALL.len()]);

impl Stages {
    /// Times a future.
    pub async fn time<T>(&mut self, stage: Stage, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        self.0[stage as usize] = Some(began.elapsed());
        done
    }

    /// Times a computation.
    pub fn time_sync<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.0[stage as usize] = Some(began.elapsed());
        done
    }

    /// How long a stage took.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Option<Duration> {
        self.0[stage as usize]
    }

    fn each(&self) -> impl Iterator<Item = (Stage, Duration)> {
        Stage::ALL.into_iter().filter_map(|stage| Some((stage, self.of(stage)?)))
    }

    /// The stages as `Server-Timing` (W3C), in milliseconds.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(128);
        for (stage, took) in self.each() {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{};dur={:.2}", stage.as_str(), took.as_secs_f64() * 1_000.0);
        }
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    }
}

/// Counts one call by route, kind (`allow`, `pass`, `none`) and result (`answered`, or a problem's slug).
pub fn request(route: &str, kind: &'static str, result: &'static str, stages: &Stages) {
    let route = route.to_owned();
    counter!("strongroom_proxy_requests_total", "route" => route.clone(), "kind" => kind, "result" => result)
        .increment(1);
    for (stage, took) in stages.each() {
        histogram!("strongroom_proxy_stage_seconds", "route" => route.clone(), "stage" => stage.as_str())
            .record(took);
    }
}

/// Counts what scrubbing found.
pub fn scrubbed(route: &str, replaced: u32, suspected: u32) {
    if replaced > 0 {
        counter!("strongroom_proxy_scrubbed_total", "route" => route.to_owned()).increment(replaced.into());
    }
    if suspected > 0 {
        counter!("strongroom_proxy_pan_suspected_total", "route" => route.to_owned())
            .increment(suspected.into());
    }
}

/// Counts a failure to connect to a PSP.
pub fn connect_failed(route: &str, why: &'static str) {
    counter!("strongroom_proxy_connect_failures_total", "route" => route.to_owned(), "reason" => why)
        .increment(1);
}

/// Counts a `CONNECT`: `opened` or `refused`.
pub fn tunnel(route: &str, result: &'static str) {
    counter!("strongroom_proxy_tunnels_total", "route" => route.to_owned(), "result" => result).increment(1);
}

/// Counts a request that was explained: `goes`, `refused`, or the problem of a caller who is told nothing.
pub fn explained(route: &str, result: &'static str) {
    counter!("strongroom_proxy_explained_total", "route" => route.to_owned(), "result" => result)
        .increment(1);
}

/// Counts an inbound message: `passed`, or a problem's slug.
pub fn inbound(entry: &str, result: &'static str) {
    counter!("strongroom_inbound_messages_total", "entry" => entry.to_owned(), "result" => result)
        .increment(1);
}

/// Counts cards that came in.
pub fn inbound_cards(entry: &str, number: usize) {
    counter!("strongroom_inbound_cards_total", "entry" => entry.to_owned())
        .increment(u64::try_from(number).unwrap_or(u64::MAX));
}

/// When a certificate presented to a PSP ends, in Unix time.
pub fn client_certificate(route: &str, account: &str, ends: i64) {
    let (route, account) = (route.to_owned(), account.to_owned());
    gauge!("strongroom_proxy_client_certificate_ends_seconds", "route" => route, "account" => account)
        .set(ends as f64);
}

/// Outcomes that wait to be recorded.
pub fn outcomes_waiting(number: usize) {
    gauge!("strongroom_proxy_outcomes_waiting").set(u32::try_from(number).unwrap_or(u32::MAX));
}

/// Counts an outcome that will not be recorded.
pub fn outcome_lost(why: &'static str) {
    counter!("strongroom_proxy_outcomes_lost_total", "reason" => why).increment(1);
}

/// One call at a PSP, counted while it lives.
pub struct InFlight(metrics::Gauge);

impl InFlight {
    /// Begins to count.
    #[must_use]
    pub fn begin(route: &str) -> Self {
        let gauge = gauge!("strongroom_proxy_in_flight", "route" => route.to_owned());
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_timing_names_the_stages_that_ran() {
        let mut stages = Stages::default();
        assert_eq!(stages.header(), None);
        stages.0[Stage::Open as usize] = Some(Duration::from_micros(1_500));
        stages.0[Stage::Connect as usize] = Some(Duration::from_millis(2));
        assert_eq!(stages.header().unwrap(), "connect;dur=2.00, open;dur=1.50");
    }
}
