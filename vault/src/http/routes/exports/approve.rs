//! `PUT /v1/tenants/{tenant}/exports/{id}/approval`: a second person agrees to exactly what the first asked for.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use strongroom_domain::{Problem, ProblemKind};
use utoipa::ToSchema;

use super::view::{ExportBody, object, permit};
use crate::audit::Event;
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::export::ShownExport;
use crate::operation::{Asking, OperationError, Vault};

/// What is approved.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewExportApproval)]
pub struct NewApprovalBody {
    /// The request's `sha256`, computed by the approver from what is approved.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
}

const FIELDS: &[&str] = &["/sha256"];

/// Approve an export.
///
/// By another person than the one who asked, before `not_after`, and only this content. Twice by the same person is once.
#[utoipa::path(
    put,
    path = "/v1/tenants/{tenant}/exports/{id}/approval",
    tag = "exports",
    operation_id = "approveExport",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("id" = String, Path, description = "the export", format = Uuid),
    ),
    request_body = NewApprovalBody,
    responses(
        (status = 200, description = "it is approved", body = ExportBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn approve(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_approve(&vault, &asking, (&tenant, &id), &headers, body).await {
        Ok(shown) => Ok(Json(ExportBody::of(&shown, asking.at)).into_response()),
        Err(error) => {
            let object = object(&tenant, Some(&id));
            Err(Refused::new(&vault, &asking, Event::ExportApprove, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_approve(
    vault: &Vault,
    asking: &Asking,
    (tenant, id): (&str, &str),
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ShownExport, OperationError> {
    let (permit, person) = permit(vault, asking, tenant, Some(id)).await?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let NewApprovalBody { sha256: text } =
        body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let mut said = [0; 32];
    hex::decode_to_slice(&text, &mut said).map_err(|_| {
        let problem = Problem::because(ProblemKind::InvalidRequest, "not 64 hex digits");
        OperationError::Request(problem.at("/sha256"))
    })?;
    vault.approve_export(asking, permit, person, said).await
}
