//! `GET /v1/retention`: how long each tenant keeps cards, why, and what is past its time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::Timestamp;
use utoipa::ToSchema;

use super::tenants::list::Page;
use crate::audit::{Event, Object};
use crate::authz::ReadEvidence;
use crate::http::problem::{Denial, Refused};
use crate::operation::retention::{REPORTED_MAX, Reported};
use crate::operation::{Asking, OperationError, Vault};

/// A page of the retention report.
#[derive(Serialize, ToSchema)]
#[schema(as = RetentionReport)]
pub struct ReportBody<'a> {
    /// As at when.
    #[schema(value_type = String, format = DateTime)]
    as_of: Timestamp,
    /// Tenants by name.
    tenants: Vec<TenantReport<'a>>,
    /// What `after` is for the next page; null after the last.
    next: Option<&'a str>,
}

/// What one tenant keeps.
#[derive(Serialize, ToSchema)]
pub struct TenantReport<'a> {
    /// The tenant.
    tenant: &'a str,
    /// Days its cards are kept after their last change; null is for ever.
    days: Option<u32>,
    /// Why.
    reason: Option<&'a str>,
    /// When the card it keeps longest was last changed; null if it keeps none.
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest: Option<Timestamp>,
    /// Cards that should have been hidden or destroyed an hour ago and are not. Must be 0.
    past_due: u64,
}

/// Report what is kept.
#[utoipa::path(
    get,
    path = "/v1/retention",
    tag = "evidence",
    operation_id = "reportRetention",
    params(
        ("after" = Option<String>, Query, description = "the name the page before ended with", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("limit" = Option<u32>, Query, description = "most tenants of the page, 100 unless said", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "a page; the last has no `next`", body = ReportBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn report(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match try_report(&vault, &asking, query.as_deref()).await {
        Ok(page) => Ok(page),
        Err(error) => {
            let object = Object::Operation("GET /v1/retention");
            Err(Refused::new(&vault, &asking, Event::RetentionRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_report(vault: &Vault, asking: &Asking, query: Option<&str>) -> Result<Response, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadEvidence>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadEvidence>(&asking.caller.workload, (), &())?;
    let Page { after, limit } = Page::parse(query, REPORTED_MAX).map_err(OperationError::Request)?;
    let page = vault.report_retention(asking, permit, after.as_ref(), limit).await?;
    let next = page.last().filter(|_| page.len() == limit as usize).map(|last| last.tenant.id.as_str());
    let tenants = page.iter().map(TenantReport::from).collect();
    Ok(Json(ReportBody { as_of: asking.at, tenants, next }).into_response())
}

impl<'a> From<&'a Reported> for TenantReport<'a> {
    fn from(reported: &'a Reported) -> Self {
        let retention = reported.tenant.settings.retention.as_ref();
        Self {
            tenant: reported.tenant.id.as_str(),
            days: retention.map(|retention| retention.days),
            reason: retention.map(|retention| retention.reason.as_str()),
            oldest: reported.oldest,
            past_due: reported.past_due,
        }
    }
}
