//! What a route may take and give at most: rates, places, a breaker, a deadline, whom TLS trusts beyond the roots.
//!
//! Promises: every limit is on unless a file says another number; none can be turned off.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::Deserialize;

use super::Route;
use super::account::sha256;
use crate::environment::Environment;

/// Requests a second, and how many may come at once after a pause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, when nothing came for a while.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate; zeros become ones.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: above_zero(per_second), burst: above_zero(burst) }
    }
}

const fn above_zero(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// When calls to a PSP that fails are stopped, and how it is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Fewest failures within the window that open it.
    pub failures: NonZeroU32,
    /// Smallest share of the calls within the window that failed, in percent.
    pub percent: NonZeroU32,
    /// How far back calls count.
    pub window_ms: NonZeroU32,
    /// How long it stays open before the PSP is tried again.
    pub open_ms: NonZeroU32,
    /// Calls let through at once to try; as many must succeed before it closes.
    pub probes: NonZeroU32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: above_zero(10),
            percent: above_zero(50),
            window_ms: above_zero(10_000),
            open_ms: above_zero(5_000),
            probes: above_zero(2),
        }
    }
}

impl BreakerSettings {
    /// How far back calls count.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms.get().into())
    }

    /// How long it stays open.
    #[must_use]
    pub fn open(&self) -> Duration {
        Duration::from_millis(self.open_ms.get().into())
    }
}

/// `[route.<name>.protect]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protect {
    /// All calls at the route.
    pub rate: Rate,
    /// Calls of one caller at the route.
    pub caller_rate: Rate,
    /// Calls of one caller at the route at once; none: three quarters of the route's places.
    pub caller_in_flight_max: Option<NonZeroUsize>,
    /// When calls are stopped.
    pub breaker: BreakerSettings,
    /// From a request's header to its answer; none: what connecting, opening and the PSP may take together.
    pub total_timeout: Option<Duration>,
    /// SHA-256 of public keys (SPKI), of which the PSP's chain must have one; empty: the roots decide.
    pub pins: BTreeSet<[u8; 32]>,
    /// Whether each account presents a client certificate.
    pub client_certificate: bool,
}

/// More than a busy PSP gets from one house; a defect that loops asks for more.
const ROUTE_RATE: Rate = Rate::new(1_000, 2_000);
/// Half of that: one caller leaves as much to the others.
const CALLER_RATE: Rate = Rate::new(500, 1_000);

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProtectTable {
    rate: Rate,
    caller_rate: Rate,
    caller_in_flight_max: Option<NonZeroUsize>,
    breaker: BreakerSettings,
    total_timeout_ms: Option<NonZeroU32>,
    pins: Vec<String>,
    backup_pin: bool,
    client_certificate: bool,
}

impl Default for ProtectTable {
    fn default() -> Self {
        Self {
            rate: ROUTE_RATE,
            caller_rate: CALLER_RATE,
            caller_in_flight_max: None,
            breaker: BreakerSettings::default(),
            total_timeout_ms: None,
            pins: Vec::new(),
            backup_pin: true,
            client_certificate: false,
        }
    }
}

impl ProtectTable {
    pub(super) fn into_protect(self) -> Result<Protect, String> {
        let pins: Option<BTreeSet<_>> = self.pins.iter().map(|pin| sha256(pin)).collect();
        let pins = pins.ok_or("`protect.pins` are 64 lower-case hex digits each: SHA-256 of a public key")?;
        if self.backup_pin && pins.len() == 1 {
            return Err("`protect.pins` needs a second key: with one, a changed key stops every payment \
                        (`backup_pin = false` is for `environment = \"test\"`)"
                .into());
        }
        if !self.backup_pin && pins.len() != 1 {
            return Err("`protect.backup_pin = false` says that `pins` holds one key".into());
        }
        if self.breaker.percent.get() > 100 {
            return Err("`protect.breaker.percent` is from 1 to 100".into());
        }
        Ok(Protect {
            rate: self.rate,
            caller_rate: self.caller_rate,
            caller_in_flight_max: self.caller_in_flight_max,
            breaker: self.breaker,
            total_timeout: self.total_timeout_ms.map(|ms| Duration::from_millis(ms.get().into())),
            pins,
            client_certificate: self.client_certificate,
        })
    }
}

