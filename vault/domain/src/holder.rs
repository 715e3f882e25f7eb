//! The cardholder's name as the card shows it.

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::{UnicodeNormalization, is_nfc};
use zeroize::Zeroize;

use crate::scan;

/// A cardholder name: 1 to 70 bytes of UTF-8 in NFC, no control characters, no card number hidden in it.
#[derive(Debug)]
pub struct Holder(SecretString);

/// Not a cardholder name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holder is not 1 to 70 bytes of text without control characters or card numbers")]
pub struct InvalidHolder;

/// Largest cardholder name in bytes: the record format's bound (design §4).
pub const HOLDER_BYTES_MAX: usize = 70;

impl Holder {
    /// Normalises to NFC and checks.
    ///
    /// ```
    /// # use strongroom_domain::Holder;
    /// assert!(Holder::parse("JANE Q CARDHOLDER").is_ok());
    /// assert!(Holder::parse("line\nbreak").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidHolder> {
        let mut normal: String = text.nfc().collect();
        let result = Self::check(&normal);
        if result.is_err() {
            normal.zeroize();
        }
        result.map(|()| Self(SecretString::from(normal)))
    }

    /// From a record: it must already be in NFC (one card, one encoding).
    pub fn from_record(bytes: &[u8]) -> Result<Self, InvalidHolder> {
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidHolder)?;
        Self::check(text)?;
        if is_nfc(text) { Ok(Self(SecretString::from(text))) } else { Err(InvalidHolder) }
    }

    fn check(text: &str) -> Result<(), InvalidHolder> {
        let fits = !text.is_empty() && text.len() <= HOLDER_BYTES_MAX;
        if fits && !text.chars().any(char::is_control) && !scan::holds_pan(text) {
            Ok(())
        } else {
            Err(InvalidHolder)
        }
    }
}

/// Plaintext; every use is listed by the `disallowed_methods` lint.
impl ExposeSecret<str> for Holder {
    #[expect(clippy::disallowed_methods, reason = "hands the duty to say why to the caller")]
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(Holder: Clone, std::fmt::Display, PartialEq, serde::Serialize);

    #[test]
    fn names_are_normalised_and_bounded() {
        let composed = Holder::parse("Rene\u{301}").unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test looks")]
        let text = composed.expose_secret();
        assert_eq!(text, "Ren\u{e9}");
        assert!(Holder::from_record("Rene\u{301}".as_bytes()).is_err());
        assert!(Holder::parse(&"x".repeat(70)).is_ok());
        for wrong in ["", "a\tb", &"x".repeat(71), "J 4111 1111 1111 1111"] {
            assert_eq!(Holder::parse(wrong).unwrap_err(), InvalidHolder, "{wrong:?}");
        }
        assert!(Holder::from_record(&[0xff]).is_err());
    }
}
