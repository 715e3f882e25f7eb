//! Batches over the API: a result for each card, one commit, one entry for each, and the same again under one key.

use serde_json::{Value, json};

use crate::service::{Service, VISA};

const BATCH: &str = "/v1/tenants/acme/cards/batch";

/// The `n`th number of the accepted test range.
fn number(n: u64) -> String {
    crate::crash::number(n)
}

#[tokio::test]
async fn each_card_of_a_batch_has_its_own_result_and_its_own_entry() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let cards = json!({ "cards": [
        { "number": "4242 4242-4242 4242", "exp_month": 12, "exp_year": 2030, "metadata": { "order": "7" } },
        { "number": "4242424242424240" },
        { "number": VISA, "exp_month": 13, "exp_year": 2030 },
        { "number": "4532015112830366" },
        { "number": "378282246310005", "format": "opaque" },
    ] });
    let answer = vault.send("checkout", "POST", BATCH, Some(&cards)).await;
    assert_eq!(answer.status(), 200, "{}", answer.json());
    assert!(!String::from_utf8_lossy(&answer.received).contains(VISA));
    let body = answer.json();
    let results = body["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 422, 422, 422, 201]);
    assert_eq!(
        (&results[0]["card"]["last4"], &results[0]["card"]["brand"]),
        (&json!("4242"), &json!("visa"))
    );
    for (place, field) in [(1, "/cards/1/number"), (2, "/cards/2/exp_month"), (3, "/cards/3/number")] {
        let problem = &results[place]["problem"];
        assert_eq!((problem["pointer"].as_str(), problem["status"].as_u64()), (Some(field), Some(422)));
        assert!(results[place]["card"].is_null());
    }
    for place in [0, 4] {
        let token = results[place]["card"]["token"].as_str().unwrap();
        let shown = vault.send("orchestrator", "GET", &format!("/v1/tenants/acme/cards/{token}"), None).await;
        assert_eq!(
            (shown.status(), &shown.json()),
            (200, &results[place]["card"]),
            "as if it had come alone"
        );
        assert_eq!(vault.forward(token, &["number"]).await.status(), 201);
    }
    let entries = vault.entries().await;
    let of_batch: Vec<_> = entries.iter().filter(|entry| entry["evt"] == "pan.tokenize").collect();
    let outcomes: Vec<_> = of_batch.iter().map(|entry| entry["out"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["success", "failure", "failure", "failure", "success"]);
    assert!(of_batch.windows(2).all(|pair| pair[0]["req"]["id"] == pair[1]["req"]["id"]));
}

#[tokio::test]
async fn a_batch_under_one_key_is_one_batch_and_its_codes_are_attached_anew() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let post = async |first: Value| {
        let cards = json!({ "cards": [first, { "number": "1" }, { "number": number(2) }] });
        vault.send_with("checkout", "POST", BATCH, &[("idempotency-key", "batch-7")], Some(&cards)).await
    };
    let first = post(json!({ "number": number(1), "cvc": "123" })).await;
    let again = post(json!({ "cvc": "456", "number": number(1) })).await;
    assert_eq!((first.status(), again.status()), (200, 200), "{}", again.json());
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let token = first.json()["results"][0]["card"]["token"].as_str().unwrap().to_owned();
    assert_eq!(vault.forward(&token, &["cvc"]).await.json()["cards"][0]["cvc"], "456");
    let other = post(json!({ "number": number(3) })).await;
    assert_eq!(
        (other.status(), other.json()["type"].as_str()),
        (422, Some("urn:strongroom:problem:idempotency-key-reused"))
    );
    let replays = vault.entries().await.into_iter().filter(|entry| entry["evt"] == "idempotency.replay");
    assert_eq!(replays.count(), 2, "one for each card that was given again");
    // Another call under the same key is another request.
    let one = json!({ "number": number(1) });
    let alone = vault
        .send_with(
            "checkout",
            "POST",
            "/v1/tenants/acme/cards",
            &[("idempotency-key", "batch-7")],
            Some(&one),
        )
        .await;
    assert_eq!(alone.status(), 422);
}

#[tokio::test]
async fn a_batch_that_is_wrong_as_a_whole_is_one_problem_and_one_entry() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let many: Vec<_> = (0..101).map(|n| json!({ "number": number(n) })).collect();
    let card = json!({ "number": VISA });
    for (who, tenant, cards, status) in [
        ("checkout", "acme", json!({ "cards": [] }), 400),
        ("checkout", "acme", json!({ "cards": many }), 400),
        ("checkout", "acme", json!({ "cards": [card], "more": 1 }), 400),
        ("checkout", "acme", json!({ "cards": [card, { "number": VISA, "track2": "x" }] }), 400),
        (
            "checkout",
            "acme",
            json!({ "cards": [{ "number": VISA, "metadata": { "x": "y".repeat(300_000) } }] }),
            413,
        ),
        ("checkout", "nobody", json!({ "cards": [card] }), 403),
        ("orchestrator", "acme", json!({ "cards": [card] }), 403),
    ] {
        let before = vault.entries().await.len();
        let answer =
            vault.send(who, "POST", &format!("/v1/tenants/{tenant}/cards/batch"), Some(&cards)).await;
        assert_eq!(answer.status(), status, "{}", answer.json());
        assert!(!String::from_utf8_lossy(&answer.received).contains(VISA));
        assert_eq!(vault.entries().await.len(), before + 1);
    }
}

#[tokio::test]
async fn a_hundred_full_cards_fit_in_one_batch() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let metadata = json!({ "note": "y".repeat(500), "more": "y".repeat(500), "last": "y".repeat(500) });
    let card =
        |n| json!({ "number": number(n), "holder": "x".repeat(70), "metadata": metadata, "cvc": "123" });
    let cards: Vec<_> = (0..100).map(card).collect();
    let answer = vault.send("checkout", "POST", BATCH, Some(&json!({ "cards": cards }))).await;
    assert_eq!(answer.status(), 200);
    let results = answer.json()["results"].as_array().unwrap().clone();
    let tokens: std::collections::HashSet<_> =
        results.iter().map(|result| result["card"]["token"].to_string()).collect();
    assert_eq!(tokens.len(), 100);
    let entries = vault.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry["evt"] == "pan.tokenize").count(), 100);
}
