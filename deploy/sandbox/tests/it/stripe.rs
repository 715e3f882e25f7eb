//! The official Stripe client for Python.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom_sandbox::psp::cards;

use crate::support::{API_KEY, Setting};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stripe");

/// Python with the pinned packages, in a virtual environment under `target/`; made once, whoever comes first.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripe-venv");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let python = folder.join("venv/bin/python");
    let requirements = format!("{FOLDER}/requirements.txt");
    let wanted = fs::read(&requirements).unwrap();
    let done = folder.join("installed.txt");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")));
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    run(Command::new(&python).args(options).args(["--require-hashes", "-r", &requirements]));
    fs::write(done, wanted).unwrap();
    python
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("this test needs python3 with venv and pip");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_pays_captures_refunds_and_is_declined() {
    let setting = Setting::start().await;
    let mut command = Command::new(tokio::task::spawn_blocking(python).await.unwrap());
    command
        .arg(format!("{FOLDER}/payment.py"))
        .args(["--url", &setting.psp.url(), "--ca"])
        .arg(setting.pki.psp_ca_file());
    command.args([
        "--api-key",
        API_KEY,
        "--number",
        cards::APPROVED,
        "--cvc",
        "737",
        "--declined",
        cards::INSUFFICIENT_FUNDS,
    ]);
    let told = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(told.trim()).unwrap();
    let method = told["method"].as_str().unwrap();
    assert_eq!(
        told,
        serde_json::json!({
            "method": method,
            "last4": "4242",
            "same": true,
            "before": "requires_confirmation",
            "confirmed": "succeeded",
            "retrieved": "succeeded",
            "order": "7",
            "refund": "succeeded",
            "refunded": 99,
            "held": "requires_capture",
            "captured": 400,
            "canceled": "canceled",
            "declined": { "code": "card_declined", "decline_code": "insufficient_funds", "status": 402 },
        })
    );
    let lines = fs::read_to_string(setting.psp.log_file()).unwrap();
    assert_eq!(lines.matches(cards::APPROVED).count(), 1, "only the payment method carries the number");
}
