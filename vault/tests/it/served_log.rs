//! The signed log as the vault serves it: read and verified over mTLS by two programs, by the security team and nobody else.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_vault::app;

use crate::aws::emulator;
use crate::crash::store_of;
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, sqlite};

const LOG: &str = "/v1/audit/log";

/// A vault with more than a tile of entries, all of them in a checkpoint.
async fn furnished(folder: tempfile::TempDir, store: &str) -> Service {
    let vault = Service::start_on(folder, store).await;
    vault.onboard("acme").await;
    for _ in 0..3 {
        let cards: Vec<Value> = (0..100).map(|_| json!({ "number": VISA })).collect();
        let body = json!({ "cards": cards });
        let stored = vault.send("checkout", "POST", "/v1/tenants/acme/cards/batch", Some(&body)).await;
        assert_eq!(stored.status(), 200);
    }
    let written = vault.entries().await.len() as u64;
    for _ in 0..600 {
        if size(&vault).await >= written {
            return vault;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no checkpoint covers {written} entries")
}

/// Size of the tree of the newest checkpoint.
async fn size(vault: &Service) -> u64 {
    let note = vault.send("security", "GET", &format!("{LOG}/checkpoint"), None).await;
    let text = String::from_utf8(note.body()).unwrap();
    text.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// The same question to the program and to the one written apart from it.
async fn verified(vault: &Service, who: &str) -> [(Option<i32>, String); 2] {
    vault.pki.client(who).map(|_| ()).unwrap();
    let vkey = app::log_key(&vault.config).await.unwrap().to_string();
    let url = format!("https://localhost:{}", vault.address.port());
    let file = |name: String| vault.folder.path().join("pki").join(name).display().to_string();
    let [certificate, key] = ["pem", "key"].map(|ending| file(format!("{who}.{ending}")));
    let ca = file("workload-ca.pem".into());
    let options =
        ["--vkey", &vkey, "--certificate", &certificate, "--key", &key, "--ca", &ca].map(str::to_owned);
    tokio::task::spawn_blocking(move || {
        let said = |output: Output| {
            let text = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(text).unwrap())
        };
        let mut ours = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
        let ours = ours.args(["audit", "verify", &url, "--quiet"]).args(&options).output().unwrap();
        let mut theirs = Command::new(emulator::environment().join("bin/python3"));
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/verify/verify_served.py");
        let theirs = theirs.args(["-B", program, &url]).args(&options).output().unwrap();
        [said(ours), said(theirs)]
    })
    .await
    .unwrap()
}

async fn two_programs_verify_the_log_a_vault_serves(vault: Service) {
    let before = size(&vault).await;
    for (code, said) in verified(&vault, "security").await {
        assert_eq!(code, Some(0), "{said}");
        let entries: u64 = said.split(' ').next().unwrap().parse().unwrap();
        assert!(entries >= before, "{said}");
    }
    for (code, said) in verified(&vault, "orchestrator").await {
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("403"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_verify_the_log_a_vault_serves_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    two_programs_verify_the_log_a_vault_serves(furnished(folder, &store).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_verify_the_log_a_vault_serves_on_postgres() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let vault = furnished(tempfile::tempdir().unwrap(), &store_of(&server)).await;
    two_programs_verify_the_log_a_vault_serves(vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_altered_in_the_database_is_found_where_it_is_served() {
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let vault = furnished(folder, &store).await;
    let file = vault.folder.path().join("vault.db");
    let mut sql = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    // `"evt"` becomes `"out"`'s neighbour of the same length: canonical or not, its hash is another.
    let change = "UPDATE audit_entries SET leaf = CAST(replace(CAST(leaf AS text), '\"success\"', '\"failure\"') AS blob) \
                  WHERE instance_seq = 7";
    assert_eq!(sql.execute(AssertSqlSafe(change)).await.unwrap().rows_affected(), 1);
    sql.close().await.unwrap();
    for (code, said) in verified(&vault, "security").await {
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("first: entry 7 is not the one in the tree"), "{said}");
    }
}

#[tokio::test]
async fn the_log_is_served_to_the_security_team_alone_and_reading_it_is_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let vault = furnished(folder, &store).await;
    let get = async |who: &str, path: &str| vault.send(who, "GET", &format!("{LOG}/{path}"), None).await;
    for who in ["intruder", "checkout", "orchestrator", "proxy", "platform"] {
        for path in ["checkpoint", "tile/entries/000", "tile/0/000", "nothing"] {
            let before = vault.entries().await.len();
            let refused = get(who, path).await;
            assert_eq!(refused.status(), 403, "{who} {path}: {}", refused.json());
            let entries = vault.entries().await;
            assert_eq!(entries.len(), before + 1, "{who} {path}");
            let entry = entries.last().unwrap();
            assert_eq!((&entry["evt"], &entry["out"]), (&json!("audit.read"), &json!("denied")), "{entry}");
        }
    }
    let unchanging = "private, max-age=31536000, immutable";
    for (path, caching, length, entries) in [
        ("checkpoint", "no-store", None, Some(0)),
        ("tile/0/000", unchanging, Some(256 * 32), None),
        ("tile/0/001.p/3", unchanging, Some(3 * 32), None),
        ("tile/1/000.p/1", unchanging, Some(32), None),
        ("tile/entries/000", unchanging, None, Some(256)),
        ("tile/entries/001.p/7", unchanging, None, Some(7)),
        ("history/000", "no-store", None, Some(0)),
    ] {
        let before = vault.entries().await.len();
        let answer = get("security", path).await;
        assert_eq!((answer.status(), answer.header("cache-control")), (200, Some(caching)), "{path}");
        assert!(length.is_none_or(|length| answer.body().len() == length), "{path}");
        let after = vault.entries().await;
        match entries {
            None => assert_eq!(after.len(), before, "{path}: hashes show nothing"),
            Some(shown) => {
                let entry = after.last().unwrap();
                assert_eq!((after.len(), &entry["evt"]), (before + 1, &json!("audit.read")), "{path}");
                assert_eq!((&entry["obj"]["type"], &entry["obj"]["ref"]), (&json!("log"), &json!(path)));
                assert_eq!((&entry["n"], &entry["out"]), (&json!(shown), &json!("success")));
            }
        }
    }
    // What a folder holds is what is served: the same bytes.
    let folder = vault.folder.path().join("signed-log");
    for path in ["tile/0/000", "tile/entries/000"] {
        assert_eq!(get("security", path).await.body(), std::fs::read(folder.join(path)).unwrap(), "{path}");
    }
    for path in
        ["tile/0/007", "tile/entries/x001/000", "tile/7/000.p/1", "history/001", "lock", "tile/0/000.p/256"]
    {
        let absent = get("security", path).await;
        assert_eq!((absent.status(), absent.header("cache-control")), (404, Some("no-store")), "{path}");
    }
    let mut posted =
        vault.send("security", "POST", &format!("{LOG}/checkpoint"), Some(&json!({}))).await.json();
    assert_eq!(posted["status"].take(), 405, "read-only");
}
