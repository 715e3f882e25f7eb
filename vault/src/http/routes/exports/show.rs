//! `GET /v1/tenants/{tenant}/exports/{id}`: one export, its approval and what its runs made.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::view::{ExportBody, object, permit};
use crate::audit::Event;
use crate::http::problem::{Denial, Refused};
use crate::operation::export::ShownExport;
use crate::operation::{Asking, OperationError, Vault};

/// Show an export.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/exports/{id}",
    tag = "exports",
    operation_id = "showExport",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("id" = String, Path, description = "the export", format = Uuid),
    ),
    responses(
        (status = 200, description = "the export", body = ExportBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Refused> {
    match try_show(&vault, &asking, &tenant, &id).await {
        Ok(shown) => Ok(Json(ExportBody::of(&shown, asking.at)).into_response()),
        Err(error) => {
            let object = object(&tenant, Some(&id));
            Err(Refused::new(&vault, &asking, Event::ExportRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_show(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    id: &str,
) -> Result<ShownExport, OperationError> {
    let (permit, _) = permit(vault, asking, tenant, Some(id)).await?;
    vault.show_export(asking, permit).await
}
