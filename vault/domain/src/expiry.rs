//! When a card ends: month and year, 2000 to 2099.

use std::fmt;

use crate::clock::Timestamp;

/// A card's expiry. Cards are good to the end of this month.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Expiry {
    year: u16,
    month: u8,
}

/// Not a month 1 to 12 of a year 2000 to 2099.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expiry is not a month 1 to 12 of a year 2000 to 2099")]
pub struct InvalidExpiry;

impl Expiry {
    /// From a month 1–12 and a four-digit year.
    ///
    /// ```
    /// # use strongroom_domain::Expiry;
    /// assert!(Expiry::new(12, 2030).is_ok());
    /// assert!(Expiry::new(13, 2030).is_err());
    /// ```
    pub fn new(month: u8, year: u16) -> Result<Self, InvalidExpiry> {
        if (1..=12).contains(&month) && (2000..=2099).contains(&year) {
            Ok(Self { year, month })
        } else {
            Err(InvalidExpiry)
        }
    }

    /// From the four digits `YYMM` that records hold.
    pub fn parse_yymm(digits: &[u8]) -> Result<Self, InvalidExpiry> {
        match digits {
            [a, b, c, d] if digits.iter().all(u8::is_ascii_digit) => {
                let pair = |tens: &u8, ones: &u8| (tens - b'0') * 10 + (ones - b'0');
                Self::new(pair(c, d), 2000 + u16::from(pair(a, b)))
            }
            _ => Err(InvalidExpiry),
        }
    }

    /// The four digits `YYMM`.
    #[must_use]
    pub fn yymm(self) -> [u8; 4] {
        let year = (self.year - 2000) as u8;
        [b'0' + year / 10, b'0' + year % 10, b'0' + self.month / 10, b'0' + self.month % 10]
    }

    /// 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// 2000 to 2099.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month a time is in (UTC).
    pub fn month_of(time: Timestamp) -> Result<Self, InvalidExpiry> {
        let time =
            time::OffsetDateTime::from_unix_timestamp(time.unix_seconds()).map_err(|_| InvalidExpiry)?;
        Self::new(u8::from(time.month()), u16::try_from(time.year()).map_err(|_| InvalidExpiry)?)
    }

    /// The month before.
    pub fn month_before(self) -> Result<Self, InvalidExpiry> {
        match self.month {
            1 => Self::new(12, self.year - 1),
            month => Self::new(month - 1, self.year),
        }
    }

    /// Whether the month is over at `now` (UTC).
    #[must_use]
    pub fn is_past(self, now: Timestamp) -> bool {
        let now = time::OffsetDateTime::from_unix_timestamp(now.unix_seconds())
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        (i32::from(self.year), self.month) < (now.year(), u8::from(now.month()))
    }
}

/// `YYMM`.
impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}{:02}", self.year - 2000, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yymm_round_trips_every_expiry() {
        for year in 2000..=2099 {
            for month in 1..=12 {
                let expiry = Expiry::new(month, year).unwrap();
                assert_eq!(Expiry::parse_yymm(&expiry.yymm()), Ok(expiry));
                assert_eq!(expiry.to_string().as_bytes(), expiry.yymm());
            }
        }
        for wrong in ["", "0000", "3000", "3013", "30123", "3O12"] {
            assert_eq!(Expiry::parse_yymm(wrong.as_bytes()), Err(InvalidExpiry), "{wrong}");
        }
    }

    #[test]
    fn months_follow_each_other_over_the_years() {
        let month = |text| Expiry::month_of(Timestamp::parse_rfc3339(text).unwrap());
        assert_eq!(month("2027-01-01T00:00:00Z").and_then(Expiry::month_before), Expiry::new(12, 2026));
        assert_eq!(month("2026-12-31T23:59:59Z").and_then(Expiry::month_before), Expiry::new(11, 2026));
        assert_eq!(month("1999-12-31T23:59:59Z"), Err(InvalidExpiry));
        assert_eq!(month("2000-01-01T00:00:00Z").and_then(Expiry::month_before), Err(InvalidExpiry));
    }

    #[test]
    fn a_card_is_good_to_the_end_of_its_month() {
        let expiry = Expiry::new(11, 2026).unwrap();
        assert!(!expiry.is_past(Timestamp::parse_rfc3339("2026-11-30T23:59:59Z").unwrap()));
        assert!(expiry.is_past(Timestamp::parse_rfc3339("2026-12-01T00:00:00Z").unwrap()));
    }
}
