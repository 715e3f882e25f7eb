//! Many cards at once: looked up by name, listed page by page.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::service::{Service, VISA};

const LOOKUP: &str = "/v1/tenants/acme/cards/lookup";
const UNKNOWN: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";

#[tokio::test]
async fn a_look_up_keeps_its_order_and_says_the_same_of_all_it_does_not_find() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let first = vault.tokenize("acme", &json!({ "number": VISA, "metadata": { "n": "1" } })).await;
    let second = vault.tokenize("acme", &json!({ "number": "5555555555554444" })).await;
    let foreign = vault.tokenize("globex", &json!({ "number": VISA })).await;
    let erased = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let path = format!("/v1/tenants/acme/cards/{erased}");
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    let live = first.replace("tok_test_", "tok_live_");
    let before = vault.entries().await.len();
    let tokens = [&second, &foreign, &first, UNKNOWN, &erased, "nonsense", &live, &second];
    let answer = vault.send("orchestrator", "POST", LOOKUP, Some(&json!({ "tokens": tokens }))).await;
    assert_eq!(answer.status(), 200, "{}", answer.json());
    let body = answer.json();
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), tokens.len());
    let shown = vault.send("orchestrator", "GET", &format!("/v1/tenants/acme/cards/{first}"), None).await;
    assert_eq!(results[2], json!({ "status": 200, "card": shown.json() }));
    assert_eq!(
        (&results[0]["card"]["token"], &results[0]["card"]["brand"]),
        (&json!(second), &json!("mastercard"))
    );
    assert_eq!(results[7], results[0]);
    for missing in [1, 3, 4, 5, 6] {
        assert_eq!(
            results[missing],
            json!({ "status": 404, "problem": {
                "type": "urn:strongroom:problem:token-not-found", "title": "no such token", "status": 404, "detail": "no such token",
            } })
        );
    }
    let entries = vault.entries().await[before..before + tokens.len()].to_vec();
    for (at, entry) in entries.iter().enumerate() {
        let found = matches!(at, 0 | 2 | 7);
        assert_eq!(entry["evt"], "pan.lookup");
        assert_eq!(entry["out"], if found { "success" } else { "denied" }, "{at}: {entry}");
        assert_eq!(entry["rsn"].as_str(), (!found).then_some("token-not-found"));
        assert_eq!(entry["obj"]["tenant"], "acme");
    }
    assert_eq!(entries[0]["obj"], entries[7]["obj"]);
}

#[tokio::test]
async fn a_look_up_takes_one_to_a_hundred_tokens_and_nothing_else() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let hundred = vec![UNKNOWN; 100];
    let answer = vault.send("orchestrator", "POST", LOOKUP, Some(&json!({ "tokens": hundred }))).await;
    assert_eq!((answer.status(), answer.json()["results"].as_array().map(Vec::len)), (200, Some(100)));
    let lookups = vault.entries().await.into_iter().filter(|entry| entry["evt"] == "pan.lookup").count();
    assert_eq!(lookups, 100);
    for (who, body, status, kind, pointer) in [
        ("orchestrator", json!({ "tokens": [] }), 400, "invalid-request", Some("/tokens")),
        ("orchestrator", json!({ "tokens": vec![UNKNOWN; 101] }), 400, "invalid-request", Some("/tokens")),
        ("orchestrator", json!({ "tokens": [1] }), 400, "invalid-request", Some("/tokens")),
        ("orchestrator", json!({}), 400, "invalid-request", Some("/tokens")),
        ("orchestrator", json!({ "tokens": [UNKNOWN], "fields": [] }), 400, "invalid-request", None),
        (
            "orchestrator",
            json!({ "tokens": [UNKNOWN, "4242 4242 4242 4242"] }),
            400,
            "pan-in-request",
            Some("/tokens"),
        ),
        ("checkout", json!({ "tokens": [UNKNOWN] }), 403, "forbidden", None),
        ("proxy", json!({ "tokens": [UNKNOWN] }), 403, "forbidden", None),
    ] {
        let before = vault.entries().await.len();
        let answer = vault.send(who, "POST", LOOKUP, Some(&body)).await;
        assert_eq!(answer.status(), status, "{who} {body}");
        assert_eq!(answer.json()["type"], format!("urn:strongroom:problem:{kind}"));
        assert_eq!(answer.json()["pointer"].as_str(), pointer, "{body}");
        assert!(!String::from_utf8_lossy(&answer.received).contains("4242"));
        assert_eq!(vault.entries().await.len(), before + 1, "one refusal, one entry");
    }
}

async fn list(vault: &Service, query: &str) -> Value {
    let answer = vault.send("orchestrator", "GET", &format!("/v1/tenants/acme/cards?{query}"), None).await;
    assert_eq!(answer.status(), 200, "{query}: {}", answer.json());
    answer.json()
}

