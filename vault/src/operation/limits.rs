//! How much one principal may do: rate and volume per action, and how often one token may be used.
//!
//! Promises: a stolen proxy or orchestrator identity redeems at most this much before people are told (T-01).
//! Does not promise: one count across replicas. N replicas allow N times as much; set the limits for one.

pub mod guesses;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use strongroom_domain::{Clock, TenantId, Timestamp, TokenHash, WorkloadId};

/// Limits per principal. Defaults are the starting points of the risk analysis in `threat-model/`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Cards a second one caller may tokenize; bursts of one second.
    pub tokenize_per_second: u32,
    /// Cards a second one caller with the grant to import may bring in by batches; bursts of one second.
    pub import_per_second: u32,
    /// Cards a second one caller may change under their tokens; bursts of one second. Callers with the grant to import have
    /// `import_per_second`.
    pub update_per_second: u32,
    /// New numbers a day of one BIN and last four that one caller may tokenize where a tenant deduplicates. About a
    /// thousand card numbers share them, and each that is tried tells whether it is known. Callers with the grant to
    /// import are exempt: they bring whole portfolios.
    pub dedupe_numbers_per_day: u16,
    /// Cards a second one caller may have forwarded through any proxy; bursts of one second.
    pub forward_per_second: u32,
    /// Cards a day one caller may have forwarded.
    pub forward_per_day: u64,
    /// Times a minute one token may be forwarded.
    pub token_forwards_per_minute: u32,
    /// Cards one caller may erase within an hour, of all tenants together.
    pub erase_per_hour: u32,
    /// Cards of one tenant that may be erased within an hour, by all callers together.
    pub tenant_erase_per_hour: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            tokenize_per_second: 200,
            import_per_second: 20_000,
            update_per_second: 200,
            dedupe_numbers_per_day: 20,
            forward_per_second: 50,
            forward_per_day: 100_000,
            token_forwards_per_minute: 10,
            erase_per_hour: 1_000,
            tenant_erase_per_hour: 500,
        }
    }
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit reached")]
pub struct LimitReached;

/// The breaker against mass erasure is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many cards were erased within the hour")]
pub struct BreakerOpen {
    /// Whose budget is used up: `caller` or `tenant`.
    pub scope: &'static str,
    /// Until it closes.
    pub again: Duration,
    /// Whether it opened just now.
    pub opened: bool,
}

/// How long the breaker counts together, from the first erasure on.
const ERASE_WINDOW: Duration = Duration::from_secs(3_600);
/// Most tokens whose use is counted in one minute. About 6 MiB.
const TOKENS_MAX: usize = 100_000;
pub(super) const DAY_SECONDS: i64 = 86_400;

/// Counts what principals do.
pub struct Limits {
    config: LimitsConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tokenize: HashMap<WorkloadId, Bucket>,
    import: HashMap<WorkloadId, Bucket>,
    update: HashMap<WorkloadId, Bucket>,
    forward: HashMap<WorkloadId, Bucket>,
    day: HashMap<WorkloadId, Window>,
    /// The minute that `tokens` counts in.
    minute: i64,
    tokens: HashMap<TokenHash, u64>,
    erase: HashMap<Loser, Spent>,
}

/// Who has a budget of erasures.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Loser {
    Caller(WorkloadId),
    Tenant(TenantId),
}

/// What was erased since the first of it.
#[derive(Clone, Copy)]
struct Spent {
    since: Timestamp,
    used: u32,
    refused: bool,
}

struct Bucket {
    left: f64,
    at: Timestamp,
}

#[derive(Clone, Copy)]
struct Window {
    number: i64,
    used: u64,
}

