//! A whole vault that watches its own log.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_tells_on_its_log_and_in_a_file_who_is_refused_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("findings.jsonl");
    let settings = format!("denied_least = 5\ndenied_percent = 90\nfindings_file = {file:?}");
    let vault = Service::start_watched(folder, &settings).await;
    vault.onboard("acme").await;
    for _ in 0..5 {
        assert_eq!(vault.send("intruder", "GET", "/v1/tenants", None).await.status(), 403);
    }
    let entry = vault.awaited("anomaly.found", "denied-ratio").await;
    assert_eq!(entry["finding"]["principal"], "spiffe://strongroom.test/intruder");
    assert_eq!((&entry["finding"]["count"], &entry["actor"]["type"]), (&json!(5), &json!("system")));
    let mut text = String::new();
    for _ in 0..600 {
        text = std::fs::read_to_string(&file).unwrap();
        if !text.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let name = format!("{}/{}", entry["boot_id"].as_str().unwrap(), entry["instance_seq"]);
    assert_eq!((&line["metadata"]["uid"], &line["class_uid"]), (&json!(name), &json!(2004)));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "its owner's alone");
    let found = vault.send("security", "GET", "/v1/audit/entries?verb=anomaly.found", None).await.json();
    assert_eq!(found["entries"][0]["entry"], entry);
}
