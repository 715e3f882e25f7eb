//! `POST /v1/tenants/{tenant}/cards/match`: the tokens of one number, by its fingerprint.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use strongroom_domain::{CardName, Problem, ProblemKind, TenantId, scan};
use strongroom_sealing::Fingerprint;
use utoipa::ToSchema;

use crate::audit::{Event, Object};
use crate::authz::{MatchFingerprint, TenantScope};
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::matching::{Like, Matched};
use crate::operation::{Asking, OperationError, Vault};

/// What is compared: a fingerprint, or the number of a card.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CardMatch)]
pub struct MatchBody {
    /// A fingerprint as this vault gave it; or `token`.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    fingerprint: Option<String>,
    /// The token or an alias of a card; or `fingerprint`.
    token: Option<String>,
}

/// The cards of one number.
#[derive(Serialize, ToSchema)]
#[schema(as = CardsMatched)]
pub struct MatchedBody<'a> {
    /// The number's fingerprint; null if the card has none.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    fingerprint: Option<String>,
    /// Their tokens, oldest first, at most a hundred.
    tokens: Vec<&'a str>,
}

const FIELDS: &[&str] = &["/fingerprint", "/token"];

/// Find the cards of one number.
///
/// A read by POST, because fingerprints and tokens do not belong into addresses. Needs the MatchFingerprint grant; cards
/// that came in before the tenant asked for fingerprints have none and are not found.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/cards/match",
    tag = "cards",
    operation_id = "matchCards",
    params(("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
    request_body = MatchBody,
    responses(
        (status = 200, description = "the tokens of the cards with this number", body = MatchedBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn match_number(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_match(&vault, &asking, &tenant, &headers, body).await {
        Ok(matched) => Ok(answer(&matched)),
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("POST /v1/tenants/{tenant}/cards/match"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::PanMatch, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_match(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Matched, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<MatchFingerprint>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let permit = authorizer.decide(&asking.caller.workload, TenantScope { tenant }, &facts)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: MatchBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let like = parsed.like().map_err(OperationError::Request)?;
    let like = match like {
        Compared::Fingerprint(fingerprint) => Like::Fingerprint(fingerprint),
        Compared::Card(name) => {
            Like::Card(vault.resolve(&[name]).await?.pop().ok_or(OperationError::UnknownToken)?)
        }
    };
    vault.match_cards(asking, permit, like).await
}

enum Compared {
    Fingerprint(Fingerprint),
    Card(CardName),
}

impl MatchBody {
    fn like(self) -> Result<Compared, Problem> {
        let invalid = |detail, pointer| Problem::because(ProblemKind::InvalidRequest, detail).at(pointer);
        if self.token.as_deref().is_some_and(scan::holds_pan) {
            metrics::counter!("strongroom_pan_unexpected_total", "where" => "tokens").increment(1);
            let detail = "a card number stands in place of a token; nothing was done";
            return Err(Problem::because(ProblemKind::PanInRequest, detail).at("/token"));
        }
        match (self.fingerprint, self.token) {
            (Some(text), None) => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(&text, &mut bytes)
                    .map_err(|_| invalid("the fingerprint is not 64 hex digits", "/fingerprint"))?;
                Ok(Compared::Fingerprint(Fingerprint::from_bytes(bytes)))
            }
            (None, Some(text)) => CardName::parse(&text)
                .map(Compared::Card)
                .map_err(|_| Problem::new(ProblemKind::TokenNotFound)),
            _ => Err(invalid("a match names either a fingerprint or a token", "/fingerprint")),
        }
    }
}

fn answer(matched: &Matched) -> Response {
    let fingerprint = matched.fingerprint.map(|fingerprint| hex::encode(fingerprint.as_bytes()));
    let tokens = matched.tokens.iter().map(strongroom_domain::Token::as_str).collect();
    Json(MatchedBody { fingerprint, tokens }).into_response()
}
