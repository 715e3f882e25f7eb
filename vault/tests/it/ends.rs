//! How cards end, over the API: the breaker, coming back, and what time does in a vault that runs.

use std::time::Duration;

use serde_json::json;
use strongroom_domain::Clock;
use strongroom_perimeter::clock::SystemClock;

use crate::service::{Service, VISA};

const HOUR: Duration = Duration::from_secs(3_600);

fn path(token: &str) -> String {
    format!("/v1/tenants/acme/cards/{token}")
}

async fn erase(vault: &Service, token: &str) -> strongroom_sandbox::client::Exchange {
    vault.send("orchestrator", "DELETE", &path(token), None).await
}

async fn restore(vault: &Service, who: &str, token: &str) -> strongroom_sandbox::client::Exchange {
    vault.send(who, "POST", &format!("{}/restore", path(token)), None).await
}

#[tokio::test]
async fn an_erased_card_comes_back_as_it_was_until_the_hold_is_over() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault
        .tokenize("acme", &json!({ "number": VISA, "exp_month": 1, "exp_year": 2031, "cvc": "123" }))
        .await;
    let facts = vault.send("orchestrator", "GET", &path(&token), None).await.json();
    assert_eq!(erase(&vault, &token).await.status(), 204);
    for who in ["checkout", "platform", "proxy", "security", "intruder"] {
        assert_eq!(restore(&vault, who, &token).await.status(), 404, "{who}");
    }
    let back = restore(&vault, "orchestrator", &token).await;
    assert_eq!((back.status(), back.json()), (200, facts.clone()));
    assert_eq!(vault.send("orchestrator", "GET", &path(&token), None).await.json(), facts);
    assert_eq!(vault.forward(&token, &["number"]).await.json()["cards"][0]["number"], VISA);
    assert_eq!(vault.forward(&token, &["cvc"]).await.status(), 404, "a verification code does not come back");
    assert_eq!(restore(&vault, "orchestrator", &token).await.status(), 200, "again is no change");
    assert_eq!(vault.newest("record.restore").await["rsn"], "unchanged");
    assert_eq!(erase(&vault, &token).await.status(), 204);

    let vault = vault.restart_after(72 * HOUR).await;
    assert_eq!(restore(&vault, "orchestrator", &token).await.status(), 404, "the hold is over");
    let entry = vault.awaited("record.shred", "destroyed").await;
    assert_eq!((&entry["actor"]["type"], &entry["change"]["row_version"]), (&json!("system"), &json!(2)));
    assert_eq!(restore(&vault, "orchestrator", &token).await.status(), 404);
    assert_eq!(erase(&vault, &token).await.status(), 404);
    let (_folder, config) = vault.stop().await;
    assert!(strongroom_vault::app::check_audit(&config).await.unwrap().is_sound());
}

#[tokio::test]
async fn an_expired_card_is_hidden_then_destroyed_and_never_comes_back() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let end = SystemClock.now().plus(HOUR).to_string();
    let token = vault.tokenize("acme", &json!({ "number": VISA, "expires_at": end })).await;
    let vault = vault.restart_after(2 * HOUR).await;
    assert_eq!(vault.send("orchestrator", "GET", &path(&token), None).await.status(), 404);
    assert_eq!(vault.awaited("record.shred", "expired").await["obj"]["tenant"], "acme");
    let refused = restore(&vault, "orchestrator", &token).await;
    assert_eq!(refused.json()["type"], "urn:strongroom:problem:conflict");
    let vault = vault.restart_after(75 * HOUR).await;
    vault.awaited("record.shred", "destroyed").await;
}

#[tokio::test]
async fn a_mass_erasure_is_stopped_told_and_undone() {
    let vault = Service::start_limited("erase_per_hour = 7\ntenant_erase_per_hour = 5\n").await;
    vault.onboard("acme").await;
    let mut tokens = Vec::new();
    for _ in 0..8 {
        tokens.push(vault.tokenize("acme", &json!({ "number": VISA })).await);
    }
    let from = SystemClock.now().to_string();
    for token in &tokens[..5] {
        assert_eq!(erase(&vault, token).await.status(), 204);
    }
    let refused = erase(&vault, &tokens[5]).await;
    assert_eq!(
        (refused.status(), &refused.json()["type"]),
        (429, &json!("urn:strongroom:problem:erase-breaker"))
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    let entry = vault.newest("record.shred").await;
    assert_eq!((&entry["out"], &entry["rsn"]), (&json!("denied"), &json!("erase-breaker")));
    assert_eq!(
        erase(&vault, "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv").await.status(),
        404,
        "costs nothing"
    );
    assert_eq!(vault.send("orchestrator", "GET", &path(&tokens[5]), None).await.status(), 200);

    // The incident: the tenant is suspended, and what that identity erased comes back.
    let suspended = json!({ "groups": ["merchants"], "suspended": true });
    assert_eq!(vault.send("platform", "PUT", "/v1/tenants/acme", Some(&suspended)).await.status(), 200);
    let undo = |by: &str| json!({ "from": from, "erased_by": format!("spiffe://strongroom.test/{by}") });
    let send =
        async |who: &str, body| vault.send(who, "POST", "/v1/tenants/acme/cards/restore", Some(&body)).await;
    assert_eq!(send("platform", undo("orchestrator")).await.status(), 403);
    assert_eq!(send("orchestrator", undo("checkout")).await.json(), json!({ "restored": 0, "more": false }));
    assert_eq!(vault.newest("record.restore").await["rsn"], "nothing-hidden");
    assert_eq!(
        send("orchestrator", undo("orchestrator")).await.json(),
        json!({ "restored": 5, "more": false })
    );
    assert_eq!(
        send("orchestrator", undo("orchestrator")).await.json(),
        json!({ "restored": 0, "more": false })
    );
    assert_eq!(vault.send("orchestrator", "GET", &path(&tokens[0]), None).await.status(), 404, "it rests");
    vault.onboard("acme").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await; // as long as a suspension may be believed
    for token in &tokens {
        assert_eq!(vault.send("orchestrator", "GET", &path(token), None).await.status(), 200);
    }
}

#[tokio::test]
async fn a_search_for_erased_cards_is_strict() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    for (body, pointer) in [
        (json!({}), Some("/from")),
        (json!({ "from": "yesterday" }), Some("/from")),
        (json!({ "from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z" }), Some("/from")),
        (json!({ "from": "2026-01-02T00:00:00Z", "erased_by": "somebody" }), Some("/erased_by")),
        (json!({ "from": "2026-01-02T00:00:00Z", "tokens": [] }), None),
    ] {
        let answer = vault.send("orchestrator", "POST", "/v1/tenants/acme/cards/restore", Some(&body)).await;
        assert_eq!((answer.status(), answer.json()["pointer"].as_str()), (400, pointer), "{body}");
    }
}
