//! Dedupe over the API: one number, one token, and no answer that tells a known number from a new one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;
use tokio::sync::{Barrier, Semaphore};

use crate::crash::{Vault, door, number, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, configuration};

const CARDS: &str = "/v1/tenants/acme/cards";

async fn deduplicating() -> Service {
    let vault = Service::start().await;
    vault.onboard_as("acme", json!({ "dedupe": "return-existing" })).await;
    vault
}

async fn create(vault: &Service, card: Value) -> Value {
    let answer = vault.send("checkout", "POST", CARDS, Some(&card)).await;
    assert_eq!(answer.status(), 201, "{}", answer.json());
    answer.json()
}

#[tokio::test]
async fn one_number_has_one_token_however_it_is_spelt_and_whatever_else_is_said() {
    let vault = deduplicating().await;
    let first = create(
        &vault,
        json!({ "number": VISA, "exp_month": 1, "exp_year": 2030, "metadata": { "order": "1" } }),
    )
    .await;
    for (spelt, said) in [
        ("4242 4242 4242 4242", json!({ "exp_month": 2, "exp_year": 2031 })),
        ("4242-4242-4242-4242", json!({ "holder": "JANE Q CARDHOLDER", "metadata": { "order": "2" } })),
        (VISA, json!({ "expires_at": "2090-01-01T00:00:00.000000Z" })),
    ] {
        let mut card = said.clone();
        card["number"] = json!(spelt);
        let again = create(&vault, card).await;
        assert_eq!(again["token"], first["token"], "{spelt}");
        assert_eq!(again["exp_year"], said["exp_year"], "the answer says what the request said");
        assert_eq!(again["metadata"], said.get("metadata").cloned().unwrap_or(json!({})));
        assert_eq!(again["expires_at"], said["expires_at"]);
    }
    assert_ne!(create(&vault, json!({ "number": "378282246310005" })).await["token"], first["token"]);
    // The stored card is as it came.
    let path = format!("{CARDS}/{}", first["token"].as_str().unwrap());
    assert_eq!(vault.send("orchestrator", "GET", &path, None).await.json(), first);
    vault.onboard_as("globex", json!({ "dedupe": "return-existing" })).await;
    let foreign =
        vault.send("checkout", "POST", "/v1/tenants/globex/cards", Some(&json!({ "number": VISA }))).await;
    assert_ne!(foreign.json()["token"], first["token"], "tenants never meet");
    let reasons: Vec<_> = vault
        .entries()
        .await
        .into_iter()
        .filter(|entry| entry["evt"] == "pan.tokenize" && entry["rsn"] == "known")
        .collect();
    assert_eq!(reasons.len(), 3);
    assert!(reasons.iter().all(|entry| entry["out"] == "success" && entry["change"].is_null()));
}

/// Same status, same headers, the same members in the same order, values that come from the request or the clock.
#[tokio::test]
async fn a_known_number_is_answered_like_a_new_one() {
    let vault = deduplicating().await;
    create(&vault, json!({ "number": VISA, "exp_month": 1, "exp_year": 2030 })).await;
    let card = |number: &str| json!({ "number": number, "exp_month": 3, "exp_year": 2033, "metadata": { "a": "b" } });
    let known = vault.send("checkout", "POST", CARDS, Some(&card(VISA))).await;
    let new = vault.send("checkout", "POST", CARDS, Some(&card("4000056655665556"))).await;
    let shape = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        text.split('"')
            .enumerate()
            .filter(|(n, _)| n % 2 == 1)
            .map(|(_, word)| word.len())
            .collect::<Vec<_>>()
    };
    assert_eq!((known.status(), known.body().len()), (new.status(), new.body().len()));
    assert_eq!(shape(&known.body()), shape(&new.body()));
    for header in
        ["content-type", "content-length", "cache-control", "etag", "location", "idempotency-replayed"]
    {
        let is_length = header == "content-length";
        assert!(is_length || known.header(header) == new.header(header), "{header}");
    }
    let (mut known, mut new) = (known.json(), new.json());
    for told in ["token", "bin", "last4", "created_at"] {
        known[told] = Value::Null;
        new[told] = Value::Null;
    }
    assert_eq!(known, new);
}

