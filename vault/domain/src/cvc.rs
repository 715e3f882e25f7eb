//! The card verification code: sensitive authentication data.
//!
//! Promises: never at rest (PCI DSS 3.3.1). There is no `Serialize` and no way to seal one.

use secrecy::{ExposeSecret, SecretString};

/// A card verification code: 3 or 4 digits. Not `Clone`, `Display`, `PartialEq` or `Serialize`.
#[derive(Debug)]
pub struct Cvc(SecretString);

/// Not 3 or 4 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cvc is not 3 or 4 digits")]
pub struct InvalidCvc;

impl Cvc {
    /// Takes the text over; what is rejected is wiped with it.
    ///
    /// ```
    /// # use strongroom_domain::Cvc;
    /// assert!(Cvc::parse("123".into()).is_ok());
    /// assert!(Cvc::parse("12a".into()).is_err());
    /// ```
    pub fn parse(text: SecretString) -> Result<Self, InvalidCvc> {
        #[expect(clippy::disallowed_methods, reason = "checks the digits; nothing leaves")]
        let digits = text.expose_secret().as_bytes();
        if matches!(digits.len(), 3 | 4) && digits.iter().all(u8::is_ascii_digit) {
            Ok(Self(text))
        } else {
            Err(InvalidCvc)
        }
    }
}

/// Plaintext; every use is listed by the `disallowed_methods` lint.
impl ExposeSecret<str> for Cvc {
    #[expect(clippy::disallowed_methods, reason = "hands the duty to say why to the caller")]
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(Cvc: Clone, std::fmt::Display, PartialEq, serde::Serialize);

    #[test]
    fn only_three_or_four_digits() {
        for right in ["000", "1234"] {
            assert!(Cvc::parse(right.into()).is_ok());
        }
        for wrong in ["", "12", "12345", "12a", "١٢٣", " 123"] {
            assert_eq!(Cvc::parse(wrong.into()).unwrap_err(), InvalidCvc);
        }
    }

    #[test]
    fn debug_shows_no_digit() {
        let shown = format!("{:?}", Cvc::parse("737".into()).unwrap());
        assert!(!shown.contains('7'), "{shown}");
    }
}
