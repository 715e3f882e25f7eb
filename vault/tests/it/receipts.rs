//! Receipts: what a caller holds in hand of what was written about it, and who may turn one into a proof.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_sandbox::client::Exchange;
use strongroom_vault::app;
use strongroom_vault::audit::{LogKey, verify_receipt};

use crate::aws::emulator;
use crate::crash::store_of;
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA};

fn receipt(answer: &Exchange) -> String {
    answer.header("strongroom-receipt").unwrap_or_else(|| panic!("no receipt: {}", answer.json())).to_owned()
}

async fn asked(vault: &Service, who: &str, receipt: &str) -> Exchange {
    vault.send(who, "GET", &format!("/v1/audit/receipts/{receipt}"), None).await
}

/// Asks until a checkpoint covers it; meanwhile the answer says so and when to ask again.
async fn proven(vault: &Service, who: &str, receipt: &str) -> Exchange {
    for _ in 0..600 {
        let answer = asked(vault, who, receipt).await;
        match answer.status() {
            202 => {
                assert_eq!(
                    (answer.header("retry-after"), &answer.json()["state"]),
                    (Some("1"), &json!("pending"))
                );
                assert_eq!(answer.json()["entries"], json!([]));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            200 => return answer,
            status => panic!("{status}: {}", answer.json()),
        }
    }
    panic!("no checkpoint covers it")
}

/// Verified by the vault's own verifier and by the one written apart from it.
fn verified_by_both(vault: &Service, document: &[u8], key: &LogKey) {
    assert!(verify_receipt(document, key).unwrap().is_shown());
    let say = |document: &[u8]| {
        let [ours, theirs] = said(vault, document, key, &[]);
        assert_eq!(ours.0, theirs.0, "{ours:?} {theirs:?}");
        theirs
    };
    let (code, said) = say(document);
    assert!(code == Some(0) && said.contains("in the tree of") && !said.contains("word"), "{said}");
    let mut changed: Value = serde_json::from_slice(document).unwrap();
    let first = changed["entries"][0].as_object_mut().unwrap();
    let leaf = first["leaf"].as_str().unwrap().replacen("success", "failure", 1);
    first.insert("leaf".into(), leaf.into());
    let (code, said) = say(changed.to_string().as_bytes());
    assert!(code == Some(1) && said.contains("is not the one the receipt names"), "{said}");
    let mut moved: Value = serde_json::from_slice(document).unwrap();
    moved["entries"][0]["index"] = json!(moved["entries"][0]["index"].as_u64().unwrap() + 1);
    let (code, said) = say(moved.to_string().as_bytes());
    assert!(code == Some(1) && said.contains("is not in the tree"), "{said}");
}

/// Exit status and words of the vault's program and of the one written apart from it.
fn said(vault: &Service, document: &[u8], key: &LogKey, options: &[&str]) -> [(Option<i32>, String); 2] {
    let file = vault.folder.path().join("receipt.json");
    std::fs::write(&file, document).unwrap();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/verify/verify_receipt.py");
    let mut python = Command::new(emulator::environment().join("bin/python3"));
    python.args(["-B", program]);
    let mut ours = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
    ours.args(["audit", "receipt"]);
    [ours, python].map(|mut command| {
        let output = command.arg(&file).args(["--vkey", &key.to_string()]).args(options).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    })
}

/// A change and a forward of two cards on this vault, each proved by its receipt.
async fn a_change_and_a_forward_are_proved(vault: Service) {
    vault.onboard("acme").await;
    let key = app::log_key(&vault.config).await.unwrap();
    let card = json!({ "number": VISA });
    let stored = vault.send("checkout", "POST", "/v1/tenants/acme/cards", Some(&card)).await;
    assert_eq!(stored.status(), 201);
    let first = stored.json()["token"].as_str().unwrap().to_owned();
    let second = vault.tokenize("acme", &card).await;
    let wanted = vault.wanted(&[&first, &second], &["number"]);
    let opened = vault.send("proxy", "POST", "/v1/forwards", Some(&wanted)).await;
    assert_eq!(opened.status(), 201);
    assert!(receipt(&opened).ends_with(".2"), "one for both cards: {}", receipt(&opened));
    for (receipt, event, entries) in
        [(receipt(&stored), "pan.tokenize", 1), (receipt(&opened), "pan.forward", 2)]
    {
        let answer = proven(&vault, "security", &receipt).await;
        let body = answer.json();
        assert_eq!((&body["id"], &body["state"]), (&json!(receipt), &json!("sequenced")));
        assert_eq!(body["entries"].as_array().unwrap().len(), entries);
        for entry in body["entries"].as_array().unwrap() {
            let leaf: Value = serde_json::from_str(entry["leaf"].as_str().unwrap()).unwrap();
            assert_eq!((&leaf["evt"], &leaf["out"]), (&json!(event), &json!("success")));
        }
        verified_by_both(&vault, &answer.body(), &key);
        // That it was read is on the log, with a receipt of its own.
        let read = vault.newest("audit.read").await;
        assert_eq!((&read["obj"]["type"], &read["obj"]["ref"]), (&json!("receipt"), &json!(receipt)));
        assert_eq!((&read["n"], &read["out"]), (&json!(entries), &json!("success")));
        assert_eq!(read["actor"]["id"], "spiffe://strongroom.test/security");
        assert_eq!(self::receipt(&answer), format!("{}.{}", text(&read["boot_id"]), read["instance_seq"]));
    }
    let said = asked(&vault, "security", &receipt(&opened)).await.json().to_string();
    assert!(!said.contains(VISA) && !said.contains(&first), "a receipt shows no card");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_a_forward_are_proved_by_their_receipts_on_sqlite() {
    a_change_and_a_forward_are_proved(Service::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_a_forward_are_proved_by_their_receipts_on_postgres() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let vault = Service::start_on(tempfile::tempdir().unwrap(), &store_of(&server)).await;
    a_change_and_a_forward_are_proved(vault).await;
}

#[tokio::test]
async fn a_receipt_is_for_the_security_team_and_successes_for_their_tenant_s_readers() {
    let vault = Service::start_granting(&json!([{
        "id": "spiffe://strongroom.test/others", "roles": ["orchestrator"], "tenants": { "groups": ["others"] },
    }]))
    .await;
    vault.onboard_as("acme", json!({ "dedupe": "return-existing" })).await;
    let card = json!({ "number": VISA });
    let path = "/v1/tenants/acme/cards";
    let stored = vault.send("checkout", "POST", path, Some(&card)).await;
    let known = vault.send("checkout", "POST", path, Some(&card)).await;
    let token = stored.json()["token"].as_str().unwrap().to_owned();
    let opened = vault.forward(&token, &["number"]).await;

    // Whoever reads for the tenant sees what was done, and of a tokenization only that it is there: not whether the number
    // was known.
    let shown = proven(&vault, "orchestrator", &receipt(&opened)).await.json();
    assert!(shown["entries"][0]["leaf"].is_string());
    let key = app::log_key(&vault.config).await.unwrap();
    for receipt in [receipt(&stored), receipt(&known)] {
        let shown = proven(&vault, "orchestrator", &receipt).await;
        assert_eq!(shown.json()["entries"][0].get("leaf"), None);
        assert!(!verify_receipt(&shown.body(), &key).unwrap().is_shown());
        // Nobody takes it for a proof of this receipt: under its id any other entry would be in the tree as well.
        for (options, expected) in [(&[][..], Some(1)), (&["--hash-only"], Some(0))] {
            for (code, said) in said(&vault, &shown.body(), &key, options) {
                assert_eq!(code, expected, "{said}");
                assert!(said.contains("that it is this receipt's entry is the vault's word"), "{said}");
            }
        }
        assert!(proven(&vault, "security", &receipt).await.json()["entries"][0]["leaf"].is_string());
    }

    // What is refused, a reading, of no tenant, another's, unknown or no receipt at all is one and the same nothing.
    let refused = vault.send("orchestrator", "GET", &format!("{path}/{}", other(&token)), None).await;
    assert_eq!(refused.status(), 404);
    let onboarded = vault.send("platform", "GET", "/v1/tenants?limit=1", None).await;
    // The security team's own reading of this tenant's forward, and a reading of facts.
    let looked_into = proven(&vault, "security", &receipt(&opened)).await;
    let facts = vault.send("orchestrator", "GET", &format!("{path}/{token}"), None).await;
    assert_eq!(facts.status(), 200);
    let boot = receipt(&stored).split('.').next().unwrap().to_owned();
    let unknown = format!("{boot}.99999");
    let beyond = format!("{boot}.0.128");
    let asks = [
        ("orchestrator", receipt(&refused)),
        ("orchestrator", receipt(&onboarded)),
        ("orchestrator", receipt(&looked_into)),
        ("orchestrator", receipt(&facts)),
        ("orchestrator", format!("{boot}.0")),
        ("orchestrator", unknown.clone()),
        ("orchestrator", beyond),
        ("orchestrator", "none".to_owned()),
        ("others", receipt(&opened)),
        ("checkout", receipt(&stored)),
        ("proxy", receipt(&opened)),
        ("intruder", receipt(&opened)),
        ("security", unknown),
        ("security", "none".to_owned()),
    ];
    let mut answers = std::collections::BTreeSet::new();
    for (who, receipt) in asks {
        let answer = asked(&vault, who, &receipt).await;
        assert_eq!(answer.status(), 404, "{who} {receipt}: {}", answer.json());
        let mut document = answer.json();
        document.as_object_mut().unwrap().remove("request_id");
        answers.insert(document.to_string());
        let entry = vault.newest("audit.read").await;
        assert_eq!(
            (&entry["out"], &entry["obj"]["tenant"]),
            (&json!("denied"), &Value::Null),
            "{who}: {entry}"
        );
        if receipt.contains('.') {
            assert_eq!(entry["obj"]["ref"], receipt, "{who}: {entry}");
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers.first().unwrap().contains("receipt-not-found"));
    // The security team reads those refusals.
    let shown = proven(&vault, "security", &receipt(&refused)).await.json();
    assert!(text(&shown["entries"][0]["leaf"]).contains("\"out\":\"denied\""));
}

/// Another token that no card has.
fn other(token: &str) -> String {
    use strongroom_domain::{Environment, Token};
    let other =
        Token::generate(Environment::Test, &strongroom_perimeter::chance::SystemRandom::new()).unwrap();
    assert_ne!(other.as_str(), token);
    other.as_str().to_owned()
}
