//! Short texts from outside in an entry.
//!
//! Promises: neither a card number nor a token fits in.
//! Upholds: C-03.

use std::sync::Arc;

/// A short technical name from outside this program: a policy id, a trace context. 1 to 100 visible ASCII
/// characters that hold neither a card number nor a token.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label(Arc<str>);

/// Not a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("label is not 1 to 100 visible ASCII characters without card number or token")]
pub struct InvalidLabel;

impl Label {
    /// Longest label in bytes: a traceparent has 55.
    pub const BYTES_MAX: usize = 100;

    /// ```
    /// # use strongroom_vault::audit::Label;
    /// assert!(Label::parse("checkout-may-tokenize").is_ok());
    /// assert!(Label::parse("4242424242424242").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        let right = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && !strongroom_domain::scan::holds_pan(text)
            && !strongroom_domain::token::holds_token_shape(text.as_bytes());
        if right { Ok(Self(text.into())) } else { Err(InvalidLabel) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
