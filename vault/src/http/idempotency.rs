//! `Idempotency-Key` as requests carry it.
//!
//! Promises: sensitive authentication data is part of no digest.

use http::HeaderMap;
use serde_json::Value;
use strongroom_domain::{Problem, ProblemKind};
use zeroize::Zeroizing;

use crate::operation::tokenize::Once;
use crate::operation::{IdempotencyKey, OperationError};

/// The key of a request, if it has one, with what a repeat is compared by. `request` is method and path.
pub(super) fn once(
    headers: &HeaderMap,
    request: impl FnOnce() -> String,
    body: &[u8],
) -> Result<Option<Once>, OperationError> {
    let invalid = |detail| OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail));
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let key = text.and_then(|text| IdempotencyKey::parse(text).ok());
    let key =
        key.ok_or_else(|| invalid("Idempotency-Key is not one value of 1 to 255 visible characters"))?;
    let mut json: Value = serde_json::from_slice(body).map_err(|_| invalid("the body is not valid JSON"))?;
    without_codes(&mut json);
    if let Some(cards) = json.get_mut("cards").and_then(Value::as_array_mut) {
        cards.iter_mut().for_each(without_codes);
    }
    let canonical = serde_json_canonicalizer::to_vec(&json)
        .map_err(|_| OperationError::Defect("a JSON value has a canonical form"))?;
    Ok(Some(Once { key, request: request(), canonical_body: Zeroizing::new(canonical) }))
}

fn without_codes(card: &mut Value) {
    if let Some(card) = card.as_object_mut() {
        card.remove("cvc");
    }
}
