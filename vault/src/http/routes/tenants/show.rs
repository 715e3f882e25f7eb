//! `GET /v1/tenants/{tenant}`: one tenant as it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderValue, header};
use serde::Serialize;
use strongroom_domain::{FactsKept, TenantId, Timestamp};
use utoipa::ToSchema;

use crate::audit::{Event, Object};
use crate::authz::{ManageTenant, Permit, TenantScope};
use crate::http::problem::{ConfirmBody, Denial, Refused};
use crate::operation::retention::CardsDue;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{Dedupe, TenantRow, TenantStatus, TokenFormat};

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantShown)]
pub struct TenantBody<'a> {
    /// Its name.
    id: &'a str,
    /// Groups that grants are given to.
    groups: &'a [String],
    /// Which facts are kept beside the sealed record.
    #[schema(value_type = super::put::FactsBody)]
    facts: FactsKept,
    /// Brands the tenant takes; null is all.
    brands: Option<Vec<&'static str>>,
    /// What a second tokenization of one number gives.
    #[schema(value_type = super::put::DedupeBody)]
    dedupe: Dedupe,
    /// Whether fingerprints of numbers are kept.
    fingerprints: bool,
    /// Formats beside the token that may be asked for.
    #[schema(value_type = Vec<super::put::FormatBody>)]
    formats: &'a [TokenFormat],
    /// Whether it is suspended.
    suspended: bool,
    /// How long cards are kept; null only for tenants made before there was a default: for ever.
    retention: Option<RetentionBody<'a>>,
    /// Of a dry run: how many cards the shorter retention would end at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_due: Option<ConfirmBody>,
    /// Rises with every change; also the `ETag`.
    version: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// How long cards are kept and why.
#[derive(Serialize, ToSchema)]
#[schema(as = RetentionShown)]
pub struct RetentionBody<'a> {
    /// Days after a card's last change.
    days: u32,
    /// The business reason.
    reason: &'a str,
}

/// Show a tenant.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}",
    tag = "tenants",
    operation_id = "showTenant",
    params(("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
    responses(
        (status = 200, description = "the tenant", body = TenantBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
) -> Result<Response, Refused> {
    match try_show(&vault, &asking, &tenant).await {
        Ok(row) => Ok(answer(&row, None)),
        Err(error) => {
            Err(Refused::new(&vault, &asking, Event::TenantRead, object(&tenant), Denial::Forbidden, error)
                .await)
        }
    }
}

async fn try_show(vault: &Vault, asking: &Asking, tenant: &str) -> Result<TenantRow, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let permit = permit(vault, asking, &tenant).await?;
    vault.show_tenant(asking, permit).await
}

pub(super) async fn permit(
    vault: &Vault,
    asking: &Asking,
    tenant: &TenantId,
) -> Result<Permit<ManageTenant>, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ManageTenant>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(tenant).await?;
    let subject = TenantScope { tenant: tenant.clone() };
    // A suspended tenant can still be managed, or nobody could lift the suspension.
    Ok(authorizer.decide(&asking.caller.workload, subject, &facts)?)
}

pub(super) fn object(tenant: &str) -> Object {
    TenantId::parse(tenant).map_or(Object::Operation("/v1/tenants/{tenant}"), Object::Tenant)
}

/// The body with its `ETag`.
pub(super) fn answer(row: &TenantRow, due: Option<CardsDue>) -> Response {
    let mut response = axum::response::IntoResponse::into_response(Json(TenantBody::of(row, due)));
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", row.version)) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

impl<'a> TenantBody<'a> {
    pub(super) fn of(row: &'a TenantRow, due: Option<CardsDue>) -> Self {
        Self {
            id: row.id.as_str(),
            groups: &row.settings.groups,
            facts: row.settings.facts,
            brands: row
                .settings
                .brands
                .as_ref()
                .map(|brands| brands.iter().map(|brand| brand.as_str()).collect()),
            dedupe: row.settings.dedupe,
            fingerprints: row.settings.fingerprints,
            formats: &row.settings.formats,
            suspended: row.status == TenantStatus::Suspended,
            retention: row
                .settings
                .retention
                .as_ref()
                .map(|retention| RetentionBody { days: retention.days, reason: &retention.reason }),
            retention_due: due.map(|CardsDue { count, as_of }| ConfirmBody { count, as_of }),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
