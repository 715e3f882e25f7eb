//! `GET /v1/tenants/{tenant}/cards/{token}`: the facts of one card.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use strongroom_domain::{TenantId, Token};

use super::facts::CardFactsBody;
use crate::audit::{Event, Object};
use crate::authz::{Action, CardScope, NamedCard, Permit, ReadCard, TenantFacts};
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::CardRow;

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
        ("token" = String, Path, description = "the token"),
    ),
    responses(
        (status = 200, description = "the card's facts", body = CardFactsBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, token)): Path<(String, String)>,
) -> Result<Response, Refused> {
    match try_show(&vault, &asking, &tenant, &token).await {
        Ok(row) => Ok(Json(CardFactsBody::from(&row)).into_response()),
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
) -> Result<CardRow, OperationError> {
    let permit: Permit<ReadCard> = permit(vault, asking, tenant, token).await?;
    vault.show_card(asking, permit).await
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
    let token = Token::parse(token).map_err(|_| OperationError::UnknownToken)?;
    let subject = CardScope { tenant, card: NamedCard::from(&token) };
    Ok(authorizer.decide(&asking.caller.workload, subject, &facts)?)
}

/// What the entry of a refusal names.
pub(super) fn object(tenant: &str, token: &str) -> Object {
    let tenant = TenantId::parse(tenant).ok();
    match (Token::parse(token), tenant) {
        (Ok(token), tenant) => Object::Token { token: token.token_ref(), tenant },
        (Err(_), Some(tenant)) => Object::Tenant(tenant),
        (Err(_), None) => Object::Operation("/v1/tenants/{tenant}/cards/{token}"),
    }
}
