//! Test cards: what the sandbox PSP does with which number.
//!
//! Outcomes follow the number through every later call (confirm); the ways of answering belong to the one request that
//! carries the number. Every other published test number and every Luhn-valid number from 9999 99 is approved; a number
//! that fails Luhn is `incorrect_number`; a number that is no test number is declined as `test_mode_live_card`.

use strongroom_domain::{Random, RandomUnavailable};

/// Approved.
pub const APPROVED: &str = "4242424242424242";
/// Declined, no reason given.
pub const DECLINED: &str = "4000000000000002";
/// Declined: insufficient funds.
pub const INSUFFICIENT_FUNDS: &str = "4000000000009995";
/// Declined: lost.
pub const LOST: &str = "4000000000009987";
/// Declined: stolen.
pub const STOLEN: &str = "4000000000009979";
/// Refused: expired.
pub const EXPIRED: &str = "4000000000000069";
/// Refused: wrong verification code.
pub const INCORRECT_CVC: &str = "4000000000000127";
/// Refused: something went wrong at the issuer.
pub const PROCESSING_ERROR: &str = "4000000000000119";
/// Refused: fails the check digit.
pub const INCORRECT_NUMBER: &str = "4242424242424241";

/// Approved, answered after [`super::PspConfig::slow`].
pub const SLOW: &str = "9999990000010013";
/// Approved, and the connection reset instead of an answer.
pub const RESET: &str = "9999990000010021";
/// Approved, and the connection closed in the middle of the answer.
pub const CUT: &str = "9999990000010039";
/// Not processed: answered 307 with a `Location`.
pub const REDIRECT: &str = "9999990000010047";
/// Approved, answered 200 with what is no JSON, the number in it.
pub const GARBAGE: &str = "9999990000010054";
/// Approved, answered in gzip though nobody asked, with the echo of [`ECHO`] in it.
pub const GZIP: &str = "9999990000010062";
/// Approved, answered in deflate though nobody asked, with the echo of [`ECHO`] in it.
pub const DEFLATE: &str = "9999990000010070";
/// Approved, answered with the number and the verification code in it, in body and headers: plain, grouped, escaped,
/// hex, base64.
pub const ECHO: &str = "9999990000010088";
/// Approved, answered 500 with the number in the message.
pub const SERVER_ERROR: &str = "9999990000010096";
/// Approved, answered with texts that hold the number *inside* base64 and UTF-16: farther than any PSP is known to go.
pub const ECHO_WRAPPED: &str = "9999990000010104";

/// Numbers with their own way of answering begin so; [`random_number`] never does.
pub const RESERVED_PREFIX: &str = "99999900000";

/// What becomes of a payment with a card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Approved,
    Declined,
    InsufficientFunds,
    Lost,
    Stolen,
    Expired,
    IncorrectCvc,
    ProcessingError,
    NotATestCard,
}

impl Outcome {
    pub(super) fn of(number: &str) -> Self {
        match number {
            // The second and third are Braintree's and Nuvei's.
            DECLINED | "4000111111111115" | "4008370896662369" => Self::Declined,
            INSUFFICIENT_FUNDS => Self::InsufficientFunds,
            LOST => Self::Lost,
            STOLEN => Self::Stolen,
            EXPIRED => Self::Expired,
            INCORRECT_CVC => Self::IncorrectCvc,
            PROCESSING_ERROR => Self::ProcessingError,
            _ => Self::Approved,
        }
    }
}

/// How the request that carried the number is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    Plain,
    Slow,
    Reset,
    Cut,
    Redirect,
    Garbage,
    Gzip,
    Deflate,
    Echo,
    EchoWrapped,
    ServerError,
}

impl Delivery {
    pub(super) fn of(number: &str) -> Self {
        match number {
            SLOW => Self::Slow,
            RESET => Self::Reset,
            CUT => Self::Cut,
            REDIRECT => Self::Redirect,
            GARBAGE => Self::Garbage,
            GZIP => Self::Gzip,
            DEFLATE => Self::Deflate,
            ECHO => Self::Echo,
            ECHO_WRAPPED => Self::EchoWrapped,
            SERVER_ERROR => Self::ServerError,
            _ => Self::Plain,
        }
    }
}

/// A card number nobody has: 9999 99, nine random digits (none of [`RESERVED_PREFIX`]), the check digit.
pub fn random_number(random: &dyn Random) -> Result<String, RandomUnavailable> {
    let mut bytes = [0_u8; 8];
    random.fill(&mut bytes)?;
    // 10^5 … 10^9 - 1: at least one of the first four digits is not zero.
    let middle = 100_000 + u64::from_be_bytes(bytes) % 999_900_000;
    let body = format!("999999{middle:09}");
    let check = (b'0'..=b'9')
        .map(char::from)
        .find(|check| strongroom_domain::pan::luhn_holds(format!("{body}{check}").as_bytes()));
    Ok(format!("{body}{}", check.unwrap_or('0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::pan::luhn_holds;

    #[test]
    fn numbers_with_their_own_way_of_answering_are_valid_and_reserved() {
        for number in [SLOW, RESET, CUT, REDIRECT, GARBAGE, GZIP, DEFLATE, ECHO, ECHO_WRAPPED, SERVER_ERROR] {
            assert!(luhn_holds(number.as_bytes()) && number.len() == 16, "{number}");
            assert!(number.starts_with(RESERVED_PREFIX) && Delivery::of(number) != Delivery::Plain);
        }
        assert!(!luhn_holds(INCORRECT_NUMBER.as_bytes()));
    }

    #[test]
    fn random_numbers_are_valid_test_numbers_and_never_reserved() {
        struct Fixed([u8; 8]);
        impl Random for Fixed {
            fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
                out.copy_from_slice(&self.0);
                Ok(())
            }
        }
        for drawn in [0, 1, 7_919, 999_899_999, 999_900_000, u64::MAX] {
            let number = random_number(&Fixed(drawn.to_be_bytes())).unwrap();
            assert!(luhn_holds(number.as_bytes()) && number.len() == 16, "{number}");
            assert!(number.starts_with("999999") && !number.starts_with(RESERVED_PREFIX), "{number}");
        }
    }
}
