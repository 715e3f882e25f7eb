//! The one door out: who may open it, what leaves, and that nothing leaves before its entry.

use serde_json::{Value, json};

use crate::service::{Service, VISA};

const CARD: &str =
    r#"{"number":"4242424242424242","exp_month":3,"exp_year":2031,"holder":"JANE Q CARDHOLDER","cvc":"737"}"#;

fn card() -> Value {
    serde_json::from_str(CARD).unwrap()
}

#[tokio::test]
async fn a_proxy_gets_what_the_route_declares_and_one_entry_says_so() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let opened = vault.forward(&token, &["number", "exp", "cvc", "holder"]).await;
    assert_eq!(opened.status(), 201, "{}", opened.json());
    let body = opened.json();
    assert_eq!(body["tenant"], "acme");
    assert_eq!(
        body["cards"],
        json!([{ "number": VISA, "cvc": "737", "exp_month": 3, "exp_year": 2031, "holder": "JANE Q CARDHOLDER" }])
    );
    let entry = vault.newest("pan.forward").await;
    assert_eq!(entry["actor"]["id"], "spiffe://strongroom.test/orchestrator");
    assert_eq!(entry["asserted_by"], "spiffe://strongroom.test/proxy");
    assert_eq!(
        (&entry["dst"]["route_id"], &entry["dst"]["host"]),
        (&json!("psp"), &json!("api.psp.example"))
    );
    assert_eq!(entry["dst"]["forward_id"], body["id"]);
    assert_eq!(entry["dst"]["attributes"], json!(["number", "cvc", "exp", "holder"]));

    let only = vault.forward(&token, &["number"]).await.json();
    assert_eq!(only["cards"], json!([{ "number": VISA }]), "no more than asked");
}

#[tokio::test]
async fn a_merchant_s_account_is_named_in_decision_entry_and_answer_and_takes_its_own_cards_only() {
    let vault = Service::start().await;
    vault.onboard("m-501").await;
    vault.onboard("acme").await;
    let (own, other) = (vault.tokenize("m-501", &card()).await, vault.tokenize("acme", &card()).await);
    let ask = |token: &str, account: &str, host: &str| {
        let mut wanted = vault.wanted(&[token], &["number"]);
        (wanted["account"], wanted["host"]) = (json!(account), json!(host));
        wanted
    };
    let open = |body: Value| {
        let vault = &vault;
        async move { vault.send("proxy", "POST", "/v1/forwards", Some(&body)).await }
    };
    let opened = open(ask(&own, "m-501", "m501.psp.example")).await;
    assert_eq!(opened.status(), 201, "{}", opened.json());
    let entry = vault.newest("pan.forward").await;
    assert_eq!(
        (&entry["dst"]["account"], &entry["dst"]["host"]),
        (&json!("m-501"), &json!("m501.psp.example"))
    );
    let id = opened.json()["id"].as_str().unwrap().to_owned();
    let shown = vault.send("proxy", "GET", &format!("/v1/forwards/{id}"), None).await.json();
    assert_eq!((&shown["account"], &shown["host"]), (&json!("m-501"), &json!("m501.psp.example")), "{shown}");
    // Another's account, an account nobody has, and a host that is another account's.
    for (token, account, host) in [
        (&other, "m-501", "m501.psp.example"),
        (&own, "m-502", "m501.psp.example"),
        (&own, "m-501", "api.psp.example"),
        (&own, "default", "m501.psp.example"),
    ] {
        let refused = open(ask(token, account, host)).await;
        assert!(!refused.json().to_string().contains("4242424242424242"));
        assert!(matches!(refused.status(), 403 | 404), "{account} {host}: {}", refused.json());
    }
}

