//! At-most-once calls: where the merchant's own payment reference stands in a request.
//!
//! Some PSPs charge again when a request is repeated. For their calls the route says `mode = "at-most-once"` and which
//! header or field holds the reference; one reference is then let through once.

use std::fmt;

use serde::Deserialize;

use super::{BodyFormat, HEADER_PREFIX, Inject, selector};
use crate::{scan, token};

/// How often a call may go to the PSP with one payment reference, as route files write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// As often as it is asked: the PSP tells repeats apart.
    #[default]
    PassThrough,
    /// Once.
    AtMostOnce,
}

/// Where the reference stands: a selector in the form of the call's [`BodyFormat`], or `header:NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferencePlace(String);

impl ReferencePlace {
    /// What a call's `mode` and `reference` say together. `None`: the PSP tells repeats apart.
    pub(super) fn of(mode: Mode, at: Option<String>) -> Result<Option<Self>, String> {
        match (mode, at) {
            (Mode::PassThrough, None) => Ok(None),
            (Mode::AtMostOnce, Some(at)) => Ok(Some(Self(at))),
            (Mode::PassThrough, Some(_)) => {
                Err("`reference` belongs to `mode = \"at-most-once\"`, and only there".into())
            }
            (Mode::AtMostOnce, None) => {
                Err("`mode = \"at-most-once\"` needs `reference`: where the payment reference stands".into())
            }
        }
    }

    /// Whether it can be in a request of this call, beside its places.
    pub(super) fn check(&self, body: BodyFormat, inject: &[Inject]) -> Result<(), String> {
        if !selector::is_reference(body, &self.0) {
            return Err(format!("`reference`: `{}` can never match a request of this format", self.0));
        }
        if inject.iter().any(|inject| inject.at == self.0) {
            return Err(format!("`reference`: `{}` is a place for card data", self.0));
        }
        Ok(())
    }

    /// The selector.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.0
    }

    /// The header it is, in lower case; `None`: it is in the body.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        self.0.strip_prefix(HEADER_PREFIX)
    }
}

/// A merchant's own name of one payment: 1 to 255 bytes of text without control characters, card numbers or tokens.
///
/// ```
/// use strongroom_domain::route::PaymentReference;
/// assert_eq!(PaymentReference::parse(" order-1 ").unwrap().as_str(), "order-1");
/// assert!(PaymentReference::parse("").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentReference(Box<str>);

/// A text that names no payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not 1 to 255 bytes of text without control characters, card numbers or tokens")]
pub struct InvalidReference;

impl PaymentReference {
    /// Longest reference in bytes: PSPs take 255 at most.
    pub const BYTES_MAX: usize = 255;

    /// Reads one. White space around it is no part of it: PSPs drop it, so it would make two references of one payment.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        let text = text.trim();
        let right = (1..=Self::BYTES_MAX).contains(&text.len())
            && !text.chars().any(char::is_control)
            && !scan::holds_pan(text)
            && !token::holds_token_shape(text.as_bytes());
        if right { Ok(Self(text.into())) } else { Err(InvalidReference) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not for logs: it is the merchant's, and kept keyed only.
impl fmt::Debug for PaymentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentReference([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::route::Route;

    fn route(more: &str) -> Result<Route, String> {
        let text = format!(
            "[route.psp]\nupstream = \"https://api.psp.example\"\ncredential = {{ header = \"authorization\" }}\n\
             [[route.psp.allow]]\nmethod = \"POST\"\npath = \"/pay\"\nbody = \"json\"\n\
             inject = [{{ at = \"/number\", value = \"number\" }}]\n{more}"
        );
        Route::parse("psp", &text, Environment::Live).map_err(|error| error.to_string())
    }

    #[test]
    fn a_mode_and_its_reference_come_together() {
        assert_eq!(route("").unwrap().allow[0].once, None);
        assert_eq!(route("mode = \"pass-through\"").unwrap().allow[0].once, None);
        let once = route("mode = \"at-most-once\"\nreference = \"/order/id\"").unwrap();
        assert_eq!(once.allow[0].once.as_ref().unwrap().at(), "/order/id");
        let header = route("mode = \"at-most-once\"\nreference = \"header:idempotency-key\"").unwrap();
        assert_eq!(header.allow[0].once.as_ref().unwrap().header(), Some("idempotency-key"));
        for wrong in [
            "mode = \"at-most-once\"",
            "reference = \"/order/id\"",
            "mode = \"pass-through\"\nreference = \"/order/id\"",
            "mode = \"once\"\nreference = \"/order/id\"",
            "mode = \"at-most-once\"\nreference = \"order\"",
            "mode = \"at-most-once\"\nreference = \"/number\"",
            "mode = \"at-most-once\"\nreference = \"header:Order\"",
            "mode = \"at-most-once\"\nreference = \"header:authorization\"",
        ] {
            assert!(route(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_formats_of_one_path_are_of_one_mode() {
        let xml = "[[route.psp.allow]]\nmethod = \"POST\"\npath = \"/pay\"\nbody = \"xml\"\n\
                   inject = [{ at = \"pay/number\", value = \"number\" }]\n";
        let json = "mode = \"at-most-once\"\nreference = \"/order\"\n";
        assert!(route(&format!("{json}{xml}")).unwrap_err().contains("one mode"));
        let both = format!("{json}{xml}mode = \"at-most-once\"\nreference = \"pay@order\"\n");
        assert_eq!(route(&both).unwrap().allow[1].once.as_ref().unwrap().at(), "pay@order");
    }

    #[test]
    fn a_reference_is_a_short_text_that_names_a_payment() {
        for right in ["1", "order-1", "Bestellung Nr. 7/ü", &"r".repeat(255)] {
            assert!(PaymentReference::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            " \t",
            "a\nb",
            &"r".repeat(256),
            "4242424242424242",
            "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv",
        ] {
            assert_eq!(PaymentReference::parse(wrong), Err(InvalidReference), "{wrong}");
        }
        assert_eq!(
            format!("{:?}", PaymentReference::parse("order-1").unwrap()),
            "PaymentReference([REDACTED])"
        );
    }
}
