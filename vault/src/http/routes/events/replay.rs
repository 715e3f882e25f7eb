//! `POST /v1/events/replay`: events that were delivered or given up are delivered again, a hundred a call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use strongroom_domain::{Problem, ProblemKind, TenantId, Timestamp};
use utoipa::ToSchema;

use crate::audit::{Event, Object};
use crate::authz::ManageEvents;
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::events::Replayed;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{EventFilter, EventState};

/// Which events.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplayEvents)]
pub struct ReplayBody {
    /// To which destination, as the vault's configuration names it.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    destination: String,
    /// Those that were given up, or those that were delivered.
    state: Replayable,
    /// Of this tenant's cards; of anybody's if left out.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    tenant: Option<TenantId>,
    /// That happened at this time or later (RFC 3339).
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// That happened before this time.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// That were delivered or given up before this time; now if left out. Give the answer's back when asking again, so that
    /// nothing is replayed twice.
    #[schema(value_type = Option<String>, format = DateTime)]
    settled_before: Option<Timestamp>,
}

/// What can be replayed.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Replayable {
    /// Given up.
    Dead,
    /// Delivered.
    Delivered,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
#[schema(as = ReplayedEvents)]
pub struct ReplayedBody {
    /// Events that are pending again.
    replayed: u64,
    /// Whether there may be more: ask again.
    more: bool,
    /// For asking again.
    #[schema(value_type = String, format = DateTime)]
    settled_before: Timestamp,
}

const FIELDS: &[&str] = &["/destination", "/state", "/tenant", "/from", "/until", "/settled_before"];

/// Deliver events again.
///
/// At most 100 a call, those first that were settled first; they keep their ids. Ask again while `more` is true.
#[utoipa::path(
    post,
    path = "/v1/events/replay",
    tag = "events",
    operation_id = "replayEvents",
    request_body = ReplayBody,
    responses(
        (status = 200, description = "how many are pending again", body = ReplayedBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn replay(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReplayedBody>, Refused> {
    match try_replay(&vault, &asking, &headers, body).await {
        Ok(replayed) => Ok(Json(replayed)),
        Err(error) => {
            let object = Object::Operation("POST /v1/events/replay");
            Err(Refused::new(&vault, &asking, Event::EventsReplay, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_replay(
    vault: &Vault,
    asking: &Asking,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ReplayedBody, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ManageEvents>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ManageEvents>(&asking.caller.workload, (), &())?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let wanted: ReplayBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let unknown = || {
        let detail = "no destination of this name is configured";
        OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail).at("/destination"))
    };
    let settled_before = wanted.settled_before.unwrap_or(asking.at);
    let filter = EventFilter {
        destination: vault.outbox.destination(&wanted.destination).cloned().ok_or_else(unknown)?,
        state: match wanted.state {
            Replayable::Dead => EventState::Dead,
            Replayable::Delivered => EventState::Delivered,
        },
        tenant: wanted.tenant,
        from: wanted.from,
        until: wanted.until,
        due_before: Some(settled_before),
    };
    let Replayed { replayed, more } = vault.replay_events(asking, permit, filter).await?;
    Ok(ReplayedBody { replayed, more, settled_before })
}
