//! Clients that generators make of the contract, in TypeScript and in Python: the same life of a merchant through each.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::tools::{node, python, run};
use super::{CONTRACT, FOLDER};
use crate::service::Service;

/// Runs a program that is given the vault, its certificates and a tenant; it must have seen a merchant's whole life.
async fn lives(service: &Service, tenant: &'static str, mut program: Command) {
    let url = format!("https://localhost:{}", service.address.port());
    program.arg(url).arg(service.folder.path().join("pki")).arg(tenant);
    let told = tokio::task::spawn_blocking(move || run(&mut program)).await.unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let problem = |status: u16, kind: &str, pointer: Option<&str>| json!({ "status": status, "type": format!("urn:strongroom:problem:{kind}"), "pointer": pointer });
    assert_eq!(
        told,
        json!({
            "onboarded": 201,
            "groups": ["merchants"],
            "same": true,
            "facts": { "brand": "visa", "last4": "4242", "exp_year": 2034 },
            "invalid": problem(422, "invalid-card", Some("/number")),
            "batch": [[201, null], [422, "/cards/1/number"]],
            "found": [[200, "4242"], [404, null]],
            "listed": ["4444", "4242"],
            "erased": 204,
            "gone": problem(404, "token-not-found", None),
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_generated_in_typescript_compiles_strictly_and_lives_a_merchants_life() {
    let program = tokio::task::spawn_blocking(|| {
        let tools = node();
        // Below the packages, so that they are found from it.
        let folder = tempfile::tempdir_in(&tools).unwrap();
        for name in ["smoke.ts", "tsconfig.json"] {
            let from = Path::new(FOLDER).join("typescript").join(name);
            fs::copy(from, folder.path().join(name)).map(|_| ()).unwrap();
        }
        fs::copy(tools.join("package.json"), folder.path().join("package.json")).map(|_| ()).unwrap();
        let tool = |name: &str| Command::new(tools.join("node_modules/.bin").join(name));
        run(tool("openapi-typescript").arg(CONTRACT).arg("-o").arg(folder.path().join("schema.d.ts")));
        run(tool("tsc").arg("--project").arg(folder.path()));
        folder
    });
    let program = program.await.unwrap();
    let service = Service::start().await;
    let mut command = Command::new("node");
    command.arg(program.path().join("built/smoke.js"));
    lives(&service, "in-typescript", command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_generated_in_python_lives_a_merchants_life() {
    let generated = tokio::task::spawn_blocking(|| {
        let programs = python();
        let folder = tempfile::tempdir().unwrap();
        let path = std::env::join_paths([&programs, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        run(Command::new(programs.join("openapi-python-client"))
            .args(["generate", "--meta", "none", "--fail-on-warning", "--path", CONTRACT, "--output-path"])
            .arg(folder.path().join("vault_client"))
            .args(["--config", &format!("{FOLDER}/python/generator.yaml")])
            .env("PATH", path)); // it formats what it made by a program of the same folder
        (folder, programs)
    });
    let (folder, programs) = generated.await.unwrap();
    let service = Service::start().await;
    let mut command = Command::new(programs.join("python"));
    command.arg(format!("{FOLDER}/python/smoke.py")).env("PYTHONPATH", folder.path());
    lives(&service, "in-python", command).await;
}
