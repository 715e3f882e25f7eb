//! Cards over the API: in, shown, erased, and everything that is refused.

use serde_json::{Value, json};

use crate::service::{Service, VISA};

#[tokio::test]
async fn a_card_becomes_a_token_and_its_facts_and_never_its_number() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let card = json!({ "number": "4242 4242 4242 4242", "exp_month": 12, "exp_year": 2030, "holder": "JANE Q CARDHOLDER", "metadata": { "order": "7" } });
    let created = vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&card)).await;
    assert_eq!(created.status(), 201, "{}", created.json());
    let facts = created.json();
    assert_eq!(
        (&facts["brand"], &facts["bin"], &facts["last4"]),
        (&json!("visa"), &json!("42424242"), &json!("4242"))
    );
    assert_eq!(
        (&facts["length"], &facts["exp_month"], &facts["exp_year"], &facts["version"]),
        (&json!(16), &json!(12), &json!(2030), &json!(1))
    );
    assert!(!String::from_utf8_lossy(&created.received).contains(VISA));
    assert_eq!(created.header("cache-control"), Some("no-store"));

    let token = facts["token"].as_str().unwrap();
    let shown = vault.send("orchestrator", "GET", &format!("/v1/tenants/acme/cards/{token}"), None).await;
    assert_eq!((shown.status(), shown.json()), (200, facts.clone()));

    let entry = vault.newest("pan.tokenize").await;
    assert_eq!(
        (&entry["out"], &entry["actor"]["id"]),
        (&json!("success"), &json!("spiffe://strongroom.test/checkout"))
    );
    assert_eq!(entry["obj"]["tenant"], "acme");
    assert!(entry["pol"]["id"].as_array().is_some_and(|ids| !ids.is_empty()));
    for leaked in [VISA, token, "42424242", "JANE"] {
        assert!(!vault.entries().await.iter().any(|entry| entry.to_string().contains(leaked)), "{leaked}");
    }
}

#[tokio::test]
async fn unknown_erased_foreign_and_forbidden_tokens_are_one_answer() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let erased = vault.tokenize("acme", &json!({ "number": VISA })).await;
    assert_eq!(
        vault
            .send("orchestrator", "DELETE", &format!("/v1/tenants/acme/cards/{erased}"), None)
            .await
            .status(),
        204
    );
    let unknown = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
    let mut answers = Vec::new();
    for (who, tenant, token) in [
        ("orchestrator", "acme", unknown),
        ("orchestrator", "acme", erased.as_str()),
        ("orchestrator", "globex", token.as_str()),
        ("orchestrator", "nobody", token.as_str()),
        ("orchestrator", "acme", "nonsense"),
        ("checkout", "acme", token.as_str()),
        ("security", "acme", token.as_str()),
    ] {
        let answer = vault.send(who, "GET", &format!("/v1/tenants/{tenant}/cards/{token}"), None).await;
        assert_eq!(answer.status(), 404, "{who} {tenant}");
        let mut body = answer.json();
        body["request_id"] = Value::Null;
        answers.push(body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    let refused = vault
        .entries()
        .await
        .into_iter()
        .filter(|entry| entry["evt"] == "pan.lookup" && entry["out"] != "success");
    assert_eq!(refused.count(), answers.len(), "each refusal is one entry");
}

#[tokio::test]
async fn an_erased_card_is_gone_for_everybody_and_forwards() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA, "cvc": "123" })).await;
    let path = format!("/v1/tenants/acme/cards/{token}");
    assert_eq!(vault.send("checkout", "DELETE", &path, None).await.status(), 404, "checkout may not erase");
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 404);
    assert_eq!(vault.forward(&token, &["number"]).await.status(), 404);
    assert_eq!(vault.newest("record.shred").await["rsn"], "token-not-found");
}

#[tokio::test]
async fn bad_cards_are_refused_by_field_and_leave_nothing_but_their_entry() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    for (card, status, pointer) in [
        (json!({ "number": "4242424242424240" }), 422, Some("/number")),
        (json!({ "number": "4532015112830366" }), 422, Some("/number")),
        (json!({ "number": "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv" }), 422, Some("/number")),
        (json!({ "number": VISA, "exp_month": 13, "exp_year": 2030 }), 422, Some("/exp_month")),
        (json!({ "number": VISA, "exp_month": 12 }), 422, Some("/exp_year")),
        (json!({ "number": VISA, "cvc": "12a" }), 422, Some("/cvc")),
        (json!({ "number": VISA, "holder": "x".repeat(71) }), 422, Some("/holder")),
        (json!({ "number": VISA, "expires_at": "2001-01-01T00:00:00Z" }), 422, Some("/expires_at")),
        (json!({ "number": VISA, "metadata": { "note": "4111 1111 1111 1111" } }), 400, Some("/metadata")),
        (json!({ "number": VISA, "track2": "x" }), 400, None),
        (json!({ "number": 4_242_424_242_424_242_u64 }), 400, Some("/number")),
        (json!({}), 400, Some("/number")),
    ] {
        let answer = vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&card)).await;
        let problem = answer.json();
        assert_eq!(answer.status(), status, "{card} {problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["pointer"].as_str(), pointer, "{card} {problem}");
        assert!(!String::from_utf8_lossy(&answer.received).contains("4242"), "{card}");
    }
    let tokenized: Vec<_> =
        vault.entries().await.into_iter().filter(|entry| entry["evt"] == "pan.tokenize").collect();
    assert_eq!(tokenized.len(), 12);
    assert!(tokenized.iter().all(|entry| entry["out"] == "failure"));
}

