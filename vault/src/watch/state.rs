//! What the rules remember of the last minutes: counts per caller, and what was told already.
//!
//! Promises: time is the entries' own; memory is bounded by [`CALLERS_MAX`] and [`TOLD_MAX`].
//! Does not promise: to count callers beyond that bound. Identities come from certificates of the house's own authority.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use strongroom_domain::Timestamp;

use super::config::WatchConfig;
use super::rules::{Hit, Rule};
use crate::audit::Seen;
use crate::authz::SUSPENDED;

/// Most callers that are counted at once.
const CALLERS_MAX: usize = 10_000;
/// Most findings that are remembered so as not to be told again.
const TOLD_MAX: usize = 10_000;
/// Minutes that are looked back.
const MINUTES: i64 = 10;
/// How long a first certificate of a caller stands for all that follow: short-lived certificates change every hour.
const CERTIFICATE_AGAIN: Duration = Duration::from_secs(24 * 3_600);

/// Counts of one caller within one minute.
#[derive(Clone, Copy, Debug)]
struct Minute {
    number: i64,
    first: u64,
    all: u32,
    denied: u32,
    releases: u32,
    lookups: u32,
}

/// What the rules remember.
#[derive(Debug)]
pub struct State {
    config: WatchConfig,
    callers: HashMap<String, VecDeque<Minute>>,
    told: HashMap<(Rule, String), Timestamp>,
}

impl State {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(config: WatchConfig) -> Self {
        Self { config, callers: HashMap::new(), told: HashMap::new() }
    }

    /// What the rules that need no database say to an entry.
    pub fn observe(&mut self, place: u64, seen: &Seen) -> Vec<Hit> {
        let mut hits = Vec::new();
        let single = match (seen.evt.as_str(), seen.rsn.as_deref()) {
            ("rate.limited" | "pan.tokenize", Some("too-many-numbers")) => Some(Rule::ManyNumbers),
            ("policy.activate", Some("destination-changed")) => Some(Rule::NewDestination),
            ("tamper" | "context_mismatch", _) => Some(Rule::ControlFailed),
            ("audit.verify", _) if seen.out == "failure" => Some(Rule::ControlFailed),
            ("pan.unexpected", _) => Some(Rule::PanUnexpected),
            // A record that does not open, whatever it was read for (`strongroom_sealing::OpenError`).
            (_, Some("context_mismatch" | "tampered" | "malformed")) if seen.out == "failure" => {
                Some(Rule::ControlFailed)
            }
            _ => None,
        };
        hits.extend(single.map(|rule| Hit::of(rule, place, seen)));
        if seen.actor.r#type != "system" {
            hits.extend(self.count(place, seen));
        }
        hits
    }

    /// Whether this is to be told: not if the same was told within the time set. Remembers that it is.
    pub fn is_news(&mut self, hit: &Hit) -> bool {
        if self.config.off.contains(&hit.rule) {
            return false;
        }
        let again = match hit.rule {
            Rule::NewCertificate | Rule::AccessReviewOverdue | Rule::LogReviewOverdue => CERTIFICATE_AGAIN,
            _ => Duration::from_secs(self.config.repeat_after_minutes.saturating_mul(60)),
        };
        let (same, at) = (hit.sameness(), hit.at);
        let is_news = self.told.get(&same).is_none_or(|told| at >= told.plus(again));
        if is_news {
            self.remember(same, at);
        }
        is_news
    }

    fn remember(&mut self, same: (Rule, String), at: Timestamp) {
        if self.told.len() >= TOLD_MAX {
            self.told.retain(|_, told| told.plus(CERTIFICATE_AGAIN) > at);
        }
        if self.told.len() < TOLD_MAX {
            self.told.insert(same, at);
        }
    }

    fn count(&mut self, place: u64, seen: &Seen) -> Vec<Hit> {
        let number = seen.ts.unix_micros().div_euclid(60_000_000);
        if self.callers.len() >= CALLERS_MAX && !self.callers.contains_key(&seen.actor.id) {
            self.callers
                .retain(|_, minutes| minutes.back().is_some_and(|last| last.number + MINUTES > number));
            if self.callers.len() >= CALLERS_MAX {
                metrics::counter!("strongroom_watch_uncounted_total").increment(1);
                return Vec::new();
            }
        }
        let minutes = self.callers.entry(seen.actor.id.clone()).or_default();
        while minutes.front().is_some_and(|first| first.number + MINUTES <= number) {
            minutes.pop_front();
        }
        if minutes.back().is_none_or(|last| last.number < number) {
            minutes.push_back(Minute { number, first: place, all: 0, denied: 0, releases: 0, lookups: 0 });
        }
        let Some(now) = minutes.back_mut() else { return Vec::new() };
        let lookups = match seen.evt.as_str() {
            "pan.lookup" | "pan.match" if seen.out == "success" => 1,
            "pan.list" if seen.out == "success" => u32::try_from(seen.tokens().count()).unwrap_or(u32::MAX),
            _ => 0,
        };
        now.all = now.all.saturating_add(1);
        // That somebody is suspended is known: what he asks for meanwhile says nothing new.
        let denied = seen.out == "denied" && seen.rsn.as_deref() != Some(SUSPENDED);
        now.denied = now.denied.saturating_add(u32::from(denied));
        now.releases = now.releases.saturating_add(u32::from(seen.released()));
        now.lookups = now.lookups.saturating_add(lookups);
        let now = *now;
        exceeded(&self.config, place, seen, now, minutes)
    }

    /// Takes up what an earlier finding on the log says was told.
    pub(super) fn was_told(&mut self, finding: &Seen) {
        if let Some(hit) = Hit::told(finding) {
            self.remember(hit.sameness(), hit.at);
        }
    }
}

