//! What becomes of a PSP's complete answer.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use strongroom_domain::route::Call;
use strongroom_domain::scan::holds_pan;
use strongroom_domain::token::holds_token_shape;

use crate::headers;
use crate::inject::Injections;
use crate::rescue::Failure;
use crate::scrub::{self, DecodeError, ScrubRules};
use crate::upstream::Answer;

/// Longest name a PSP may have for a request, as outcomes carry it.
const PSP_REQUEST_ID_BYTES_MAX: usize = 128;
/// Where PSPs name a request as a rule; a route may say otherwise.
const PSP_REQUEST_IDS: [HeaderName; 4] = [
    HeaderName::from_static("request-id"),
    HeaderName::from_static("cko-request-id"),
    HeaderName::from_static("pspreference"),
    HeaderName::from_static("x-request-id"),
];

static NO_FIELDS: BTreeSet<String> = BTreeSet::new();

/// A scrubbed answer, ready for the caller.
#[derive(Debug)]
pub struct Answered {
    /// The PSP's status.
    pub status: StatusCode,
    /// The PSP's headers, less those of that hop.
    pub headers: HeaderMap,
    /// Decoded and scrubbed.
    pub body: Bytes,
}

/// An answer and what the outcome says of it.
pub(super) struct Finished {
    pub result: Result<Answered, Failure>,
    pub status: StatusCode,
    pub replaced: u32,
    pub suspected: u32,
    pub psp_request_id: Option<String>,
}

/// Decodes and scrubs an answer of any status. A redirect is an incident, never passed on: SDKs would post the card data
/// to wherever it points.
/// `named` is the header the route says the PSP names a request in.
pub(super) fn finish(
    answer: Answer,
    secrets: &Injections,
    call: Call<'_>,
    named: Option<&str>,
    bytes_max: usize,
) -> Finished {
    let Answer { status, headers, body } = answer;
    let rules = rules(call);
    let mut back = headers::incoming(&headers);
    let counts = scrub::scrub_headers(&mut back, secrets, &rules);
    let mut finished = Finished {
        result: Err(Failure::Redirected),
        status,
        replaced: counts.replaced,
        suspected: counts.suspected,
        psp_request_id: psp_request_id(&back, named),
    };
    if status.is_redirection() {
        return finished;
    }
    match decode(&headers, body, bytes_max) {
        Err(error) => finished.result = Err(Failure::Undecodable(error)),
        Ok(body) => {
            let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let scrubbed = scrub::scrub_body(content_type, body, secrets, &rules);
            finished.replaced += scrubbed.replaced;
            finished.suspected += scrubbed.suspected;
            finished.result = Ok(Answered { status, headers: back, body: scrubbed.body });
        }
    }
    finished
}

fn rules(call: Call<'_>) -> ScrubRules<'_> {
    match call {
        Call::Allowed(call) => ScrubRules { ids: &call.ids, cvc_fields: &call.cvc_fields },
        Call::Passed(call) => ScrubRules { ids: &call.ids, cvc_fields: &NO_FIELDS },
    }
}

fn decode(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Bytes, DecodeError> {
    if body.is_empty() {
        return Ok(body);
    }
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map(HeaderValue::to_str).transpose();
    let encoding = encoding.map_err(|_| DecodeError::Unsupported)?;
    if encodings.next().is_some() {
        return Err(DecodeError::Unsupported);
    }
    scrub::decode(encoding, body, bytes_max)
}

fn psp_request_id(scrubbed: &HeaderMap, named: Option<&str>) -> Option<String> {
    let value = match named {
        Some(name) => scrubbed.get(name),
        None => PSP_REQUEST_IDS.iter().find_map(|name| scrubbed.get(name)),
    }?;
    let text = value.to_str().ok()?;
    // What the vault takes: it refuses an outcome with anything else in it.
    let usable = (1..=PSP_REQUEST_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !holds_token_shape(text.as_bytes())
        && !holds_pan(text);
    usable.then(|| text.to_owned())
}
