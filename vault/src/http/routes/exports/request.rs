//! `POST /v1/tenants/{tenant}/exports`: one person asks for an export.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use strongroom_domain::Timestamp;
use utoipa::ToSchema;

use super::view::{ExportBody, object, permit};
use crate::audit::Event;
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::export::{ExportFilter, RequestedExport, ShownExport};
use crate::operation::{Asking, OperationError, Vault};

/// An export that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewExport)]
pub struct NewExportBody {
    /// Which cards; all if left out.
    #[serde(default)]
    filter: FilterBody,
    /// The age recipient (X25519, `age1…`) the file is encrypted to. It cannot be changed afterwards.
    #[schema(pattern = "^age1[02-9ac-hj-np-z]{58}$")]
    recipient: String,
    /// Most cards. If there are more when it runs, none leaves.
    #[schema(minimum = 1)]
    cards_max: u64,
    /// Until when it may be approved and run, at most 24 hours ahead; 24 hours if left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_after: Option<Timestamp>,
    /// Why, in a sentence of at most 200 bytes.
    #[schema(min_length = 1, max_length = 200)]
    purpose: String,
}

/// Which cards of the tenant. Erased and expired cards never are among them.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ExportFilter)]
pub struct FilterBody {
    /// Of this brand.
    #[schema(value_type = Option<crate::http::routes::cards::list::BrandName>)]
    brand: Option<String>,
    /// That came in after this.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// That came in before this.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
}

const FIELDS: &[&str] = &["/filter", "/recipient", "/cards_max", "/not_after", "/purpose"];

/// Ask for an export.
///
/// Nothing leaves before another person approves exactly this. `export-refused` where exports are off.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/exports",
    tag = "exports",
    operation_id = "requestExport",
    params(("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
    request_body = NewExportBody,
    responses(
        (status = 201, description = "it is asked for; `sha256` is what the second person says", body = ExportBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn request(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_request(&vault, &asking, &tenant, &headers, body).await {
        Ok(shown) => Ok((StatusCode::CREATED, Json(ExportBody::of(&shown, asking.at))).into_response()),
        Err(error) => {
            let object = object(&tenant, None);
            Err(Refused::new(&vault, &asking, Event::ExportRequest, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_request(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ShownExport, OperationError> {
    let (permit, person) = permit(vault, asking, tenant, None).await?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let NewExportBody { filter, recipient, cards_max, not_after, purpose } =
        body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let FilterBody { brand, created_after, created_before } = filter;
    let filter = ExportFilter { brand, created_after, created_before };
    let wanted = RequestedExport { filter, recipient, cards_max, not_after, purpose };
    vault.request_export(asking, permit, person, wanted).await
}
