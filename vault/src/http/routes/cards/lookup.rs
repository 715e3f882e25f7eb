//! `POST /v1/tenants/{tenant}/cards/lookup`: the facts of up to a hundred cards.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use strongroom_domain::{CardName, Problem, ProblemKind, TenantId, scan};
use utoipa::ToSchema;

use super::facts::CardFactsBody;
use super::list::permit;
use crate::audit::{Event, Object};
use crate::http::body;
use crate::http::problem::{Denial, ItemProblem, Refused};
use crate::operation::read::LOOKUP_TOKENS_MAX;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::CardRow;

/// The cards that are looked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CardLookup)]
pub struct LookupBody {
    /// Their tokens or aliases, one to a hundred.
    #[schema(min_items = 1, max_items = 100)]
    tokens: Vec<String>,
}

/// What was found, in the order asked.
#[derive(Serialize, ToSchema)]
#[schema(as = CardsFound)]
pub struct FoundBody<'a> {
    /// One for each token.
    results: Vec<FoundItem<'a>>,
}

/// One card, or why there is none.
#[derive(Serialize, ToSchema)]
#[schema(as = CardFound)]
pub struct FoundItem<'a> {
    /// 200, or 404 for unknown, expired, erased and other tenants' tokens alike.
    status: u16,
    /// The card's facts, with status 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<CardFactsBody<'a>>,
    /// Why there is none, with any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

impl<'a> From<&'a Option<CardRow>> for FoundItem<'a> {
    fn from(found: &'a Option<CardRow>) -> Self {
        match found {
            Some(row) => Self { status: 200, card: Some(row.into()), problem: None },
            None => {
                let problem = ItemProblem::new(&OperationError::UnknownToken, "");
                Self { status: problem.status(), card: None, problem: Some(problem) }
            }
        }
    }
}

const FIELDS: &[&str] = &["/tokens"];

/// Look up cards.
///
/// A read by POST, because tokens do not belong into addresses: safe to repeat, and `Idempotency-Key` means nothing to it.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/cards/lookup",
    tag = "cards",
    operation_id = "lookupCards",
    params(("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
    request_body = LookupBody,
    responses(
        (status = 200, description = "what was found, in the order asked", body = FoundBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn lookup(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_lookup(&vault, &asking, &tenant, &headers, body).await {
        Ok(found) => {
            Ok(Json(FoundBody { results: found.iter().map(FoundItem::from).collect() }).into_response())
        }
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("POST /v1/tenants/{tenant}/cards/lookup"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::PanLookup, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_lookup(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Vec<Option<CardRow>>, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let permit = permit(vault, asking, &tenant).await?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: LookupBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let names = parsed.names().map_err(OperationError::Request)?;
    vault.look_up_cards(asking, permit, &names).await
}

impl LookupBody {
    /// The names; `None` for what is none.
    fn names(self) -> Result<Vec<Option<CardName>>, Problem> {
        if !(1..=LOOKUP_TOKENS_MAX).contains(&self.tokens.len()) {
            let detail = "a look-up names one to a hundred tokens";
            return Err(Problem::because(ProblemKind::InvalidRequest, detail).at("/tokens"));
        }
        if self.tokens.iter().any(|text| scan::holds_pan(text)) {
            metrics::counter!("strongroom_pan_unexpected_total", "where" => "tokens").increment(1);
            let detail = "a card number stands among the tokens; nothing was done";
            return Err(Problem::because(ProblemKind::PanInRequest, detail).at("/tokens"));
        }
        Ok(self.tokens.iter().map(|text| CardName::parse(text).ok()).collect())
    }
}
