//! A quarter on a small scale: traffic, denials, a policy change, a lost certificate, an erased card; then every number of the
//! bundle is counted again from the raw log by a program that shares no code with the vault.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use sqlx::Connection as _;
use strongroom_domain::{Clock, Timestamp};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::client::Client;
use strongroom_sandbox::pki::Server;
use strongroom_vault::evidence::{VerifiedBundle, verify};

use super::ground::{DAY, bundle, files, json as read_json, key, python, read, started_after};
use crate::reviews::review;
use crate::service::{Service, VISA};

/// What a person may write into a reason.
const HOSTILE: &str = "<script>alert(1)</script> =HYPERLINK(\"x\")";

/// A quarter: the vault, and its first and last moment. Nothing comes after it but the making of evidence.
async fn quarter() -> (Service, Timestamp, Timestamp, Vec<String>) {
    let vault = started_after(DAY * 40).await;
    let began_at = SystemClock.now().minus(DAY * 30);
    vault.onboard("globex").await;
    vault.onboard_as("acme", json!({ "retention": { "days": 400, "reason": HOSTILE } })).await;
    let mut tokens = Vec::new();
    for cvc in ["123", "456", "789"] {
        let card = json!({ "number": VISA, "exp_month": 3, "exp_year": 2031, "cvc": cvc });
        tokens.push(vault.tokenize("acme", &card).await);
    }
    assert_eq!(vault.forward(&tokens[0], &["number", "cvc"]).await.status(), 201);
    assert_eq!(vault.forward(&tokens[1], &["number"]).await.status(), 201);
    for who in ["intruder", "security", "matcher"] {
        let path = "/v1/tenants/acme/cards";
        assert_eq!(vault.send(who, "POST", path, Some(&json!({ "number": VISA }))).await.status(), 403);
    }
    let path = format!("/v1/tenants/acme/cards/{}", tokens[2]);
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    // Access and the log are reviewed, and what access was is in a bundle, before it changes.
    review(&vault, "reviewer", "access", "approved", "").await;
    review(&vault, "reviewer", "log", "approved", "").await;
    drop(bundle(&vault, began_at, SystemClock.now(), 1).await);
    change_policy(&vault).await;
    lose_certificate(&vault).await;

    suspend(&vault).await;

    let vault = vault.restart_after(DAY * 28).await;
    vault.tokenize("globex", &json!({ "number": VISA })).await;
    assert_ne!(
        vault.forward(&tokens[1], &["number", "cvc"]).await.status(),
        201,
        "the code went with the memory"
    );
    tokens.push(vault.tokenize("acme", &json!({ "number": VISA, "cvc": "321" })).await);
    assert_eq!(vault.forward(&tokens[3], &["number", "cvc"]).await.status(), 201);
    assert_eq!(vault.send("intruder", "GET", "/v1/tenants", None).await.status(), 403);
    vault.awaited("record.shred", "destroyed").await;
    // The next look at the log comes four weeks later, and finds something; one more bundle moves nothing.
    review(&vault, "reviewer", "log", "follow-up", HOSTILE).await;
    drop(bundle(&vault, began_at, SystemClock.now().plus(DAY * 28), 1).await);
    use_up(&vault, "acme").await;

    let vault = vault.restart_after(DAY * 56).await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let ended_at = SystemClock.now().plus(DAY * 56);
    (vault, began_at, ended_at, tokens)
}

