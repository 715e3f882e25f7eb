//! The declared places of a call and what goes into each.

use std::fmt;

/// One kind of card data a forward may release.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribute {
    /// The card number.
    Number,
    /// The verification code: one use.
    Cvc,
    /// The expiry, in some [`ExpiryFormat`].
    Exp,
    /// The cardholder's name.
    Holder,
    /// A network's own token for the number. Its place in the type: no vault releases one yet, no route may ask for it.
    #[serde(skip_deserializing)]
    NetworkToken,
    /// The cryptogram that goes with a network's token; likewise.
    #[serde(skip_deserializing)]
    Cryptogram,
}

impl Attribute {
    /// Every attribute a vault releases.
    pub const ALL: [Self; 4] = [Self::Number, Self::Cvc, Self::Exp, Self::Holder];

    /// Lower-case name, as route files, expressions and audit entries write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Cvc => "cvc",
            Self::Exp => "exp",
            Self::Holder => "holder",
            Self::NetworkToken => "network_token",
            Self::Cryptogram => "cryptogram",
        }
    }

    /// Reads [`Self::as_str`] of those in [`Self::ALL`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.as_str() == text)
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of attributes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AttributeSet(u8);

impl AttributeSet {
    /// Whether the attribute is in it.
    #[must_use]
    pub const fn contains(self, attribute: Attribute) -> bool {
        self.0 & (1 << attribute as u8) != 0
    }

