//! How often is reviewed, and whether it is time.

use serde::{Deserialize, Serialize};
use strongroom_domain::Timestamp;

use super::ReviewKind;

const DAY_SECONDS: i64 = 24 * 3_600;
/// PCI DSS 7.2.4: at least once every six months.
const ACCESS_DAYS_MAX: u32 = 184;
/// PCI DSS 10.4.1 is daily; what a targeted risk analysis may choose for other logs (10.4.2.1) ends here.
const LOG_DAYS_MAX: u32 = 31;

/// How often is reviewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewsConfig {
    /// Days within which access is reviewed again, 1 to 184.
    pub access_days: u32,
    /// Days within which the log is reviewed again, 1 to 31.
    pub log_days: u32,
}

impl Default for ReviewsConfig {
    fn default() -> Self {
        Self { access_days: 180, log_days: 1 }
    }
}

impl ReviewsConfig {
    /// Refuses with a sentence what is too rare.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=ACCESS_DAYS_MAX).contains(&self.access_days) {
            return Err(format!("reviews.access_days is 1 to {ACCESS_DAYS_MAX}"));
        }
        if !(1..=LOG_DAYS_MAX).contains(&self.log_days) {
            return Err(format!("reviews.log_days is 1 to {LOG_DAYS_MAX}"));
        }
        Ok(())
    }

    /// Days of one kind.
    #[must_use]
    pub const fn days(&self, kind: ReviewKind) -> u32 {
        match kind {
            ReviewKind::Access => self.access_days,
            ReviewKind::Log => self.log_days,
        }
    }

    /// How a kind stands: `last` is the last review, or when the log began if there was none.
    #[must_use]
    pub fn standing(&self, kind: ReviewKind, last: Timestamp, now: Timestamp) -> Standing {
        let due_at = due_after(last, self.days(kind));
        Standing { due_at, overdue: due_at <= now }
    }
}

/// Whether it is time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Standing {
    /// Overdue from then on.
    pub due_at: Timestamp,
    /// Whether that is over.
    pub overdue: bool,
}

/// The end of the day (UTC) that is so many days after the day of the last one: who reviews each day may do it at any hour.
pub(crate) fn due_after(last: Timestamp, days: u32) -> Timestamp {
    let day = last.unix_seconds().div_euclid(DAY_SECONDS);
    Timestamp::from_unix_seconds((day + i64::from(days) + 1).saturating_mul(DAY_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_daily_review_may_be_at_any_hour_of_the_next_day() {
        let config = ReviewsConfig::default();
        for last in ["2026-07-01T00:00:00Z", "2026-07-01T23:59:59.999999Z"] {
            let before = config.standing(ReviewKind::Log, at(last), at("2026-07-02T23:59:59.999999Z"));
            assert_eq!(before, Standing { due_at: at("2026-07-03T00:00:00Z"), overdue: false });
            assert!(config.standing(ReviewKind::Log, at(last), at("2026-07-03T00:00:00Z")).overdue);
        }
        let access =
            config.standing(ReviewKind::Access, at("2026-01-01T09:00:00Z"), at("2026-06-30T23:00:00Z"));
        assert_eq!((access.due_at, access.overdue), (at("2026-07-01T00:00:00Z"), false));
    }

    #[test]
    fn what_would_be_too_rare_is_refused() {
        assert!(ReviewsConfig::default().check().is_ok());
        for (access_days, log_days) in [(0, 1), (185, 1), (180, 0), (180, 32)] {
            assert!(ReviewsConfig { access_days, log_days }.check().is_err(), "{access_days} {log_days}");
        }
    }
}
