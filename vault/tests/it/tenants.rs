//! Tenants over the API: how long they keep cards, who sees which of them, and what a suspended one still does.

mod apply;

use std::time::Duration;

use serde_json::{Value, json};

use crate::service::{Service, VISA};

const DAY: Duration = Duration::from_secs(86_400);

fn kept(days: u32) -> Value {
    json!({ "groups": ["merchants"], "retention": { "days": days, "reason": "chargebacks" } })
}

async fn put(vault: &Service, path: &str, body: &Value) -> (u16, Value) {
    let answer = vault.send("platform", "PUT", path, Some(body)).await;
    (answer.status(), answer.json())
}

#[tokio::test]
async fn a_new_tenant_keeps_cards_for_a_time_and_what_is_left_out_stays() {
    let vault = Service::start().await;
    let (status, made) = put(&vault, "/v1/tenants/acme", &json!({ "groups": ["merchants"] })).await;
    assert_eq!(status, 201);
    assert_eq!(made["retention"], json!({ "days": 1_095, "reason": "the service's default" }));
    let (status, same) = put(&vault, "/v1/tenants/acme", &kept(2_000)).await;
    assert_eq!((status, &same["retention"]["days"]), (200, &json!(2_000)), "longer needs no word");
    let (_, same) = put(&vault, "/v1/tenants/acme", &json!({ "groups": ["merchants"] })).await;
    assert_eq!((&same["retention"]["days"], &same["version"]), (&json!(2_000), &json!(2)), "nothing changed");
    for (retention, pointer) in [
        (json!({ "days": 0, "reason": "x" }), "/retention/days"),
        (json!({ "days": 3_651, "reason": "x" }), "/retention/days"),
        (json!({ "days": 30, "reason": "" }), "/retention/reason"),
        (json!({ "days": 30, "reason": format!("card {VISA}") }), "/retention/reason"),
        (json!({ "days": 30, "reason": "a\nb" }), "/retention/reason"),
    ] {
        let body = json!({ "groups": ["merchants"], "retention": retention });
        let (status, problem) = put(&vault, "/v1/tenants/acme", &body).await;
        assert_eq!((status, problem["pointer"].as_str()), (400, Some(pointer)), "{retention}");
    }
    let (status, problem) = put(&vault, "/v1/tenants/acme?dry_run=perhaps", &kept(30)).await;
    assert_eq!((status, &problem["pointer"]), (400, &json!("/dry_run")));
}

#[tokio::test]
async fn a_shorter_retention_needs_the_count_of_what_it_ends_and_ends_it() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let old = [
        vault.tokenize("acme", &json!({ "number": VISA })).await,
        vault.tokenize("acme", &json!({ "number": VISA })).await,
    ];
    let vault = vault.restart_after(10 * DAY).await;
    let young = vault.tokenize("acme", &json!({ "number": VISA })).await;

    let (status, problem) = put(&vault, "/v1/tenants/acme", &kept(5)).await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:strongroom:problem:retention-shortened")));
    assert_eq!(problem["confirm"]["count"], 2);
    let (status, tried) = put(&vault, "/v1/tenants/acme?dry_run=true", &kept(5)).await;
    assert_eq!(
        (status, &tried["retention"]["days"], &tried["retention_due"]["count"]),
        (200, &json!(5), &json!(2))
    );
    assert_eq!(vault.newest("tenant.read").await["rsn"], "dry-run");
    let shown = vault.send("platform", "GET", "/v1/tenants/acme", None).await.json();
    assert_eq!(
        (&shown["retention"]["days"], &shown["version"]),
        (&json!(1_095), &json!(1)),
        "nothing was changed"
    );

    let said = |confirm: &Value| {
        let mut body = kept(5);
        body["retention"]["confirm"] = confirm.clone();
        body
    };
    let as_of = &tried["retention_due"]["as_of"];
    for wrong in [
        json!({ "count": 1, "as_of": as_of }),
        json!({ "count": 1_000_000, "as_of": as_of }),
        json!({ "count": 2, "as_of": "2026-01-01T00:00:00Z" }),
        json!({ "count": 2, "as_of": "2099-01-01T00:00:00Z" }),
    ] {
        assert_eq!(put(&vault, "/v1/tenants/acme", &said(&wrong)).await.0, 409, "{wrong}");
    }
    let (status, changed) = put(&vault, "/v1/tenants/acme", &said(&tried["retention_due"])).await;
    assert_eq!((status, &changed["retention"]["days"]), (200, &json!(5)), "{changed}");

    let vault = vault.restart_after(10 * DAY + Duration::from_secs(7_200)).await;
    vault.awaited("record.shred", "retention").await;
    for token in &old {
        let path = format!("/v1/tenants/acme/cards/{token}");
        for _ in 0..100 {
            if vault.send("orchestrator", "GET", &path, None).await.status() == 404 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(vault.send("orchestrator", "GET", &path, None).await.status(), 404);
        let restore = vault.send("orchestrator", "POST", &format!("{path}/restore"), None).await;
        assert_eq!(restore.status(), 409, "it would end again at once");
    }
    assert_eq!(
        vault.send("orchestrator", "GET", &format!("/v1/tenants/acme/cards/{young}"), None).await.status(),
        200
    );
    let report = vault.send("security", "GET", "/v1/retention", None).await.json();
    let acme = &report["tenants"][0];
    assert_eq!(
        (&acme["tenant"], &acme["days"], &acme["reason"], &acme["past_due"]),
        (&json!("acme"), &json!(5), &json!("chargebacks"), &json!(0))
    );
    assert_eq!((&acme["oldest"].is_string(), &report["next"]), (&true, &Value::Null));
    assert_eq!(vault.newest("retention.read").await["n"], 1);
    for who in ["platform", "orchestrator", "intruder"] {
        assert_eq!(vault.send(who, "GET", "/v1/retention", None).await.status(), 403, "{who}");
    }
}

