//! Cards changed over the API: what a patch says and nothing else, of the version it names, with everything that follows.

use serde_json::{Value, json};
use sha2::Digest as _;
use strongroom_sandbox::client::Exchange;
use strongroom_vault::app;

use crate::service::{Service, VISA};

const CARDS: &str = "/v1/tenants/acme/cards";
/// Published test numbers.
const OTHER_VISA: &str = "4000056655665556";
const AMEX: &str = "378282246310005";

async fn started(settings: Value) -> Service {
    let vault = Service::start().await;
    vault.onboard_as("acme", settings).await;
    vault
}

async fn create(vault: &Service, card: Value) -> Value {
    let answer = vault.send("checkout", "POST", CARDS, Some(&card)).await;
    assert_eq!(answer.status(), 201, "{}", answer.json());
    assert_eq!(answer.header("etag"), Some("\"1\""));
    answer.json()
}

fn path(card: &Value) -> String {
    format!("{CARDS}/{}", card["token"].as_str().unwrap())
}

async fn patch(vault: &Service, card: &Value, version: u64, body: Value) -> Exchange {
    let tag = format!("\"{version}\"");
    vault.send_with("updater", "PATCH", &path(card), &[("if-match", &tag)], Some(&body)).await
}

/// The card after a change that is made.
async fn patched(vault: &Service, card: &Value, version: u64, body: Value) -> Value {
    let answer = patch(vault, card, version, body).await;
    assert_eq!(answer.status(), 200, "{}", answer.json());
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", version + 1).as_str()));
    let (status, tag) = (answer.status(), answer.header("etag").map(str::to_owned));
    let body = answer.json();
    assert_eq!((status, body["version"].as_u64()), (200, Some(version + 1)));
    let shown = vault.send("orchestrator", "GET", &path(card), None).await;
    assert_eq!((shown.json(), shown.header("etag").map(str::to_owned)), (body.clone(), tag));
    body
}

async fn forwarded(vault: &Service, card: &Value, attributes: &[&str]) -> Value {
    let answer = vault.forward(card["token"].as_str().unwrap(), attributes).await;
    assert_eq!(answer.status(), 201, "{}", answer.json());
    answer.json()["cards"][0].clone()
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let vault = started(json!({})).await;
    let card = create(
        &vault,
        json!({ "number": VISA, "exp_month": 12, "exp_year": 2030, "holder": "JANE Q CARDHOLDER", "metadata": { "a": "1", "b": "2" } }),
    )
    .await;
    let mut expected = card.clone();

    let after = patched(&vault, &card, 1, json!({ "exp_month": 3, "exp_year": 2034 })).await;
    (expected["exp_month"], expected["exp_year"], expected["version"]) = (json!(3), json!(2034), json!(2));
    assert_eq!(after, expected);

    let metadata = json!({ "a": null, "b": "3", "c": "4" });
    let after = patched(&vault, &card, 2, json!({ "metadata": metadata })).await;
    (expected["metadata"], expected["version"]) = (json!({ "b": "3", "c": "4" }), json!(3));
    assert_eq!(after, expected);
    let held = forwarded(&vault, &card, &["number", "exp", "holder"]).await;
    assert_eq!((&held["number"], &held["holder"]), (&json!(VISA), &json!("JANE Q CARDHOLDER")));

    let after = patched(&vault, &card, 3, json!({ "number": "3782 822463 10005" })).await;
    (expected["brand"], expected["bin"], expected["last4"]) = (json!("amex"), json!("378282"), json!("0005"));
    (expected["length"], expected["version"]) = (json!(15), json!(4));
    assert_eq!(after, expected, "the expiry stays unless the patch says another");
    assert_eq!(forwarded(&vault, &card, &["number"]).await["number"], AMEX);

    let gone = json!({ "exp_month": null, "exp_year": null, "holder": null, "metadata": null, "expires_at": "2090-01-01T00:00:00.7Z" });
    let after = patched(&vault, &card, 4, gone).await;
    (expected["exp_month"], expected["exp_year"], expected["metadata"]) =
        (Value::Null, Value::Null, json!({}));
    (expected["expires_at"], expected["version"]) = (json!("2090-01-01T00:00:00.000000Z"), json!(5));
    assert_eq!(after, expected);
    let without = vault.forward(card["token"].as_str().unwrap(), &["number", "exp"]).await;
    assert_eq!(without.status(), 404, "{}", without.json());
    let after = patched(&vault, &card, 5, json!({ "expires_at": null })).await;
    assert_eq!(after["expires_at"], Value::Null);

    let told: Vec<_> =
        vault.entries().await.into_iter().filter(|entry| entry["evt"] == "record.update").collect();
    let reasons: Vec<_> = told.iter().map(|entry| entry["rsn"].as_str().unwrap()).collect();
    let details = "details-changed";
    assert_eq!(reasons, [details, details, "number-changed", details, details]);
    for (entry, version) in told.iter().zip(2..) {
        assert_eq!((&entry["out"], &entry["change"]["row_version"]), (&json!("success"), &json!(version)));
        assert_eq!(entry["pol"]["id"], json!(["updater-updates"]));
    }
    let token = strongroom_domain::Token::parse(card["token"].as_str().unwrap()).unwrap();
    let store = app::open_store(&vault.config.store).await.unwrap();
    let tenant = strongroom_domain::TenantId::parse("acme").unwrap();
    let row = store.card(&tenant, token.hash()).await.unwrap().unwrap();
    let digest = hex::encode(sha2::Sha256::digest(&row.record));
    assert_eq!(told[4]["change"]["record_sha256"], digest, "the entry names the record that is stored");
    assert_eq!((row.row_version, row.number_version), (6, 4));
}

