//! `GET /v1/tenants`: the tenants a caller may manage, by name, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::{Problem, ProblemKind, TenantId};
use utoipa::ToSchema;

use super::show::TenantBody;
use crate::audit::{Event, Object};
use crate::authz::{ManageTenant, TenantFacts, TenantScope};
use crate::http::problem::{Denial, Refused};
use crate::http::query;
use crate::operation::tenant::TENANTS_MAX;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::TenantStatus;

/// A page of tenants.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantPage)]
pub struct TenantPageBody<'a> {
    /// By name; may be fewer than `limit` while `next` is there: tenants others manage are left out.
    tenants: Vec<TenantBody<'a>>,
    /// What `after` is for the next page; null after the last.
    next: Option<&'a str>,
}

const NAMES: &[&str] = &["/after", "/limit"];

/// List tenants.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    tag = "tenants",
    operation_id = "listTenants",
    params(
        ("after" = Option<String>, Query, description = "the name the page before ended with", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("limit" = Option<u32>, Query, description = "most tenants of the page, 100 unless said", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "a page; the last has no `next`", body = TenantPageBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match try_list(&vault, &asking, query.as_deref()).await {
        Ok(page) => Ok(page),
        Err(error) => {
            let object = Object::Operation("GET /v1/tenants");
            Err(Refused::new(&vault, &asking, Event::TenantRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_list(vault: &Vault, asking: &Asking, query: Option<&str>) -> Result<Response, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ManageTenant>(&asking.caller.workload)?;
    let Page { after, limit } = Page::parse(query, TENANTS_MAX).map_err(OperationError::Request)?;
    let rows = vault.tenants_after(after.as_ref(), limit).await?;
    let next = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.id.clone());
    let mut page = Vec::with_capacity(rows.len());
    for row in rows {
        let facts = TenantFacts {
            id: row.id.clone(),
            groups: row.settings.groups.clone(),
            suspended: row.status == TenantStatus::Suspended,
        };
        let subject = TenantScope { tenant: row.id.clone() };
        if let Ok(permit) = authorizer.decide::<ManageTenant>(&asking.caller.workload, subject, &facts) {
            page.push((permit, row));
        }
    }
    let tenants = vault.list_tenants(asking, page).await?;
    let tenants = tenants.iter().map(|row| TenantBody::of(row, None)).collect();
    Ok(Json(TenantPageBody { tenants, next: next.as_ref().map(TenantId::as_str) }).into_response())
}

/// Which part of a list by tenant is wanted.
pub(in crate::http::routes) struct Page {
    pub(in crate::http::routes) after: Option<TenantId>,
    pub(in crate::http::routes) limit: u32,
}

impl Page {
    pub(in crate::http::routes) fn parse(query: Option<&str>, most: u32) -> Result<Self, Problem> {
        let parameters = query::parse(query, NAMES)?;
        let invalid = |detail, pointer| Problem::because(ProblemKind::InvalidRequest, detail).at(pointer);
        let after = parameters.get("after").map(|name| TenantId::parse(name)).transpose();
        let after = after.map_err(|_| invalid("after is not a tenant's name", "/after"))?;
        let limit = match parameters.get("limit").map(|limit| limit.parse::<u32>()) {
            None => most,
            Some(Ok(limit)) if (1..=most).contains(&limit) => limit,
            Some(_) => return Err(invalid("limit is not 1 to 100", "/limit")),
        };
        Ok(Self { after, limit })
    }
}
