//! `POST /v1/tenants/{tenant}/cards/restore`: what somebody erased within a time comes back, a hundred cards a call.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use strongroom_domain::{Problem, ProblemKind, TenantId, Timestamp, WorkloadId};
use utoipa::ToSchema;

use crate::audit::{Event, Object};
use crate::authz::{Permit, RestoreCard, RestoreScope, RestoredCards};
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::restore::Restored;
use crate::operation::{Asking, OperationError, Vault};

/// Which erased cards.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RestoreCards)]
pub struct RestoreBody {
    /// Erased at this time or later (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Erased before this time; now if left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Erased by this identity; by anybody if left out.
    #[schema(value_type = Option<String>, pattern = "^(spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+|dns:[a-z0-9.-]+)$", example = "spiffe://strongroom.test/orchestrator")]
    erased_by: Option<WorkloadId>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
#[schema(as = RestoredCards)]
pub struct RestoredBody {
    /// Cards that came back.
    restored: u64,
    /// Whether there may be more: ask again.
    more: bool,
}

const FIELDS: &[&str] = &["/from", "/until", "/erased_by"];

/// Restore what was erased within a time.
///
/// At most 100 cards a call, those whose hold ends first; cards that expired or whose retention is over are left. Ask
/// again while `more` is true.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/cards/restore",
    tag = "cards",
    operation_id = "restoreCards",
    params(("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
    request_body = RestoreBody,
    responses(
        (status = 200, description = "how many came back", body = RestoredBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn restore_many(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<RestoredBody>, Refused> {
    match try_restore(&vault, &asking, &tenant, &headers, body).await {
        Ok(Restored { restored, more }) => Ok(Json(RestoredBody { restored, more })),
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("POST /v1/tenants/{tenant}/cards/restore"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::RecordRestore, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_restore(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Restored, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<RestoreCard>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let cards = wanted(headers, &bytes, asking.at)?;
    let subject = RestoreScope { tenant, cards };
    let permit: Permit<RestoreCard> = authorizer.decide(&asking.caller.workload, subject, &facts)?;
    vault.restore_cards(asking, permit).await
}

fn wanted(headers: &HeaderMap, bytes: &Bytes, now: Timestamp) -> Result<RestoredCards, OperationError> {
    let RestoreBody { from, until, erased_by: by } =
        body::parse(headers, bytes, FIELDS).map_err(OperationError::Request)?;
    let until = until.unwrap_or(now);
    if from >= until {
        let problem = Problem::because(ProblemKind::InvalidRequest, "from is not before until");
        return Err(OperationError::Request(problem.at("/from")));
    }
    Ok(RestoredCards::Hidden { by, from, until })
}