fn exceeded(
    config: &WatchConfig,
    place: u64,
    seen: &Seen,
    now: Minute,
    minutes: &VecDeque<Minute>,
) -> Vec<Hit> {
    let minute = Duration::from_secs(60);
    let hit = |rule, count: u32, limit: u32, within, first| Hit {
        count: u64::from(count),
        limit: u64::from(limit),
        within,
        places: (first, place),
        tenant: None,
        ..Hit::of(rule, place, seen)
    };
    let mut hits = Vec::new();
    let &WatchConfig { releases_per_minute, lookups_per_minute, denied_least, denied_percent, .. } = config;
    if now.releases > releases_per_minute {
        hits.push(hit(Rule::ReleaseRate, now.releases, releases_per_minute, minute, now.first));
    }
    if now.lookups > lookups_per_minute {
        hits.push(hit(Rule::LookupRate, now.lookups, lookups_per_minute, minute, now.first));
    }
    let sum = |of: fn(&Minute) -> u32| minutes.iter().map(|minute| u64::from(of(minute))).sum::<u64>();
    let (all, denied) = (sum(|minute| minute.all), sum(|minute| minute.denied));
    let is_much = denied >= u64::from(denied_least) && denied * 100 >= all * u64::from(denied_percent);
    if seen.out == "denied" && is_much {
        let first = minutes.front().map_or(place, |first| first.first);
        let denied = u32::try_from(denied).unwrap_or(u32::MAX);
        hits.push(hit(Rule::DeniedRatio, denied, denied_least, minute * 10, first));
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(actor: &str, evt: &str, out: &str, second: i64) -> Seen {
        let ts = Timestamp::from_unix_micros(1_795_000_020_000_000 + second * 1_000_000);
        let entry = serde_json::json!({
            "actor": { "id": format!("spiffe://a/{actor}"), "type": "workload" }, "evt": evt, "out": out, "ts": ts,
            "boot_id": "b", "instance_seq": 1, "obj": { "type": "operation", "ref": "test" },
        });
        Seen::of(&crate::audit::Leaf::from_bytes(entry.to_string().into())).unwrap()
    }

    fn rules(state: &mut State, place: u64, seen: &Seen) -> Vec<(Rule, u64, (u64, u64))> {
        let hits = state.observe(place, seen);
        let news: Vec<_> = hits.into_iter().filter(|hit| state.is_news(hit)).collect();
        news.into_iter().map(|hit| (hit.rule, hit.count, hit.places)).collect()
    }

    #[test]
    fn a_rate_is_a_finding_once_it_is_over_and_once_an_hour() {
        let config = WatchConfig { releases_per_minute: 3, ..WatchConfig::default() };
        let mut state = State::new(config);
        let at = |second| seen("x", "pan.forward", "success", second);
        for (place, second) in [(0, 0), (1, 1), (2, 2)] {
            assert_eq!(rules(&mut state, place, &at(second)), []);
        }
        assert_eq!(rules(&mut state, 3, &at(3)), [(Rule::ReleaseRate, 4, (0, 3))]);
        assert_eq!(rules(&mut state, 4, &at(4)), [], "told");
        assert_eq!(rules(&mut state, 5, &at(65)), [], "another minute begins at nothing");
        for place in 6..9 {
            assert_eq!(rules(&mut state, place, &at(3_600)), []);
        }
        assert_eq!(rules(&mut state, 9, &at(3_610)), [(Rule::ReleaseRate, 4, (6, 9))], "an hour later again");
        assert_eq!(
            rules(&mut state, 10, &seen("y", "pan.forward", "success", 4)),
            [],
            "another caller's own count"
        );
    }

    #[test]
    fn cards_of_an_export_count_as_released() {
        let config = WatchConfig { releases_per_minute: 2, ..WatchConfig::default() };
        let mut state = State::new(config);
        for (place, evt) in [(0, "pan.export"), (1, "pan.forward")] {
            assert_eq!(rules(&mut state, place, &seen("x", evt, "success", 0)), []);
        }
        assert_eq!(rules(&mut state, 2, &seen("x", "pan.export", "denied", 1)), []);
        let third = seen("x", "pan.export", "success", 2);
        assert_eq!(rules(&mut state, 3, &third), [(Rule::ReleaseRate, 3, (0, 3))]);
    }

    #[test]
    fn refusals_are_a_finding_if_they_are_many_and_much_of_all() {
        let config = WatchConfig { denied_least: 3, denied_percent: 50, ..WatchConfig::default() };
        let mut state = State::new(config.clone());
        for place in 0..4 {
            assert_eq!(rules(&mut state, place, &seen("x", "pan.lookup", "success", 0)), []);
        }
        for place in 4..7 {
            assert_eq!(rules(&mut state, place, &seen("x", "authz.deny", "denied", 1)), [], "three of seven");
        }
        assert_eq!(
            rules(&mut state, 7, &seen("x", "authz.deny", "denied", 2)),
            [(Rule::DeniedRatio, 4, (0, 7))]
        );
        let mut state = State::new(config);
        for place in 0..2 {
            assert_eq!(rules(&mut state, place, &seen("x", "authz.deny", "denied", 0)), []);
        }
        assert_eq!(
            rules(&mut state, 2, &seen("x", "authz.deny", "denied", 700)),
            [],
            "the first two are long ago"
        );
    }

    #[test]
    fn what_must_never_be_is_a_finding_by_itself() {
        let mut state = State::new(WatchConfig::default());
        for (evt, rule) in [("tamper", Rule::ControlFailed), ("pan.unexpected", Rule::PanUnexpected)] {
            assert_eq!(rules(&mut state, 7, &seen("x", evt, "failure", 0)), [(rule, 1, (7, 7))]);
        }
        for (place, why) in [(10, "context_mismatch"), (11, "tampered"), (12, "malformed")] {
            let mut state = State::new(WatchConfig::default());
            let mut unopened = seen("x", "pan.forward", "failure", 0);
            unopened.rsn = Some(why.into());
            assert_eq!(
                rules(&mut state, place, &unopened),
                [(Rule::ControlFailed, 1, (place, place))],
                "{why}"
            );
            unopened.out = "success".into();
            assert_eq!(state.observe(place, &unopened), []);
        }
        let mut limited = seen("x", "rate.limited", "denied", 0);
        assert_eq!(rules(&mut state, 8, &limited), []);
        limited.rsn = Some("too-many-numbers".into());
        assert_eq!(rules(&mut state, 9, &limited), [(Rule::ManyNumbers, 1, (9, 9))]);
    }
}
