//! Every operation of the contract refuses who has no grant for it, and each refusal is one entry.
//!
//! `tests/golden/routes-without-authz.txt` names the operations that have no such test; it is empty and stays so.

use serde_json::{Value, json};

use crate::service::{Service, VISA};

/// Whoever has a certificate and no grant: unknown to policy, and known with a role that has nothing to do with it.
const WITHOUT_GRANT: [&str; 2] = ["intruder", "security"];
/// The same, for what the security team may read.
const WITHOUT_EVIDENCE: [&str; 2] = ["intruder", "checkout"];

/// Every operation: method, path with its parameters filled in, `operationId`.
pub(crate) fn operations(token: &str) -> Vec<(String, String, String)> {
    let contract = serde_json::to_value(strongroom_vault::http::contract()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        let filled = path
            .replace("{tenant}", "acme")
            .replace("{token}", token)
            .replace("{kind}", "access")
            .replace("{id}", "0190a0b0-c0d0-7e0f-8f00-112233445566");
        assert!(!filled.contains('{'), "{path}: a parameter this test cannot fill in");
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            operations.push((method.to_uppercase(), filled.clone(), id));
        }
    }
    operations
}

#[tokio::test]
async fn every_operation_refuses_who_has_no_grant_and_says_so_once_on_the_log() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let without: Vec<_> = include_str!("../golden/routes-without-authz.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(without.is_empty(), "{without:?}");
    let operations = operations(&token);
    assert!(operations.len() >= 8);
    for (method, path, id) in operations {
        let read_by_security = matches!(
            id.as_str(),
            "reportRetention"
                | "findAuditEntries"
                | "listBlastRadius"
                | "readReceipt"
                | "makeEvidence"
                | "listSuspensions"
                | "suspendWorkload"
                | "resumeWorkload"
                | "makeEvidenceWithProofs"
                | "readForward"
        );
        let without = if read_by_security { WITHOUT_EVIDENCE } else { WITHOUT_GRANT };
        for who in without {
            let before = vault.entries().await.len();
            let body = matches!(method.as_str(), "POST" | "PUT" | "PATCH").then(|| json!({ "number": VISA }));
            let answer = vault.send(who, &method, &path, body.as_ref()).await;
            let problem = answer.json();
            assert!(matches!(answer.status(), 403 | 404), "{who} {id}: {problem}");
            assert!(
                problem["type"].as_str().is_some_and(|kind| kind.starts_with("urn:strongroom:problem:")),
                "{id}"
            );
            let entries = vault.entries().await;
            assert_eq!(entries.len(), before + 1, "{who} {id}: one entry");
            let entry = entries.last().unwrap();
            assert_eq!(entry["out"], "denied", "{who} {id}: {entry}");
            assert_eq!(entry["actor"]["id"], format!("spiffe://strongroom.test/{who}"));
            assert_ten_2_2(entry);
        }
    }
}

/// PCI DSS 10.2.2: user, type, date and time, outcome, origin, what it was about.
fn assert_ten_2_2(entry: &Value) {
    for member in ["actor", "evt", "ts", "out", "src", "obj", "req", "iid", "boot_id", "instance_seq", "mac"]
    {
        assert!(!entry[member].is_null(), "no {member}: {entry}");
    }
}
