//! `POST /v1/suspensions/lift`: an identity that was suspended may go on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use http::HeaderMap;

use super::view::{FIELDS, SuspensionBody, WhomBody};
use crate::audit::{Event, Object};
use crate::authz::ResumeWorkload;
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};

/// Let a suspended workload go on.
///
/// 409 if it is not suspended.
#[utoipa::path(
    post,
    path = "/v1/suspensions/lift",
    tag = "suspensions",
    operation_id = "resumeWorkload",
    request_body = WhomBody,
    responses(
        (status = 200, description = "the suspension that ended", body = SuspensionBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn lift(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SuspensionBody>, Refused> {
    match try_lift(&vault, &asking, &headers, body).await {
        Ok(suspension) => Ok(Json(suspension)),
        Err(error) => {
            let object = Object::Operation("POST /v1/suspensions/lift");
            Err(Refused::new(&vault, &asking, Event::WorkloadResume, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_lift(
    vault: &Vault,
    asking: &Asking,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<SuspensionBody, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ResumeWorkload>(&asking.caller.workload)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let wanted: WhomBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let (workload, reason) = wanted.parse()?;
    let permit = authorizer.decide::<ResumeWorkload>(&asking.caller.workload, workload, &())?;
    Ok(vault.resume_workload(asking, permit, reason).await?.into())
}