#[tokio::test]
async fn the_outcome_is_the_proxys_own_and_never_goes_back() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let id = vault.forward(&token, &["number"]).await.json()["id"].as_str().unwrap().to_owned();
    let put = |who: &'static str, body: Value| {
        let (vault, path) = (&vault, format!("/v1/forwards/{id}/outcome"));
        async move { vault.send(who, "PUT", &path, Some(&body)).await.status() }
    };
    assert_eq!(put("orchestrator", json!({ "outcome": "answered" })).await, 404);
    assert_eq!(
        put("proxy", json!({ "outcome": "answered", "psp_request_id": "4242424242424242" })).await,
        400
    );
    assert_eq!(put("proxy", json!({ "outcome": "answered", "psp_request_id": token })).await, 400);
    assert_eq!(put("proxy", json!({ "outcome": "answered", "status": 200, "upstream_ms": 12 })).await, 204);
    assert_eq!(
        put("proxy", json!({ "outcome": "answered", "status": 200 })).await,
        204,
        "the same word again"
    );
    assert_eq!(put("proxy", json!({ "outcome": "not-sent" })).await, 409);
    let story = vault.send("proxy", "GET", &format!("/v1/forwards/{id}"), None).await.json();
    assert_eq!((&story["state"], &story["outcome"]["status"]), (&json!("answered"), &json!(200)));
    assert_eq!(vault.send("orchestrator", "GET", &format!("/v1/forwards/{id}"), None).await.status(), 404);
    let unknown = "/v1/forwards/0190a0b0-c0d0-7e0f-8f00-112233445566";
    assert_eq!(vault.send("proxy", "GET", unknown, None).await.status(), 404);
}

#[tokio::test]
async fn a_verification_code_serves_one_attempt() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let first = vault.forward(&token, &["number", "cvc"]).await;
    assert_eq!(first.status(), 201);
    let second = vault.forward(&token, &["number", "cvc"]).await;
    assert_eq!(second.json()["type"], "urn:strongroom:problem:attribute-unavailable");
    let give_back = |id: &str| format!("/v1/forwards/{id}/outcome");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        vault.send("proxy", "PUT", &give_back(&id), Some(&json!({ "outcome": "not-sent" }))).await.status(),
        204
    );
    let third = vault.forward(&token, &["number", "cvc"]).await;
    assert_eq!(third.json()["cards"][0]["cvc"], "737", "nothing was sent, so it may serve another");
    let id = third.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        vault.send("proxy", "PUT", &give_back(&id), Some(&json!({ "outcome": "answered" }))).await.status(),
        204
    );
    assert_eq!(vault.forward(&token, &["cvc"]).await.status(), 404, "answered: it is burned");
}

#[tokio::test]
async fn a_verification_code_stays_with_its_attempt_whatever_a_repeat_does() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let bare = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let open = |tokens: Vec<&str>, attempt: &str, path: &str| {
        let mut body = vault.wanted(&tokens, &["number", "cvc"]);
        body["attempt"] = json!(attempt);
        body["path"] = json!(path);
        let vault = &vault;
        async move { vault.send("proxy", "POST", "/v1/forwards", Some(&body)).await }
    };
    let first = open(vec![&token], "order-7", "/v1/charges").await;
    assert_eq!(first.status(), 201, "{}", first.json());
    let first = first.json()["id"].as_str().unwrap().to_owned();
    let outcome = |id: &str| format!("/v1/forwards/{id}/outcome");

    assert_eq!(open(vec![&token], "order-7", "/v1/tokens").await.status(), 404, "the key at another call");
    assert_eq!(
        open(vec![&token, &bare], "order-7", "/v1/charges").await.status(),
        404,
        "a card without code"
    );
    assert_eq!(
        open(vec![&token], "order-8", "/v1/charges").await.status(),
        404,
        "the first may have been sent"
    );

    let unknown = json!({ "outcome": "unknown" });
    assert_eq!(vault.send("proxy", "PUT", &outcome(&first), Some(&unknown)).await.status(), 204);
    let regret = json!({ "outcome": "not-sent" });
    assert_eq!(vault.send("proxy", "PUT", &outcome(&first), Some(&regret)).await.status(), 409);
    assert_eq!(open(vec![&token], "order-8", "/v1/charges").await.status(), 404, "unknown is not taken back");
    assert_eq!(open(vec![&token], "order-7", "/v1/charges").await.status(), 201, "the identical attempt");
}

