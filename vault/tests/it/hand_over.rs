//! The log's signing key handed over in whole vaults: asked for over the API, made by whichever replica sequences, followed by
//! everything that verifies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection as _;
use strongroom_domain::{Clock as _, Timestamp};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;
use strongroom_vault::app;
use strongroom_vault::audit::{HandOver, LogKey, verify};
use strongroom_vault::config::VaultConfig;

use crate::aws::emulator;
use crate::crash::{Vault, door, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, configuration, grant};

const SUCCESSOR: &str = "/v1/keys/audit-signing/successor";
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever looks after the keys: nobody does in the shipped bundle.
fn custodian() -> Value {
    json!([{ "id": "spiffe://strongroom.test/custodian", "about": "looks after the keys", "roles": ["custodian"] }])
}

async fn log_key(config: &VaultConfig) -> LogKey {
    app::log_key(config).await.unwrap()
}

/// Waits until another key signs than this one.
async fn handed_over(config: &VaultConfig, before: &LogKey) -> LogKey {
    let began = Instant::now();
    loop {
        let now = log_key(config).await;
        if now != *before {
            return now;
        }
        assert!(began.elapsed() < PATIENCE, "the key was not handed over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Exit status and words of the vault's program and of one written apart from it.
fn by_both(command: &[&str], program: &str, arguments: &[String]) -> [(Option<i32>, String); 2] {
    let mut ours = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
    ours.args(command);
    let mut theirs = Command::new(emulator::environment().join("bin/python3"));
    theirs.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("verify").join(program));
    [ours, theirs].map(|mut command| {
        let output = command.args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    })
}

fn sound_by_both(folder: &Path, keys: &[&LogKey]) {
    for key in keys {
        let arguments = [folder.display().to_string(), "--vkey".into(), key.to_string()];
        for (code, said) in by_both(&["audit", "verify"], "verify_log.py", &arguments) {
            assert_eq!(code, Some(0), "{said}");
        }
    }
}

async fn a_key_is_handed_over_at_a_custodian_s_word(vault: Service) {
    vault.onboard("acme").await;
    let first = log_key(&vault.config).await;
    let stored =
        vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&json!({ "number": VISA }))).await;
    let receipt = stored.header("strongroom-receipt").unwrap().to_owned();
    let asked = vault.send("custodian", "POST", SUCCESSOR, None).await;
    assert_eq!(asked.status(), 200, "{}", asked.json());
    let told = asked.json();
    assert_eq!(told["state"], "made");
    let entry = vault.newest("dek.create").await;
    assert_eq!((&entry["out"], &entry["rsn"]), (&json!("success"), &json!("successor")));
    assert_eq!(entry["actor"]["id"], "spiffe://strongroom.test/custodian");
    assert_eq!(
        (&entry["obj"]["ref"], &entry["obj"]["purpose"]),
        (&told["successor"], &json!("audit-signing"))
    );
    let second = handed_over(&vault.config, &first).await;
    // The entry that says who asked is in the tree it was handed over at.
    let store = app::open_store(&vault.config.store).await.unwrap();
    let made = store.hand_overs().await.unwrap().remove(0);
    let read = HandOver::read(&made.note).unwrap();
    assert_eq!((&read.from, &read.to), (&first, &second));
    let stands = entry["instance_seq"].as_u64().unwrap();
    let boot = strongroom_domain::BootId::parse(entry["boot_id"].as_str().unwrap()).unwrap();
    let place = store.log_place(strongroom_vault::audit::EntryId { boot, seq: stands }).await.unwrap();
    assert!(place.unwrap() < made.size);
    a_receipt_is_proved_by_both_keys(&vault, &receipt, [&first, &second]).await;
    served_and_evidence_are_verified_by_both_keys(&vault, [&first, &second]).await;
    let folder = vault.folder.path().join("signed-log");
    let vault = vault.restart().await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let (held, config) = vault.stop().await;
    sound_by_both(&folder, &[&first, &second]);
    assert_eq!(log_key(&config).await, second);
    drop(held);
}

