//! Where neither tokens nor card numbers belong.

use strongroom_domain::token::holds_token_shape;
use strongroom_domain::{Pan, scan};

use super::InjectError;
use crate::body::escapes;

/// Refuses a token, or its shape with wrong check letters, and a card number: as it stands and with escapes undone.
pub(super) fn check(text: &[u8]) -> Result<(), InjectError> {
    if any_level(text, holds_token_shape) {
        return Err(InjectError::MisplacedToken);
    }
    if any_level(text, |level| scan::first_pan(level).is_some()) {
        return Err(InjectError::PanInRequest);
    }
    Ok(())
}

/// Whether a token or its shape is somewhere in the text.
pub(super) fn holds_token(text: &[u8]) -> bool {
    any_level(text, holds_token_shape)
}

fn any_level(text: &[u8], holds: impl Fn(&[u8]) -> bool) -> bool {
    let mut found = false;
    escapes::each_level(text, |level, _| found = found || holds(level));
    found
}

/// Why what stands at a place for a number is refused although it holds no token. Stricter than [`check`]: here every
/// run of digits as long as a card number's is one, whatever its check digit and however it is grouped.
pub(super) fn check_number_place(text: &str) -> Result<(), InjectError> {
    let mut digits = 0;
    for char in text.chars().filter(|char| char.is_alphanumeric() || *char == '*') {
        if !char.is_numeric() {
            return Ok(());
        }
        digits += 1;
    }
    if (Pan::LENGTH_MIN..=Pan::LENGTH_MAX).contains(&digits) {
        Err(InjectError::PanInRequest)
    } else {
        Ok(())
    }
}
