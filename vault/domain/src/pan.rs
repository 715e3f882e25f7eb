//! The card number.
//!
//! Promises: what is rejected is wiped and none of it is echoed; what is accepted can be sealed, masked or dropped.
//! Upholds: C-01.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::brand::Brand;
use crate::environment::Environment;
use crate::test_numbers;

/// A card number: 12 to 19 digits with a valid check digit (ISO/IEC 7812-1), or, in `test`, a published test number.
///
/// Not `Clone`, `Display`, `PartialEq` or `Serialize`. `Debug` is redacted by `SecretString`; a test holds it to that.
#[derive(Debug)]
pub struct Pan(SecretString);

/// Why a text is not a card number. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPan {
    /// Something other than digits, single spaces and single dashes between them.
    #[error("card number holds something other than digits, spaces and dashes")]
    NotDigits,
    /// Fewer than 12 or more than 19 digits.
    #[error("card number is not 12 to 19 digits long")]
    Length,
    /// The check digit is wrong, and the number is no published test number of this environment.
    #[error("card number has a wrong check digit")]
    CheckDigit,
}

impl Pan {
    /// Fewest digits.
    pub const LENGTH_MIN: usize = 12;
    /// Most digits.
    pub const LENGTH_MAX: usize = 19;
    /// Longest accepted text: every digit followed by a separator.
    const TEXT_MAX: usize = 2 * Self::LENGTH_MAX;

    /// Parses digits, with spaces or dashes between them.
    ///
    /// ```
    /// # use strongroom_domain::{Environment, Pan};
    /// assert!(Pan::parse("4242 4242 4242 4242", Environment::Live).is_ok());
    /// assert!(Pan::parse("4242424242424241", Environment::Live).is_err());
    /// assert!(Pan::parse("4242424242424241", Environment::Test).is_ok()); // published: "incorrect number"
    /// ```
    pub fn parse(text: &str, environment: Environment) -> Result<Self, InvalidPan> {
        if text.len() > Self::TEXT_MAX {
            return Err(InvalidPan::Length);
        }
        // Sized up front: growth would leave copies behind.
        let mut digits = Zeroizing::new(String::with_capacity(Self::TEXT_MAX));
        let mut after_digit = false;
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => digits.push(char::from(byte)),
                b' ' | b'-' if after_digit => {}
                _ => return Err(InvalidPan::NotDigits),
            }
            after_digit = byte.is_ascii_digit();
        }
        if !after_digit && !text.is_empty() {
            return Err(InvalidPan::NotDigits);
        }
        if !(Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&digits.len()) {
            return Err(InvalidPan::Length);
        }
        let listed = || environment == Environment::Test && test_numbers::is_published(digits.as_bytes());
        if luhn_holds(digits.as_bytes()) || listed() {
            Ok(Self(SecretString::from(digits.as_str())))
        } else {
            Err(InvalidPan::CheckDigit)
        }
    }

    /// Number of digits, 12 to 19.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.digits().len() as u8
    }

    /// The brand its first digits say.
    #[must_use]
    pub fn brand(&self) -> Brand {
        Brand::of_digits(self.digits())
    }

    /// Whether both are the same number, in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.digits(), other.digits()).into()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "length, brand and facts are computed here; nothing leaves"
    )]
    pub(crate) fn digits(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

/// Plaintext; every use is listed by the `disallowed_methods` lint.
impl ExposeSecret<str> for Pan {
    #[expect(clippy::disallowed_methods, reason = "hands the duty to say why to the caller")]
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Whether a run of ASCII digits passes the Luhn check (ISO/IEC 7812-1 annex B).
#[must_use]
pub fn luhn_holds(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (place, digit)| {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        let weighted = if place % 2 == 0 { digit } else { digit * 2 };
        sum + if weighted > 9 { weighted - 9 } else { weighted }
    });
    !digits.is_empty() && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static_assertions::assert_not_impl_any!(Pan: Clone, std::fmt::Display, PartialEq, serde::Serialize);

    fn with_check_digit(body: &str) -> String {
        ('0'..='9').map(|last| format!("{body}{last}")).find(|number| luhn_holds(number.as_bytes())).unwrap()
    }

    #[test]
    fn spaces_and_dashes_are_the_same_number() {
        let plain = Pan::parse("378282246310005", Environment::Live).unwrap();
        for text in ["3782 822463 10005", "3782-822463-10005", "3 7 8 2 8 2 2 4 6 3 1 0 0 0 5"] {
            assert!(plain.same_as(&Pan::parse(text, Environment::Live).unwrap()), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("", InvalidPan::Length),
            ("41111111111", InvalidPan::Length),
            ("41111111111111111111", InvalidPan::Length),
            ("4111111111111112", InvalidPan::CheckDigit),
            ("4111  111111111111", InvalidPan::NotDigits),
            (" 4111111111111111", InvalidPan::NotDigits),
            ("4111111111111111 ", InvalidPan::NotDigits),
            ("4111111111111111\n", InvalidPan::NotDigits),
            ("４１１１１１１１１１１１１１１１", InvalidPan::Length),
            ("٤١١١١١١١١١١", InvalidPan::NotDigits),
            ("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv", InvalidPan::Length),
        ] {
            assert_eq!(Pan::parse(text, Environment::Live).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn published_numbers_that_fail_luhn_are_for_test_only() {
        for number in ["4242424242424241", "4111111111111105", "4012000000000001"] {
            assert_eq!(Pan::parse(number, Environment::Live).unwrap_err(), InvalidPan::CheckDigit);
            assert!(Pan::parse(number, Environment::Test).is_ok(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn debug_and_errors_show_no_digit_run(body in "[3-6][0-9]{11,17}") {
            let number = with_check_digit(&body);
            let shown = format!("{:?}", Pan::parse(&number, Environment::Live).unwrap());
            prop_assert!(!shown.contains(&number[..4]));
            let wrong = format!("{number}x");
            let error = Pan::parse(&wrong, Environment::Live).unwrap_err();
            let told = format!("{error} {error:?}");
            prop_assert!(!told.contains(&number[..4]));
        }

        #[test]
        fn one_wrong_digit_is_always_found(body in "[3-6][0-9]{11,17}", place in 0_usize..19, shift in 1_u8..10) {
            let mut number = with_check_digit(&body).into_bytes();
            let place = place % number.len();
            number[place] = b'0' + (number[place] - b'0' + shift) % 10;
            prop_assert!(!luhn_holds(&number));
        }
    }
}
