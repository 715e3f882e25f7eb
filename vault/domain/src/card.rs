//! What may be shown of a card.

use std::fmt;

use crate::brand::Brand;
use crate::expiry::Expiry;
use crate::pan::Pan;

/// Up to eight digits that may be shown: a BIN or the last four.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digits {
    length: u8,
    digits: [u8; 8],
}

impl Digits {
    /// No digits: the tenant keeps none, or the number is too short to show a BIN.
    pub const NONE: Self = Self { length: 0, digits: [0; 8] };

    /// From at most eight ASCII digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self::of(text.as_bytes()))
    }

    fn of(text: &[u8]) -> Self {
        let mut digits = [0; 8];
        digits[..text.len()].copy_from_slice(text);
        Self { length: text.len() as u8, digits }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..usize::from(self.length)]).unwrap_or_default()
    }

    /// `None` if there are none.
    #[must_use]
    pub fn non_empty(&self) -> Option<&str> {
        Some(self.as_str()).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digits({} digits)", self.length)
    }
}

/// Which facts a tenant keeps beside the sealed record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactsKept {
    /// BIN and last four (design §4, "Card facts").
    #[default]
    BinAndLast4,
    /// Neither: nothing of the number is readable without opening the record.
    None,
}

/// What is readable of a card without opening its record. Bound into the seal: a record does not open beside other facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardFacts {
    /// First 8 digits of numbers of 16 or more, first 6 of 14–15, none of 12–13 (PCI SSC FAQ 1091).
    pub bin: Digits,
    /// The last four digits.
    pub last4: Digits,
    /// When the card ends, if it says.
    pub expiry: Option<Expiry>,
}

impl CardFacts {
    /// The facts of one number.
    ///
    /// ```
    /// # use strongroom_domain::{CardFacts, Environment, FactsKept, Pan};
    /// let pan = Pan::parse("378282246310005", Environment::Test)?;
    /// let facts = CardFacts::of(&pan, None, FactsKept::BinAndLast4);
    /// assert_eq!((facts.bin.as_str(), facts.last4.as_str()), ("378282", "0005"));
    /// # Ok::<(), strongroom_domain::InvalidPan>(())
    /// ```
    #[must_use]
    pub fn of(pan: &Pan, expiry: Option<Expiry>, kept: FactsKept) -> Self {
        let digits = pan.digits();
        match kept {
            FactsKept::None => Self { bin: Digits::NONE, last4: Digits::NONE, expiry },
            FactsKept::BinAndLast4 => {
                let bin = match digits.len() {
                    16.. => &digits[..8],
                    14..=15 => &digits[..6],
                    _ => &[],
                };
                Self { bin: Digits::of(bin), last4: Digits::of(&digits[digits.len() - 4..]), expiry }
            }
        }
    }

    /// Whether these are facts this number can have: each is empty, or what the number says.
    #[must_use]
    pub fn match_number(&self, pan: &Pan) -> bool {
        let full = Self::of(pan, self.expiry, FactsKept::BinAndLast4);
        let none = Self::of(pan, self.expiry, FactsKept::None);
        *self == full || *self == none
    }

    /// The brand the kept BIN says, if one is kept.
    #[must_use]
    pub fn brand(&self) -> Option<Brand> {
        self.bin.non_empty().map(|bin| Brand::of_digits(bin.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    #[test]
    fn at_least_four_digits_of_every_number_stay_hidden() {
        for (number, bin) in [
            ("411111111117", ""),
            ("4007000000027", ""),
            ("38000000000006", "380000"),
            ("378282246310005", "378282"),
            ("4242424242424242", "42424242"),
            ("4917610000000000003", "49176100"),
        ] {
            let pan = Pan::parse(number, Environment::Test).unwrap();
            let facts = CardFacts::of(&pan, None, FactsKept::BinAndLast4);
            assert_eq!(facts.bin.as_str(), bin, "{number}");
            assert_eq!(facts.last4.as_str(), &number[number.len() - 4..]);
            assert!(facts.match_number(&pan));
            assert!(CardFacts::of(&pan, None, FactsKept::None).match_number(&pan));
            assert!(!CardFacts { last4: Digits::parse("9999").unwrap(), ..facts }.match_number(&pan));
        }
    }
}