#[tokio::test]
async fn a_change_without_its_version_or_with_another_is_not_made() {
    let vault = started(json!({})).await;
    let card = create(&vault, json!({ "number": VISA })).await;
    let body = json!({ "metadata": { "a": "1" } });
    let without = vault.send("updater", "PATCH", &path(&card), Some(&body)).await;
    assert_eq!(
        (without.status(), without.json()["type"].as_str().unwrap().rsplit(':').next()),
        (428, Some("precondition-required"))
    );
    for (tag, status) in [("\"2\"", 412), ("W/\"1\"", 412), ("\"abc\"", 412), ("*", 400), ("1", 400)] {
        let answer =
            vault.send_with("updater", "PATCH", &path(&card), &[("if-match", tag)], Some(&body)).await;
        assert_eq!(answer.status(), status, "{tag} {}", answer.json());
    }
    patched(&vault, &card, 1, body.clone()).await;
    assert_eq!(patch(&vault, &card, 1, body.clone()).await.status(), 412, "sent twice, made once");
    // As merge patch, by an alias of tags, and of no other type.
    let tags = [("if-match", "\"9\", \"2\""), ("content-type", "application/merge-patch+json")];
    let bytes = body.to_string().into_bytes();
    let client = vault.client("updater");
    assert_eq!(client.send("PATCH", &path(&card), &tags, &bytes).await.unwrap().status(), 200);
    let tags = [("if-match", "\"3\""), ("content-type", "application/json-patch+json")];
    assert_eq!(client.send("PATCH", &path(&card), &tags, &bytes).await.unwrap().status(), 415);
    let refused = vault.entries().await.into_iter().filter(|entry| {
        entry["evt"] == "record.update" && entry["out"] == "failure" && entry["change"].is_null()
    });
    assert_eq!(refused.count(), 8, "each refusal is one entry");
}