/// Every lie a proxy can tell about a forward, and what it is answered.
#[tokio::test]
async fn what_a_proxy_may_not_have_it_does_not_get() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let token = vault.tokenize("acme", &card()).await;
    let foreign = vault.tokenize("globex", &card()).await;
    let bare = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let right = vault.wanted(&[&token], &["number"]);
    let changed = |pointer: &str, to: Value| {
        let mut body = right.clone();
        *body.pointer_mut(pointer).unwrap() = to;
        body
    };
    let cases = [
        ("another route file", changed("/route_sha256", json!("11".repeat(32))), 404),
        ("an unknown route", changed("/route", json!("nowhere")), 404),
        ("another host", changed("/host", json!("evil.example")), 404),
        ("an unlisted path", changed("/path", json!("/v1/refunds")), 404),
        ("an unlisted method", changed("/method", json!("PUT")), 404),
        ("an unknown account", changed("/account", json!("mine")), 404),
        ("a caller it is not bound to", changed("/caller", json!("spiffe://strongroom.test/checkout")), 404),
        (
            "an unknown token",
            changed("/cards/0/token", json!("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv")),
            404,
        ),
        ("tokens of two tenants", vault.wanted(&[&token, &foreign], &["number"]), 404),
        ("more than eight cards", vault.wanted(&[token.as_str(); 9], &["number"]), 400),
        ("a number in the path", changed("/path", json!("/v1/charges/4242424242424242")), 404),
        ("one token twice", vault.wanted(&[&token, &token], &["number"]), 400),
        ("no token", vault.wanted(&[], &["number"]), 404),
        ("a value the card does not hold", vault.wanted(&[&bare], &["exp"]), 404),
        ("an attribute nobody knows", changed("/cards/0/attributes/0", json!("track2")), 400),
    ];
    for (lie, body, status) in &cases {
        let answer = vault.send("proxy", "POST", "/v1/forwards", Some(body)).await;
        assert_eq!(answer.status(), *status, "{lie}: {}", answer.json());
        assert!(!String::from_utf8_lossy(&answer.received).contains("4242"), "{lie}");
        assert_ne!(vault.newest("pan.forward").await["out"], "success", "{lie}");
    }
    let entries = vault.entries().await;
    let refused = entries.iter().filter(|entry| entry["evt"] == "pan.forward").count();
    // One for each card at most: two tokens of two tenants, one token twice.
    assert!(refused <= cases.len() + 2, "{refused} entries for {} refusals", cases.len());
    // Whoever is no proxy hears the same 404 as for an unknown token.
    for who in ["orchestrator", "checkout", "platform", "security"] {
        let answer = vault.send(who, "POST", "/v1/forwards", Some(&right)).await;
        assert_eq!(
            (answer.status(), answer.json()["type"].as_str()),
            (404, Some("urn:strongroom:problem:token-not-found")),
            "{who}"
        );
    }
    assert_eq!(
        vault.send("proxy", "POST", "/v1/forwards", Some(&right)).await.status(),
        201,
        "the truth opens it"
    );
}

#[tokio::test]
async fn a_suspended_tenants_cards_do_not_leave() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let suspend = json!({ "groups": ["merchants"], "suspended": true });
    assert_eq!(vault.send("platform", "PUT", "/v1/tenants/acme", Some(&suspend)).await.status(), 200);
    assert_eq!(vault.forward(&token, &["number"]).await.status(), 404);
    assert_eq!(vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&card())).await.status(), 403);
    vault.onboard("acme").await;
    assert_eq!(vault.forward(&token, &["number"]).await.status(), 201);
}

#[tokio::test]
async fn a_forward_whose_proxy_fell_silent_becomes_unknown() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let id = vault.forward(&token, &["number"]).await.json()["id"].as_str().unwrap().to_owned();
    let vault = vault.restart_after(std::time::Duration::from_secs(960)).await;
    let story = format!("/v1/forwards/{id}");
    for _ in 0..100 {
        let state = vault.send("proxy", "GET", &story, None).await.json()["state"].clone();
        if state == "unknown" {
            let entry = vault.newest("forward.outcome").await;
            assert_eq!((&entry["rsn"], &entry["actor"]["type"]), (&json!("silent"), &json!("system")));
            let late = json!({ "outcome": "answered", "status": 200 });
            let answer = vault.send("proxy", "PUT", &format!("{story}/outcome"), Some(&late)).await;
            assert_eq!(answer.status(), 409, "states never go back");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("still open");
}
