//! Whether exports are served at all, and how much of them.
//!
//! Promises: off unless configured; never in `live` before people sign in with a second factor; one run at a time.
//! Does not promise: one count across replicas, or across a restart: the day's cards are counted in memory.
//! Upholds: C-33.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use strongroom_domain::{Environment, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ExportRefusal;
use crate::operation::limits::DAY_SECONDS;

/// Longest a run may take at its full rate: inside the age a connection may have.
const RUN_SECONDS_MAX: u64 = 480;

/// Whether and how much may be exported.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    /// Whether exports are served at all. In `test` only, until people sign in with a second factor.
    pub enabled: bool,
    /// Cards a second, of the one run there is at a time.
    pub cards_per_second: u32,
    /// Cards a day, of all tenants together.
    pub cards_per_day: u64,
    /// Most cards of one export; larger tenants are exported in parts, by when their cards came in.
    pub cards_max: u64,
    /// Runs of one export: a broken download begins anew.
    pub runs_max: u32,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            cards_per_second: 1_000,
            cards_per_day: 1_000_000,
            cards_max: 400_000,
            runs_max: 3,
        }
    }
}

impl ExportConfig {
    /// Refuses with a sentence what may not be.
    pub fn check(&self, environment: Environment) -> Result<(), String> {
        if self.enabled && environment == Environment::Live {
            return Err("export.enabled = true is for environment = \"test\": until people sign in with a second factor \
                        nobody exports live cards"
                .into());
        }
        if self.cards_per_second == 0 || !(1..=10).contains(&self.runs_max) || self.cards_max == 0 {
            return Err(
                "export.cards_per_second and export.cards_max are at least 1, export.runs_max is 1 to 10"
                    .into(),
            );
        }
        if self.cards_max > u64::from(self.cards_per_second) * RUN_SECONDS_MAX {
            return Err(format!(
                "export.cards_max is at most {RUN_SECONDS_MAX} seconds of export.cards_per_second: a run ends before its \
                 connection does"
            ));
        }
        Ok(())
    }
}

/// What all exports of this replica share.
pub struct Exports {
    pub(super) config: ExportConfig,
    environment: Environment,
    /// One run at a time: memory, and a rate that means something.
    one: Arc<Semaphore>,
    /// Day number, and the cards that were let out in it.
    day: Mutex<(i64, u64)>,
}

impl Exports {
    /// Nothing exported yet.
    #[must_use]
    pub fn new(config: ExportConfig, environment: Environment) -> Self {
        Self { config, environment, one: Arc::new(Semaphore::new(1)), day: Mutex::default() }
    }

    /// Whether exports are served. Asked after the grant: who has none learns nothing.
    pub(super) fn must_be_on(&self) -> Result<(), ExportRefusal> {
        match (self.environment, self.config.enabled) {
            (Environment::Live, _) => Err(ExportRefusal::Live), // the configuration refuses it too
            (Environment::Test, false) => Err(ExportRefusal::Off),
            (Environment::Test, true) => Ok(()),
        }
    }

    pub(super) fn begin(&self) -> Result<OwnedSemaphorePermit, ExportRefusal> {
        Arc::clone(&self.one).try_acquire_owned().map_err(|_| ExportRefusal::Busy)
    }

    pub(super) fn take_of_day(&self, cards: u64, now: Timestamp) -> Result<(), ExportRefusal> {
        let today = now.unix_seconds().div_euclid(DAY_SECONDS);
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        let used = if day.0 == today { day.1 } else { 0 };
        if used.saturating_add(cards) > self.config.cards_per_day {
            return Err(ExportRefusal::DayUsedUp);
        }
        *day = (today, used + cards);
        Ok(())
    }
}

/// How long a run at this rate takes for so many cards.
pub(super) fn time_for(cards: u64, per_second: u32) -> Duration {
    Duration::from_micros(cards.saturating_mul(1_000_000) / u64::from(per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_seconds(second)
    }

    #[test]
    fn exports_are_off_by_default_and_never_on_in_live() {
        let default = ExportConfig::default();
        assert!(default.check(Environment::Live).is_ok() && !default.enabled);
        let on = ExportConfig { enabled: true, ..default };
        assert!(on.check(Environment::Test).is_ok());
        assert!(on.check(Environment::Live).unwrap_err().contains("second factor"));
        assert_eq!(Exports::new(default, Environment::Test).must_be_on(), Err(ExportRefusal::Off));
        assert_eq!(Exports::new(on, Environment::Live).must_be_on(), Err(ExportRefusal::Live));
        assert_eq!(Exports::new(on, Environment::Test).must_be_on(), Ok(()));
        for wrong in [
            ExportConfig { cards_per_second: 0, ..on },
            ExportConfig { cards_max: 480_001, ..on },
            ExportConfig { cards_max: 0, ..on },
            ExportConfig { runs_max: 11, ..on },
        ] {
            assert!(wrong.check(Environment::Test).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_day_has_its_cards_and_one_run_at_a_time() {
        let config = ExportConfig { enabled: true, cards_per_day: 10, ..ExportConfig::default() };
        let exports = Exports::new(config, Environment::Test);
        assert_eq!(exports.take_of_day(8, at(5)), Ok(()));
        assert_eq!(exports.take_of_day(3, at(5)), Err(ExportRefusal::DayUsedUp));
        assert_eq!(exports.take_of_day(2, at(5)), Ok(()));
        assert_eq!(exports.take_of_day(10, at(DAY_SECONDS)), Ok(()));
        let run = exports.begin().unwrap();
        assert_eq!(exports.begin().unwrap_err(), ExportRefusal::Busy);
        drop(run);
        assert!(exports.begin().is_ok());
        assert_eq!(time_for(2_500, 1_000), Duration::from_millis(2_500));
    }
}
