//! What happens at the same time: an erasure and forwards of the same card, and a reaper that is killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;
use strongroom_vault::app;
use strongroom_vault::config::VaultConfig;

use crate::crash::{Vault, door, number, onboard, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, configuration, sqlite};

/// Erasures that are raced, and callers that forward meanwhile.
const ERASURES: usize = 12;
const CALLERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_is_opened_before_an_erasure_ends_or_not_at_all_on_sqlite() {
    erase_under_forwards(Service::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_is_opened_before_an_erasure_ends_or_not_at_all_on_postgres() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let service = Service::start_on(tempfile::tempdir().unwrap(), &store_of(&server)).await;
    erase_under_forwards(service).await;
}

/// Whoever asks after the answer to the DELETE gets nothing; whoever was answered has an entry; nobody gets anything else.
async fn erase_under_forwards(vault: Service) {
    vault.onboard("acme").await;
    let vault = Arc::new(vault);
    let (mut opened, mut late) = (0, 0);
    for round in 0..ERASURES {
        let token = vault.tokenize("acme", &json!({ "number": VISA })).await;
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (vault, token, stop) = (Arc::clone(&vault), token.clone(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let began = Instant::now();
                        seen.push((began, vault.forward(&token, &["number"]).await.status()));
                    }
                    seen
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20 + 7 * round as u64)).await;
        let path = format!("/v1/tenants/acme/cards/{token}");
        assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
        let erased = Instant::now();
        tokio::time::sleep(Duration::from_millis(60)).await;
        stop.store(true, Ordering::SeqCst);
        for caller in callers {
            for (began, status) in caller.await.unwrap() {
                assert!(matches!(status, 201 | 404), "{status}");
                assert!(
                    began < erased || status == 404,
                    "a forward was opened after the erasure was answered"
                );
                opened += u32::from(status == 201);
                late += u32::from(began >= erased);
            }
        }
    }
    println!("{opened} forwards opened, {late} asked for after their card was erased");
    assert!(opened > 0 && late > 0);
    let entries = vault.entries().await;
    let told = entries.iter().filter(|entry| entry["evt"] == "pan.forward" && entry["out"] == "success");
    assert_eq!(told.count() as u32, opened, "an entry for each that was opened");
}

/// `kill -9`, again and again, while the reaper destroys: every card is destroyed once, with one entry, and nothing is half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_killed_while_it_destroys_destroys_each_card_once() {
    const CARDS: u64 = 900;
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &sqlite(folder.path()));
    let mut vault = Vault::prepare(folder.path(), "vault-1", &text);
    vault.start();
    vault.wait();
    onboard(pki.folder(), &vault).await;
    let mut checkout = door(pki.folder(), "checkout", vault.address());
    for from in (0..CARDS).step_by(100) {
        let cards: Vec<_> = (from..from + 100).map(|n| json!({ "number": number(n) })).collect();
        let body = json!({ "cards": cards }).to_string();
        let answer = checkout.send("POST", "/v1/tenants/acme/cards/batch", &[], body).await.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.json());
    }
    vault.stop();
    let database = folder.path().join("vault.db");
    run(&database, "UPDATE cards SET deleted_at = 1, destroy_after = 2").await;
    let (mut kills, mut left) = (0, CARDS);
    while left > 0 && kills < 60 {
        vault.start();
        vault.wait();
        tokio::time::sleep(Duration::from_millis(5 + 13 * (kills % 9))).await;
        vault.kill();
        kills += 1;
        left = count(&database, "SELECT count(*) FROM cards WHERE length(record) > 0").await;
    }
    assert_eq!(left, 0, "killed {kills} times");
    vault.start();
    vault.wait();
    vault.stop();
    sound_log(vault.config(), kills + 2).await;
    let config = VaultConfig::read(vault.config()).unwrap();
    let store = app::open_store(&config.store).await.unwrap();
    let mut destroyed: BTreeMap<String, u32> = BTreeMap::new();
    for entry in strongroom_vault::audit::tail(&*store, 100_000).await.unwrap() {
        let entry: serde_json::Value = serde_json::from_slice(entry.leaf.as_bytes()).unwrap();
        if entry["evt"] == "record.shred" && entry["rsn"] == "destroyed" {
            *destroyed.entry(entry["obj"]["ref"].to_string()).or_default() += 1;
        }
    }
    println!("{CARDS} cards destroyed under {kills} kills");
    assert_eq!(destroyed.len() as u64, CARDS);
    assert!(destroyed.values().all(|times| *times == 1));
}

async fn connect(database: &std::path::Path) -> sqlx::sqlite::SqliteConnection {
    use sqlx::ConnectOptions as _;
    sqlx::sqlite::SqliteConnectOptions::new().filename(database).connect().await.unwrap()
}

async fn run(database: &std::path::Path, sql: &'static str) {
    use sqlx::Executor as _;
    connect(database).await.execute(sql).await.unwrap();
}

async fn count(database: &std::path::Path, sql: &'static str) -> u64 {
    sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connect(database).await).await.unwrap().unsigned_abs()
}
