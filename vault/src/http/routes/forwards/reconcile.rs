//! `POST /v1/tenants/{tenant}/forwards/{id}/reconcile`: what the PSP says of a forward whose outcome is unknown.

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

use super::outcome::{is_status, names_a_payment};
use super::read::{object, permit};
use super::story::StoryBody;
use crate::audit::Event;
use crate::authz::{Permit, ReconcileForward};
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::forward::Finding;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{ForwardRow, PspSays};

/// What the PSP says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForwardFinding)]
pub struct ReconcileBody {
    /// `answered`: it has the payment, charged or declined. `never-arrived`: it never had it; can be said 15 minutes after the
    /// forward was opened, and lets the payment be tried again.
    #[schema(value_type = FindingName)]
    says: PspSays,
    /// HTTP status of the PSP's answer, if it is known.
    #[schema(minimum = 100, maximum = 599)]
    status: Option<u16>,
    /// The PSP's own name of the payment, at most 200 visible characters.
    #[schema(pattern = "^[!-~]{0,200}$")]
    psp_reference: Option<String>,
}

/// What a PSP says of a payment.
#[derive(ToSchema)]
#[schema(as = Finding, rename_all = "kebab-case")]
pub enum FindingName {
    /// It has it.
    Answered,
    /// It never had it.
    NeverArrived,
}

const FIELDS: &[&str] = &["/says", "/status", "/psp_reference"];

/// Say what the PSP says of a forward whose outcome is unknown.
///
/// What is known is never taken back: `409` unless the outcome is unknown. Saying the same again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/forwards/{id}/reconcile",
    tag = "forwards",
    operation_id = "reconcileForward",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("id" = String, Path, description = "the forward", format = Uuid),
    ),
    request_body = ReconcileBody,
    responses(
        (status = 200, description = "the forward's story from now on", body = StoryBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn reconcile(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_reconcile(&vault, &asking, &tenant, &id, &headers, body).await {
        Ok(row) => Ok(Json(StoryBody::from(&row)).into_response()),
        Err(error) => {
            let object = object(&tenant, &id);
            Err(Refused::new(&vault, &asking, Event::ForwardReconcile, object, Denial::Forbidden, error)
                .await)
        }
    }
}

async fn try_reconcile(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    id: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ForwardRow, OperationError> {
    let permit: Permit<ReconcileForward> = permit(vault, asking, tenant, id).await?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: ReconcileBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let finding = parsed.check().map_err(OperationError::Request)?;
    vault.reconcile_forward(asking, permit, finding).await
}

impl ReconcileBody {
    fn check(self) -> Result<Finding, Problem> {
        let Self { says, status, psp_reference } = self;
        if !status.is_none_or(is_status) {
            return Err(Problem::because(ProblemKind::InvalidRequest, "no HTTP status").at("/status"));
        }
        if !psp_reference.as_deref().is_none_or(names_a_payment) {
            let detail = "psp_reference is not at most 200 visible characters without a card number or token";
            return Err(Problem::because(ProblemKind::InvalidRequest, detail).at("/psp_reference"));
        }
        Ok(Finding { says, status, psp_reference })
    }
}
