//! An event as receivers read it: CloudEvents 1.0 in structured JSON. `vault/docs/events.md` describes it.

use serde_json::{Map, Value, json};
use strongroom_domain::Environment;

use crate::store::EventRow;

/// The media type of [`render`].
pub(super) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The same bytes for every attempt.
pub(super) fn render(environment: Environment, event: &EventRow) -> Vec<u8> {
    let token_ref = event.token.token_ref();
    // Written by this program as an object; what was altered below it is told without facts.
    let mut data: Map<String, Value> = serde_json::from_str(&event.data).unwrap_or_default();
    data.insert("token_ref".into(), token_ref.as_str().into());
    data.insert("tenant".into(), event.tenant.as_str().into());
    let body = json!({
        "specversion": "1.0",
        "id": event.id().to_string(),
        "source": format!("urn:strongroom:{environment}:tenant:{}", event.tenant),
        "type": format!("strongroom.card.{}.v1", event.kind.as_str()),
        "subject": token_ref.as_str(),
        "time": event.occurred_at.to_string(),
        "datacontenttype": "application/json",
        "sequence": event.sequence.to_string(),
        "sequencetype": "Integer",
        "data": data,
    });
    serde_json::to_vec(&body).expect("texts and numbers always serialize")
}
