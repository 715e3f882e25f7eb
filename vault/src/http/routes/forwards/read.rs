//! `GET /v1/tenants/{tenant}/forwards/{id}`: the story of one forward, for those whose tenant's it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use strongroom_domain::{ForwardId, TenantId};

use super::story::StoryBody;
use crate::audit::{Event, Object};
use crate::authz::{Action, ForwardScope, Permit, ReadForward, TenantFacts};
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::ForwardRow;

/// Show a tenant's forward.
///
/// Who opened it, where to, by which rule, how it went, and what was found out of it later.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/forwards/{id}",
    tag = "forwards",
    operation_id = "readForward",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("id" = String, Path, description = "the forward", format = Uuid),
    ),
    responses(
        (status = 200, description = "the forward's story", body = StoryBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn read(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Refused> {
    match try_read(&vault, &asking, &tenant, &id).await {
        Ok(row) => Ok(Json(StoryBody::from(&row)).into_response()),
        Err(error) => {
            let object = object(&tenant, &id);
            Err(Refused::new(&vault, &asking, Event::ForwardRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_read(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    id: &str,
) -> Result<ForwardRow, OperationError> {
    let permit: Permit<ReadForward> = permit(vault, asking, tenant, id).await?;
    vault.read_forward(asking, permit).await
}

/// Decided on the tenant before the forward is looked for.
pub(super) async fn permit<A>(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    id: &str,
) -> Result<Permit<A>, OperationError>
where
    A: Action<Subject = ForwardScope, Facts = TenantFacts>,
{
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<A>(&asking.caller.workload)?;
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let forward = ForwardId::parse(id).ok_or(OperationError::UnknownForward)?;
    let facts = vault.tenant_facts(&tenant).await?;
    Ok(authorizer.decide(&asking.caller.workload, ForwardScope { tenant, forward }, &facts)?)
}

pub(super) fn object(tenant: &str, id: &str) -> Object {
    match (TenantId::parse(tenant).ok(), ForwardId::parse(id)) {
        (tenant, Some(id)) => Object::Forward { id, tenant },
        (Some(tenant), None) => Object::Tenant(tenant),
        (None, None) => Object::Operation("/v1/tenants/{tenant}/forwards/{id}"),
    }
}
