//! `PUT /v1/forwards/{id}/outcome`: how a forward ended, by the word of the proxy that opened it.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use strongroom_domain::{Problem, ProblemKind, scan, token};
use utoipa::ToSchema;

use super::show::{object, permit};
use super::story::{TimingsBody, ToldBody};
use crate::audit::Event;
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::forward::Ended;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::ForwardState;

/// How a forward ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForwardOutcome)]
pub struct OutcomeBody {
    /// `answered`: a complete answer came. `not-sent`: no byte left. `unknown`: anything else.
    outcome: OutcomeState,
    /// HTTP status of the PSP's answer.
    #[schema(minimum = 100, maximum = 599)]
    status: Option<u16>,
    /// Milliseconds from the first byte sent to the last byte received.
    upstream_ms: Option<u64>,
    /// Card data found in the answer and replaced.
    scrubbed: Option<u32>,
    /// Digit runs that looked like card numbers and passed.
    pan_suspected: Option<u32>,
    /// The PSP's own name of the request, at most 200 visible characters.
    #[schema(pattern = "^[!-~]{0,200}$")]
    psp_request_id: Option<String>,
    /// How long each stage at the proxy took; older proxies do not tell.
    timings: Option<TimingsBody>,
}

/// How it ended.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeState {
    /// A complete answer came.
    Answered,
    /// No byte left.
    NotSent,
    /// Anything else.
    Unknown,
}

const FIELDS: &[&str] =
    &["/outcome", "/status", "/upstream_ms", "/scrubbed", "/pan_suspected", "/psp_request_id", "/timings"];

/// Record how a forward ended.
///
/// States never go back; saying the same again changes nothing.
#[utoipa::path(
    put,
    path = "/v1/forwards/{id}/outcome",
    tag = "forwards",
    operation_id = "recordOutcome",
    params(("id" = String, Path, description = "the forward", format = Uuid)),
    request_body = OutcomeBody,
    responses(
        (status = 204, description = "recorded"),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn outcome(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refused> {
    match try_outcome(&vault, &asking, &id, &headers, body).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(Refused::new(
            &vault,
            &asking,
            Event::ForwardOutcome,
            object(&id),
            Denial::ForwardNotFound,
            error,
        )
        .await),
    }
}

async fn try_outcome(
    vault: &Vault,
    asking: &Asking,
    id: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(), OperationError> {
    let permit = permit(vault, asking, id).await?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: OutcomeBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let ended = parsed.check().map_err(OperationError::Request)?;
    vault.end_forward(asking, permit, ended).await
}

impl OutcomeBody {
    fn check(self) -> Result<Ended, Problem> {
        if !self.psp_request_id.as_deref().is_none_or(names_a_payment) {
            let detail =
                "psp_request_id is not at most 200 visible characters without a card number or token";
            return Err(Problem::because(ProblemKind::InvalidRequest, detail).at("/psp_request_id"));
        }
        let state = match self.outcome {
            OutcomeState::Answered => ForwardState::Answered,
            OutcomeState::NotSent => ForwardState::NotSent,
            OutcomeState::Unknown => ForwardState::Unknown,
        };
        let Self { status, upstream_ms, scrubbed, pan_suspected, psp_request_id, timings, .. } = self;
        let told = ToldBody { status, upstream_ms, scrubbed, pan_suspected, psp_request_id, timings };
        let outcome = serde_json::to_value(&told).expect("numbers and texts always serialize");
        Ok(Ended { state, outcome })
    }
}

/// Whether a text can be a PSP's own name of something: nothing of a card, nothing that breaks a log.
pub(super) fn names_a_payment(text: &str) -> bool {
    text.len() <= 200
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !scan::holds_pan(text)
        && !token::holds_token_shape(text.as_bytes())
}

/// Whether a number can be an HTTP status.
pub(super) fn is_status(status: u16) -> bool {
    (100..600).contains(&status)
}
