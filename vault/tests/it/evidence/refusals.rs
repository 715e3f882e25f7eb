//! When there is no bundle, and what makes one unsound.

use serde_json::json;
use sqlx::Connection as _;
use strongroom_domain::Clock;
use strongroom_perimeter::clock::SystemClock;
use strongroom_vault::evidence::{Unsound, verify};

use super::ground::{DAY, ask, bundle, json as read_json, key, read};
use crate::crash::store_of;
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA};

#[tokio::test]
async fn a_period_is_whole_past_and_in_order() {
    let vault = Service::start().await;
    let now = SystemClock.now();
    for query in [
        String::new(),
        format!("from={now}"),
        format!("to={now}"),
        format!("from=yesterday&to={now}"),
        format!("from={}&to={}", now.minus(DAY), now.plus(DAY)),
        format!("from={now}&to={}", now.minus(DAY)),
        format!("from={now}&to={now}"),
        format!("from={}&to={now}&sample=501", now.minus(DAY)),
        format!("from={}&to={now}&sample=-1", now.minus(DAY)),
        format!("from={}&to={now}&tenant=acme", now.minus(DAY)),
    ] {
        let exchange = vault.send("security", "GET", &format!("/v1/evidence?{query}"), None).await;
        assert_eq!(exchange.status(), 400, "{query}");
        let entry = vault.newest("evidence.make").await;
        assert_eq!((&entry["out"], &entry["rsn"]), (&json!("failure"), &json!("invalid-request")), "{query}");
    }
    for who in ["intruder", "checkout", "platform", "proxy"] {
        let exchange = ask(&vault, who, now.minus(DAY), now, 1).await;
        assert_eq!(exchange.status(), 403, "{who}");
        let entry = vault.newest("evidence.make").await;
        assert_eq!(entry["out"], "denied", "{who}");
    }
}

/// Somebody with full rights to the database changes one entry: its text, and nothing of the tree.
#[tokio::test]
async fn no_evidence_is_made_of_a_log_that_is_not_the_one_that_was_signed() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let (from, to) = (SystemClock.now().minus(DAY), SystemClock.now());
    assert_eq!(ask(&vault, "security", from, to, 1).await.status(), 200);
    let path = vault.folder.path().join("vault.db");
    let mut database =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let change = "UPDATE audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'pan.tokenize', 'pan.lookup') AS BLOB) \
                  WHERE instr(CAST(leaf AS TEXT), '\"evt\":\"pan.tokenize\"') > 0";
    assert_eq!(sqlx::query(change).execute(&mut database).await.unwrap().rows_affected(), 1);
    database.close().await.unwrap();
    let exchange = ask(&vault, "security", from, to, 1).await;
    assert_eq!(exchange.status(), 500);
    let entry = vault.newest("tamper").await;
    assert_eq!((&entry["out"], &entry["rsn"]), (&json!("failure"), &json!("log-damaged")));
}

#[tokio::test]
async fn whatever_is_changed_in_a_bundle_is_found() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let (from, to) = (SystemClock.now().minus(DAY), SystemClock.now());
    let folder = bundle(&vault, from, to, 3).await;
    let (folder, key) = (folder.path(), key(&vault).await);
    let sound = verify(folder, &key).unwrap();
    assert_eq!(sound.sha256.len(), 32);
    let put = |path: &str, text: &str| std::fs::write(folder.join(path), text).unwrap();

    for path in ["index.html", "evidence.json", "csv/keys.csv", "log/checkpoint", "samples/10.2.1.1.json"] {
        let whole = read(folder, path);
        put(path, &format!("{whole} "));
        assert!(matches!(verify(folder, &key), Err(Unsound::File(file)) if file == path), "{path}");
        std::fs::remove_file(folder.join(path)).unwrap();
        assert!(matches!(verify(folder, &key), Err(Unsound::File(file)) if file == path), "{path}");
        put(path, &whole);
    }
    put("csv/more.csv", "x");
    assert!(matches!(verify(folder, &key), Err(Unsound::Surplus(file)) if file == "csv/more.csv"));
    std::fs::remove_file(folder.join("csv/more.csv")).unwrap();

    let manifest = read(folder, "manifest");
    put("manifest", &manifest.replacen("csv/keys.csv", "csv/keyz.csv", 1));
    assert!(matches!(verify(folder, &key), Err(Unsound::Manifest(_))));
    // A checkpoint is signed by the same key, and no manifest.
    put("manifest", &read(folder, "log/checkpoint"));
    assert!(matches!(verify(folder, &key), Err(Unsound::NoManifest)));
    put("manifest", &manifest);
    let another = Service::start().await;
    let stranger = super::ground::key(&another).await;
    assert!(matches!(verify(folder, &stranger), Err(Unsound::Manifest(_))));
    verify(folder, &key).unwrap();
    assert!(read_json(folder, "samples/10.2.1.1.json")["population"].as_u64().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_of_a_vault_on_postgres_is_as_sound() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let vault = Service::start_on(tempfile::tempdir().unwrap(), &store_of(&server)).await;
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let entries = vault.entries().await.len();
    let folder = bundle(&vault, SystemClock.now().minus(DAY), SystemClock.now(), 3).await;
    verify(folder.path(), &key(&vault).await).unwrap();
    let facts = read_json(folder.path(), "evidence.json");
    assert_eq!(facts["log"]["entries"], entries);
    let purposes: Vec<_> =
        facts["keys"].as_array().unwrap().iter().map(|key| key["purpose"].clone()).collect();
    assert!(purposes.contains(&json!("card")) && purposes.contains(&json!("audit-signing")), "{purposes:?}");
    assert_eq!(facts["retention"][0]["tenant"], "acme");
    vault.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bundle_is_made_at_a_time_and_serving_goes_on() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let (from, to) = (SystemClock.now().minus(DAY), SystemClock.now());
    let asked = (0..8).map(|_| ask(&vault, "security", from, to, 500));
    let card = json!({ "number": VISA });
    let (answers, token) = tokio::join!(futures_util::future::join_all(asked), vault.tokenize("acme", &card));
    assert!(token.starts_with("tok_test_"));
    let made = answers.iter().filter(|answer| answer.status() == 200).count();
    assert!(made >= 1);
    assert!(answers.iter().all(|answer| matches!(answer.status(), 200 | 429)));
    let entries = vault.entries().await;
    let told = |out: &str| {
        entries.iter().filter(|entry| entry["evt"] == "evidence.make" && entry["out"] == out).count()
    };
    assert_eq!((told("success"), told("success") + told("denied")), (made, 8));
}
