//! Events of marked cards: what receivers are sent, and every way to be refused a list or a replay.

use serde_json::json;
use strongroom_sandbox::search::{Report, Searcher};

use super::ground::{Ground, Request};

pub(super) async fn events_by_every_door(ground: &mut Ground) {
    const REPLAY: &str = "/v1/events/replay";
    let number = ground.mark("told of");
    let token = ground.token(&json!({ "number": number, "exp_month": 5, "exp_year": 2033 })).await;
    ground.receiver.awaited("events of marked cards", |got| got.iter().any(|came| came.taken)).await;
    let delivered = "/v1/events?destination=all&state=delivered";
    assert_eq!(ground.vault("listEvents", "platform", Request::bare("GET", delivered)).await.status(), 200);
    for (who, path) in [
        ("platform", format!("/v1/events?destination={number}")),
        ("platform", format!("{delivered}&cursor={number}")),
        ("platform", format!("{delivered}&{number}=1")),
        ("orchestrator", delivered.to_owned()),
    ] {
        let answer = ground.vault("listEvents", who, Request::bare("GET", &path)).await;
        assert!(matches!(answer.status(), 400 | 403), "{path}");
    }
    let again = json!({ "destination": "all", "state": "delivered" });
    let replay = Request::json("POST", REPLAY, &again);
    assert_eq!(ground.vault("replayEvents", "platform", replay).await.status(), 200);
    for (who, body) in [
        ("platform", json!({ "destination": number, "state": "dead" })),
        ("platform", json!({ "destination": "all", "state": number })),
        ("platform", json!({ "destination": "all", "state": "dead", number.as_str(): token })),
        ("orchestrator", again),
    ] {
        let answer = ground.vault("replayEvents", who, Request::json("POST", REPLAY, &body)).await;
        assert!(matches!(answer.status(), 400 | 403), "{}", answer.json());
    }
}

/// Everything that was sent to the receiver: no number, no code, no key, and no token.
pub(super) fn delivered(ground: &Ground, searcher: &Searcher) -> Report {
    let got = ground.receiver.got();
    assert!(got.len() >= 20, "{} events of marked cards", got.len());
    let mut sent = Vec::new();
    for came in got {
        sent.extend_from_slice(&came.body);
        sent.extend(
            came.headers
                .iter()
                .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()].concat()),
        );
    }
    assert!(!strongroom_domain::token::holds_token_shape(&sent), "a whole token was told");
    searcher.bytes(&sent)
}
