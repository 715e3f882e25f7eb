//! Rules that suspend: none by default, few an hour, never who could help, and never somebody the bundle does not know.

use serde_json::json;

use super::everywhere::{LIFT, SUSPEND, change, id};
use crate::service::{Service, VISA};

const RULES: &str = "denied_least = 5\ndenied_percent = 50";

/// Is refused so often that the rule finds it.
async fn provoke(vault: &Service, who: &str) {
    for _ in 0..5 {
        assert_eq!(vault.send(who, "DELETE", "/v1/tenants/acme/cards/x", None).await.status() / 100, 4);
    }
    for _ in 0..600 {
        let mut entries = vault.entries().await.into_iter();
        if entries.any(|entry| entry["evt"] == "anomaly.found" && entry["finding"]["principal"] == id(who)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the rule does not find {who}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_suspends_nobody_unless_it_is_configured_to() {
    let vault = Service::start_watched(tempfile::tempdir().unwrap(), RULES).await;
    vault.onboard("acme").await;
    provoke(&vault, "checkout").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    assert!(vault.entries().await.iter().all(|entry| entry["evt"] != "workload.suspend"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_suspends_whom_it_finds_within_its_bounds_and_a_person_lifts_it() {
    let settings = format!("{RULES}\n[watch.suspend]\nrules = [\"denied-ratio\"]\nmost_per_hour = 1");
    let vault = Service::start_watched(tempfile::tempdir().unwrap(), &settings).await;
    vault.onboard("acme").await;
    // Whom the bundle does not know uses nothing up; who could help is found and not suspended.
    provoke(&vault, "intruder").await;
    provoke(&vault, "security").await;
    let withheld = vault.awaited("workload.suspend", "last-of-role").await;
    assert_eq!((&withheld["out"], &withheld["obj"]["ref"]), (&json!("denied"), &json!(id("security"))));
    provoke(&vault, "checkout").await;
    let entry = vault.awaited("workload.suspend", "by-rule").await;
    assert_eq!((&entry["out"], &entry["obj"]["ref"]), (&json!("success"), &json!(id("checkout"))));
    assert_eq!(
        (&entry["suspension"]["rule"], &entry["actor"]["type"]),
        (&json!("denied-ratio"), &json!("system"))
    );
    let card = json!({ "number": VISA });
    let refused = vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&card)).await;
    assert_eq!(refused.json()["type"], "urn:strongroom:problem:workload-suspended");
    let listed = vault.send("security", "GET", SUSPEND, None).await.json();
    assert_eq!(listed["suspensions"].as_array().unwrap().len(), 1);
    assert_eq!(listed["suspensions"][0]["rule"], "denied-ratio");
    // The hour's one is used up, also once it was lifted: the next is told and goes on.
    assert_eq!(change(&vault, "security", LIFT, "checkout").await.status(), 200);
    vault.tokenize("acme", &card).await;
    provoke(&vault, "matcher").await;
    let withheld = vault.awaited("workload.suspend", "suspensions-used-up").await;
    assert_eq!((&withheld["out"], &withheld["obj"]["ref"]), (&json!("denied"), &json!(id("matcher"))));
    let listed = vault.send("security", "GET", SUSPEND, None).await.json();
    assert_eq!(listed["suspensions"], json!([]));
}
