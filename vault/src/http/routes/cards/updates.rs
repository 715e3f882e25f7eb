//! `POST /v1/tenants/{tenant}/cards/updates`: up to a hundred changes of cards, as an account updater pushes them.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use strongroom_domain::{CardName, Problem, ProblemKind, TenantId, scan};
use utoipa::ToSchema;

use super::create::answer;
use super::facts::CardFactsBody;
use super::update::CardPatchBody;
use crate::audit::{Event, Object};
use crate::authz::{TenantCards, UpdateCards};
use crate::http::problem::{Denial, ItemProblem, Refused};
use crate::http::{body, idempotency};
use crate::operation::tokenize::Tokenized;
use crate::operation::update::{UPDATES_MAX, UpdateAnswer, UpdateItem, Updated};
use crate::operation::{Asking, OperationError, Vault};

/// Cards to change together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CardUpdates)]
pub struct UpdatesBody {
    /// The changes, of as many cards.
    #[schema(min_items = 1, max_items = 100)]
    updates: Vec<UpdateBody>,
}

/// One change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CardUpdate)]
pub struct UpdateBody {
    /// The card's token, or an alias.
    token: String,
    /// The version the change is of. Without it, it is made of the one that is there.
    #[schema(minimum = 1)]
    version: Option<u64>,
    /// What changes.
    change: CardPatchBody,
}

/// What became of each change, in order.
#[derive(Serialize, ToSchema)]
#[schema(as = CardUpdateResults)]
pub struct UpdatedBody<'a> {
    /// As many as the request has updates.
    results: Vec<UpdatedItem<'a>>,
}

/// What became of one change.
#[derive(Serialize, ToSchema)]
#[schema(as = CardUpdateResult)]
pub struct UpdatedItem<'a> {
    /// What the status would be if the change had come alone.
    #[schema(minimum = 200, maximum = 503, example = 200)]
    status: u16,
    /// With 200: the card's facts after the change, without its other names.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<CardFactsBody<'a>>,
    /// With any other status: what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

/// Change many cards under their tokens.
///
/// For the feed of an account updater: new numbers, new expiries, closed cards. The changes are made together, in one commit; one
/// that is refused does not hold the others back. A failure of the whole (no grant, a body that is not strict JSON) is one problem.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/cards/updates",
    tag = "cards",
    operation_id = "updateCards",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters, for the whole call; remembered 24 hours per caller and tenant", pattern = "^(\"[!#-~]{1,255}\"|[!#-~]{1,255})$"),
    ),
    request_body = UpdatesBody,
    responses(
        (status = 200, description = "a result for each change, in order; `Idempotency-Replayed: true` if an earlier request made them", body = UpdatedBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn updates(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_updates(&vault, &asking, &tenant, &headers, body).await {
        Ok(updated) => Ok(answer(StatusCode::OK, updated)),
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("POST /v1/tenants/{tenant}/cards/updates"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::RecordUpdate, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_updates(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Tokenized, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<UpdateCards>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let subject = TenantCards { tenant: tenant.clone(), environment: vault.environment };
    let permit = authorizer.decide(&asking.caller.workload, subject, &facts)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: UpdatesBody = body::parse(headers, &bytes, &["/updates"]).map_err(OperationError::Request)?;
    parsed.check().map_err(OperationError::Request)?;
    let request = || format!("POST /v1/tenants/{tenant}/cards/updates");
    let once = idempotency::once(headers, request, &bytes)?;
    let item = |update: UpdateBody| UpdateItem {
        name: CardName::parse(&update.token).ok(),
        patch: update.change.check(vault.environment, asking.at),
        expected: update.version,
    };
    let items = parsed.updates.into_iter().map(item).collect();
    let answer = UpdateAnswer { status: StatusCode::OK.as_u16(), write };
    vault.update_cards(asking, permit, items, once, answer).await
}

impl UpdatesBody {
    fn check(&self) -> Result<(), Problem> {
        if !(1..=UPDATES_MAX).contains(&self.updates.len()) {
            let detail = "a call has 1 to 100 updates";
            return Err(Problem::because(ProblemKind::InvalidRequest, detail).at("/updates"));
        }
        if self.updates.iter().any(|update| scan::holds_pan(&update.token)) {
            metrics::counter!("strongroom_pan_unexpected_total", "where" => "tokens").increment(1);
            let detail = "a card number stands among the tokens; nothing was done";
            return Err(Problem::because(ProblemKind::PanInRequest, detail).at("/updates"));
        }
        Ok(())
    }
}

/// The body as it is stored for replays and sent.
fn write(updated: &[Updated<'_>]) -> Vec<u8> {
    let results = updated.iter().enumerate().map(|(place, updated)| result(place, updated)).collect();
    serde_json::to_vec(&UpdatedBody { results }).expect("texts and numbers always serialize")
}

fn result<'a>(place: usize, updated: &Updated<'a>) -> UpdatedItem<'a> {
    match updated {
        Ok(row) => UpdatedItem { status: 200, card: Some(CardFactsBody::from(*row)), problem: None },
        Err(error) => {
            let problem = ItemProblem::new(error, &format!("/updates/{place}/change"));
            UpdatedItem { status: problem.status(), card: None, problem: Some(problem) }
        }
    }
}
