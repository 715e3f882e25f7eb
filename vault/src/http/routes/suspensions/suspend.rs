//! `POST /v1/suspensions`: an identity is refused everything, at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use http::HeaderMap;

use super::view::{FIELDS, SuspensionBody, WhomBody};
use crate::audit::{Event, Object};
use crate::authz::SuspendWorkload;
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};

/// Suspend a workload.
///
/// Every replica refuses it everything within five seconds, until a person lifts it; what is suspended already stays as it is.
#[utoipa::path(
    post,
    path = "/v1/suspensions",
    tag = "suspensions",
    operation_id = "suspendWorkload",
    request_body = WhomBody,
    responses(
        (status = 200, description = "the suspension in force", body = SuspensionBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn suspend(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SuspensionBody>, Refused> {
    match try_suspend(&vault, &asking, &headers, body).await {
        Ok(suspension) => Ok(Json(suspension)),
        Err(error) => {
            let object = Object::Operation("POST /v1/suspensions");
            Err(Refused::new(&vault, &asking, Event::WorkloadSuspend, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_suspend(
    vault: &Vault,
    asking: &Asking,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<SuspensionBody, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<SuspendWorkload>(&asking.caller.workload)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let wanted: WhomBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let (workload, reason) = wanted.parse()?;
    let permit = authorizer.decide::<SuspendWorkload>(&asking.caller.workload, workload, &())?;
    Ok(vault.suspend_workload(asking, permit, reason).await?.into())
}
