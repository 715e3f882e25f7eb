//! `GET /v1/audit/blast-radius`: which cards' data a workload had released, where to, and the entries that say so.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::Timestamp;
use utoipa::ToSchema;

use super::wanted::{self, REACH_NAMES, use_cursor};
use crate::audit::{Event, Object};
use crate::authz::ReadAudit;
use crate::http::problem::{Denial, Refused};
use crate::http::query;
use crate::operation::find::{Reached, ReachedCard, Use};
use crate::operation::{Asking, OperationError, Vault};

/// Where an export's cards went, in the place of a host: no upstream is called so.
const EXPORT: &str = "export";

/// A page of a blast radius.
#[derive(Serialize, ToSchema)]
#[schema(as = BlastRadiusPage)]
pub struct ReachedBody {
    /// Card by card. The last may go on as the first of the next page.
    cards: Vec<CardBody>,
    /// Where the next page begins; null after the last.
    next_cursor: Option<String>,
    /// How many entries of the log could be found for this page. Of all pages together, what the first says holds: what came later
    /// may belong to a card that was passed already.
    indexed: u64,
}

/// A card whose data was released.
#[derive(Serialize, ToSchema)]
#[schema(as = ReachedCard)]
pub struct CardBody {
    /// The reference of its token; null if the entry was changed or removed.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    token_ref: Option<String>,
    /// Whose card.
    tenant: Option<String>,
    /// First digits, as the tenant keeps them.
    bin: Option<String>,
    /// Last four digits, as the tenant keeps them.
    last4: Option<String>,
    /// Its brand.
    brand: Option<String>,
    /// Each release.
    releases: Vec<ReleaseBody>,
}

/// One release of a card's data: to the proxy, for one call at one host, or to the recipient of an export.
#[derive(Serialize, ToSchema)]
#[schema(as = CardRelease)]
pub struct ReleaseBody {
    /// Index of its entry in the log: what an inclusion proof is of.
    index: u64,
    /// Name of its entry.
    id: String,
    /// Whether the entry is the one the tree was made of. If not, what follows is null.
    intact: bool,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Whose call.
    caller: Option<String>,
    /// On whose word.
    proxy: Option<String>,
    /// The route; null of an export.
    route: Option<String>,
    /// The account there; null of an export.
    account: Option<String>,
    /// The host; `export` if it went to the recipient of an export.
    host: Option<String>,
    /// The forward.
    #[schema(format = Uuid)]
    forward_id: Option<String>,
    /// The export.
    #[schema(format = Uuid)]
    export_id: Option<String>,
    /// What of the card.
    attributes: Vec<String>,
}

impl From<Use> for ReleaseBody {
    fn from(one: Use) -> Self {
        let (index, id, intact) = (one.place, one.logged.id.to_string(), one.seen.is_some());
        let mut seen = one.seen;
        let dst = seen.as_mut().and_then(|seen| seen.dst.take());
        let export = seen.as_mut().filter(|seen| seen.is_export()).map(|seen| seen.export.take());
        let host = export.as_ref().map(|_| EXPORT.to_owned());
        Self {
            index,
            id,
            intact,
            at: seen.as_ref().map(|seen| seen.ts),
            caller: seen.as_ref().map(|seen| seen.actor.id.clone()),
            proxy: seen.and_then(|seen| seen.asserted_by),
            route: dst.as_ref().map(|dst| dst.route_id.clone()),
            account: dst.as_ref().map(|dst| dst.account.clone()),
            host: host.or_else(|| dst.as_ref().map(|dst| dst.host.clone())),
            forward_id: dst.as_ref().and_then(|dst| dst.forward_id.clone()),
            export_id: export.flatten().map(|export| export.id),
            attributes: dst.map(|dst| dst.attributes).unwrap_or_default(),
        }
    }
}

impl From<ReachedCard> for CardBody {
    fn from(card: ReachedCard) -> Self {
        let digits = |digits: &strongroom_domain::Digits| digits.as_str().to_owned();
        let facts = card.facts.as_ref();
        Self {
            tenant: facts.map(|facts| facts.tenant.to_string()),
            bin: facts.map(|facts| digits(&facts.facts.bin)),
            last4: facts.map(|facts| digits(&facts.facts.last4)),
            brand: card.brand().map(|brand| brand.as_str().to_owned()),
            token_ref: card.token.map(|token| token.to_string()),
            releases: card.uses.into_iter().map(ReleaseBody::from).collect(),
        }
    }
}

impl From<Reached> for ReachedBody {
    fn from(reached: Reached) -> Self {
        Self {
            cards: reached.cards.into_iter().map(CardBody::from).collect(),
            next_cursor: reached.next.map(use_cursor),
            indexed: reached.indexed,
        }
    }
}

/// List what a workload reached.
///
/// Every release of card data for this caller, or to this proxy, card by card. That it was asked is on the log before the answer,
/// with the cards it names.
#[utoipa::path(
    get,
    path = "/v1/audit/blast-radius",
    tag = "audit",
    operation_id = "listBlastRadius",
    params(
        ("workload" = String, Query, description = "the caller, or the proxy on whose word callers stand"),
        ("certificate_sha256" = Option<String>, Query, description = "with this certificate of the caller's: SHA-256 of its DER form", pattern = "^[0-9a-f]{64}$"),
        ("from" = Option<String>, Query, description = "at this time or later (RFC 3339)", format = DateTime),
        ("until" = Option<String>, Query, description = "before this time (RFC 3339)", format = DateTime),
        ("limit" = Option<u32>, Query, description = "most releases of the page, 100 unless said", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before", pattern = "^[b-df-hj-np-t]{32}$"),
    ),
    responses(
        (status = 200, description = "a page; the last has no `next_cursor`", body = ReachedBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match try_list(&vault, &asking, query.as_deref()).await {
        Ok(page) => Ok(Json(ReachedBody::from(page)).into_response()),
        Err(error) => {
            let object = Object::Operation("GET /v1/audit/blast-radius");
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_list(vault: &Vault, asking: &Asking, query: Option<&str>) -> Result<Reached, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadAudit>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadAudit>(&asking.caller.workload, (), &())?;
    let parameters = query::parse(query, REACH_NAMES).map_err(OperationError::Request)?;
    let (reach, after, limit) = wanted::reach(&parameters).map_err(OperationError::Request)?;
    vault.reach(asking, permit, &reach, after, limit).await
}