async fn a_receipt_is_proved_by_both_keys(vault: &Service, receipt: &str, keys: [&LogKey; 2]) {
    let began = Instant::now();
    let document = loop {
        let answer = vault.send("security", "GET", &format!("/v1/audit/receipts/{receipt}"), None).await;
        let is_after = answer.json()["hand_overs"].as_array().is_some_and(|told| told.len() == 1);
        if answer.status() == 200 && is_after {
            break answer.body();
        }
        assert!(began.elapsed() < PATIENCE, "{}", answer.json());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let file = vault.folder.path().join("receipt.json");
    std::fs::write(&file, document).unwrap();
    for key in keys {
        let arguments = [file.display().to_string(), "--vkey".into(), key.to_string()];
        for (code, said) in by_both(&["audit", "receipt"], "verify_receipt.py", &arguments) {
            assert_eq!(code, Some(0), "{said}");
        }
    }
}

async fn served_and_evidence_are_verified_by_both_keys(vault: &Service, keys: [&LogKey; 2]) {
    let (now, hour) = (SystemClock.now(), Duration::from_secs(3_600));
    let from = Timestamp::from_unix_micros(now.unix_micros() - i64::try_from(hour.as_micros()).unwrap());
    let path = format!("/v1/evidence?from={from}&to={now}&sample=2");
    let bundle = vault.send("security", "GET", &path, None).await;
    assert_eq!(bundle.status(), 200, "{}", String::from_utf8_lossy(&bundle.body()));
    let unpacked = tempfile::tempdir().unwrap();
    zip::ZipArchive::new(std::io::Cursor::new(bundle.body())).unwrap().extract(unpacked.path()).unwrap();
    assert!(unpacked.path().join("log/handover/000").is_file());
    let url = format!("https://localhost:{}", vault.address.port());
    let file = |name: &str| vault.folder.path().join("pki").join(name).display().to_string();
    let session = [("--certificate", "security.pem"), ("--key", "security.key"), ("--ca", "workload-ca.pem")];
    for key in keys {
        assert!(strongroom_vault::evidence::verify(unpacked.path(), key).unwrap().samples > 0);
        let mut arguments = vec![url.clone(), "--vkey".into(), key.to_string()];
        arguments.extend(session.iter().flat_map(|(flag, name)| [(*flag).to_owned(), file(name)]));
        let said =
            tokio::task::block_in_place(|| by_both(&["audit", "verify"], "verify_served.py", &arguments));
        for (code, said) in said {
            assert_eq!(code, Some(0), "{said}");
        }
    }
    // A key of before signs no bundle of later.
    std::fs::remove_dir_all(unpacked.path().join("log/handover")).unwrap();
    for key in keys {
        assert!(strongroom_vault::evidence::verify(unpacked.path(), key).is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_handed_over_at_a_custodian_s_word_on_sqlite() {
    a_key_is_handed_over_at_a_custodian_s_word(Service::start_granting(&custodian()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_handed_over_at_a_custodian_s_word_on_postgres() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let vault = Service::start_granting_on(folder, &store_of(&server), &custodian(), "").await;
    a_key_is_handed_over_at_a_custodian_s_word(vault).await;
}

/// While a successor waits no other is made, whoever asks; and there is an end to it each day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_successor_waits_at_a_time_and_a_day_has_eight() {
    let vault = Service::start_granting(&custodian()).await;
    let mut key = log_key(&vault.config).await;
    let asked =
        futures_util::future::join_all((0..4).map(|_| vault.send("custodian", "POST", SUCCESSOR, None)))
            .await;
    key = handed_over(&vault.config, &key).await;
    let made = asked.iter().filter(|answer| answer.json()["state"] == "made").count();
    let store = app::open_store(&vault.config.store).await.unwrap();
    for answer in &asked {
        assert!(matches!(answer.status(), 200 | 409), "{}", answer.json());
    }
    assert!(made >= 1);
    // By the program, as a custodian would.
    let file = |name: &str| vault.folder.path().join("pki").join(name).display().to_string();
    let url = format!("https://localhost:{}", vault.address.port());
    let output = tokio::task::block_in_place(|| {
        Command::new(env!("CARGO_BIN_EXE_strongroom-vault"))
            .args(["audit", "rotate-key", "--vault", &url, "--certificate", &file("custodian.pem")])
            .args(["--key", &file("custodian.key"), "--ca", &file("workload-ca.pem")])
            .output()
            .unwrap()
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("in the place of"));
    key = handed_over(&vault.config, &key).await;
    while store.hand_overs().await.unwrap().len() < 8 {
        assert_eq!(vault.send("custodian", "POST", SUCCESSOR, None).await.status(), 200);
        key = handed_over(&vault.config, &key).await;
    }
    let refused = vault.send("custodian", "POST", SUCCESSOR, None).await;
    assert_eq!(refused.status(), 429, "{}", refused.json());
    assert_eq!(vault.newest("dek.create").await["out"], "denied");
    // Data keys are as many as keys that signed: one active, the rest only open.
    let keys = store.key_facts(None).await.unwrap();
    let signing: Vec<_> = keys.iter().filter(|key| key.purpose == "audit-signing").collect();
    assert_eq!(signing.iter().filter(|key| key.state == "active").count(), 1);
    assert_eq!(signing.len(), 9);
    let folder = vault.folder.path().join("signed-log");
    let (held, _) = vault.stop().await;
    assert_eq!(verify(&folder, &key, |_, _| {}).unwrap().damage, None);
    drop(held);
}

/// When the period of the key is over the log gets another by itself, with an entry of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_period_is_over_is_handed_over_by_itself() {
    let vault = Service::start().await;
    let first = log_key(&vault.config).await;
    let path = vault.folder.path().join("vault.db");
    let mut database =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let over = "UPDATE data_keys SET seals_until = 0 WHERE purpose = 'audit-signing'";
    assert_eq!(sqlx::query(over).execute(&mut database).await.unwrap().rows_affected(), 1);
    database.close().await.unwrap();
    let second = handed_over(&vault.config, &first).await;
    let made = vault.newest("dek.create").await;
    assert_eq!((&made["obj"]["purpose"], &made["actor"]["id"]), (&json!("audit-signing"), &json!("-")));
    assert_eq!((&made["out"], &made["rsn"]), (&json!("success"), &Value::Null));
    let folder = vault.folder.path().join("signed-log");
    let (held, _) = vault.stop().await;
    sound_by_both(&folder, &[&first, &second]);
    drop(held);
}

/// Two replicas on one PostgreSQL: whoever leads is killed as soon as the successor is made; the other hands over, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequencer_killed_at_a_hand_over_is_followed_by_one_that_makes_it_once() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &store_of(&server));
    grant(folder.path(), &custodian());
    pki.client("custodian").map(drop).unwrap();
    let mut vaults = ["vault-1", "vault-2"].map(|name| Vault::prepare(folder.path(), name, &text));
    vaults.iter_mut().for_each(Vault::start);
    vaults.iter_mut().for_each(Vault::wait);
    let config = VaultConfig::read(vaults[0].config()).unwrap();
    let store = app::open_store(&config.store).await.unwrap();
    let mut keys = vec![log_key(&config).await];
    for _ in 0..2 {
        let leader = leader(&store, folder.path()).await;
        let mut custodian = door(pki.folder(), "custodian", vaults[1 - leader].address());
        let answer = custodian.send("POST", SUCCESSOR, &[], String::new()).await.unwrap();
        assert_eq!(answer.status, 200);
        vaults[leader].kill();
        keys.push(handed_over(&config, keys.last().unwrap()).await);
        vaults[leader].start();
        vaults[leader].wait();
    }
    vaults.iter_mut().for_each(Vault::stop);
    assert_eq!(store.hand_overs().await.unwrap().len(), 2);
    sound_log(vaults[0].config(), 4).await;
    let folders = ["vault-1", "vault-2"].map(|name| folder.path().join(format!("signed-log-{name}")));
    let mut newest = 0;
    for folder in folders.iter().filter(|folder| folder.join("checkpoint").exists()) {
        for key in &keys {
            match verify(folder, key, |_, _| {}) {
                Ok(found) => {
                    assert_eq!(found.damage, None);
                    newest = newest.max(found.entries);
                }
                // A folder that was left before the last hand-over knows nothing of the key after it.
                Err(error) => {
                    assert!(Some(key) == keys.last() && !folder.join("handover/001").exists(), "{error}")
                }
            }
        }
    }
    let stored: u64 = store.boots().await.unwrap().iter().map(|boot| boot.next_seq).sum();
    assert_eq!(newest, stored);
}

/// Which replica has the lease: its folder is the one that shows the newest checkpoint.
async fn leader(store: &Arc<dyn strongroom_vault::store::Store>, folder: &Path) -> usize {
    let began = Instant::now();
    let file = |name: &str| -> PathBuf { folder.join(format!("signed-log-{name}")).join("checkpoint") };
    loop {
        let newest = store.newest_checkpoint().await.unwrap().map(|kept| kept.note);
        let shows = |name| newest.is_some() && std::fs::read_to_string(file(name)).ok() == newest;
        if let Some(at) = ["vault-1", "vault-2"].iter().position(|name| shows(*name)) {
            return at;
        }
        assert!(began.elapsed() < PATIENCE, "nobody leads");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
