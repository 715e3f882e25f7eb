//! The signed log of whole vaults: exported while they serve, across restarts, kills and takeovers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;
use strongroom_vault::app;
use strongroom_vault::audit::{LogKey, Verified, verify};
use strongroom_vault::config::VaultConfig;

use crate::crash::{Vault, door, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, configuration, sqlite};
use crate::store::log_bucket::Storage;

/// How long a takeover may take on a busy machine: the lease is 5 seconds.
const TAKEOVER_TIME_MAX: Duration = Duration::from_secs(60);

fn verified(folder: &Path, key: &LogKey) -> Verified {
    let found = verify(folder, key, |_, _| {}).unwrap();
    assert_eq!(found.damage, None);
    found
}

async fn key(config: &VaultConfig) -> LogKey {
    app::log_key(config).await.unwrap()
}

#[tokio::test]
async fn a_vault_exports_its_log_while_it_serves_and_goes_on_after_a_restart() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let folder = vault.folder.path().join("signed-log");
    let vault = vault.restart().await;
    let first = verified(&folder, &key(&vault.config).await);
    assert!(first.entries >= 5, "{first:?}"); // start, tenant, keys, card, stop
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let entries = vault.entries().await.len() as u64;
    let (held, config) = vault.stop().await;
    let found = verified(&folder, &key(&config).await);
    assert_eq!((found.entries, found.boots), (entries + 1, 2)); // and audit.stop
    assert!(found.entries > first.entries);

    // By the program, as an assessor would.
    let program = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_strongroom-vault")).args(arguments).output().unwrap()
    };
    let vkey = key(&config).await.to_string();
    let path = folder.display().to_string();
    let done = program(&["audit", "verify", &path, "--vkey", &vkey]);
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(
        done.status.success() && said.starts_with(&format!("{0} of {0} entries", found.entries)),
        "{said}"
    );
    std::fs::write(folder.join("tile/0/000.p").join(found.entries.to_string()), [0; 32]).unwrap();
    let done = program(&["audit", "verify", &path, "--vkey", &vkey, "--quiet"]);
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(said.contains("first: the tile over entries from 0 on is missing or malformed"), "{said}");
    drop(held);
}

/// To the last entry: `audit.stop` is in the bucket when the process ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_exports_its_log_to_object_storage_to_the_last_entry() {
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (store, settings) = (sqlite(folder.path()), format!("[audit.bucket]\n{}", storage.settings()));
    let vault = Service::start_granting_on(folder, &store, &json!([]), &settings).await;
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let entries = vault.entries().await.len() as u64;
    let (held, config) = vault.stop().await;
    let copy = storage.fetched();
    let found = verified(&copy.path().join("test"), &key(&config).await);
    assert_eq!(found.entries, entries + 1);
    drop(held);
}

#[test]
fn two_vaults_do_not_export_to_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = strongroom_vault::audit::LogFolder::open(folder.path()).unwrap();
    let refused = strongroom_vault::audit::LogFolder::open(folder.path()).unwrap_err();
    assert!(refused.to_string().contains("another vault"));
}

/// Whoever leads is killed under load, three times; the other goes on; neither folder has a fork or a hole, and the one who led
/// last has every entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sequencer_is_followed_by_the_other_replica_s_without_fork_or_hole() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &store_of(&server));
    let mut vaults = ["vault-1", "vault-2"].map(|name| Vault::prepare(folder.path(), name, &text));
    vaults.iter_mut().for_each(Vault::start);
    vaults.iter_mut().for_each(Vault::wait);
    let mut platform = door(pki.folder(), "platform", vaults[0].address());
    let tenant = json!({ "groups": ["merchants"] }).to_string();
    assert_eq!(platform.send("PUT", "/v1/tenants/acme", &[], tenant).await.unwrap().status, 201);
    let config = VaultConfig::read(vaults[0].config()).unwrap();
    let vkey = key(&config).await;
    let folders = ["vault-1", "vault-2"].map(|name| folder.path().join(format!("signed-log-{name}")));
    for round in 0..3 {
        let leader = leader(&folders, &vkey, 0).await;
        let before = verified(&folders[leader], &vkey).checkpoint.size;
        vaults[leader].kill();
        let mut checkout = door(pki.folder(), "checkout", vaults[1 - leader].address());
        let body = json!({ "number": VISA, "metadata": { "round": round.to_string() } }).to_string();
        let answer = checkout.send("POST", "/v1/tenants/acme/cards", &[], body).await.unwrap();
        assert_eq!(answer.status, 201);
        let follower = self::leader(&folders, &vkey, before + 1).await;
        assert_eq!(follower, 1 - leader, "only it is there");
        vaults[leader].start();
        vaults[leader].wait();
    }
    vaults.iter_mut().for_each(Vault::stop);
    // Everything but the end of whoever stopped last may be in the other's folder only: the newest has all.
    let found = folders.each_ref().map(|folder| verified(folder, &vkey));
    let newest = found.iter().max_by_key(|found| found.checkpoint.size).unwrap();
    sound_log(vaults[0].config(), 5).await;
    let store = app::open_store(&config.store).await.unwrap();
    let stored: u64 = store.boots().await.unwrap().iter().map(|boot| boot.next_seq).sum();
    assert_eq!(newest.entries, stored);
}

/// Which folder first shows a checkpoint of this size or more, the larger if both do.
async fn leader(folders: &[PathBuf; 2], key: &LogKey, size: u64) -> usize {
    let began = Instant::now();
    loop {
        let sizes = folders.each_ref().map(|folder| {
            let note = std::fs::read_to_string(folder.join("checkpoint")).ok()?;
            Some(key.open(&note).unwrap().size)
        });
        let (leader, newest) = if sizes[1] > sizes[0] { (1, sizes[1]) } else { (0, sizes[0]) };
        if newest.is_some_and(|newest| newest >= size) {
            return leader;
        }
        assert!(began.elapsed() < TAKEOVER_TIME_MAX, "nobody took over: {sizes:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