#[tokio::test]
async fn an_erased_or_expired_card_is_never_given_again() {
    let vault = deduplicating().await;
    let first = create(&vault, json!({ "number": VISA })).await;
    let path = format!("{CARDS}/{}", first["token"].as_str().unwrap());
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    let soon = SystemTime::in_seconds(5);
    let second = create(&vault, json!({ "number": VISA, "expires_at": soon })).await;
    assert_ne!(second["token"], first["token"]);
    assert_eq!(create(&vault, json!({ "number": VISA })).await["token"], second["token"]);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    let third = create(&vault, json!({ "number": VISA })).await;
    assert!(third["token"] != second["token"] && third["token"] != first["token"]);
    assert_eq!(create(&vault, json!({ "number": VISA })).await["token"], third["token"]);
}

struct SystemTime;

impl SystemTime {
    fn in_seconds(seconds: u64) -> String {
        use strongroom_domain::Clock as _;
        let at = SystemClock.now().plus(Duration::from_secs(seconds));
        serde_json::to_value(at).unwrap().as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_code_given_with_a_known_number_waits_at_its_token() {
    let vault = deduplicating().await;
    let token = create(&vault, json!({ "number": VISA })).await["token"].as_str().unwrap().to_owned();
    create(&vault, json!({ "number": VISA, "cvc": "737" })).await;
    assert_eq!(vault.forward(&token, &["number", "cvc"]).await.json()["cards"][0]["cvc"], "737");
    let batch = json!({ "cards": [{ "number": VISA, "cvc": "111" }, { "number": "4242 4242 4242 4242", "cvc": "222" }] });
    let answer = vault.send("checkout", "POST", &format!("{CARDS}/batch"), Some(&batch)).await;
    assert_eq!(answer.json()["results"][0]["card"]["token"], token.as_str());
    assert_eq!(vault.forward(&token, &["cvc"]).await.json()["cards"][0]["cvc"], "222", "the last one given");
}

#[tokio::test]
async fn two_cards_of_one_number_in_a_batch_have_one_token() {
    let vault = deduplicating().await;
    let batch = json!({ "cards": [
        { "number": number(1), "metadata": { "n": "0" } },
        { "number": number(2) },
        { "number": number(1), "metadata": { "n": "2" } },
    ] });
    let headers = [("idempotency-key", "twins")];
    let path = format!("{CARDS}/batch");
    let answer = vault.send_with("checkout", "POST", &path, &headers, Some(&batch)).await;
    let results = answer.json()["results"].clone();
    let token = |place: usize| results[place]["card"]["token"].as_str().unwrap().to_owned();
    assert_eq!((token(0) == token(2), token(0) == token(1)), (true, false));
    assert_eq!(results[2]["card"]["metadata"]["n"], "2");
    let again = vault.send("checkout", "POST", &path, Some(&batch)).await.json();
    assert_eq!(again["results"][2]["card"]["token"], token(0).as_str());
    let replayed = vault.send_with("checkout", "POST", &path, &headers, Some(&batch)).await;
    assert_eq!(
        (replayed.header("idempotency-replayed"), replayed.json()["results"].clone()),
        (Some("true"), results.clone())
    );
    assert_eq!(vault.forward(&token(0), &["number"]).await.json()["cards"][0]["number"], number(1));
}

/// Numbers that share BIN and last four, in the accepted test range.
fn alike(count: usize) -> Vec<String> {
    let all = (0..10_000_u32).map(|middle| format!("99999900{middle:04}0000"));
    all.filter(|number| strongroom_domain::pan::luhn_holds(number.as_bytes())).take(count).collect()
}

#[tokio::test]
async fn a_caller_that_tries_number_after_number_is_stopped_and_told_on() {
    let vault = deduplicating().await;
    let numbers = alike(25);
    let mut statuses = Vec::new();
    for number in &numbers {
        statuses
            .push(vault.send("checkout", "POST", CARDS, Some(&json!({ "number": number }))).await.status());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 20, "{statuses:?}");
    assert!(statuses[20..].iter().all(|status| *status == 429));
    // From then on a number that is known is answered like one that is not: else the refusal would be the answer to a guess.
    // Other cards go on.
    assert_eq!(
        vault.send("checkout", "POST", CARDS, Some(&json!({ "number": numbers[3] }))).await.status(),
        429
    );
    assert_eq!(vault.send("checkout", "POST", CARDS, Some(&json!({ "number": VISA }))).await.status(), 201);
    let batch = json!({ "cards": [{ "number": numbers[24] }, { "number": number(7) }] });
    let results = vault.send("checkout", "POST", &format!("{CARDS}/batch"), Some(&batch)).await.json();
    assert_eq!(
        (&results["results"][0]["status"], &results["results"][1]["status"]),
        (&json!(429), &json!(201))
    );
    let alarms: Vec<_> =
        vault.entries().await.into_iter().filter(|entry| entry["evt"] == "rate.limited").collect();
    assert_eq!(alarms.len(), 7);
    assert!(alarms.iter().all(|entry| entry["rsn"] == "too-many-numbers" && entry["out"] == "denied"));
    let metrics = crate::service::plain_get(vault.ops, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_came_before_dedupe_was_asked_for_has_no_fingerprint_and_one_more_token() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let before = create(&vault, json!({ "number": VISA })).await;
    vault.onboard_as("acme", json!({ "dedupe": "return-existing" })).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await; // other replicas believe a tenant's row for a second
    let first = create(&vault, json!({ "number": VISA })).await;
    assert_ne!(first["token"], before["token"]);
    assert_eq!(create(&vault, json!({ "number": VISA })).await["token"], first["token"]);
    for token in [&before, &first] {
        assert_eq!(vault.forward(token["token"].as_str().unwrap(), &["number"]).await.status(), 201);
    }
    // And after it was switched off again, every card is a new one.
    vault.onboard("acme").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_ne!(create(&vault, json!({ "number": VISA })).await["token"], first["token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_with_one_number_get_one_token_on_sqlite() {
    let vault = deduplicating().await;
    vault.client("checkout"); // its certificate
    a_thousand_at_once(vault.pki.folder(), &[vault.address]).await;
    let entries = vault.entries().await;
    let tokenized = entries.iter().filter(|entry| entry["evt"] == "pan.tokenize");
    let (known, new): (Vec<_>, Vec<_>) = tokenized.partition(|entry| entry["rsn"] == "known");
    assert_eq!((known.len(), new.len()), (999, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_with_one_number_get_one_token_from_two_replicas_on_postgres() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &store_of(&server));
    let mut vaults = ["vault-1", "vault-2"].map(|name| Vault::prepare(folder.path(), name, &text));
    vaults.iter_mut().for_each(Vault::start);
    vaults.iter_mut().for_each(Vault::wait);
    let mut platform = door(pki.folder(), "platform", vaults[0].address());
    let body = json!({ "groups": ["merchants"], "dedupe": "return-existing" }).to_string();
    assert_eq!(platform.send("PUT", "/v1/tenants/acme", &[], body).await.unwrap().status, 201);
    a_thousand_at_once(pki.folder(), &[vaults[0].address(), vaults[1].address()]).await;
    vaults.iter_mut().for_each(Vault::stop);
    let log = sound_log(vaults[0].config(), 2).await;
    assert_eq!(log.cards.len(), 1);
}

async fn a_thousand_at_once(pki: &std::path::Path, addresses: &[std::net::SocketAddr]) {
    let together = Arc::new(Barrier::new(1_000));
    // A thousand handshakes at once are another test, which a busy machine fails by its time limits.
    let handshakes = Arc::new(Semaphore::new(16));
    let began = Arc::new(std::sync::Mutex::new(None));
    let tries = (0..1_000).map(|n| {
        let (together, handshakes, began) =
            (Arc::clone(&together), Arc::clone(&handshakes), Arc::clone(&began));
        let mut door = door(pki, "checkout", addresses[n % addresses.len()]);
        let spelt = ["4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242"][n % 3];
        let body = json!({ "number": spelt, "metadata": { "n": n.to_string() } }).to_string();
        tokio::spawn(async move {
            // Its own connection, before anybody begins.
            {
                let _turn = handshakes.acquire().await.unwrap();
                door.send("GET", "/v1/nothing", &[], String::new()).await.unwrap();
            }
            together.wait().await;
            began.lock().unwrap().get_or_insert_with(tokio::time::Instant::now);
            let answer = door.send("POST", CARDS, &[], body).await.unwrap();
            (n, answer.status.as_u16(), answer.json())
        })
    });
    let mut tokens = HashSet::new();
    for tried in futures_util::future::join_all(tries).await {
        let (n, status, body) = tried.unwrap();
        assert_eq!(status, 201, "{body}");
        assert_eq!(body["metadata"]["n"], n.to_string(), "each answer is its own request's");
        tokens.insert(body["token"].as_str().unwrap().to_owned());
    }
    let took = began.lock().unwrap().unwrap().elapsed();
    println!("1,000 creates of one number at once: {} token, {} ms", tokens.len(), took.as_millis());
    assert_eq!(tokens.len(), 1);
}