impl Limits {
    /// Nothing used yet.
    #[must_use]
    pub fn new(config: LimitsConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock, state: Mutex::default() }
    }

    /// Counts the cards of one tokenization. All or none is counted.
    pub fn tokenize(&self, caller: &WorkloadId, cards: u64) -> Result<(), LimitReached> {
        let now = self.clock.now();
        take(&mut self.lock().tokenize, caller, self.config.tokenize_per_second, cards, now)
    }

    /// Counts the cards of one batch of an import. All or none is counted.
    pub fn import(&self, caller: &WorkloadId, cards: u64) -> Result<(), LimitReached> {
        let now = self.clock.now();
        take(&mut self.lock().import, caller, self.config.import_per_second, cards, now)
    }

    /// Counts cards that are changed. All or none is counted.
    pub fn update(&self, caller: &WorkloadId, cards: u64) -> Result<(), LimitReached> {
        let now = self.clock.now();
        take(&mut self.lock().update, caller, self.config.update_per_second, cards, now)
    }

    /// Counts one forward of these tokens. All or none is counted.
    pub fn forward(&self, caller: &WorkloadId, tokens: &[TokenHash]) -> Result<(), LimitReached> {
        let now = self.clock.now();
        let (minute, day) = (now.unix_seconds().div_euclid(60), now.unix_seconds().div_euclid(DAY_SECONDS));
        let cards = tokens.len() as u64;
        let mut state = self.lock();
        if state.minute != minute {
            state.minute = minute;
            state.tokens.clear();
        }
        let used_up = u64::from(self.config.token_forwards_per_minute);
        let token_is_hot = |token| state.tokens.get(token).copied().unwrap_or_default() >= used_up;
        let day_used = used(state.day.get(caller).copied(), day);
        if tokens.iter().any(token_is_hot) || day_used.saturating_add(cards) > self.config.forward_per_day {
            return Err(LimitReached);
        }
        take(&mut state.forward, caller, self.config.forward_per_second, cards, now)?;
        state.day.insert(caller.clone(), Window { number: day, used: day_used + cards });
        for token in tokens {
            if let Some(used) = state.tokens.get_mut(token) {
                *used += 1;
            } else if state.tokens.len() < TOKENS_MAX {
                state.tokens.insert(*token, 1);
            }
        }
        Ok(())
    }

    /// Counts one erasure. Once a budget is used up nothing more is erased until an hour after its first erasure: whoever
    /// stole an identity that erases gets this far, and everything of it can be shown again within the hold.
    pub fn erase(&self, caller: &WorkloadId, tenant: &TenantId) -> Result<(), BreakerOpen> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.erase.retain(|_, spent| now.since(spent.since) < ERASE_WINDOW);
        let losers = [
            (Loser::Caller(caller.clone()), "caller", self.config.erase_per_hour),
            (Loser::Tenant(tenant.clone()), "tenant", self.config.tenant_erase_per_hour),
        ];
        for (loser, scope, most) in &losers {
            let spent =
                state.erase.entry(loser.clone()).or_insert(Spent { since: now, used: 0, refused: false });
            if spent.used >= *most {
                let opened = !std::mem::replace(&mut spent.refused, true);
                let again = ERASE_WINDOW.saturating_sub(now.since(spent.since));
                return Err(BreakerOpen { scope, again, opened });
            }
        }
        for (loser, ..) in losers {
            if let Some(spent) = state.erase.get_mut(&loser) {
                spent.used += 1;
            }
        }
        Ok(())
    }

    /// No count is half-written under this lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn used(window: Option<Window>, number: i64) -> u64 {
    window.filter(|window| window.number == number).map_or(0, |window| window.used)
}

