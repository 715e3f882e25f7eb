//! `POST /v1/keys/audit-signing/successor`: the log's signing key gets a successor.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use strongroom_domain::DataKeyId;
use utoipa::ToSchema;

use crate::audit::{Event, Object};
use crate::authz::ManageKeys;
use crate::http::problem::{Denial, Refused};
use crate::operation::keys::Successor;
use crate::operation::{Asking, OperationError, Vault};

/// A successor of the log's signing key.
#[derive(Serialize, ToSchema)]
#[schema(as = LogKeySuccessor)]
pub struct SuccessorBody {
    /// The data key of the key that signs the log until the hand-over.
    #[schema(value_type = String, format = Uuid)]
    former: DataKeyId,
    /// The data key of the key that signs it afterwards.
    #[schema(value_type = String, format = Uuid)]
    successor: DataKeyId,
    /// `made` now; `waiting` since before for the next checkpoint.
    state: SuccessorState,
}

/// Whether the call made it.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SuccessorState {
    /// By this call.
    Made,
    /// Before; nothing was made now.
    Waiting,
}

/// Hand the log's signing key over.
///
/// Makes a successor. The next checkpoint is signed by both keys and names both, later ones by the successor alone: whoever
/// verifies the log with the key of before follows by itself. While one waits, no other is made; eight a day at most.
#[utoipa::path(
    post,
    path = "/v1/keys/audit-signing/successor",
    tag = "keys",
    operation_id = "succeedLogKey",
    responses(
        (status = 200, description = "the successor", body = SuccessorBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn succeed(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
) -> Result<Json<SuccessorBody>, Refused> {
    match try_succeed(&vault, &asking).await {
        Ok(Successor { former, successor, is_new }) => {
            let state = if is_new { SuccessorState::Made } else { SuccessorState::Waiting };
            Ok(Json(SuccessorBody { former, successor, state }))
        }
        Err(error) => {
            let object = Object::Operation("POST /v1/keys/audit-signing/successor");
            Err(Refused::new(&vault, &asking, Event::DekCreate, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_succeed(vault: &Vault, asking: &Asking) -> Result<Successor, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ManageKeys>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ManageKeys>(&asking.caller.workload, (), &())?;
    vault.succeed_log_key(asking, permit).await
}
