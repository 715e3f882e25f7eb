//! What went wrong in an open-source card vault of this kind, each as a test of ours that passes.
//!
//! An unkeyed hash as the index, a 404 for the losers of a race, a reference that silently keeps the other card, bodies that
//! replay elsewhere, records that open in another row, a short record that panics, leftovers of cancelled requests,
//! expired cards that live on, a hash that survives its card, two cards for one number, a database that turned read-only.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _};

use crate::crash::{door, number};
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, plain_get};

const CARDS: &str = "/v1/tenants/acme/cards";

async fn deduplicating() -> Service {
    let vault = Service::start().await;
    vault.onboard_as("acme", json!({ "dedupe": "return-existing" })).await;
    vault
}

async fn token(vault: &Service, card: Value) -> String {
    vault.tokenize("acme", &card).await
}

async fn database(vault: &Service) -> sqlx::sqlite::SqliteConnection {
    let path = vault.folder.path().join("vault.db");
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn count(vault: &Service, sql: &str) -> i64 {
    let mut database = database(vault).await;
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut database).await.unwrap()
}

#[tokio::test]
async fn the_dedupe_index_is_keyed_and_each_tenants_own() {
    let vault = deduplicating().await;
    vault.onboard_as("globex", json!({ "dedupe": "return-existing" })).await;
    token(&vault, json!({ "number": VISA })).await;
    vault.tokenize("globex", &json!({ "number": VISA })).await;
    let mut database = database(&vault).await;
    let rows = sqlx::query("SELECT fingerprint FROM fingerprints").fetch_all(&mut database).await.unwrap();
    let stored: HashSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(stored.len(), 2);
    let unkeyed = [
        Sha256::digest(VISA).to_vec(),
        Sha512::digest(VISA)[..32].to_vec(),
        Sha256::digest(format!("acme{VISA}")).to_vec(),
    ];
    assert!(unkeyed.iter().all(|digest| !stored.contains(digest)));
    // Nor anywhere else in the store: a request under a key is remembered by a digest too.
    let once = [("idempotency-key", "order-1")];
    vault.send_with("checkout", "POST", CARDS, &once, Some(&json!({ "number": VISA }))).await;
    let (folder, _) = vault.stop().await;
    let mut bytes = std::fs::read(folder.path().join("vault.db")).unwrap();
    bytes.extend(std::fs::read(folder.path().join("vault.db-wal")).unwrap_or_default());
    let holds = |digest: &Vec<u8>| bytes.windows(digest.len()).any(|window| window == digest);
    assert!(stored.iter().all(holds), "the search finds what is there");
    assert!(!unkeyed.iter().any(holds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losers_of_a_concurrent_first_store_get_the_same_token() {
    let vault = deduplicating().await;
    vault.client("checkout");
    for n in 0..10 {
        let tries = (0..16).map(|_| {
            let mut door = door(vault.pki.folder(), "checkout", vault.address);
            let body = json!({ "number": number(n) }).to_string();
            tokio::spawn(async move { door.send("POST", CARDS, &[], body).await.unwrap() })
        });
        let mut tokens = HashSet::new();
        for tried in futures_util::future::join_all(tries).await {
            let answer = tried.unwrap();
            assert_eq!(answer.status.as_u16(), 201, "never a 404: {}", answer.json());
            tokens.insert(answer.json()["token"].as_str().unwrap().to_owned());
        }
        assert_eq!(tokens.len(), 1);
    }
}

#[tokio::test]
async fn a_reused_reference_never_silently_keeps_the_other_card() {
    let vault = deduplicating().await;
    let first = token(&vault, json!({ "number": VISA, "alias": "order-000001" })).await;
    let other = json!({ "number": "378282246310005", "alias": "order-000001" });
    assert_eq!(vault.send("checkout", "POST", CARDS, Some(&other)).await.status(), 409);
    let key = [("idempotency-key", "order-1")];
    vault.send_with("checkout", "POST", CARDS, &key, Some(&json!({ "number": VISA }))).await;
    let reused =
        vault.send_with("checkout", "POST", CARDS, &key, Some(&json!({ "number": "378282246310005" }))).await;
    assert_eq!(reused.status(), 422);
    let shown = vault.send("orchestrator", "GET", &format!("{CARDS}/order-000001"), None).await;
    assert_eq!(shown.json()["token"], first.as_str());
}

#[tokio::test]
async fn a_body_does_not_replay_at_another_endpoint() {
    let vault = deduplicating().await;
    let key = [("idempotency-key", "one-key")];
    let body = json!({ "cards": [{ "number": VISA }] });
    let path = format!("{CARDS}/batch");
    assert_eq!(vault.send_with("checkout", "POST", &path, &key, Some(&body)).await.status(), 200);
    let elsewhere = vault.send_with("checkout", "POST", CARDS, &key, Some(&json!({ "number": VISA }))).await;
    assert_eq!(elsewhere.status(), 422, "a key is for one method and path");
    // Of another tenant the same key is another key: that tenant gets a card of its own.
    vault.onboard_as("globex", json!({})).await;
    let path = "/v1/tenants/globex/cards/batch";
    let other = vault.send_with("checkout", "POST", path, &key, Some(&body)).await;
    assert_eq!((other.status(), other.header("idempotency-replayed")), (200, None));
}

/// A body is no permission: what one endpoint takes no other does, whoever sends it there, and nothing comes of it.
#[tokio::test]
async fn a_body_of_one_endpoint_does_nothing_at_any_other() {
    let vault = deduplicating().await;
    let token = token(&vault, json!({ "number": VISA })).await;
    let forward = vault.forward(&token, &["number"]).await.json();
    let outcome = format!("/v1/forwards/{}/outcome", forward["id"].as_str().unwrap());
    let [batch, lookup, matching, restore] =
        ["batch", "lookup", "match", "restore"].map(|word| format!("{CARDS}/{word}"));
    let calls = [
        ("checkout", "POST", CARDS, json!({ "number": VISA })),
        ("checkout", "POST", &batch, json!({ "cards": [{ "number": VISA }] })),
        ("orchestrator", "POST", &lookup, json!({ "tokens": [token] })),
        ("matcher", "POST", &matching, json!({ "token": token })),
        ("orchestrator", "POST", &restore, json!({ "from": "2000-01-01T00:00:00Z" })),
        (
            "platform",
            "PUT",
            "/v1/tenants/acme",
            json!({ "groups": ["merchants"], "dedupe": "return-existing" }),
        ),
        ("proxy", "POST", "/v1/forwards", vault.wanted(&[&token], &["number"])),
        ("proxy", "PUT", &outcome, json!({ "outcome": "answered" })),
    ];
    let tables = "SELECT (SELECT count(*) FROM cards) * 1000 + (SELECT count(*) FROM forwards) * 10 + (SELECT sum(version) FROM tenants)";
    let before = count(&vault, tables).await;
    for (from, (.., body)) in calls.iter().enumerate() {
        for (to, (workload, method, path, _)) in calls.iter().enumerate().filter(|(to, _)| *to != from) {
            let answer = vault.send(workload, method, path, Some(body)).await;
            assert_eq!(answer.status(), 400, "{} at {}: {}", calls[from].2, calls[to].2, answer.json());
        }
    }
    assert_eq!(count(&vault, tables).await, before);
    for (workload, method, path, body) in &calls {
        let answer = vault.send(workload, method, path, Some(body)).await;
        assert!((200..300).contains(&answer.status()), "at home: {path}: {}", answer.json());
    }
    // Nor does it speak for anybody: the certificate of the connection does.
    for (_, method, path, body) in &calls {
        let answer = vault.send("security", method, path, Some(body)).await;
        assert!(matches!(answer.status(), 403 | 404), "{path}: {}", answer.json());
    }
}

#[tokio::test]
async fn swapped_rows_never_give_the_other_card() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let (one, other) =
        (token(&vault, json!({ "number": VISA })).await, token(&vault, json!({ "number": VISA })).await);
    let swap = format!(
        "UPDATE cards SET record = (SELECT record FROM cards WHERE token = '{other}') WHERE token = '{one}'"
    );
    assert_eq!(database(&vault).await.execute(AssertSqlSafe(swap)).await.unwrap().rows_affected(), 1);
    assert_eq!(vault.forward(&one, &["number"]).await.status(), 500);
    assert_eq!(vault.newest("pan.forward").await["rsn"], "context_mismatch");
    assert_eq!(vault.forward(&other, &["number"]).await.status(), 201);
}

#[tokio::test]
async fn a_fingerprint_row_that_was_altered_gives_no_other_card() {
    let vault = deduplicating().await;
    let victim = token(&vault, json!({ "number": "378282246310005" })).await;
    token(&vault, json!({ "number": VISA })).await;
    let of_victim = format!("(SELECT token_hash FROM cards WHERE token = '{victim}')");
    let moved = format!("UPDATE fingerprints SET token_hash = {of_victim} WHERE token_hash <> {of_victim}");
    assert_eq!(database(&vault).await.execute(AssertSqlSafe(moved)).await.unwrap().rows_affected(), 1);
    let answer = vault.send("checkout", "POST", CARDS, Some(&json!({ "number": VISA }))).await;
    assert_eq!((answer.status(), answer.json()["token"].as_str()), (500, None));
    assert_eq!(vault.newest("pan.tokenize").await["rsn"], "tampered");
}

#[tokio::test]
async fn a_short_record_is_an_answer_and_not_a_panic() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    for length in [0, 1, 20, 94, 95] {
        let token = token(&vault, json!({ "number": VISA })).await;
        let cut = format!("UPDATE cards SET record = substr(record, 1, {length}) WHERE token = '{token}'");
        database(&vault).await.execute(AssertSqlSafe(cut)).await.unwrap();
        assert_eq!(vault.forward(&token, &["number"]).await.status(), 500, "{length}");
    }
    assert_eq!(
        vault.forward(&token(&vault, json!({ "number": VISA })).await, &["number"]).await.status(),
        201
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_requests_leave_no_fingerprint_without_its_card() {
    let vault = deduplicating().await;
    vault.client("checkout");
    for n in 0..150 {
        let mut door = door(vault.pki.folder(), "checkout", vault.address);
        door.send("GET", "/v1/nothing", &[], String::new()).await.unwrap();
        let request = door.send("POST", CARDS, &[], json!({ "number": number(n) }).to_string());
        // Gone at any moment between asking and the answer.
        let _ = tokio::time::timeout(Duration::from_micros(100 * (n % 50)), request).await;
    }
    // What was begun goes on to its end.
    let (mut seen, mut unchanged) = (0, 0);
    while unchanged < 5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = count(&vault, "SELECT count(*) FROM cards").await;
        unchanged = if now == seen { unchanged + 1 } else { 0 };
        seen = now;
    }
    let orphans = "SELECT count(*) FROM fingerprints WHERE token_hash NOT IN (SELECT token_hash FROM cards)";
    assert_eq!(count(&vault, orphans).await, 0);
    let cards = count(&vault, "SELECT count(*) FROM cards").await;
    assert_eq!(count(&vault, "SELECT count(*) FROM fingerprints").await, cards);
    let entries = vault.entries().await.into_iter().filter(|entry| entry["evt"] == "pan.tokenize");
    assert_eq!(i64::try_from(entries.count()).unwrap(), cards, "and each has its entry");
    // Asked again, every number has one card.
    for n in 0..150 {
        token(&vault, json!({ "number": number(n) })).await;
    }
    assert_eq!(count(&vault, "SELECT count(*) FROM cards").await, 150);
    println!("{cards} of 150 cancelled requests had their card all the same");
}

#[tokio::test]
async fn an_expired_card_is_gone_before_anybody_reads_it() {
    let vault = deduplicating().await;
    let soon = {
        use strongroom_domain::Clock as _;
        serde_json::to_value(strongroom_perimeter::clock::SystemClock.now().plus(Duration::from_secs(5)))
            .unwrap()
    };
    let first = token(&vault, json!({ "number": VISA, "cvc": "123", "expires_at": soon })).await;
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    let path = format!("{CARDS}/{first}");
    assert_eq!(vault.forward(&first, &["number"]).await.status(), 404);
    assert_eq!(vault.send("orchestrator", "GET", &path, None).await.status(), 404);
    assert_ne!(token(&vault, json!({ "number": VISA })).await, first);
}

#[tokio::test]
async fn an_expired_card_is_destroyed_though_nobody_reads_it() {
    let vault = deduplicating().await;
    let end = {
        use strongroom_domain::Clock as _;
        strongroom_perimeter::clock::SystemClock.now().plus(Duration::from_secs(3_600)).to_string()
    };
    token(&vault, json!({ "number": VISA, "expires_at": end })).await;
    let vault = vault.restart_after(Duration::from_secs(2 * 3_600)).await;
    vault.awaited("record.shred", "expired").await;
    assert_eq!(count(&vault, "SELECT count(*) FROM fingerprints").await, 0);
    assert_eq!(count(&vault, "SELECT count(*) FROM cards WHERE deleted_at IS NULL").await, 0);
    let vault = vault.restart_after(Duration::from_secs(75 * 3_600)).await;
    vault.awaited("record.shred", "destroyed").await;
    assert_eq!(count(&vault, "SELECT count(*) FROM cards WHERE length(record) > 0").await, 0);
}

#[tokio::test]
async fn no_hash_survives_its_card() {
    let vault = deduplicating().await;
    let first = token(&vault, json!({ "number": VISA })).await;
    assert_eq!(vault.send("orchestrator", "DELETE", &format!("{CARDS}/{first}"), None).await.status(), 204);
    assert_eq!(count(&vault, "SELECT count(*) FROM fingerprints").await, 0);
    assert_eq!(count(&vault, "SELECT count(*) FROM cards WHERE fingerprint IS NOT NULL").await, 0);
    assert_ne!(token(&vault, json!({ "number": VISA })).await, first);
}

#[tokio::test]
async fn with_and_without_spaces_a_number_is_one_card() {
    let vault = deduplicating().await;
    let spelt = ["4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242", "42 4242424242-42 42"];
    let mut tokens = HashSet::new();
    for number in spelt {
        tokens.insert(token(&vault, json!({ "number": number })).await);
    }
    assert_eq!(tokens.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_turned_read_only_is_said_so_and_nothing_panics() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let vault = Service::start_on(tempfile::tempdir().unwrap(), &server.store_config()).await;
    vault.onboard("acme").await;
    let first = token(&vault, json!({ "number": VISA })).await;
    let options = server.options();
    let admin = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(&options.host)
        .socket(&options.host)
        .username(&options.user)
        .database("template1");
    let mut admin = admin.connect().await.unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'";
    for turn in ["on", "off"] {
        let sql = format!("ALTER DATABASE postgres SET default_transaction_read_only = {turn}");
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
        admin.execute(others).await.unwrap();
        let answer = vault.send("checkout", "POST", CARDS, Some(&json!({ "number": VISA }))).await;
        if turn == "on" {
            assert_eq!(answer.status(), 503, "{}", answer.json());
            assert_eq!(
                vault.forward(&first, &["number"]).await.status(),
                503,
                "no card data without its entry"
            );
            assert!(plain_get(vault.ops, "/livez").await.starts_with("HTTP/1.1 200"));
            let told = plain_get(vault.ops, "/readyz").await;
            let told: Value = serde_json::from_str(told.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            assert!(told["checks"].is_object(), "a diagnosis, not a panic: {told}");
            assert!(plain_get(vault.ops, "/metrics").await.starts_with("HTTP/1.1 200"));
            let refused = strongroom_vault::app::migrate(&vault.config).await.expect_err("it cannot write");
            assert!(!refused.to_string().is_empty());
        } else {
            let mut answer = answer;
            for _ in 0..50 {
                if answer.status() == 201 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                answer = vault.send("checkout", "POST", CARDS, Some(&json!({ "number": VISA }))).await;
            }
            assert_eq!(answer.status(), 201, "{}", answer.json());
        }
    }
}
