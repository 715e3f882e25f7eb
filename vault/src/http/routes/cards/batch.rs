//! `POST /v1/tenants/{tenant}/cards/batch`: up to a hundred card numbers in, a result for each out, in one commit.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use strongroom_domain::{Problem, ProblemKind, TenantId};
use utoipa::ToSchema;

use super::create::{NewCardBody, answer};
use super::facts::CardFactsBody;
use crate::audit::{Event, Object};
use crate::authz::{TenantScope, Tokenize};
use crate::http::problem::{Denial, ItemProblem, Refused};
use crate::http::{body, idempotency};
use crate::operation::tokenize::{Answer, BATCH_MAX, Became, Tokenized};
use crate::operation::{Asking, OperationError, Vault};

/// Largest body of a batch: a hundred cards of 2.5 KiB, metadata included (design §5).
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Cards to tokenize together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCards)]
pub struct BatchBody {
    /// The cards, each as one call takes it.
    #[schema(min_items = 1, max_items = 100)]
    cards: Vec<NewCardBody>,
}

/// What became of each card, in order.
#[derive(Serialize, ToSchema)]
#[schema(as = CardResults)]
pub struct ResultsBody<'a> {
    /// As many as the request has cards.
    results: Vec<ResultBody<'a>>,
}

/// What became of one card.
#[derive(Serialize, ToSchema)]
#[schema(as = CardResult)]
pub struct ResultBody<'a> {
    /// What the status would be if the card had come alone.
    #[schema(minimum = 201, maximum = 503, example = 201)]
    status: u16,
    /// With 201: token and facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<CardFactsBody<'a>>,
    /// With any other status: what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

/// Tokenize many cards.
///
/// The cards come in together, in one commit; one that is refused does not hold the others back. A failure of the whole
/// (no grant, a body that is not strict JSON, no room) is one problem.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/cards/batch",
    tag = "cards",
    operation_id = "createCards",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters, for the whole batch; remembered 24 hours per caller and tenant", pattern = "^(\"[!#-~]{1,255}\"|[!#-~]{1,255})$"),
    ),
    request_body = BatchBody,
    responses(
        (status = 200, description = "a result for each card, in order; `Idempotency-Replayed: true` if an earlier request made them", body = ResultsBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn batch(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_batch(&vault, &asking, &tenant, &headers, body).await {
        Ok(tokenized) => Ok(answer(StatusCode::OK, tokenized)),
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("POST /v1/tenants/{tenant}/cards/batch"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::PanTokenize, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_batch(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Tokenized, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<Tokenize>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let subject = TenantScope { tenant: tenant.clone() };
    let permit = authorizer.decide(&asking.caller.workload, subject, &facts)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: BatchBody = body::parse(headers, &bytes, &["/cards"]).map_err(OperationError::Request)?;
    if !(1..=BATCH_MAX).contains(&parsed.cards.len()) {
        let detail = "a batch has 1 to 100 cards";
        let problem = Problem::because(ProblemKind::InvalidRequest, detail).at("/cards");
        return Err(OperationError::Request(problem));
    }
    let request = || format!("POST /v1/tenants/{tenant}/cards/batch");
    let once = idempotency::once(headers, request, &bytes)?;
    let check =
        |card: NewCardBody| card.check(vault.environment, asking.at).map_err(OperationError::InvalidCard);
    let cards = parsed.cards.into_iter().map(check).collect();
    let answer = Answer { status: StatusCode::OK.as_u16(), write };
    vault.tokenize_batch(asking, permit, cards, once, answer).await
}

/// The body as it is stored for replays and sent.
fn write(became: &[Became<'_>]) -> Vec<u8> {
    let results = became.iter().enumerate().map(|(place, became)| result(place, became)).collect();
    serde_json::to_vec(&ResultsBody { results }).expect("texts and numbers always serialize")
}

fn result<'a>(place: usize, became: &'a Became<'_>) -> ResultBody<'a> {
    match became {
        Ok(made) => ResultBody { status: 201, card: Some(CardFactsBody::from(made)), problem: None },
        Err(error) => {
            let problem = ItemProblem::new(error, &format!("/cards/{place}"));
            ResultBody { status: problem.status(), card: None, problem: Some(problem) }
        }
    }
}
