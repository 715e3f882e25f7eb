//! The console, asked for marked cards by every page and form: no page holds a number, a code or a token, and no label a path.

use serde_json::json;

use super::ground::{Ground, Request};
use crate::service::plain_get;

fn page(path: &str) -> Request<'_> {
    Request::bare("GET", path).with("accept", "text/html").with("sec-fetch-site", "same-origin")
}

fn form<'a>(path: &'a str, body: &str) -> Request<'a> {
    Request::text("POST", path, body)
        .with("content-type", "application/x-www-form-urlencoded")
        .with("accept", "text/html")
        .with("sec-fetch-site", "same-origin")
}

pub(super) async fn pages_by_every_door(ground: &mut Ground) {
    let number = ground.mark("looked for");
    let token = ground.token(&json!({ "number": number, "exp_month": 5, "exp_year": 2033 })).await;
    let forwards = ground.vault(
        "findAuditEntries",
        "security",
        Request::bare("GET", "/v1/audit/entries?verb=pan.forward&outcome=success"),
    );
    let entry = forwards.await.json()["entries"][0]["entry"].clone();
    let (tenant, id) =
        (entry["obj"]["tenant"].as_str().unwrap(), entry["dst"]["forward_id"].as_str().unwrap());
    let story = format!("/console/tenants/{tenant}/forwards/{id}");
    let receipt =
        format!("/console/receipts/{}.{}", entry["boot_id"].as_str().unwrap(), entry["instance_seq"]);
    let reach = "/console/blast-radius?workload=spiffe%3A%2F%2Fstrongroom.test%2Fproxy";
    for path in [
        "/console",
        "/console/live",
        "/console/search",
        "/console/search?outcome=denied",
        &story,
        &receipt,
        reach,
        "/console/access",
        "/console/evidence",
    ] {
        let answer = ground.vault("console", "security", page(path)).await;
        let shown = String::from_utf8(answer.body()).unwrap();
        assert_eq!(answer.status(), 200, "{path}: {shown}");
        assert!(
            !shown.contains("tok_test_") && !shown.contains("tok_live_"),
            "{path}: a token stands on the page"
        );
    }
    for (who, path) in [("security", "/console/search"), ("auditor", "/console/search")] {
        let sent = format!("tenant=acme&token={token}");
        let answer = ground.vault("console", who, form(path, &sent)).await;
        let shown = String::from_utf8(answer.body()).unwrap();
        assert!(answer.status() == 200 && !shown.contains(&token), "{who}: {shown}");
    }
    for refused in [
        form("/console/search", &format!("token={number}")),
        form("/console/search", &format!("tenant={number}&token=x")),
        form("/console/search", &format!("{number}=1")),
        form("/console/evidence/bundle", &format!("from={number}&to=2026-01-01")),
        page(&format!("/console/search?workload={number}")),
        page(&format!("/console/search?card={token}")),
        page(&format!("/console/tenants/{number}/forwards/{id}")),
        page(&format!("/console/receipts/{number}")),
        page(&format!("/console/{number}")),
        page("/console").with("x-note", &number),
    ] {
        let answer = ground.vault("console", "security", refused).await;
        let shown = String::from_utf8(answer.body()).unwrap();
        assert!(answer.status() == 400 && !shown.contains(&token), "{}: {shown}", answer.status());
    }
    assert_eq!(ground.vault("console", "checkout", page(&story)).await.status(), 403);
    let metrics = plain_get(ground.house.vault_ops(), "/metrics").await;
    for route in
        ["/console", "/console/search", "/console/tenants/{tenant}/forwards/{id}", "/console/receipts/{id}"]
    {
        assert!(metrics.contains(&format!("route=\"{route}\"")), "{route}");
    }
    assert!(
        !metrics.contains(id) && !metrics.contains("route=\"/console/tenants/acme"),
        "labels are templates"
    );
}