impl Protect {
    /// What only a test may do, and what does not fit the rest of the route.
    pub(super) fn check(&self, environment: Environment, route: &Route) -> Result<(), String> {
        if self.total_timeout.is_some_and(|total| total < route.connect_timeout + route.upstream_timeout) {
            return Err(
                "`protect.total_timeout_ms` is at least what connecting and the psp may take together".into(),
            );
        }
        if environment == Environment::Test {
            return Ok(());
        }
        if self.pins.len() == 1 {
            return Err("`protect.backup_pin = false` is for `environment = \"test\"`".into());
        }
        check_place(&route.upstream.host, route.upstream.port).map_err(str::to_owned)
    }
}

/// Whether a live PSP may be at this host and port: a name with letters, never an address however it is spelled; 443 or a
/// port no system service has.
pub fn check_place(host: &str, port: u16) -> Result<(), &'static str> {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    // RFC 3986 and inet_aton: what ends in a number, or in a hexadecimal one, may be read as an address.
    let number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if number {
        return Err("an upstream is a name, not an address, in `environment = \"live\"`");
    }
    if port != 443 && port < 1_024 {
        return Err("an upstream's port is 443, or 1024 and above, in `environment = \"live\"`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(environment: Environment, upstream: &str, protect: &str) -> Result<Route, String> {
        let text = format!(
            "[route.psp]\nupstream = \"{upstream}\"\ncredential = {{ header = \"Authorization\" }}\n\
             [route.psp.protect]\n{protect}"
        );
        Route::parse("psp", &text, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_on_without_being_named_and_cannot_be_zero() {
        let protect = route(Environment::Live, "https://psp.example", "").unwrap().protect;
        assert_eq!((protect.rate, protect.caller_rate), (ROUTE_RATE, CALLER_RATE));
        assert_eq!(protect.breaker, BreakerSettings::default());
        for wrong in [
            "rate = { per_second = 0, burst = 1 }",
            "rate = { per_second = 1 }",
            "caller_rate = { per_second = 1, burst = 0 }",
            "caller_in_flight_max = 0",
            "breaker = { failures = 0 }",
            "breaker = { percent = 101 }",
            "breaker = { off = true }",
            "total_timeout_ms = 0",
            "total_timeout_ms = 27999",
            "surprise = 1",
        ] {
            assert!(route(Environment::Live, "https://psp.example", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pin_has_a_backup_unless_a_test_says_otherwise() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let both = format!("pins = [\"{one}\", \"{two}\"]");
        let alone = format!("pins = [\"{one}\"]");
        let twice = format!("pins = [\"{one}\", \"{one}\"]");
        let declared = format!("{alone}\nbackup_pin = false");
        for (text, live, test) in [
            (both.as_str(), true, true),
            (&alone, false, false),
            (&twice, false, false),
            (&declared, false, true),
            ("pins = [\"abc\"]", false, false),
            ("backup_pin = false", false, false),
        ] {
            let fits = |environment| route(environment, "https://psp.example", text).is_ok();
            assert_eq!((fits(Environment::Live), fits(Environment::Test)), (live, test), "{text}");
        }
    }

    #[test]
    fn a_live_psp_is_a_name_at_a_port_of_its_own() {
        for (upstream, live) in [
            ("https://psp.example", true),
            ("https://psp.example:8443", true),
            ("https://8.8.8.8", false),
            ("https://134744072", false),
            ("https://0x8.8.8.8", false),
            ("https://8.8.0x808", false),
            ("https://8.8.8.8.", false),
            ("https://psp.example:22", false),
        ] {
            assert_eq!(route(Environment::Live, upstream, "").is_ok(), live, "{upstream}");
            assert!(route(Environment::Test, upstream, "").is_ok(), "{upstream}");
        }
    }
}
