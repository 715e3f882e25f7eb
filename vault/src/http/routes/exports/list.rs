//! `GET /v1/tenants/{tenant}/exports`: what was asked for, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{ExportBody, object, permit};
use crate::audit::Event;
use crate::http::problem::{Denial, Refused};
use crate::operation::export::ShownExport;
use crate::operation::{Asking, OperationError, Vault};

/// A tenant's exports.
#[derive(Serialize, ToSchema)]
#[schema(as = Exports)]
pub struct ExportsBody<'a> {
    /// Newest first, the last hundred.
    exports: Vec<ExportBody<'a>>,
}

/// List a tenant's exports.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/exports",
    tag = "exports",
    operation_id = "listExports",
    params(("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
    responses(
        (status = 200, description = "the last hundred exports", body = ExportsBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
) -> Result<Response, Refused> {
    match try_list(&vault, &asking, &tenant).await {
        Ok(shown) => {
            let exports = shown.iter().map(|shown| ExportBody::of(shown, asking.at)).collect();
            Ok(Json(ExportsBody { exports }).into_response())
        }
        Err(error) => {
            let object = object(&tenant, None);
            Err(Refused::new(&vault, &asking, Event::ExportRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_list(vault: &Vault, asking: &Asking, tenant: &str) -> Result<Vec<ShownExport>, OperationError> {
    let (permit, _) = permit(vault, asking, tenant, None).await?;
    vault.list_exports(asking, permit).await
}
