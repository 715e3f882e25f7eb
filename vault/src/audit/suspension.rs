//! What an entry says of a suspension (`suspension`): why, by which rule, since when.
//!
//! Promises: the only text is a [`Reason`], which is searched for card numbers and tokens.
//! Upholds: C-03, C-64.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use strongroom_domain::{Timestamp, scan, token};

use super::entry::Draft;

/// Why, in a person's words: 1 to 200 bytes of text without control characters, card numbers or tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Reason(Arc<str>);

/// Not a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reason is not 1 to 200 bytes of text without control characters, card numbers or tokens")]
pub struct InvalidReason;

impl Reason {
    /// Longest reason in bytes: a sentence.
    pub const BYTES_MAX: usize = 200;

    /// ```
    /// # use strongroom_vault::audit::Reason;
    /// assert!(Reason::parse("its key was on a laptop that is gone").is_ok());
    /// assert!(Reason::parse("paid with 4242424242424242").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidReason> {
        let right = (1..=Self::BYTES_MAX).contains(&text.len())
            && !text.trim().is_empty()
            && !text.chars().any(char::is_control)
            && !scan::holds_pan(text)
            && !token::holds_token_shape(text.as_bytes());
        if right { Ok(Self(text.into())) } else { Err(InvalidReason) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is said of a suspension. The workload is the entry's object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SuspensionRef {
    /// Why, in a person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// By which rule, if no person did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// Since when it was in force, where one is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Draft {
    /// Of which suspension.
    pub fn of_suspension(mut self, suspension: SuspensionRef) -> Self {
        self.suspension = Some(Box::new(suspension));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_sentence_and_holds_nothing_of_a_card() {
        let token = format!("it asked for tok_test_{}", "bcdfghjklmnpqrstvwxzbcdfghjklmnpqr");
        for wrong in ["", "  ", "two\nlines", &"a".repeat(201), "card 4242 4242 4242 4242", &token] {
            assert_eq!(Reason::parse(wrong), Err(InvalidReason), "{wrong}");
        }
        assert_eq!(Reason::parse("wegen Verdachts: Schlüssel verloren").unwrap().as_str().len(), 36);
    }
}