fn tokens(page: &Value) -> Vec<String> {
    page["cards"].as_array().unwrap().iter().map(|card| card["token"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_is_read_page_by_page_newest_first() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let mut made = Vec::new();
    for (number, month, year) in [
        (VISA, 12, 2030),
        ("5555555555554444", 1, 2027),
        ("378282246310005", 2, 2027),
        ("4000056655665556", 11, 2030),
        ("4242424242424242", 3, 2029),
    ] {
        let card = json!({ "number": number, "exp_month": month, "exp_year": year });
        made.insert(0, vault.tokenize("acme", &card).await);
    }
    let whole = list(&vault, "").await;
    assert_eq!((tokens(&whole), &whole["next_cursor"]), (made.clone(), &Value::Null));
    let shown = vault.send("orchestrator", "GET", &format!("/v1/tenants/acme/cards/{}", made[0]), None).await;
    assert_eq!(whole["cards"][0], shown.json());

    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = list(&vault, &format!("limit=2{cursor}")).await;
        paged.extend(tokens(&page));
        let entry = vault.newest("pan.list").await;
        assert_eq!(entry["n"], page["cards"].as_array().unwrap().len());
        assert_eq!(entry["cards"].as_array().unwrap().len() as u64, entry["n"].as_u64().unwrap());
        assert_eq!(entry["obj"], json!({ "ref": "acme", "tenant": "acme", "type": "tenant" }));
        // What was added since is not on the pages that follow.
        vault.tokenize("acme", &json!({ "number": VISA })).await;
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, made);

    let at = |index: usize| whole["cards"][index]["created_at"].as_str().unwrap().to_owned();
    let in_first_five = format!("created_before={}", at(0));
    for (query, wanted) in [
        (format!("last4=4242&{in_first_five}"), vec![4]),
        ("brand=mastercard".to_owned(), vec![3]),
        ("expiring_before=2027-02".to_owned(), vec![3]),
        (format!("expiring_before=2029-04&created_before={}", at(1)), vec![2, 3]),
        (format!("created_after={}&created_before={}", at(4), at(1)), vec![2, 3]),
        (format!("brand=visa&last4=5556&{in_first_five}&limit=1"), vec![1]),
        ("last4=0000".to_owned(), vec![]),
    ] {
        let wanted: Vec<_> = wanted.into_iter().map(|index: usize| made[index].clone()).collect();
        assert_eq!(tokens(&list(&vault, &query).await), wanted, "{query}");
    }

    let path = format!("/v1/tenants/acme/cards/{}", made[3]);
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    assert_eq!(tokens(&list(&vault, "brand=mastercard").await), Vec::<String>::new());
}

#[tokio::test]
async fn a_list_takes_its_own_parameters_and_cursors_only() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    for _ in 0..2 {
        vault.tokenize("acme", &json!({ "number": VISA })).await;
    }
    let cursor = list(&vault, "limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    let refused = [
        ("acme", "number=1".to_owned(), None),
        ("acme", "limit=1&limit=1".to_owned(), Some("/limit")),
        ("acme", "limit=0".to_owned(), Some("/limit")),
        ("acme", "limit=101".to_owned(), Some("/limit")),
        ("acme", "limit=%2B5".to_owned(), Some("/limit")),
        ("acme", "limit=".to_owned(), Some("/limit")),
        ("acme", "last4=424".to_owned(), Some("/last4")),
        ("acme", "last4=424x".to_owned(), Some("/last4")),
        ("acme", "brand=unknown".to_owned(), Some("/brand")),
        ("acme", "brand=Visa".to_owned(), Some("/brand")),
        ("acme", "expiring_before=2027".to_owned(), Some("/expiring_before")),
        ("acme", "created_after=yesterday".to_owned(), Some("/created_after")),
        ("acme", "created_before=2026-11-21T07:35:22+01:00".to_owned(), Some("/created_before")),
        ("acme", "cursor=x".to_owned(), Some("/cursor")),
        ("acme", format!("cursor={cursor}&last4=4242"), Some("/cursor")),
        ("globex", format!("cursor={cursor}"), Some("/cursor")),
    ];
    for (tenant, query, pointer) in refused {
        let path = format!("/v1/tenants/{tenant}/cards?{query}");
        let answer = vault.send("orchestrator", "GET", &path, None).await;
        assert_eq!(answer.status(), 400, "{query}: {}", answer.json());
        assert_eq!(answer.json()["pointer"].as_str(), pointer, "{query}");
        let entry = vault.newest("pan.list").await;
        assert_eq!((&entry["out"], &entry["rsn"]), (&json!("failure"), &json!("invalid-request")));
    }
    for (who, tenant) in
        [("checkout", "acme"), ("proxy", "acme"), ("security", "acme"), ("orchestrator", "nobody")]
    {
        let answer = vault.send(who, "GET", &format!("/v1/tenants/{tenant}/cards"), None).await;
        assert_eq!(answer.status(), 403, "{who} {tenant}");
        assert_eq!(vault.newest("pan.list").await["out"], "denied");
    }
    let different: HashSet<_> =
        [list(&vault, "limit=1").await, list(&vault, &format!("cursor={cursor}")).await]
            .iter()
            .flat_map(tokens)
            .collect();
    assert_eq!(different.len(), 2);
}
