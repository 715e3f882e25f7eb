//! Forwards: opened, told, read, reconciled, and every way to be refused each.

use serde_json::{Value, json};

use super::ground::{Ground, Request};

pub(super) async fn forwards_by_every_door(ground: &mut Ground) {
    use sha2::Digest as _;
    let number = ground.mark("forwarded");
    let code = ground.code("8274");
    let card = json!({ "number": number, "cvc": code, "exp_month": 1, "exp_year": 2032 });
    let token = ground.token(&card).await;
    let route = std::fs::read(ground.house.folder().policies().join("routes/sandbox.toml")).unwrap();
    let wanted = json!({
        "caller": "spiffe://strongroom.test/orchestrator",
        "caller_cert_sha256": "00".repeat(32),
        "route": "sandbox",
        "route_sha256": hex::encode(sha2::Sha256::digest(route)),
        "account": "default",
        "method": "POST",
        "path": "/v1/payment_methods",
        "host": "127.0.0.1",
        "cards": [{ "token": token, "attributes": ["number", "cvc", "exp"] }],
    });
    let opened = ground.vault("openForward", "proxy", Request::json("POST", "/v1/forwards", &wanted)).await;
    assert_eq!(opened.json()["cards"][0]["number"], number.as_str(), "{}", opened.status());
    let id = opened.json()["id"].as_str().unwrap().to_owned();
    let lie = ground.mark("lie");
    let lies = [
        ("/cards/0/token", json!(lie)),
        ("/path", json!(format!("/v1/{lie}"))),
        ("/caller", json!(lie)),
        ("/route", json!(lie)),
        ("/host", json!(lie)),
    ];
    for (pointer, value) in lies {
        let mut body = wanted.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        let answer = ground.vault("openForward", "proxy", Request::json("POST", "/v1/forwards", &body)).await;
        assert!(matches!(answer.status(), 400 | 404), "{pointer}");
    }
    let outcome = format!("/v1/forwards/{id}/outcome");
    let story = format!("/v1/forwards/{id}");
    let by_number = format!("/v1/forwards/{lie}");
    let leaking = json!({ "outcome": "answered", "psp_request_id": lie });
    assert_eq!(
        ground.vault("recordOutcome", "proxy", Request::json("PUT", &outcome, &leaking)).await.status(),
        400
    );
    let unknown = json!({ "outcome": "answered", lie.as_str(): 1 });
    assert_eq!(
        ground.vault("recordOutcome", "proxy", Request::json("PUT", &outcome, &unknown)).await.status(),
        400
    );
    let done = json!({ "outcome": "answered", "status": 200 });
    assert_eq!(
        ground.vault("recordOutcome", "orchestrator", Request::json("PUT", &outcome, &done)).await.status(),
        404
    );
    assert_eq!(
        ground.vault("recordOutcome", "proxy", Request::json("PUT", &outcome, &done)).await.status(),
        204
    );
    for path in [by_number.as_str(), "/v1/forwards/0190a0b0-c0d0-7e0f-8f00-112233445566"] {
        assert!(matches!(
            ground.vault("showForward", "proxy", Request::bare("GET", path)).await.status(),
            400 | 404
        ));
    }
    assert_eq!(ground.vault("showForward", "checkout", Request::bare("GET", &story)).await.status(), 404);
    assert_eq!(ground.vault("showForward", "proxy", Request::bare("GET", &story)).await.status(), 200);
    stories_by_every_door(ground, wanted).await;
}

/// A forward whose outcome is unknown: its story, and what the PSP says of it.
async fn stories_by_every_door(ground: &mut Ground, mut wanted: Value) {
    let (lie, code) = (ground.mark("a lie of a story"), ground.code("8275"));
    let number = ground.mark("told of");
    let token = ground.token(&json!({ "number": number, "cvc": code })).await;
    wanted["cards"] = json!([{ "token": token, "attributes": ["number", "cvc"] }]);
    wanted["reference"] = json!(lie); // not looked at: the call passes through
    let opened = ground.vault("openForward", "proxy", Request::json("POST", "/v1/forwards", &wanted)).await;
    assert_eq!(opened.status(), 201);
    let id = opened.json()["id"].as_str().unwrap().to_owned();
    let outcome = format!("/v1/forwards/{id}/outcome");
    let unknown = json!({ "outcome": "unknown", "timings": { "open_us": 900 } });
    let told = ground.vault("recordOutcome", "proxy", Request::json("PUT", &outcome, &unknown)).await;
    assert_eq!(told.status(), 204);
    let story = format!("/v1/tenants/acme/forwards/{id}");
    let by_number = format!("/v1/tenants/acme/forwards/{lie}");
    let of_number = format!("/v1/tenants/{lie}/forwards/{id}");
    for (who, path) in [("checkout", &story), ("orchestrator", &by_number), ("orchestrator", &of_number)] {
        let answer = ground.vault("readForward", who, Request::bare("GET", path)).await;
        assert!(matches!(answer.status(), 400 | 403 | 404), "{path}: {}", answer.json());
    }
    let read = ground.vault("readForward", "orchestrator", Request::bare("GET", &story)).await;
    assert_eq!(read.status(), 200, "{}", read.json());
    let reconcile = format!("{story}/reconcile");
    for (who, body) in [
        ("reconciler", json!({ "says": lie })),
        ("reconciler", json!({ "says": "answered", "psp_reference": lie })),
        ("reconciler", json!({ "says": "answered", lie.as_str(): 1 })),
        ("reconciler", json!({ "says": "never-arrived" })),
        ("orchestrator", json!({ "says": "answered" })),
    ] {
        let refused = ground.vault("reconcileForward", who, Request::json("POST", &reconcile, &body)).await;
        assert!((400..500).contains(&refused.status()), "{}", refused.json());
    }
    let says = json!({ "says": "answered", "status": 200, "psp_reference": "psp-1" });
    let said = ground.vault("reconcileForward", "reconciler", Request::json("POST", &reconcile, &says)).await;
    assert_eq!(said.status(), 200, "{}", said.json());
}