#[tokio::test]
async fn a_bad_patch_is_refused_by_field_and_changes_nothing() {
    let vault = started(json!({ "brands": ["visa"] })).await;
    let card = create(&vault, json!({ "number": VISA, "metadata": { "a": "1" } })).await;
    let many: serde_json::Map<_, _> = (0..20).map(|n| (format!("n{n}"), json!("x"))).collect();
    for (body, status, pointer) in [
        (json!({}), 400, None),
        (json!({ "number": null }), 422, Some("/number")),
        (json!({ "number": "4242424242424240" }), 422, Some("/number")),
        (json!({ "number": "4532015112830366" }), 422, Some("/number")), // no test number
        (json!({ "number": AMEX }), 422, Some("/number")),               // no brand of this tenant
        (json!({ "number": "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv" }), 422, Some("/number")),
        (json!({ "exp_month": 13, "exp_year": 2030 }), 422, Some("/exp_month")),
        (json!({ "exp_month": 12 }), 422, Some("/exp_year")),
        (json!({ "exp_month": 12, "exp_year": null }), 422, Some("/exp_year")),
        (json!({ "holder": "x".repeat(71) }), 422, Some("/holder")),
        (json!({ "expires_at": "2001-01-01T00:00:00Z" }), 422, Some("/expires_at")),
        (json!({ "metadata": { "note": "4111 1111 1111 1111" } }), 400, Some("/metadata")),
        (json!({ "metadata": many }), 422, Some("/metadata")),
        (json!({ "cvc": "123" }), 400, None),
        (json!({ "token": "x" }), 400, None),
        (json!([]), 400, None),
    ] {
        let answer = patch(&vault, &card, 1, body.clone()).await;
        let problem = answer.json();
        assert_eq!((answer.status(), problem["pointer"].as_str()), (status, pointer), "{body} {problem}");
        assert!(!String::from_utf8_lossy(&answer.received).contains("4242"), "{body}");
    }
    let shown = vault.send("orchestrator", "GET", &path(&card), None).await;
    assert_eq!(shown.json(), card);
}

