//! The calls of Stripe's API that a card payment takes, in Stripe's words.

pub(super) mod intent;
pub(super) mod method;
pub(super) mod refund;

use super::answer::Refusal;
use super::card::CardFields;
use super::request::Form;

/// A number of the form; absent is `None`, anything else than digits is refused.
fn number(form: &Form, name: &str, param: &'static str) -> Result<Option<u64>, Refusal> {
    let invalid = Refusal::invalid("Invalid integer.", param).coded("parameter_invalid_integer");
    form.value(name).map(|text| text.parse().map_err(|_| invalid)).transpose()
}

/// The card below `parent`: `parent[number]` and so on.
fn card_fields<'a>(form: &'a Form, parent: &str) -> CardFields<'a> {
    let value = |field: &str| form.value(&format!("{parent}[{field}]"));
    // What is no number is no month: refused as one.
    let number = |field: &str| value(field).map(|text| text.parse().unwrap_or(u64::MAX));
    CardFields {
        number: value("number"),
        cvc: value("cvc"),
        exp_month: number("exp_month"),
        exp_year: number("exp_year"),
    }
}
