//! `GET /v1/events`: what a destination is told of cards, and how far that came.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::{Problem, ProblemKind, TenantId, Timestamp};
use utoipa::ToSchema;

use super::cursor;
use crate::audit::{Event, Object};
use crate::authz::ManageEvents;
use crate::http::problem::{Denial, Refused};
use crate::http::query::{self, Parameters};
use crate::operation::events::EVENTS_MAX;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{DestinationName, EventFilter, EventPlace, EventRow, EventState};

/// A page of events.
#[derive(Serialize, ToSchema)]
#[schema(as = EventPage)]
pub struct EventPageBody<'a> {
    /// Those first that are or were due first.
    events: Vec<EventBody<'a>>,
    /// Where the next page begins; null after the last.
    next_cursor: Option<String>,
}

/// An event as one destination is told of it, without its facts.
#[derive(Serialize, ToSchema)]
#[schema(as = CardEvent)]
pub struct EventBody<'a> {
    /// Its id: the same for every attempt and every destination.
    #[schema(format = Uuid)]
    id: String,
    /// What happened.
    #[schema(example = "strongroom.card.created.v1")]
    r#type: String,
    /// Whose card.
    tenant: &'a str,
    /// The reference of the card's token.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    token_ref: String,
    /// Its place among the card's events.
    #[schema(minimum = 1)]
    sequence: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// `pending`, `delivered` or `dead`.
    state: &'static str,
    /// When it is tried next; when it was delivered or given up.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// When it is given up.
    #[schema(value_type = String, format = DateTime)]
    give_up_at: Timestamp,
    /// How often it was tried.
    attempts: u32,
    /// What the last attempt met, if it was not delivered.
    #[schema(example = "status-500")]
    met: Option<&'a str>,
}

/// States an event can be asked for by.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(missing_docs, reason = "described where it is used")]
pub enum EventStateName {
    Pending,
    Delivered,
    Dead,
}

const NAMES: &[&str] = &["/destination", "/state", "/tenant", "/limit", "/cursor"];

/// List events.
///
/// What one destination is told: references of tokens, no facts.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    operation_id = "listEvents",
    params(
        ("destination" = String, Query, description = "the destination, as the vault's configuration names it", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("state" = Option<EventStateName>, Query, description = "`dead` unless said"),
        ("tenant" = Option<String>, Query, description = "of this tenant's cards", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("limit" = Option<u32>, Query, description = "most events of the page, 100 unless said", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before", pattern = "^[b-df-hj-np-t]{96}$"),
    ),
    responses(
        (status = 200, description = "a page; the last has no `next_cursor`", body = EventPageBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match try_list(&vault, &asking, query.as_deref()).await {
        Ok(page) => Ok(page),
        Err(error) => {
            let object = Object::Operation("GET /v1/events");
            Err(Refused::new(&vault, &asking, Event::EventsRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_list(vault: &Vault, asking: &Asking, query: Option<&str>) -> Result<Response, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ManageEvents>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ManageEvents>(&asking.caller.workload, (), &())?;
    let parameters = query::parse(query, NAMES).map_err(OperationError::Request)?;
    let (filter, after, limit) = wanted(&parameters).map_err(OperationError::Request)?;
    let page = vault.list_events(asking, permit, &filter, after, limit).await?;
    let next = page.last().filter(|_| page.len() == limit as usize).map(|last| cursor::write(&last.place()));
    let events = page.iter().map(EventBody::from).collect();
    Ok(Json(EventPageBody { events, next_cursor: next }).into_response())
}

fn wanted(parameters: &Parameters) -> Result<(EventFilter, Option<EventPlace>, u32), Problem> {
    let invalid = |detail, pointer| Problem::because(ProblemKind::InvalidRequest, detail).at(pointer);
    let text = |name: &'static str| parameters.get(name).map(String::as_str);
    let destination = text("destination").unwrap_or_default();
    let state = text("state").map_or(Some(EventState::Dead), EventState::parse);
    let after = text("cursor").map(|text| cursor::read(text).ok_or(text));
    let limit = match text("limit").map(str::parse::<u32>) {
        None => EVENTS_MAX,
        Some(Ok(limit)) if (1..=EVENTS_MAX).contains(&limit) => limit,
        Some(_) => return Err(invalid("limit is not 1 to 100", "/limit")),
    };
    let filter = EventFilter {
        destination: DestinationName::parse(destination)
            .map_err(|_| invalid("destination is not a destination's name", "/destination"))?,
        state: state.ok_or_else(|| invalid("state is not pending, delivered or dead", "/state"))?,
        tenant: text("tenant")
            .map(TenantId::parse)
            .transpose()
            .map_err(|_| invalid("tenant is not a tenant's name", "/tenant"))?,
        from: None,
        until: None,
        due_before: None,
    };
    let after = after.transpose().map_err(|_| invalid("the cursor is not one of this list", "/cursor"))?;
    Ok((filter, after, limit))
}

impl<'a> From<&'a EventRow> for EventBody<'a> {
    fn from(row: &'a EventRow) -> Self {
        Self {
            id: row.id().to_string(),
            r#type: format!("strongroom.card.{}.v1", row.kind.as_str()),
            tenant: row.tenant.as_str(),
            token_ref: row.token.token_ref().to_string(),
            sequence: row.sequence,
            occurred_at: row.occurred_at,
            state: row.state.as_str(),
            due_at: row.due_at,
            give_up_at: row.give_up_at,
            attempts: row.attempts,
            met: row.met.as_deref(),
        }
    }
}