#[tokio::test]
async fn who_may_not_change_a_card_learns_nothing_of_it() {
    let vault = started(json!({})).await;
    vault.onboard("globex").await;
    let card = create(&vault, json!({ "number": VISA })).await;
    let token = card["token"].as_str().unwrap();
    let body = json!({ "metadata": { "a": "1" } });
    let mut answers = Vec::new();
    for (who, tenant, token, tag) in [
        ("updater", "acme", "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv", "\"1\""),
        ("updater", "globex", token, "\"1\""),
        ("updater", "nobody", token, "\"1\""),
        ("updater", "acme", "nonsense", "\"1\""),
        ("orchestrator", "acme", token, "\"1\""),
        ("checkout", "acme", token, "\"9\""),
    ] {
        let path = format!("/v1/tenants/{tenant}/cards/{token}");
        let answer = vault.send_with(who, "PATCH", &path, &[("if-match", tag)], Some(&body)).await;
        assert_eq!(answer.status(), 404, "{who} {tenant} {}", answer.json());
        let mut problem = answer.json();
        problem["request_id"] = Value::Null;
        answers.push(problem);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    assert_eq!(vault.send("orchestrator", "DELETE", &path(&card), None).await.status(), 204);
    assert_eq!(patch(&vault, &card, 1, body).await.status(), 404, "an erased card is not changed");
}

#[tokio::test]
async fn a_new_number_is_what_the_card_is_known_by_where_the_tenant_deduplicates() {
    let vault = started(json!({ "dedupe": "return-existing" })).await;
    let card = create(&vault, json!({ "number": VISA })).await;
    patched(&vault, &card, 1, json!({ "number": OTHER_VISA })).await;
    assert_eq!(create(&vault, json!({ "number": OTHER_VISA })).await["token"], card["token"]);
    let second = create(&vault, json!({ "number": VISA })).await;
    assert_ne!(second["token"], card["token"], "the former number is nobody's any more");
    // A number that another token has is fine, and stays that token's.
    let after = patched(&vault, &card, 2, json!({ "number": VISA })).await;
    assert_eq!(after["last4"], "4242");
    assert_eq!(create(&vault, json!({ "number": VISA })).await["token"], second["token"]);
    assert_ne!(create(&vault, json!({ "number": OTHER_VISA })).await["token"], card["token"]);
    for held in [&card, &second] {
        assert_eq!(forwarded(&vault, held, &["number"]).await["number"], VISA);
    }
    // The same number again is no other one.
    patched(&vault, &second, 1, json!({ "number": "4242-4242-4242-4242", "exp_month": 1, "exp_year": 2031 }))
        .await;
    assert_eq!(create(&vault, json!({ "number": VISA })).await["token"], second["token"]);
    let newest = vault.newest("record.update").await;
    assert_eq!(newest["rsn"], "details-changed");
    let tampered = vault.entries().await.into_iter().filter(|entry| entry["rsn"] == "tampered");
    assert_eq!(tampered.count(), 0);
}

/// Whoever may both change and create would else try numbers without being counted: give a card a number, then ask for it.
#[tokio::test]
async fn numbers_given_to_cards_are_counted_like_numbers_that_come_in() {
    let vault = started(json!({ "dedupe": "return-existing" })).await;
    let card = create(&vault, json!({ "number": VISA })).await;
    let all = (0..10_000_u32).map(|middle| format!("99999900{middle:04}0000"));
    let numbers: Vec<_> =
        all.filter(|number| strongroom_domain::pan::luhn_holds(number.as_bytes())).take(22).collect();
    for (number, version) in numbers.iter().take(20).zip(1..) {
        patched(&vault, &card, version, json!({ "number": number })).await;
    }
    let refused = patch(&vault, &card, 21, json!({ "number": numbers[20] })).await;
    assert_eq!(refused.status(), 429, "{}", refused.json());
    let alarm = vault.newest("rate.limited").await;
    assert_eq!((&alarm["rsn"], &alarm["out"]), (&json!("too-many-numbers"), &json!("denied")));
    // Neither the card's own number nor another card's is told from one nobody has, once the tries are spent.
    create(&vault, json!({ "number": numbers[21] })).await;
    for number in [&numbers[19], &numbers[21]] {
        let refused = patch(&vault, &card, 21, json!({ "number": number })).await;
        assert_eq!(refused.status(), 429, "{}", refused.json());
    }
    patched(&vault, &card, 21, json!({ "number": VISA })).await;
}

#[tokio::test]
async fn a_waiting_code_ends_with_its_number_and_stays_through_other_changes() {
    let vault = started(json!({})).await;
    let card = create(&vault, json!({ "number": VISA, "cvc": "737" })).await;
    patched(&vault, &card, 1, json!({ "exp_month": 1, "exp_year": 2031 })).await;
    patched(&vault, &card, 2, json!({ "number": VISA })).await;
    assert_eq!(forwarded(&vault, &card, &["number", "cvc"]).await["cvc"], "737");
    let headers = [("idempotency-key", "order-1")];
    let body = json!({ "number": VISA, "cvc": "738" });
    let made = vault.send_with("checkout", "POST", CARDS, &headers, Some(&body)).await.json();
    patched(&vault, &made, 1, json!({ "number": OTHER_VISA })).await;
    let token = made["token"].as_str().unwrap();
    assert_eq!(
        vault.forward(token, &["number", "cvc"]).await.status(),
        404,
        "the code was the other number's"
    );
    // Nor does a repeat of the first request bring it back.
    let again = vault.send_with("checkout", "POST", CARDS, &headers, Some(&body)).await;
    assert_eq!((again.status(), again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!(vault.forward(token, &["number", "cvc"]).await.status(), 404);
    assert_eq!(forwarded(&vault, &made, &["number"]).await["number"], OTHER_VISA);
    // With the number back, the code of the request is right again.
    patched(&vault, &made, 2, json!({ "number": VISA })).await;
    vault.send_with("checkout", "POST", CARDS, &headers, Some(&body)).await;
    assert_eq!(forwarded(&vault, &made, &["number", "cvc"]).await["cvc"], "738");
}

#[tokio::test]
async fn sixteen_digits_follow_the_number_and_the_former_ones_still_lead_to_the_card() {
    let vault = started(json!({ "formats": ["pan_shaped"] })).await;
    let card =
        create(&vault, json!({ "number": VISA, "format": "pan_shaped", "alias": "old-vault-7" })).await;
    let first = card["pan_shaped"].as_str().unwrap().to_owned();
    let after = patched(&vault, &card, 1, json!({ "exp_month": 1, "exp_year": 2031 })).await;
    assert_eq!(after["pan_shaped"], first.as_str());
    let after = patched(&vault, &card, 2, json!({ "number": OTHER_VISA })).await;
    let second = after["pan_shaped"].as_str().unwrap().to_owned();
    assert!(first.ends_with("4242") && second.ends_with("5556") && first != second);
    assert_eq!(after["aliases"], json!(["old-vault-7"]));
    for name in [first.as_str(), second.as_str(), "old-vault-7"] {
        let shown = vault.send("orchestrator", "GET", &format!("{CARDS}/{name}"), None).await;
        assert_eq!((shown.status(), shown.json()), (200, after.clone()), "{name}");
    }
    // An alias names the card to a change as well.
    let headers = [("if-match", "\"3\"")];
    let path = format!("{CARDS}/{first}");
    let body = json!({ "metadata": { "a": "1" } });
    assert_eq!(vault.send_with("updater", "PATCH", &path, &headers, Some(&body)).await.status(), 200);
}

#[tokio::test]
async fn changes_are_limited_by_caller() {
    let vault = Service::start_limited("update_per_second = 1\n").await;
    vault.onboard("acme").await;
    let card = create(&vault, json!({ "number": VISA })).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(patch(&vault, &card, 99, json!({ "metadata": {} })).await.status());
    }
    assert!(statuses.contains(&412) && statuses.contains(&429), "{statuses:?}");
}

async fn push(vault: &Service, key: Option<&str>, body: &Value) -> Exchange {
    let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
    vault.send_with("updater", "POST", &format!("{CARDS}/updates"), &headers, Some(body)).await
}

#[tokio::test]
async fn a_feed_changes_many_cards_in_one_commit_and_says_what_became_of_each() {
    let vault = started(json!({ "dedupe": "return-existing" })).await;
    let card = async |number: &str| create(&vault, json!({ "number": number })).await;
    let cards = [card(VISA).await, card(OTHER_VISA).await, card(AMEX).await];
    let token = |n: usize| cards[n]["token"].clone();
    let feed = json!({ "updates": [
        { "token": token(0), "change": { "number": "5555555555554444", "exp_month": 1, "exp_year": 2033 } },
        { "token": token(1), "version": 1, "change": { "exp_month": 2, "exp_year": 2034 } },
        { "token": token(2), "change": { "closed": true } },
        { "token": token(2), "change": { "closed": false } },
        { "token": "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv", "change": { "closed": true } },
        { "token": "nonsense", "change": { "closed": true } },
        { "token": token(1), "change": { "number": "4242424242424243" } },
    ] });
    let answer = push(&vault, Some("feed-1"), &feed).await;
    assert_eq!(answer.status(), 200, "{}", answer.json());
    let results = answer.json()["results"].clone();
    let statuses: Vec<_> =
        results.as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 200, 422, 404, 404, 422]);
    assert_eq!(
        (&results[0]["card"]["brand"], &results[0]["card"]["last4"]),
        (&json!("mastercard"), &json!("4444"))
    );
    assert_eq!((&results[1]["card"]["exp_year"], &results[1]["card"]["version"]), (&json!(2034), &json!(2)));
    assert!(results[2]["card"]["closed_at"].is_string() && results[0]["card"]["closed_at"].is_null());
    assert!(!String::from_utf8_lossy(&answer.received).contains("5555555555554444"));
    assert_eq!(create(&vault, json!({ "number": "5555555555554444" })).await["token"], token(0));
    // One entry for each update, also for those that are refused; numbered together, as one commit writes them.
    let entries = vault.entries().await;
    let told: Vec<_> = entries.iter().filter(|entry| entry["evt"] == "record.update").collect();
    let words: Vec<_> = told.iter().map(|entry| entry["rsn"].as_str().unwrap()).collect();
    let (bad, unknown) = ("invalid-card", "token-not-found");
    assert_eq!(words, ["number-changed", "details-changed", "closed", bad, unknown, unknown, bad]);
    let numbers: Vec<_> = told.iter().map(|entry| entry["instance_seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");

    // The same again under its key is the same answer, and no change; another body under it is refused.
    let again = push(&vault, Some("feed-1"), &feed).await;
    assert_eq!((again.header("idempotency-replayed"), again.body()), (Some("true"), answer.body()));
    assert_eq!(vault.send("orchestrator", "GET", &path(&cards[0]), None).await.json()["version"], 2);
    let other = json!({ "updates": [{ "token": token(0), "change": { "closed": true } }] });
    assert_eq!(push(&vault, Some("feed-1"), &other).await.status(), 422);
    // A version that is over is refused alone.
    let stale = json!({ "updates": [
        { "token": token(1), "version": 1, "change": { "closed": true } },
        { "token": token(2), "version": 2, "change": { "metadata": { "feed": "2" } } },
    ] });
    let results = push(&vault, None, &stale).await.json()["results"].clone();
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(412), &json!(200)));
    assert!(results[1]["card"]["closed_at"].is_string(), "notes do not open a closed card");
}