#[tokio::test]
async fn the_same_key_is_one_card_and_another_body_is_refused() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let post = |card: Value| {
        let vault = &vault;
        async move {
            vault
                .send_with(
                    "checkout",
                    "POST",
                    "/v1/tenants/acme/cards",
                    &[("idempotency-key", "order-7")],
                    Some(&card),
                )
                .await
        }
    };
    let first = post(json!({ "number": VISA, "exp_month": 1, "exp_year": 2031, "cvc": "123" })).await;
    // Another order of members, another spelling of spaces, another verification code: the same request.
    let again = post(json!({ "cvc": "456", "exp_year": 2031, "number": VISA, "exp_month": 1 })).await;
    assert_eq!((first.status(), again.status()), (201, 201), "{}", again.json());
    assert_eq!(first.json(), again.json());
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    let other = post(json!({ "number": VISA, "exp_month": 2, "exp_year": 2031 })).await;
    assert_eq!(other.status(), 422);
    assert_eq!(other.json()["type"], "urn:strongroom:problem:idempotency-key-reused");
    // The code that came with the replay is the one that counts.
    let token = first.json()["token"].as_str().unwrap().to_owned();
    let forward = vault.forward(&token, &["number", "cvc"]).await;
    assert_eq!(forward.json()["cards"][0]["cvc"], "456");
}

#[tokio::test]
async fn who_may_not_tokenize_is_refused_whatever_the_tenant() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    for (who, tenant) in
        [("orchestrator", "acme"), ("proxy", "acme"), ("security", "nobody"), ("checkout", "nobody")]
    {
        let answer = vault
            .send(who, "POST", &format!("/v1/tenants/{tenant}/cards"), Some(&json!({ "number": VISA })))
            .await;
        assert_eq!(answer.status(), 403, "{who} {tenant} {}", answer.json());
        assert_eq!(vault.newest("pan.tokenize").await["out"], "denied");
    }
}

#[tokio::test]
async fn a_card_number_outside_a_body_is_refused() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    for (path, headers) in [
        ("/v1/tenants/acme/cards/4242424242424242".to_owned(), vec![]),
        ("/v1/tenants/acme/cards/x?note=4242%204242%204242%204242".to_owned(), vec![]),
        ("/v1/tenants/acme".to_owned(), vec![("x-note", "4242-4242-4242-4242")]),
    ] {
        let answer = vault.send_with("platform", "GET", &path, &headers, None).await;
        assert_eq!(
            (answer.status(), answer.json()["type"].as_str()),
            (400, Some("urn:strongroom:problem:pan-in-request")),
            "{path}"
        );
        assert!(!String::from_utf8_lossy(&answer.received).contains("4242"));
    }
}

#[tokio::test]
async fn state_survives_a_restart_and_the_log_is_sound() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA, "cvc": "123" })).await;
    let vault = vault.restart().await;
    let forward = vault.forward(&token, &["number"]).await;
    assert_eq!(forward.json()["cards"][0]["number"], VISA, "{}", forward.json());
    assert_eq!(
        vault.forward(&token, &["cvc"]).await.status(),
        404,
        "a verification code does not survive its process"
    );
    let (_folder, config) = vault.stop().await;
    let checked = strongroom_vault::app::check_audit(&config).await.unwrap();
    assert!(checked.is_sound() && checked.boots == 2, "{checked:?}");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too_and_probes_say_what_is() {
    let vault = Service::start().await;
    let nothing = vault.send("checkout", "GET", "/v1/nothing", None).await;
    assert_eq!(
        (nothing.status(), nothing.json()["type"].as_str()),
        (404, Some("urn:strongroom:problem:not-found"))
    );
    let method = vault.send("checkout", "PATCH", "/v1/tenants/acme", None).await;
    assert_eq!(
        (method.status(), method.json()["type"].as_str()),
        (405, Some("urn:strongroom:problem:method-not-allowed"))
    );
    let ready = crate::service::plain_get(vault.ops, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("\"audit\":\"ok\""), "{ready}");
}
