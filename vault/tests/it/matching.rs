//! Fingerprints over the API: shown and searched with the grant alone, within one tenant.

use serde_json::{Value, json};

use crate::crash::number;
use crate::service::{Service, VISA};

const CARDS: &str = "/v1/tenants/acme/cards";
const MATCH: &str = "/v1/tenants/acme/cards/match";

/// A vault where the orchestrator, who reads, and `matcher`, who does not, may compare numbers; `support` reads only.
async fn vault() -> Service {
    let grants = json!([
        { "id": "spiffe://strongroom.test/orchestrator", "roles": ["orchestrator", "owner", "matcher"], "tenants": { "groups": ["merchants"] }, "routes": ["*"] },
        { "id": "spiffe://strongroom.test/matcher", "roles": ["matcher"], "tenants": { "groups": ["merchants"] } },
        { "id": "spiffe://strongroom.test/support", "roles": ["support"], "tenants": { "groups": ["merchants"] } },
    ]);
    let vault = Service::start_granting(&grants).await;
    vault.onboard_as("acme", json!({ "fingerprints": true })).await;
    vault
}

async fn find(vault: &Service, who: &str, body: Value) -> (u16, Value) {
    let answer = vault.send(who, "POST", MATCH, Some(&body)).await;
    (answer.status(), answer.json())
}

#[tokio::test]
async fn the_tokens_of_one_number_are_found_with_the_grant_alone_and_in_one_tenant() {
    let vault = vault().await;
    let first = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let second = vault.tokenize("acme", &json!({ "number": "4242 4242 4242 4242" })).await;
    let other = vault.tokenize("acme", &json!({ "number": number(1) })).await;
    let (status, found) = find(&vault, "matcher", json!({ "token": first })).await;
    assert_eq!((status, &found["tokens"]), (200, &json!([first, second])), "{found}");
    let fingerprint = found["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(find(&vault, "orchestrator", json!({ "fingerprint": fingerprint })).await.1, found);
    assert_eq!(find(&vault, "matcher", json!({ "token": other })).await.1["tokens"], json!([other]));
    let matched = vault.entries().await.into_iter().filter(|entry| entry["evt"] == "pan.match");
    assert_eq!(matched.count(), 5, "one for each card");

    // Who reads sees the fingerprint only with the grant to compare; who tokenizes never.
    let path = format!("{CARDS}/{first}");
    assert_eq!(
        vault.send("orchestrator", "GET", &path, None).await.json()["fingerprint"],
        fingerprint.as_str()
    );
    assert!(vault.send("support", "GET", &path, None).await.json()["fingerprint"].is_null());
    assert_eq!(vault.send("matcher", "GET", &path, None).await.status(), 404);
    let read = vault.newest("pan.lookup").await;
    assert_eq!(read["out"], "denied");
    for who in ["checkout", "support", "platform", "proxy"] {
        assert_eq!(find(&vault, who, json!({ "token": first })).await.0, 403, "{who}");
    }

    // Another tenant's cards are another world, whoever asks.
    vault.onboard_as("globex", json!({ "fingerprints": true })).await;
    let foreign = vault.tokenize("globex", &json!({ "number": VISA })).await;
    assert_eq!(find(&vault, "matcher", json!({ "token": foreign })).await.0, 404);
    let there = vault
        .send(
            "matcher",
            "POST",
            "/v1/tenants/globex/cards/match",
            Some(&json!({ "fingerprint": fingerprint })),
        )
        .await;
    assert_eq!(there.json()["tokens"], json!([]));

    // Erased is gone.
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    assert_eq!(find(&vault, "matcher", json!({ "token": first })).await.0, 404);
    assert_eq!(
        find(&vault, "matcher", json!({ "fingerprint": fingerprint })).await.1["tokens"],
        json!([second])
    );
}

#[tokio::test]
async fn a_match_names_one_thing_and_a_tenant_without_fingerprints_finds_nothing() {
    let vault = vault().await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "fingerprint": "00".repeat(32), "token": "x" }), 400),
        (json!({ "fingerprint": "xy" }), 400),
        (json!({ "number": VISA }), 400),
        (json!({ "token": "nonsense" }), 404),
        (json!({ "token": "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv" }), 404),
        (json!({ "fingerprint": "00".repeat(32) }), 200),
    ] {
        assert_eq!(find(&vault, "matcher", body.clone()).await.0, status, "{body}");
    }
    vault.onboard("globex").await;
    let token = vault.tokenize("globex", &json!({ "number": VISA })).await;
    let path = "/v1/tenants/globex/cards/match";
    let none = vault.send("matcher", "POST", path, Some(&json!({ "token": token }))).await;
    assert_eq!((none.status(), none.json()), (200, json!({ "fingerprint": null, "tokens": [] })));
}

/// The key is made once, however many need it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_fingerprints_of_a_tenant_make_one_key() {
    let vault = vault().await;
    vault.client("checkout");
    let tries = (0..40).map(|n| {
        let mut door = crate::crash::door(vault.pki.folder(), "checkout", vault.address);
        let body = json!({ "number": number(n) }).to_string();
        tokio::spawn(async move { door.send("POST", CARDS, &[], body).await.unwrap().status.as_u16() })
    });
    for status in futures_util::future::join_all(tries).await {
        assert_eq!(status.unwrap(), 201);
    }
    let made = vault
        .entries()
        .await
        .into_iter()
        .filter(|entry| entry["evt"] == "dek.create" && entry["obj"]["purpose"] == "fingerprint");
    assert_eq!(made.count(), 1);
}
