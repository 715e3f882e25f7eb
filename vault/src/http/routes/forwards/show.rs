//! `GET /v1/forwards/{id}`: the story of one forward, for the proxy that opened it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use strongroom_domain::ForwardId;

use super::story::StoryBody;
use crate::audit::{Event, Object};
use crate::authz::{ForwardFacts, Permit, RecordOutcome};
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::ForwardRow;

/// Show a forward.
#[utoipa::path(
    get,
    path = "/v1/forwards/{id}",
    tag = "forwards",
    operation_id = "showForward",
    params(("id" = String, Path, description = "the forward", format = Uuid)),
    responses(
        (status = 200, description = "the forward's story", body = StoryBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    match try_show(&vault, &asking, &id).await {
        Ok(row) => Ok(Json(StoryBody::from(&row)).into_response()),
        Err(error) => Err(Refused::new(
            &vault,
            &asking,
            Event::ForwardRead,
            object(&id),
            Denial::ForwardNotFound,
            error,
        )
        .await),
    }
}

async fn try_show(vault: &Vault, asking: &Asking, id: &str) -> Result<ForwardRow, OperationError> {
    let permit = permit(vault, asking, id).await?;
    vault.show_forward(asking, permit).await
}

/// Decided on who opened it: another proxy's forward is refused like an unknown one.
pub(super) async fn permit(
    vault: &Vault,
    asking: &Asking,
    id: &str,
) -> Result<Permit<RecordOutcome>, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<RecordOutcome>(&asking.caller.workload)?;
    let id = ForwardId::parse(id).ok_or(OperationError::UnknownForward)?;
    let row = vault.store.forward(id).await?.ok_or(OperationError::UnknownForward)?;
    let facts = ForwardFacts { opened_by: row.proxy };
    Ok(authorizer.decide(&asking.caller.workload, id, &facts)?)
}

pub(super) fn object(id: &str) -> Object {
    ForwardId::parse(id)
        .map_or(Object::Operation("/v1/forwards/{id}"), |id| Object::Forward { id, tenant: None })
}