#[tokio::test]
async fn tenants_are_listed_page_by_page_to_those_who_manage_them() {
    let vault = Service::start().await;
    for name in ["acme", "globex", "umbrella"] {
        vault.onboard(name).await;
    }
    let page =
        async |query: &str| vault.send("platform", "GET", &format!("/v1/tenants{query}"), None).await.json();
    let names = |page: &Value| {
        page["tenants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = page("?limit=2").await;
    assert_eq!((names(&first), &first["next"]), (vec!["acme".into(), "globex".into()], &json!("globex")));
    let second = page("?limit=2&after=globex").await;
    assert_eq!((names(&second), &second["next"]), (vec!["umbrella".into()], &Value::Null));
    let shown = vault.send("platform", "GET", "/v1/tenants/acme", None).await.json();
    assert_eq!(first["tenants"][0], shown);
    let entry =
        vault.entries().await.into_iter().rev().find(|entry| entry["obj"]["ref"] == "tenants").unwrap();
    assert_eq!((&entry["evt"], &entry["n"]), (&json!("tenant.read"), &json!(1)));
    for (query, pointer) in [
        ("?limit=0", Some("/limit")),
        ("?limit=101", Some("/limit")),
        ("?after=Acme", Some("/after")),
        ("?x=1", None),
    ] {
        let answer = vault.send("platform", "GET", &format!("/v1/tenants{query}"), None).await;
        assert_eq!((answer.status(), answer.json()["pointer"].as_str()), (400, pointer), "{query}");
    }
    for who in ["orchestrator", "security", "intruder"] {
        assert_eq!(vault.send(who, "GET", "/v1/tenants", None).await.status(), 403, "{who}");
    }
}

/// Every verb, on a tenant that rests and after it was resumed.
#[tokio::test]
async fn a_suspended_tenant_rests_through_every_verb_and_resumes() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let erased = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let open = vault.forward(&token, &["number"]).await.json();
    let suspend = json!({ "groups": ["merchants"], "suspended": true });
    assert_eq!(put(&vault, "/v1/tenants/acme", &suspend).await.0, 200);
    let base = "/v1/tenants/acme/cards";
    let card = json!({ "number": VISA });
    let outcome = format!("/v1/forwards/{}/outcome", open["id"].as_str().unwrap());
    let rest = [
        ("checkout", "POST", base.into(), Some(card.clone()), 403, 201),
        ("checkout", "POST", format!("{base}/batch"), Some(json!({ "cards": [card] })), 403, 200),
        ("orchestrator", "GET", format!("{base}/{token}"), None, 404, 200),
        ("orchestrator", "POST", format!("{base}/lookup"), Some(json!({ "tokens": [token] })), 403, 200),
        ("orchestrator", "GET", base.into(), None, 403, 200),
        ("proxy", "POST", "/v1/forwards".into(), Some(vault.wanted(&[&token], &["number"])), 404, 201),
        ("orchestrator", "DELETE", format!("{base}/{erased}"), None, 204, 204),
        ("orchestrator", "POST", format!("{base}/{erased}/restore"), None, 200, 200),
        ("proxy", "PUT", outcome, Some(json!({ "outcome": "answered", "status": 200 })), 204, 204),
        ("platform", "GET", "/v1/tenants/acme".into(), None, 200, 200),
    ];
    for (who, method, path, body, resting, _) in &rest {
        let answer = vault.send(who, method, path, body.as_ref()).await;
        assert_eq!(answer.status(), *resting, "suspended: {method} {path} {}", answer.json());
    }
    assert_eq!(put(&vault, "/v1/tenants/acme", &json!({ "groups": ["merchants"] })).await.0, 200);
    for (who, method, path, body, _, active) in &rest {
        let answer = vault.send(who, method, path, body.as_ref()).await;
        assert_eq!(answer.status(), *active, "resumed: {method} {path} {}", answer.json());
    }
}
