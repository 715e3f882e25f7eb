//! `POST /v1/tenants/{tenant}/cards/{token}/restore`: an erased card comes back within its hold.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use strongroom_domain::{TenantId, Token};

use super::facts::CardFactsBody;
use super::show::object;
use crate::audit::Event;
use crate::authz::{Permit, RestoreCard, RestoreScope, RestoredCards};
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::CardRow;

/// Restore an erased card.
///
/// From the answer on, the token works again as it did; verification codes do not come back. A card that is not erased stays
/// as it is. `409` if the card expired or its tenant's retention is over: it would end again at once.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/cards/{token}/restore",
    tag = "cards",
    operation_id = "restoreCard",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("token" = String, Path, description = "the token", pattern = "^[A-Za-z0-9._~:-]{8,128}$"),
    ),
    responses(
        (status = 200, description = "the card's facts", body = CardFactsBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn restore(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, token)): Path<(String, String)>,
) -> Result<Response, Refused> {
    match try_restore(&vault, &asking, &tenant, &token).await {
        Ok(row) => Ok(Json(CardFactsBody::from(&row)).into_response()),
        Err(error) => {
            let object = object(&tenant, &token);
            Err(Refused::new(&vault, &asking, Event::RecordRestore, object, Denial::TokenNotFound, error)
                .await)
        }
    }
}

async fn try_restore(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    token: &str,
) -> Result<CardRow, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownToken)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<RestoreCard>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let token = Token::parse(token).map_err(|_| OperationError::UnknownToken)?;
    let subject = RestoreScope { tenant, cards: RestoredCards::One(token.hash()) };
    let permit: Permit<RestoreCard> = authorizer.decide(&asking.caller.workload, subject, &facts)?;
    vault.restore_card(asking, permit).await
}
