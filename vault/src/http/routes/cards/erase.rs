//! `DELETE /v1/tenants/{tenant}/cards/{token}`: hide a card at once, destroy it after the hold.

use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;

use super::show::{object, permit};
use crate::audit::Event;
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};

/// Erase a card.
///
/// From the answer on, the token is a 404 for everybody. The record is destroyed after the hold (72 hours unless
/// configured), and the token is never used again.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/cards/{token}",
    tag = "cards",
    operation_id = "eraseCard",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("token" = String, Path, description = "the token, or an alias of the card", pattern = "^[A-Za-z0-9._~:-]{8,128}$"),
    ),
    responses(
        (status = 204, description = "the card is hidden"),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn erase(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, token)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    match try_erase(&vault, &asking, &tenant, &token).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => {
            let object = object(&tenant, &token);
            Err(Refused::new(&vault, &asking, Event::RecordShred, object, Denial::TokenNotFound, error).await)
        }
    }
}

async fn try_erase(vault: &Vault, asking: &Asking, tenant: &str, token: &str) -> Result<(), OperationError> {
    let permit = permit(vault, asking, tenant, token).await?;
    vault.erase_card(asking, permit).await
}
