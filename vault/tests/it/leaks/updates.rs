//! Cards that are changed under their token, one by one and by feed, and every way to be refused it.

use serde_json::json;

use super::ground::{Ground, Request};

pub(super) async fn changes_by_every_door(ground: &mut Ground) {
    let (before, after) = (ground.mark("before a change"), ground.mark("after a change"));
    let code = ground.code("6183");
    let token = ground.token(&json!({ "number": before, "cvc": code })).await;
    let path = format!("/v1/tenants/acme/cards/{token}");
    let change = json!({ "number": after, "holder": "JANE Q CARDHOLDER", "exp_month": 5, "exp_year": 2033 });
    let patch = |body: &serde_json::Value| Request::json("PATCH", &path, body).with("if-match", "\"1\"");
    assert_eq!(ground.vault("updateCard", "updater", patch(&change)).await.status(), 200);
    let marks: Vec<String> = (0..6).map(|_| ground.mark("refused change")).collect();
    let wrong = format!("{}{}", &marks[0][..15], (marks[0].as_bytes()[15] - b'0' + 1) % 10);
    ground.needles.push(("wrong check digit of a change".into(), wrong.clone()));
    for refused in [
        patch(&json!({ "number": marks[1] })), // late
        Request::json("PATCH", &path, &json!({ "number": marks[1] })),
        patch(&json!({ "number": wrong })).with("if-match", "\"2\""),
        patch(&json!({ "number": marks[1], "holder": marks[2] })).with("if-match", "\"2\""),
        patch(&json!({ "metadata": { "note": marks[2] } })).with("if-match", "\"2\""),
        patch(&json!({ "metadata": { marks[2].as_str(): null } })).with("if-match", "\"2\""),
        patch(&json!({ marks[2].as_str(): 1 })).with("if-match", "\"2\""),
        patch(&json!({ "number": marks[1] })).with("if-match", &marks[2]),
        Request::text("PATCH", &path, &format!(r#"{{"number":"{}""#, marks[1])).with("if-match", "\"2\""),
        Request::json("PATCH", &format!("/v1/tenants/acme/cards/{}", marks[2]), &change)
            .with("if-match", "\"2\""),
    ] {
        let answer = ground.vault("updateCard", "updater", refused).await;
        assert!((400..500).contains(&answer.status()), "{}", answer.json());
    }
    let denied = patch(&json!({ "number": marks[3] }));
    assert_eq!(ground.vault("updateCard", "orchestrator", denied).await.status(), 404);
    feeds_by_every_door(ground, &token, &marks[4..]).await;
}

async fn feeds_by_every_door(ground: &mut Ground, token: &str, marks: &[String]) {
    const UPDATES: &str = "/v1/tenants/acme/cards/updates";
    let number = ground.mark("changed by a feed");
    let feed = json!({ "updates": [
        { "token": token, "change": { "number": number } },
        { "token": token, "change": { "number": marks[0] } },
        { "token": "unknown", "change": { "number": marks[0], "holder": marks[1] } },
    ] });
    for _ in 0..2 {
        let request = Request::json("POST", UPDATES, &feed).with("idempotency-key", "leak-feed");
        let answer = ground.vault("updateCards", "updater", request).await;
        let statuses: Vec<_> =
            (0..3).map(|place| answer.json()["results"][place]["status"].clone()).collect();
        assert_eq!(statuses, [json!(200), json!(422), json!(404)]);
    }
    for refused in [
        json!({ "updates": [{ "token": marks[0], "change": { "closed": true } }] }),
        json!({ "updates": [{ "token": token, "change": { marks[0].as_str(): true } }] }),
        json!({ "updates": [{ "token": token, "change": { "metadata": { "note": marks[1] } } }] }),
        json!({ "updates": marks[0] }),
    ] {
        let answer = ground.vault("updateCards", "updater", Request::json("POST", UPDATES, &refused)).await;
        assert_eq!(answer.status(), 400, "{}", answer.json());
    }
    let denied = json!({ "updates": [{ "token": token, "change": { "number": marks[1] } }] });
    let denied = Request::json("POST", UPDATES, &denied);
    assert_eq!(ground.vault("updateCards", "checkout", denied).await.status(), 403);
}
