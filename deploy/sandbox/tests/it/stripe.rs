//! The official Stripe client for Python.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom_sandbox::psp::cards;

use strongroom_domain::{Environment, Token};
use strongroom_sandbox::house::{House, HouseOptions};

use crate::house::tokenize;
use crate::support::{API_KEY, Setting, SystemRandom};

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stripe");

/// Python with the pinned packages, in a virtual environment under `target/`; made once, whoever comes first.
pub(crate) fn python() -> PathBuf {
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

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("this test needs python3 with venv and pip, node and npm");
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
            "refused": [],
        })
    );
    let lines = fs::read_to_string(setting.psp.log_file()).unwrap();
    assert_eq!(lines.matches(cards::APPROVED).count(), 1, "only the payment method carries the number");
}

/// A token nobody has, well formed.
pub(crate) fn unknown_token() -> String {
    Token::generate(Environment::Test, &SystemRandom).unwrap().as_str().to_owned()
}

/// A house, a card that is approved and one that is declined.
pub(crate) struct Payment {
    _data: tempfile::TempDir,
    pub(crate) house: House,
    pub(crate) number: String,
    pub(crate) token: String,
    pub(crate) declined: String,
}

pub(crate) async fn pay(policies: Vec<(String, String)>) -> Payment {
    let data = tempfile::tempdir().unwrap();
    let options = HouseOptions { policies, ..HouseOptions::new(data.path()) };
    let house = House::start(options).await.unwrap();
    let number = cards::random_number(&SystemRandom).unwrap();
    let token = tokenize(&house, &number).await;
    let declined = tokenize(&house, cards::INSUFFICIENT_FUNDS).await;
    Payment { _data: data, house, number, token, declined }
}

/// The same script, through the proxy: a token for the number, the placeholder for the key. `reach` says how.
pub(crate) async fn pay_through_the_proxy<T>(reach: impl FnOnce(&House, &mut Command) -> T) {
    let Payment { _data, house, number, token, declined } = pay(Vec::new()).await;
    let mut command = Command::new(tokio::task::spawn_blocking(python).await.unwrap());
    command.arg(format!("{FOLDER}/payment.py")).args(["--api-key", "strongroom"]);
    command.args(["--number", &token, "--cvc", "000", "--declined", &declined]);
    command.args(["--refused", &unknown_token(), "--refused", cards::APPROVED]);
    let _until_paid = reach(&house, &mut command);
    let told = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert!(!told.contains(&number), "the orchestrator never sees the number");
    let told: serde_json::Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!(told["last4"], number[12..]);
    for (what, is) in [
        ("before", "requires_confirmation"),
        ("confirmed", "succeeded"),
        ("retrieved", "succeeded"),
        ("refund", "succeeded"),
        ("held", "requires_capture"),
        ("canceled", "canceled"),
    ] {
        assert_eq!(told[what], is, "{what}: {told}");
    }
    assert_eq!(
        told["declined"],
        serde_json::json!({ "code": "card_declined", "decline_code": "insufficient_funds", "status": 402 })
    );
    // Neither a token nobody has nor a number of the caller's own looks like a success to the client.
    assert_eq!(
        told["refused"],
        serde_json::json!([
            { "error": "InvalidRequestError", "status": 404, "code": "token-not-found" },
            { "error": "InvalidRequestError", "status": 400, "code": "pan-in-request" },
        ])
    );
    let arrived = fs::read_to_string(house.psp().log_file()).unwrap();
    assert_eq!(arrived.matches(&number).count(), 1, "only the payment method carries the number");
    assert!(arrived.contains("737") && !arrived.contains("tok_test_") && !arrived.contains(cards::APPROVED));
    let secret = fs::read_to_string(house.folder().secrets().join("sandbox.key")).unwrap();
    assert!(
        arrived.contains(secret.trim()) && !arrived.contains("Bearer strongroom"),
        "the account's own key"
    );
    house.stop().await;
}

/// With the orchestrator's certificate, at this address.
fn with_certificate(house: &House, command: &mut Command, url: &str) {
    let orchestrator = house.pki().client("orchestrator").unwrap();
    command.args(["--url", url, "--ca"]).arg(house.pki().ca_file());
    command.arg("--cert").arg(orchestrator.certificate_pem_path);
    command.arg("--key").arg(orchestrator.key_pem_path);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_pays_with_a_token_through_the_proxy_by_path() {
    pay_through_the_proxy(|house, command| {
        with_certificate(house, command, &format!("https://localhost:{}/sandbox", house.proxy().port()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_pays_with_a_token_through_the_proxy_by_host_name() {
    pay_through_the_proxy(|house, command| {
        let host = "sandbox.proxy.internal";
        with_certificate(house, command, &format!("https://{host}:{}", house.proxy().port()));
        command.arg(format!("--resolve={host}=127.0.0.1"));
    })
    .await;
}
