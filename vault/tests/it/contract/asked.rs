//! schemathesis asks a running vault what the contract says it may be asked, and holds every answer against it.
//!
//! Promises: every operation is asked validly and invalidly, as a workload that may; one that no valid request reaches is
//! a failure too. The same cases at every run of the same contract.
//! Does not promise: bodies beyond what JSON Schema says; each endpoint's own tests are for those.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::Digest as _;

use super::tools::{python, run};
use super::{CONTRACT, FOLDER};
use crate::events::ground::{Certificate, Receiver, Reply, secret};
use crate::exports::people;
use crate::reviews::{file, said, shown, signed};
use crate::service::{ROUTE, Service, VISA, sqlite};

const TENANT: &str = "acme";
/// A tenant whose cards nobody erases or changes.
const QUIET: &str = "quiet";
/// Nobody here holds its identity.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A file of values to choose from; they are written as they are, between quotes.
fn dictionary(folder: &Path, name: &str, values: &[String]) {
    let lines: String = values.iter().map(|value| format!("\"{value}\"\n")).collect();
    fs::write(folder.join(format!("{name}.dict")), lines).unwrap();
}

/// A vault that tells a receiver of its cards, and where two people may export.
async fn start(folder: &Path) -> (Service, Receiver) {
    let certificate = Certificate::issue(folder, "receiver");
    let key = secret(folder, "key", "A");
    let receiver = Receiver::start(&certificate, |_| Reply::Status(204)).await;
    let hook = receiver.webhook("receiver", &certificate.authority, &[&key]);
    let settings = format!("[export]\nenabled = true\n{hook}");
    let home = tempfile::tempdir().unwrap();
    let store = sqlite(home.path());
    let mut grants = people();
    let custodian = json!({
        "id": "spiffe://strongroom.test/custodian", "about": "looks after the keys", "roles": ["custodian"],
    });
    grants.as_array_mut().unwrap().push(custodian);
    (Service::start_granting_on(home, &store, &grants, &settings).await, receiver)
}

/// Cards in several states, forwards that are open, exports that are asked for and agreed to.
async fn furnish(service: &Service, folder: &Path) {
    for workload in ["updater", "matcher", "reconciler", "security", "auditor", "custodian"] {
        service.pki.client(workload).map(|_| ()).unwrap();
    }
    for tenant in [TENANT, QUIET] {
        service.onboard_as(tenant, json!({ "fingerprints": true, "formats": ["pan_shaped"] })).await;
    }
    let mut tokens = cards(service, TENANT, 64).await;
    let restored = tokens.split_off(60);
    for token in &restored {
        let path = format!("/v1/tenants/{TENANT}/cards/{token}");
        assert_eq!(service.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    }
    let forwarded = cards(service, QUIET, 16).await;
    let (mut forwards, mut receipts) = (Vec::new(), Vec::new());
    for token in &forwarded[..8] {
        let answer = service.forward(token, &["number"]).await;
        receipts.push(answer.header("strongroom-receipt").unwrap().to_owned());
        let opened: Value = answer.json();
        forwards.push(opened["id"].as_str().unwrap().to_owned());
    }
    let broken = forwards.split_off(4);
    for id in &broken {
        let (path, unknown) = (format!("/v1/forwards/{id}/outcome"), json!({ "outcome": "unknown" }));
        assert_eq!(service.send("proxy", "PUT", &path, Some(&unknown)).await.status(), 204);
    }
    let text = said(&shown(service, "reviewer", "access").await, "approved", "");
    let review = signed(service, "reviewer", "reviewer", &text);
    assert_eq!(file(service, "reviewer", "access", &review).await.status(), 201);
    for (name, member) in
        [("reviews", "record"), ("signatures", "signature"), ("certificates", "certificate")]
    {
        dictionary(folder, name, &[review[member].as_str().unwrap().to_owned()]);
    }
    let (asked, sha256) = export(service).await;
    let (agreed, agreed_sha256) = export(service).await;
    let path = format!("/v1/tenants/{QUIET}/exports/{agreed}/approval");
    let approval = json!({ "sha256": agreed_sha256 });
    assert_eq!(service.send("exporter-two", "PUT", &path, Some(&approval)).await.status(), 200);
    dictionary(folder, "tenants", &[TENANT.to_owned()]);
    dictionary(folder, "quiet", &[QUIET.to_owned()]);
    dictionary(folder, "shown", &tokens[..24]);
    dictionary(folder, "updated", &tokens[24..56]);
    dictionary(folder, "erased", &tokens[56..]);
    dictionary(folder, "restored", &restored);
    dictionary(folder, "forwarded", &forwarded);
    dictionary(folder, "forwards", &forwards);
    dictionary(folder, "receipts", &receipts);
    dictionary(folder, "broken", &broken);
    dictionary(folder, "exports", &[asked]);
    dictionary(folder, "exports-sha256", &[sha256]);
    dictionary(folder, "agreed", &[agreed]);
    dictionary(folder, "route-sha256", &[hex::encode(sha2::Sha256::digest(ROUTE))]);
}

async fn cards(service: &Service, tenant: &str, count: usize) -> Vec<String> {
    let card = json!({
        "number": VISA, "exp_month": 12, "exp_year": 2034, "holder": "JANE Q CARDHOLDER", "cvc": "123",
    });
    let mut tokens = Vec::with_capacity(count);
    for _ in 0..count {
        tokens.push(service.tokenize(tenant, &card).await);
    }
    tokens
}

/// Asked for by the first of the two; gives its id and what the second one says.
async fn export(service: &Service) -> (String, String) {
    let wanted = json!({ "recipient": RECIPIENT, "cards_max": 1_000, "purpose": "moving house" });
    let path = format!("/v1/tenants/{QUIET}/exports");
    let asked = service.send("exporter-one", "POST", &path, Some(&wanted)).await;
    assert_eq!(asked.status(), 201, "{}", asked.json());
    let text = |name: &str| asked.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("sha256"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_what_the_contract_allows_and_forbids_is_in_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let (service, _receiver) = start(folder.path()).await;
    furnish(&service, folder.path()).await;
    let config = folder.path().join("schemathesis.toml");
    fs::copy(format!("{FOLDER}/schemathesis.toml"), &config).map(|_| ()).unwrap();
    let url = format!("https://localhost:{}", service.address.port());
    let pki = service.folder.path().join("pki");
    let told = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(python().join("schemathesis"));
        command.current_dir(folder.path()).env("PKI", pki).env("PYTHONPATH", FOLDER);
        command
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg("--config-file")
            .arg(config);
        command.args(["run", CONTRACT, "--url", &url, "--no-color"]);
        run(&mut command)
    });
    let told = told.await.unwrap();
    println!("{told}");
    assert!(told.contains(&format!("Tested: {}\n", operations())), "every operation");
}

fn operations() -> usize {
    let contract: Value = serde_json::from_slice(&fs::read(CONTRACT).unwrap()).unwrap();
    contract["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum()
}
