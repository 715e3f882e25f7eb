//! `GET /v1/suspensions`: who is suspended.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::SuspensionBody;
use crate::audit::{Event, Object};
use crate::authz::ReadEvidence;
use crate::http::problem::{Denial, Refused};
use crate::http::query;
use crate::operation::{Asking, OperationError, Vault};

/// Suspensions in force.
#[derive(Serialize, ToSchema)]
#[schema(as = Suspensions)]
pub struct ListBody {
    /// By workload.
    suspensions: Vec<SuspensionBody>,
}

/// List suspensions in force.
///
/// All of them: there are no more than workloads. Those that ended are on the log.
#[utoipa::path(
    get,
    path = "/v1/suspensions",
    tag = "suspensions",
    operation_id = "listSuspensions",
    responses(
        (status = 200, description = "all of them", body = ListBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Json<ListBody>, Refused> {
    match try_list(&vault, &asking, query.as_deref()).await {
        Ok(list) => Ok(Json(list)),
        Err(error) => {
            let object = Object::Operation("GET /v1/suspensions");
            Err(Refused::new(&vault, &asking, Event::SuspensionRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_list(vault: &Vault, asking: &Asking, query: Option<&str>) -> Result<ListBody, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadEvidence>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadEvidence>(&asking.caller.workload, (), &())?;
    query::parse(query, &[]).map_err(OperationError::Request)?;
    let rows = vault.list_suspensions(asking, permit).await?;
    Ok(ListBody { suspensions: rows.into_iter().map(Into::into).collect() })
}
