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
use crate::service::{ROUTE, Service, VISA};

const TENANT: &str = "acme";

/// A file of values to choose from; they are written as they are, between quotes.
fn dictionary(folder: &Path, name: &str, values: &[String]) {
    let lines: String = values.iter().map(|value| format!("\"{value}\"\n")).collect();
    fs::write(folder.join(format!("{name}.dict")), lines).unwrap();
}

/// Cards in several states, and forwards that are open.
async fn furnish(service: &Service, folder: &Path) {
    service.onboard_as(TENANT, json!({ "fingerprints": true, "formats": ["pan_shaped"] })).await;
    let card = json!({ "number": VISA, "exp_month": 12, "exp_year": 2034, "holder": "JANE Q CARDHOLDER" });
    let mut tokens = Vec::new();
    for _ in 0..40 {
        tokens.push(service.tokenize(TENANT, &card).await);
    }
    let (shown, rest) = tokens.split_at(32);
    let (erased, restored) = rest.split_at(4);
    for token in restored {
        let path = format!("/v1/tenants/{TENANT}/cards/{token}");
        assert_eq!(service.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    }
    let mut forwards = Vec::new();
    for token in &shown[..4] {
        let opened: Value = service.forward(token, &["number"]).await.json();
        forwards.push(opened["id"].as_str().unwrap().to_owned());
    }
    dictionary(folder, "tenants", &[TENANT.to_owned()]);
    dictionary(folder, "shown", shown);
    dictionary(folder, "erased", erased);
    dictionary(folder, "restored", restored);
    dictionary(folder, "forwards", &forwards);
    dictionary(folder, "route-sha256", &[hex::encode(sha2::Sha256::digest(ROUTE))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_what_the_contract_allows_and_forbids_is_in_the_contract() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
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
