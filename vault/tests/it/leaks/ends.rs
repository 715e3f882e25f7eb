//! Cards that end and come back, and every way to be refused it.

use std::time::Duration;

use serde_json::json;
use strongroom_domain::Clock as _;
use strongroom_perimeter::clock::SystemClock;

use super::ground::{Ground, Request};

pub(super) async fn ends_by_every_door(ground: &mut Ground) {
    let number = ground.mark("erased and restored");
    let code = ground.code("5517");
    let token =
        ground.token(&json!({ "number": number, "cvc": code, "exp_month": 4, "exp_year": 2032 })).await;
    let card = format!("/v1/tenants/acme/cards/{token}");
    let restore = format!("{card}/restore");
    let erase = Request::bare("DELETE", &card);
    assert_eq!(ground.vault("eraseCard", "orchestrator", erase).await.status(), 204);
    let by_number = format!("/v1/tenants/acme/cards/{number}/restore");
    let by_query = format!("{restore}?number={number}");
    for path in [by_number.as_str(), by_query.as_str(), "/v1/tenants/acme/cards/tok_test_x/restore"] {
        let answer = ground.vault("restoreCard", "orchestrator", Request::bare("POST", path)).await;
        assert!(matches!(answer.status(), 400 | 404), "{path}");
    }
    assert_eq!(ground.vault("restoreCard", "checkout", Request::bare("POST", &restore)).await.status(), 404);
    assert_eq!(
        ground.vault("restoreCard", "orchestrator", Request::bare("POST", &restore)).await.status(),
        200
    );

    const MANY: &str = "/v1/tenants/acme/cards/restore";
    assert_eq!(ground.vault("eraseCard", "orchestrator", Request::bare("DELETE", &card)).await.status(), 204);
    for body in [
        json!({ "from": number }),
        json!({ "from": "2026-01-01T00:00:00Z", "erased_by": number }),
        json!({ "from": "2026-01-01T00:00:00Z", number.as_str(): 1 }),
    ] {
        let answer = ground.vault("restoreCards", "orchestrator", Request::json("POST", MANY, &body)).await;
        assert_eq!(answer.status(), 400);
    }
    let all = json!({ "from": "2026-01-01T00:00:00Z" });
    assert_eq!(
        ground.vault("restoreCards", "checkout", Request::json("POST", MANY, &all)).await.status(),
        403
    );
    let done = ground.vault("restoreCards", "orchestrator", Request::json("POST", MANY, &all)).await;
    assert!(done.json()["restored"].as_u64() >= Some(1), "{}", done.json());
}

pub(super) async fn lists_of_tenants_by_every_door(ground: &mut Ground) {
    let number = ground.mark("list of tenants");
    let reason = json!({ "groups": ["merchants"], "retention": { "days": 30, "reason": number } });
    let put = Request::json("PUT", "/v1/tenants/leaks", &reason);
    assert_eq!(ground.vault("putTenant", "platform", put).await.status(), 400);
    for (operation, who, path) in
        [("listTenants", "platform", "/v1/tenants"), ("reportRetention", "security", "/v1/retention")]
    {
        for query in [format!("?after={number}"), format!("?{number}=1"), "?limit=x".into()] {
            let answer = ground.vault(operation, who, Request::bare("GET", &format!("{path}{query}"))).await;
            assert_eq!(answer.status(), 400, "{path}{query}");
        }
        assert_eq!(ground.vault(operation, "checkout", Request::bare("GET", path)).await.status(), 403);
        assert_eq!(ground.vault(operation, who, Request::bare("GET", path)).await.status(), 200);
    }
    let period = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z";
    for (who, query, status) in [
        ("security", format!("from={number}&to=2026-02-01T00:00:00Z"), 400),
        ("security", format!("{period}&{number}=1"), 400),
        ("checkout", period.to_owned(), 403),
        ("security", period.to_owned(), 200),
    ] {
        let path = format!("/v1/evidence?{query}");
        let request = Request::bare("GET", &path);
        assert_eq!(ground.vault("makeEvidence", who, request).await.status(), status, "{query}");
    }
}

/// A number where a reason or a name is to stand; and a suspension that is lifted again.
pub(super) async fn suspensions_by_every_door(ground: &mut Ground) {
    let number = ground.mark("suspension");
    let (suspend, lift) = ("/v1/suspensions", "/v1/suspensions/lift");
    let importer = "spiffe://strongroom.test/importer";
    for (operation, path) in [("suspendWorkload", suspend), ("resumeWorkload", lift)] {
        for body in [
            json!({ "workload": importer, "reason": format!("it stole {number}") }),
            json!({ "workload": number, "reason": "lost" }),
            json!({ "workload": importer, "reason": "lost", number.as_str(): 1 }),
        ] {
            let answer = ground.vault(operation, "security", Request::json("POST", path, &body)).await;
            assert_eq!(answer.status(), 400, "{operation}");
        }
        let right = json!({ "workload": importer, "reason": "a drill" });
        let request = Request::json("POST", path, &right);
        assert_eq!(ground.vault(operation, "checkout", request).await.status(), 403);
        let request = Request::json("POST", path, &right);
        assert_eq!(ground.vault(operation, "security", request).await.status(), 200);
    }
    for query in [format!("?{number}=1"), format!("?after={number}")] {
        let path = format!("{suspend}{query}");
        let answer = ground.vault("listSuspensions", "security", Request::bare("GET", &path)).await;
        assert_eq!(answer.status(), 400);
    }
    for (who, status) in [("checkout", 403), ("security", 200)] {
        let answer = ground.vault("listSuspensions", who, Request::bare("GET", suspend)).await;
        assert_eq!(answer.status(), status);
    }
}

/// Of all that was done before: every entry of it may be a sample, and counts on the pages.
pub(super) async fn evidence_of_it_all(ground: &mut Ground) {
    let (from, to) = (SystemClock.now().minus(Duration::from_secs(24 * 3_600)), SystemClock.now());
    let path = format!("/v1/evidence?from={from}&to={to}&sample=500");
    let made = ground.vault("makeEvidence", "security", Request::bare("GET", &path)).await;
    assert_eq!(made.status(), 200);
    let holds = |text: &str| made.body().windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("pan.forward") && holds("pan.tokenize"), "the campaign's entries are its samples");
}
