//! `GET /v1/forwards/{id}`: the story of one forward, for the proxy that opened it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::{ForwardId, Timestamp};
use utoipa::ToSchema;

use crate::audit::{Event, Object};
use crate::authz::{ForwardFacts, Permit, RecordOutcome};
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::ForwardRow;

/// A forward's story. No card data.
#[derive(Serialize, ToSchema)]
#[schema(as = ForwardStory)]
pub struct StoryBody<'a> {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    id: ForwardId,
    /// `open`, `answered`, `not-sent` or `unknown`.
    state: &'static str,
    /// Whose cards.
    tenant: &'a str,
    /// On whose behalf.
    caller: &'a str,
    /// Where to.
    route: &'a str,
    /// Under which PSP account.
    account: &'a str,
    /// PSP host.
    host: &'a str,
    /// HTTP method.
    method: &'a str,
    /// Path at the PSP.
    path: &'a str,
    /// References of the tokens.
    cards: Vec<&'a str>,
    /// What was released of them.
    attributes: Vec<&'static str>,
    /// When card data was released.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// When the outcome became known.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
    /// What the proxy told of the outcome.
    #[schema(value_type = Option<super::outcome::ToldBody>)]
    outcome: Option<&'a serde_json::Value>,
}

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

impl<'a> From<&'a ForwardRow> for StoryBody<'a> {
    fn from(row: &'a ForwardRow) -> Self {
        Self {
            id: row.id,
            state: row.state.as_str(),
            tenant: row.tenant.as_str(),
            caller: row.caller.as_str(),
            route: row.route.as_str(),
            account: row.account.as_str(),
            host: &row.host,
            method: &row.method,
            path: &row.path,
            cards: row.cards.iter().map(strongroom_domain::TokenRef::as_str).collect(),
            attributes: row.attributes.iter().map(strongroom_domain::route::Attribute::as_str).collect(),
            opened_at: row.opened_at,
            closed_at: row.closed_at,
            outcome: row.outcome.as_ref(),
        }
    }
}