/// The card key of a tenant has sealed all it may.
async fn use_up(vault: &Service, tenant: &str) {
    let url = format!("sqlite://{}", vault.folder.path().join("vault.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let change =
        "UPDATE data_keys SET records = 16777216 WHERE scope = ?1 AND purpose = 'card' AND state = 'active'";
    let changed = sqlx::query(change).bind(tenant).execute(&mut database).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    database.close().await.unwrap();
}

/// A new version of the bundle comes into force while the vault runs.
async fn change_policy(vault: &Service) {
    let policies = vault.folder.path().join("policies");
    let file = policies.join("bundle.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let version: u64 =
        text.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim().parse().unwrap();
    std::fs::write(
        policies.join("accounts/psp/second.toml"),
        "tenants = [\"globex\"]\ncredential_file = \"second\"\n",
    )
    .unwrap();
    let next = text.replace(&format!("version = {version}"), &format!("version = {}", version + 1));
    std::fs::write(&file, next).unwrap();
    vault.awaited("policy.activate", "destination-changed").await;
}

/// Three are suspended, and one of them goes on.
async fn suspend(vault: &Service) {
    let change =
        |who: &str| json!({ "workload": format!("spiffe://strongroom.test/{who}"), "reason": HOSTILE });
    for (who, path) in [
        ("reconciler", "/v1/suspensions"),
        ("importer", "/v1/suspensions"),
        ("inbound", "/v1/suspensions"),
        ("inbound", "/v1/suspensions/lift"),
    ] {
        assert_eq!(
            vault.send("security", "POST", path, Some(&change(who))).await.status(),
            200,
            "{who} {path}"
        );
    }
}

/// A certificate is revoked; whoever has it is refused from then on.
async fn lose_certificate(vault: &Service) {
    let lost = vault.pki.client("updater").unwrap();
    vault.pki.revoke(&lost).unwrap();
    let client = Client::new(&vault.pki, Some(&lost), Server::Vault, vault.address).unwrap();
    for _ in 0..200 {
        if client.send("GET", "/v1/tenants", &[], b"").await.is_err() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    vault.awaited("tls.reject", "revoked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_of_a_quarter_is_that_of_the_raw_log() {
    let (vault, from, to, tokens) = quarter().await;
    let folder = bundle(&vault, from, to, 5).await;
    let found = verify(folder.path(), &key(&vault).await).unwrap();
    assert_eq!((found.manifest.period.from, found.manifest.period.until), (from, to));
    assert!(found.samples >= 10, "{found:?}");
    let entry = vault.newest("evidence.make").await;
    assert_eq!(entry["obj"]["ref"], hex::encode(found.sha256), "the log names this bundle");
    assert_eq!(entry["actor"]["id"], "spiffe://strongroom.test/security");
    let facts = read_json(folder.path(), "evidence.json");
    assert_eq!(entry["n"], facts["log"]["entries"]);

    // The same question, the same bundle but for who asked when: samples and counts.
    let again = bundle(&vault, from, to, 5).await;
    let counts = |folder: &Path| {
        let facts = read_json(folder, "evidence.json");
        (facts["log"]["events"].clone(), facts["log"]["entries"].clone(), facts["access"].clone())
    };
    // Only ReadEvidence was used since, after the period.
    assert_eq!(counts(folder.path()), counts(again.path()));

    let standing = |who: &str| {
        let grants = facts["access"]["grants"].as_array().unwrap();
        let id = format!("spiffe://strongroom.test/{who}");
        grants.iter().find(|grant| grant["workload"] == id).unwrap()["standing"].clone()
    };
    assert_eq!(standing("matcher"), "unused", "its last use is 96 days back");
    assert_eq!(standing("checkout"), "in-use");
    let grants = facts["access"]["grants"].as_array().unwrap();
    let suspended = grants.iter().filter(|grant| grant["suspended_since"].is_string());
    let mut suspended: Vec<_> = suspended.map(|grant| grant["workload"].as_str().unwrap()).collect();
    suspended.dedup();
    assert_eq!(suspended, ["spiffe://strongroom.test/importer", "spiffe://strongroom.test/reconciler"]);

    what_was_filed(folder.path(), &found);
    for file in files(folder.path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        for secret in tokens.iter().map(String::as_str).chain([VISA]) {
            assert!(!text.contains(secret), "{}", file.display());
        }
        if file.extension().is_some_and(|ending| ending == "html") {
            assert!(!text.contains("<script"), "{}", file.display());
        }
    }
    assert!(read(folder.path(), "requirement-3.html").contains("&lt;script&gt;alert(1)"));
    assert!(
        read(folder.path(), "csv/retention.csv")
            .contains("\"<script>alert(1)</script> =HYPERLINK(\"\"x\"\")\"")
    );

    let vkey = key(&vault).await.to_string();
    let database = vault.folder.path().join("vault.db");
    let (held, _) = vault.stop().await; // its whole log is exported now
    std::fs::write(held.path().join("vkey"), &vkey).unwrap();
    let said = python(
        "recount.py",
        &[&held.path().join("signed-log"), folder.path(), &held.path().join("vkey"), &database],
    );
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
    assert!(text.contains("numbers of the pages are those of the log"), "{text}");

    // The recount does count: with one number changed it says so.
    let page = folder.path().join("requirement-10.html");
    let changed =
        read(folder.path(), "requirement-10.html").replacen("entries in the period", "entries before it", 1);
    std::fs::write(page, changed).unwrap();
    let said = python(
        "recount.py",
        &[&held.path().join("signed-log"), folder.path(), &held.path().join("vkey"), &database],
    );
    assert!(!said.status.success());
}

/// Reviews, differences, rotations and attestations of the quarter.
fn what_was_filed(folder: &Path, found: &VerifiedBundle) {
    let facts = read_json(folder, "evidence.json");
    let [access, log] = [0, 1].map(|at| facts["reviews"][at].clone());
    assert_eq!(
        (&access["kind"], &access["late"], &access["overdue"]),
        (&json!("access"), &json!(0), &json!(false))
    );
    assert_eq!((&log["kind"], &log["late"], &log["overdue"]), (&json!("log"), &json!(2), &json!(true)));
    assert_eq!((found.reviews, log["filed"][1]["remarks"].as_str()), (3, Some(HOSTILE)));
    let difference = &facts["access"]["difference"];
    assert_eq!(difference["state"], "compared");
    let changed = |name: &str, account: &str| {
        let rows = difference[name].as_array().unwrap();
        rows.iter().filter(|row| row["account"] == account).count()
    };
    assert_eq!((changed("added", "psp/second"), changed("removed", "psp/second")), (1, 0), "{difference}");
    let rotated: Vec<_> = facts["log"]["rotations"]["rows"].as_array().unwrap().iter().collect();
    let took_over: Vec<_> = rotated.iter().filter(|row| row["what"] == "data-key").collect();
    assert_eq!(took_over.len(), 1, "{rotated:?}");
    assert_eq!((&took_over[0]["scope"], &took_over[0]["purpose"]), (&json!("acme"), &json!("card")));
    let standing = |route: &str| {
        let rows = facts["psp_register"]["rows"].as_array().unwrap();
        rows.iter().find(|row| row["route"] == route).unwrap()["standing"].clone()
    };
    assert_eq!([standing("psp"), standing("stripe"), standing("once")], ["stands", "over", "none"]);
    for (page, red) in [("requirement-10.html", "OVERDUE since"), ("requirement-12.html", "must be 0")] {
        assert!(read(folder, page).contains(red), "{page}");
    }
    assert!(read(folder, "requirement-7.html").contains("Not given."), "no proofs were given");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_makes_and_verifies_a_bundle_as_folder_and_as_zip() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let (from, to) = (SystemClock.now().minus(DAY), SystemClock.now());
    let vkey = key(&vault).await.to_string();
    let url = format!("https://localhost:{}", vault.address.port());
    let out = tempfile::tempdir().unwrap();
    let program = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_strongroom-vault")).args(arguments).output().unwrap();
        let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (done.status.code(), text.concat())
    };
    let identity = vault.pki.client("security").unwrap();
    let ca = vault.pki.ca_file();
    let [certificate, key_file, ca] =
        [&identity.certificate_pem_path, &identity.key_pem_path, &ca].map(|path| path.display().to_string());
    let [folder, zip] = ["bundle", "bundle.zip"].map(|name| out.path().join(name).display().to_string());
    let (from, to) = (from.to_string(), to.to_string());
    let make = |to_path: &str| {
        let arguments = [
            "evidence",
            "--vault",
            &url,
            "--certificate",
            &certificate,
            "--key",
            &key_file,
            "--ca",
            &ca,
            "--from",
            &from,
            "--to",
            &to,
            "--out",
            to_path,
        ];
        program(&arguments)
    };
    for path in [&folder, &zip] {
        let (code, said) = make(path);
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, said) = make(&folder);
    assert_ne!(code, Some(0), "a folder that is there is not written into: {said}");
    let (code, said) = program(&["evidence", "verify", &folder, "--vkey", &vkey]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("reviews hold"), "{said}");
    let unpacked = out.path().join("unpacked");
    super::ground::unpack(&std::fs::read(&zip).unwrap(), &unpacked);
    verify(&unpacked, &key(&vault).await).unwrap();
    // As the manifest's own words say.
    let sums = Command::new("sha256sum").args(["-c", "manifest"]).current_dir(&unpacked).output().unwrap();
    assert!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stderr));
    std::fs::write(unpacked.join("index.html"), "changed").unwrap();
    let path = unpacked.display().to_string();
    let (code, said) = program(&["evidence", "verify", &path, "--vkey", &vkey]);
    assert_eq!(code, Some(1));
    assert!(said.contains("first: index.html"), "{said}");
}
