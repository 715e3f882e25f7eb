//! `GET /v1/tenants/{tenant}/cards/{token}`: the facts of one card.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use strongroom_domain::{CardName, TenantId};

use super::create::with_etag;
use super::facts::CardFactsBody;
use crate::audit::{Event, Object};
use crate::authz::{Action, CardScope, MatchFingerprint, Permit, ReadCard, TenantFacts, TenantScope};
use crate::http::problem::{Denial, Refused};
use crate::operation::card::ShownCard;
use crate::operation::{Asking, OperationError, Vault};

/// Show a card's facts.
///
/// Unknown, expired, erased, other tenants' and forbidden tokens are one and the same 404.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/cards/{token}",
    tag = "cards",
    operation_id = "showCard",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("token" = String, Path, description = "the token, or an alias of the card", pattern = "^[A-Za-z0-9._~:-]{8,128}$"),
    ),
    responses(
        (status = 200, description = "the card's facts", body = CardFactsBody<'_>, headers(("ETag" = String, description = "the card's version, for `If-Match`"))),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, token)): Path<(String, String)>,
) -> Result<Response, Refused> {
    match try_show(&vault, &asking, &tenant, &token).await {
        Ok(shown) => {
            let body = CardFactsBody::from(&shown.row).named(&shown.aliases);
            let answer = Json(body.with_fingerprint(shown.fingerprint)).into_response();
            Ok(with_etag(shown.row.row_version, answer))
        }
        Err(error) => {
            let object = object(&tenant, &token);
            Err(Refused::new(&vault, &asking, Event::PanLookup, object, Denial::TokenNotFound, error).await)
        }
    }
}

async fn try_show(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    token: &str,
) -> Result<ShownCard, OperationError> {
    let permit: Permit<ReadCard> = permit(vault, asking, tenant, token).await?;
    let tenant = permit.subject().tenant.clone();
    let facts = vault.tenant_facts(&tenant).await?;
    let (authorizer, caller) = (vault.authorizer.load_full(), &asking.caller.workload);
    let may_match = authorizer.admit::<MatchFingerprint>(caller).is_ok();
    let matching = may_match.then(|| authorizer.decide(caller, TenantScope { tenant }, &facts));
    vault.show_card(asking, permit, matching.and_then(Result::ok)).await
}

/// Grant first, token after: who may not read learns nothing of what is there.
pub(super) async fn permit<A>(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    token: &str,
) -> Result<Permit<A>, OperationError>
where
    A: Action<Subject = CardScope, Facts = TenantFacts>,
{
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownToken)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<A>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let name = CardName::parse(token).map_err(|_| OperationError::UnknownToken)?;
    let card = vault.resolve(&[name]).await?.pop().ok_or(OperationError::UnknownToken)?;
    let subject = CardScope { tenant, card };
    Ok(authorizer.decide(&asking.caller.workload, subject, &facts)?)
}

/// What the entry of a refusal names.
pub(super) fn object(tenant: &str, token: &str) -> Object {
    let tenant = TenantId::parse(tenant).ok();
    match (CardName::parse(token), tenant) {
        (Ok(name), tenant) => Object::Token { token: name.unresolved().token_ref(), tenant },
        (Err(_), Some(tenant)) => Object::Tenant(tenant),
        (Err(_), None) => Object::Operation("/v1/tenants/{tenant}/cards/{token}"),
    }
}
