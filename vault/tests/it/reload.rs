//! A bundle that changes while the vault serves.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::service::{Service, VISA};

/// A look every five seconds, on a slow machine.
const LOOKED_MAX: Duration = Duration::from_secs(60);
/// By then one look is over: what must change nothing had its chance.
const LOOKED: Duration = Duration::from_secs(6);

fn version(policies: &Path, version: u64) {
    std::fs::write(policies.join("bundle.toml"), format!("version = {version}\n")).unwrap();
}

async fn takes_cards(vault: &Service) -> bool {
    let card = json!({ "number": VISA });
    match vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&card)).await.status() {
        201 => true,
        403 => false,
        status => panic!("{status}"),
    }
}

async fn becomes(vault: &Service, wanted: bool) {
    let began = Instant::now();
    while takes_cards(vault).await != wanted {
        assert!(began.elapsed() < LOOKED_MAX, "the bundle is not in force");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_bundle_is_in_force_if_it_is_newer_and_valid_and_told_once() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    assert!(takes_cards(&vault).await);
    let policies = vault.config.policies.folder.clone();
    let shipped = std::fs::read(policies.join("workloads.json")).unwrap();
    let mut without: Value = serde_json::from_slice(&shipped).unwrap();
    let is_checkout = |workload: &Value| workload["id"].as_str().unwrap().ends_with("/checkout");
    without["workloads"].as_array_mut().unwrap().retain(|workload| !is_checkout(workload));

    // Of the same version, and then not valid: the one in force stays.
    std::fs::write(policies.join("workloads.json"), without.to_string()).unwrap();
    tokio::time::sleep(LOOKED).await;
    assert!(takes_cards(&vault).await);
    std::fs::write(policies.join("workloads.json"), "{").unwrap();
    version(&policies, 1_000);
    tokio::time::sleep(LOOKED).await;
    assert!(takes_cards(&vault).await);

    std::fs::write(policies.join("workloads.json"), without.to_string()).unwrap();
    becomes(&vault, false).await;
    std::fs::write(policies.join("workloads.json"), &shipped).unwrap();
    version(&policies, 1_001);
    becomes(&vault, true).await;
    let entries = vault.entries().await;
    let activated = entries.iter().filter(|entry| entry["evt"] == "policy.activate");
    let told: Vec<_> = activated.map(|entry| (&entry["rsn"], &entry["pol"]["rev"])).collect();
    assert_eq!(told, [(&json!("changed"), &json!(1_000)), (&json!("changed"), &json!(1_001))]);
    vault.stop().await;
}