#[tokio::test]
async fn a_closed_card_says_so_and_is_forwarded_as_before() {
    let vault = started(json!({})).await;
    let card = create(&vault, json!({ "number": VISA, "exp_month": 1, "exp_year": 2030 })).await;
    assert_eq!(card["closed_at"], Value::Null);
    let closed = patched(&vault, &card, 1, json!({ "closed": true })).await;
    let since = closed["closed_at"].as_str().unwrap().to_owned();
    assert_eq!(vault.newest("record.update").await["rsn"], "closed");
    let found = json!({ "tokens": [card["token"]] });
    let found = vault.send("orchestrator", "POST", &format!("{CARDS}/lookup"), Some(&found)).await.json();
    assert_eq!(found["results"][0]["card"]["closed_at"], since.as_str());
    let listed = vault.send("orchestrator", "GET", CARDS, None).await.json();
    assert_eq!(listed["cards"][0]["closed_at"], since.as_str());
    assert_eq!(
        forwarded(&vault, &card, &["number"]).await["number"],
        VISA,
        "the issuer decides, not the feed"
    );
    assert_eq!(patched(&vault, &card, 2, json!({ "closed": true })).await["closed_at"], since.as_str());
    let same = json!({ "exp_month": 1, "exp_year": 2030 });
    assert_eq!(
        patched(&vault, &card, 3, same).await["closed_at"],
        since.as_str(),
        "the same expiry is no new one"
    );
    assert_eq!(
        patched(&vault, &card, 4, json!({ "exp_month": 1, "exp_year": 2033 })).await["closed_at"],
        Value::Null
    );
    patched(&vault, &card, 5, json!({ "closed": true })).await;
    assert_eq!(patched(&vault, &card, 6, json!({ "number": OTHER_VISA })).await["closed_at"], Value::Null);
    let both = json!({ "number": VISA, "closed": true });
    assert!(patched(&vault, &card, 7, both).await["closed_at"].is_string(), "what is said is what holds");
    assert_eq!(patched(&vault, &card, 8, json!({ "closed": null })).await["closed_at"], Value::Null);
}

#[tokio::test]
async fn a_feed_that_is_not_one_is_refused_as_a_whole() {
    let vault = started(json!({})).await;
    let card = create(&vault, json!({ "number": VISA })).await;
    let one = json!({ "token": card["token"], "change": { "closed": true } });
    let many: Vec<_> = (0..101).map(|_| one.clone()).collect();
    for (body, status) in [
        (json!({ "updates": [] }), 400),
        (json!({ "updates": many }), 400),
        (json!({ "updates": [{ "token": VISA, "change": { "closed": true } }] }), 400),
        (json!({ "updates": [{ "token": card["token"], "change": { "cvc": "123" } }] }), 400),
        (json!({ "updates": [one, { "change": {} }] }), 400),
        (json!({}), 400),
    ] {
        let answer = push(&vault, None, &body).await;
        assert_eq!(answer.status(), status, "{}", answer.json());
        assert!(!String::from_utf8_lossy(&answer.received).contains(VISA));
    }
    let shown = vault.send("orchestrator", "GET", &path(&card), None).await;
    assert_eq!(shown.json(), card);
}
