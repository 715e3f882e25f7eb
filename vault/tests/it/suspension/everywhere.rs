//! Every call of the contract, every role, every replica, every restart.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;

use crate::crash::{Vault, door, onboard, store_of};
use crate::denials::operations;
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, configuration};

/// One workload of each role, besides the one that lifts.
const EVERYBODY: [&str; 11] = [
    "checkout",
    "importer",
    "orchestrator",
    "matcher",
    "reconciler",
    "updater",
    "proxy",
    "inbound",
    "platform",
    "auditor",
    "security-two",
];

pub(super) fn id(who: &str) -> String {
    format!("spiffe://strongroom.test/{who}")
}

pub(super) fn two_of_security() -> Value {
    json!([{ "id": id("security-two"), "roles": ["security"] }])
}

/// Suspends, or lifts, at the word of `by`.
pub(crate) async fn change(
    vault: &Service,
    by: &str,
    path: &str,
    who: &str,
) -> strongroom_sandbox::client::Exchange {
    let body = json!({ "workload": id(who), "reason": "its key was lost" });
    vault.send(by, "POST", path, Some(&body)).await
}

pub(crate) const SUSPEND: &str = "/v1/suspensions";
pub(crate) const LIFT: &str = "/v1/suspensions/lift";

#[tokio::test]
async fn whoever_is_suspended_is_refused_every_call_and_each_refusal_is_an_entry() {
    let vault = Service::start_granting(&two_of_security()).await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA })).await;
    for who in EVERYBODY {
        let answer = change(&vault, "security", SUSPEND, who).await;
        assert_eq!(answer.status(), 200, "{who}: {}", answer.json());
    }
    let mut calls = operations(&token);
    calls.push(("GET".into(), "/v1/audit/log/checkpoint".into(), "log".into()));
    assert!(calls.len() > 30);
    let before = vault.entries().await.len();
    for who in EVERYBODY {
        for (method, path, call) in &calls {
            let body = matches!(method.as_str(), "POST" | "PUT" | "PATCH").then(|| json!({ "number": VISA }));
            let answer = vault.send(who, method, path, body.as_ref()).await;
            let problem = answer.json();
            assert_eq!(answer.status(), 403, "{who} {call}: {problem}");
            assert_eq!(problem["type"], "urn:strongroom:problem:workload-suspended", "{who} {call}");
        }
    }
    let entries = vault.entries().await;
    assert_eq!(entries.len() - before, EVERYBODY.len() * calls.len(), "one entry for each");
    for entry in &entries[before..] {
        assert_eq!((&entry["out"], &entry["rsn"]), (&json!("denied"), &json!("workload-suspended")));
        assert!(EVERYBODY.iter().any(|who| entry["actor"]["id"] == id(who)), "{entry}");
    }
    // Found like any refusal.
    let path = "/v1/audit/entries?verb=workload.suspend&outcome=success";
    for _ in 0..600 {
        let found = vault.send("security", "GET", path, None).await.json();
        if found["entries"].as_array().is_some_and(|entries| entries.len() == EVERYBODY.len()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the index does not find the suspensions");
}

#[tokio::test]
async fn a_suspension_outlives_a_restart_and_ends_only_when_it_is_lifted() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let card = json!({ "number": VISA });
    assert_eq!(change(&vault, "security", SUSPEND, "checkout").await.status(), 200);
    let vault = vault.restart().await;
    let refused = vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&card)).await;
    assert_eq!(refused.json()["type"], "urn:strongroom:problem:workload-suspended");
    let listed = vault.send("security", "GET", SUSPEND, None).await.json();
    let shown = &listed["suspensions"][0];
    assert_eq!((&shown["workload"], &shown["by"]), (&json!(id("checkout")), &json!(id("security"))));
    assert_eq!((&shown["reason"], &shown["rule"]), (&json!("its key was lost"), &Value::Null));
    assert_eq!(change(&vault, "security", LIFT, "checkout").await.status(), 200);
    vault.tokenize("acme", &card).await;
    let entry = vault.newest("workload.resume").await;
    assert_eq!(entry["obj"], json!({ "type": "workload", "ref": id("checkout") }));
    assert_eq!(entry["actor"]["id"], id("security"));
    assert_eq!(entry["suspension"]["reason"], "its key was lost");
    assert_eq!(entry["suspension"]["since"], shown["since"]);
    let vault = vault.restart().await;
    vault.tokenize("acme", &card).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_is_in_force_on_the_other_replica_too() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &store_of(&server));
    let mut vaults = ["vault-1", "vault-2"].map(|name| Vault::prepare(folder.path(), name, &text));
    vaults.iter_mut().for_each(Vault::start);
    vaults.iter_mut().for_each(Vault::wait);
    onboard(pki.folder(), &vaults[0]).await;
    let mut security = door(pki.folder(), "security", vaults[0].address());
    let mut checkout = door(pki.folder(), "checkout", vaults[1].address());
    for (path, until) in [(SUSPEND, 403), (LIFT, 201)] {
        let body = json!({ "workload": id("checkout"), "reason": "a drill" }).to_string();
        let changed = security.send("POST", path, &[], body).await.unwrap();
        assert_eq!(changed.status.as_u16(), 200, "{}", changed.json());
        let began = std::time::Instant::now();
        loop {
            let card = json!({ "number": VISA }).to_string();
            let answer = checkout.send("POST", "/v1/tenants/acme/cards", &[], card).await.unwrap();
            if answer.status.as_u16() == until {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{path}: {}", answer.json());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{path}: in force on the other replica after {} ms", began.elapsed().as_millis());
    }
    vaults.iter_mut().for_each(Vault::stop);
}