fn take(
    buckets: &mut HashMap<WorkloadId, Bucket>,
    principal: &WorkloadId,
    per_second: u32,
    cards: u64,
    now: Timestamp,
) -> Result<(), LimitReached> {
    let (size, cards) = (f64::from(per_second), cards as f64);
    let bucket = buckets.entry(principal.clone()).or_insert(Bucket { left: size, at: now });
    bucket.left = (bucket.left + now.since(bucket.at).as_secs_f64() * size).min(size);
    bucket.at = now;
    if bucket.left < cards {
        return Err(LimitReached);
    }
    bucket.left -= cards;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_seconds(self.0.load(Ordering::Relaxed))
        }
    }

    fn limits(config: LimitsConfig) -> (Limits, Arc<Hands>, WorkloadId) {
        let clock = Arc::new(Hands(AtomicI64::new(0)));
        let caller = WorkloadId::parse("spiffe://strongroom.test/orchestrator").unwrap();
        (Limits::new(config, Arc::clone(&clock) as Arc<dyn Clock>), clock, caller)
    }

    #[test]
    fn a_second_refills_the_bucket() {
        let (limits, clock, caller) =
            limits(LimitsConfig { tokenize_per_second: 2, ..LimitsConfig::default() });
        assert_eq!((0..5).filter(|_| limits.tokenize(&caller, 1).is_ok()).count(), 2);
        clock.0.store(1, Ordering::Relaxed);
        assert_eq!((0..5).filter(|_| limits.tokenize(&caller, 1).is_ok()).count(), 2);
        let other = WorkloadId::parse("spiffe://strongroom.test/other").unwrap();
        assert!(limits.tokenize(&other, 1).is_ok(), "one caller's use is not another's");
    }

    #[test]
    fn erasing_stops_at_the_budget_of_a_caller_and_of_a_tenant() {
        let config = LimitsConfig { erase_per_hour: 3, tenant_erase_per_hour: 2, ..LimitsConfig::default() };
        let (limits, clock, caller) = limits(config);
        let other = WorkloadId::parse("spiffe://strongroom.test/other").unwrap();
        let [acme, globex, umbrella] =
            ["acme", "globex", "umbrella"].map(|name| TenantId::parse(name).unwrap());
        assert!(limits.erase(&caller, &acme).is_ok());
        clock.0.store(600, Ordering::Relaxed);
        assert!(limits.erase(&caller, &acme).is_ok());
        let open = limits.erase(&caller, &acme).unwrap_err();
        assert_eq!((open.scope, open.again, open.opened), ("tenant", Duration::from_secs(3_000), true));
        assert!(!limits.erase(&other, &acme).unwrap_err().opened, "the tenant's, whoever asks; told once");
        assert!(limits.erase(&caller, &globex).is_ok());
        assert_eq!(limits.erase(&caller, &umbrella).unwrap_err().scope, "caller");
        assert!(limits.erase(&other, &umbrella).is_ok());
        clock.0.store(3_600, Ordering::Relaxed);
        assert!(limits.erase(&caller, &acme).is_ok(), "an hour after the first");
    }

    #[test]
    fn one_token_is_forwarded_only_so_often() {
        let (limits, clock, caller) =
            limits(LimitsConfig { token_forwards_per_minute: 3, ..LimitsConfig::default() });
        let token = TokenHash::from_bytes([1; 32]);
        assert_eq!((0..5).filter(|_| limits.forward(&caller, &[token]).is_ok()).count(), 3);
        assert!(limits.forward(&caller, &[TokenHash::from_bytes([2; 32])]).is_ok());
        clock.0.store(60, Ordering::Relaxed);
        assert!(limits.forward(&caller, &[token]).is_ok());
    }

    #[test]
    fn a_day_has_its_volume() {
        let config = LimitsConfig { forward_per_day: 3, ..LimitsConfig::default() };
        let (limits, clock, caller) = limits(config);
        let tokens = |first: u8| [TokenHash::from_bytes([first; 32]), TokenHash::from_bytes([first + 1; 32])];
        assert!(limits.forward(&caller, &tokens(1)).is_ok());
        assert_eq!(limits.forward(&caller, &tokens(3)), Err(LimitReached));
        assert!(limits.forward(&caller, &tokens(5)[..1]).is_ok());
        clock.0.store(DAY_SECONDS, Ordering::Relaxed);
        assert!(limits.forward(&caller, &tokens(7)).is_ok());
    }
}