    /// Whether everything in `self` is in `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Adds one.
    pub const fn insert(&mut self, attribute: Attribute) {
        self.0 |= 1 << attribute as u8;
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`Attribute::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Attribute> {
        Attribute::ALL.into_iter().filter(move |attribute| self.contains(*attribute))
    }
}

impl FromIterator<Attribute> for AttributeSet {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        let mut set = Self::default();
        attributes.into_iter().for_each(|attribute| set.insert(attribute));
        set
    }
}

impl serde::Serialize for AttributeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// How an expiry is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Deserialize)]
#[expect(missing_docs, reason = "each variant is its own pattern: month, year, year of four digits")]
pub enum ExpiryFormat {
    M,
    MM,
    YY,
    YYYY,
    MMYY,
    #[serde(rename = "MM/YY")]
    MMSlashYY,
    #[serde(rename = "MM/YYYY")]
    MMSlashYYYY,
    #[serde(rename = "YYYY-MM")]
    YYYYDashMM,
}

impl ExpiryFormat {
    /// Reads the pattern as route files and expressions write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "M" => Self::M,
            "MM" => Self::MM,
            "YY" => Self::YY,
            "YYYY" => Self::YYYY,
            "MMYY" => Self::MMYY,
            "MM/YY" => Self::MMSlashYY,
            "MM/YYYY" => Self::MMSlashYYYY,
            "YYYY-MM" => Self::YYYYDashMM,
            _ => return None,
        })
    }

    /// The pattern.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::M => "M",
            Self::MM => "MM",
            Self::YY => "YY",
            Self::YYYY => "YYYY",
            Self::MMYY => "MMYY",
            Self::MMSlashYY => "MM/YY",
            Self::MMSlashYYYY => "MM/YYYY",
            Self::YYYYDashMM => "YYYY-MM",
        }
    }

    /// Reads what is written so: a month, a year, or both. `None`: it is not.
    #[must_use]
    pub fn read(self, text: &str) -> Option<(Option<u8>, Option<u16>)> {
        let digits = |text: &str, least: usize, most: usize| {
            let right =
                (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            if right { text.parse::<u16>().ok() } else { None }
        };
        let month = |text: &str, least| {
            digits(text, least, 2)
                .and_then(|month| u8::try_from(month).ok())
                .filter(|month| (1..=12).contains(month))
        };
        let short = |text: &str| digits(text, 2, 2).map(|year| 2000 + year);
        let long = |text: &str| digits(text, 4, 4);
        Some(match self {
            Self::M => (Some(month(text, 1)?), None),
            Self::MM => (Some(month(text, 2)?), None),
            Self::YY => (None, Some(short(text)?)),
            Self::YYYY => (None, Some(long(text)?)),
            Self::MMYY => (Some(month(text.get(..2)?, 2)?), Some(short(text.get(2..)?)?)),
            Self::MMSlashYY => {
                let (one, other) = text.split_once('/')?;
                (Some(month(one, 2)?), Some(short(other)?))
            }
            Self::MMSlashYYYY => {
                let (one, other) = text.split_once('/')?;
                (Some(month(one, 2)?), Some(long(other)?))
            }
            Self::YYYYDashMM => {
                let (one, other) = text.split_once('-')?;
                (Some(month(other, 2)?), Some(long(one)?))
            }
        })
    }

    /// Writes an expiry.
    #[must_use]
    pub fn write(self, expiry: crate::Expiry) -> String {
        let (month, year, short) = (expiry.month(), expiry.year(), expiry.year() % 100);
        match self {
            Self::M => format!("{month}"),
            Self::MM => format!("{month:02}"),
            Self::YY => format!("{short:02}"),
            Self::YYYY => format!("{year}"),
            Self::MMYY => format!("{month:02}{short:02}"),
            Self::MMSlashYY => format!("{month:02}/{short:02}"),
            Self::MMSlashYYYY => format!("{month:02}/{year}"),
            Self::YYYYDashMM => format!("{year}-{month:02}"),
        }
    }
}

/// How a value stands in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JsonForm {
    /// In quotes.
    #[default]
    String,
    /// A bare integer, without leading zeros: some APIs take expiries only so.
    Integer,
}

/// Which card a place is filled from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// From the token that stands in the place itself.
    Own,
    /// From the token that stands in this other place, whatever stands here: typed SDKs cannot put a token into an
    /// expiry or a verification code.
    Carried {
        /// The other place's selector.
        from: String,
    },
}

/// What a selector of a header begins with.
pub const HEADER_PREFIX: &str = "header:";

/// One declared place.
#[derive(Clone, Debug)]
pub struct Inject {
    /// Selector, in the form of the call's [`super::BodyFormat`], or `header:NAME`.
    pub at: String,
    /// What goes there.
    pub attribute: Attribute,
    /// How an expiry is written there; present exactly for [`Attribute::Exp`].
    pub format: Option<ExpiryFormat>,
    /// How it stands in JSON.
    pub json_form: JsonForm,
    /// Which card it comes from.
    pub source: Source,
    /// Beginnings of another vault's tokens that name a card here: only at places for a number.
    pub aliases: Vec<String>,
}

impl Inject {
    /// The header this place is, in lower case; `None`: it is in the body.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        self.at.strip_prefix(HEADER_PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_written_as_psps_take_them() {
        let expiry = crate::Expiry::new(3, 2030).unwrap();
        for (pattern, text) in [
            ("M", "3"),
            ("MM", "03"),
            ("YY", "30"),
            ("YYYY", "2030"),
            ("MMYY", "0330"),
            ("MM/YY", "03/30"),
            ("MM/YYYY", "03/2030"),
            ("YYYY-MM", "2030-03"),
        ] {
            let format = ExpiryFormat::parse(pattern).unwrap();
            assert_eq!((format.write(expiry).as_str(), format.as_str()), (text, pattern));
            let (month, year) = format.read(text).unwrap();
            assert!(
                month.is_none_or(|month| month == 3) && year.is_none_or(|year| year == 2030),
                "{pattern}"
            );
            assert!(month.is_some() || year.is_some(), "{pattern}");
            for wrong in ["", "13/30", "0", "abc", "3/2030/1", "203", "133a", "é3", "+3"] {
                assert_eq!(format.read(wrong), None, "{pattern} {wrong}");
            }
        }
        assert_eq!(ExpiryFormat::parse("mm"), None);
    }

    #[test]
    fn what_no_vault_releases_cannot_be_asked_for() {
        for attribute in [Attribute::NetworkToken, Attribute::Cryptogram] {
            assert_eq!(Attribute::parse(attribute.as_str()), None);
            let asked = format!("\"{}\"", attribute.as_str());
            assert!(serde_json::from_str::<Attribute>(&asked).is_err(), "{asked}");
        }
        assert!(
            Attribute::ALL.iter().all(|attribute| Attribute::parse(attribute.as_str()) == Some(*attribute))
        );
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set: AttributeSet = [Attribute::Cvc, Attribute::Number].into_iter().collect();
        assert!(set.contains(Attribute::Cvc) && !set.contains(Attribute::Holder));
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["number","cvc"]"#);
        assert!(AttributeSet::default().is_within(set) && !set.is_within(AttributeSet::default()));
    }
}
