//! The official clients of Stripe through `CONNECT`: with a client certificate of their own, and through a relay without.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use strongroom_perimeter::chance;
use strongroom_perimeter::clock::SystemClock;
use strongroom_proxy::app::Ambient;
use strongroom_proxy::relay::Relay;
use strongroom_proxy::upstream::SystemResolver;
use strongroom_sandbox::house::{House, ROUTE_TEMPLATE};
use strongroom_sandbox::psp::cards;
use tokio_util::sync::CancellationToken;

use crate::stripe::{FOLDER as PYTHON_FOLDER, Payment, pay, pay_through_the_proxy, unknown_token};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node");

/// The route with a name for its upstream: Node's agents leave the host out of their TLS options and take an address in a
/// certificate for no name at all. PSPs have names.
fn named() -> Vec<(String, String)> {
    let route = ROUTE_TEMPLATE
        .replace("https://127.0.0.1:", "https://localhost:")
        .replace("[\"127.0.0.1\"]", "[\"127.0.0.1\", \"::1\"]");
    vec![("routes/sandbox.toml".into(), route)]
}

/// A relay beside the orchestrator, on a loopback port of its own.
pub(crate) struct Beside {
    pub(crate) address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Beside {
    fn start(house: &House, upstream: &str) -> Self {
        Self::to(house, upstream, "sandbox")
    }

    pub(crate) fn to(house: &House, upstream: &str, route: &str) -> Self {
        let orchestrator = house.pki().client("orchestrator").unwrap();
        let text = format!(
            "forward = {{ url = \"https://localhost:{}\" }}\nops = {{ address = \"127.0.0.1:0\" }}\n\
             [workloads.orchestrator]\ncertificate_file = {:?}\nkey_file = {:?}\nca_file = {:?}\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\nentries = [\n\
             {{ connect = \"{}\", workload = \"orchestrator\", route = \"{route}\" }},\n\
             {{ workload = \"orchestrator\", route = \"{route}\" }},\n]\n",
            house.proxy().port(),
            orchestrator.certificate_pem_path,
            orchestrator.key_pem_path,
            house.pki().ca_file(),
            upstream,
        );
        let ambient = Ambient {
            clock: Arc::new(SystemClock),
            random: Arc::new(chance::SystemRandom::new()),
            resolver: Arc::new(SystemResolver),
        };
        let relay = Relay::bind(toml::from_str(&text).unwrap(), ambient).unwrap();
        let (address, stop) = (relay.local_addrs()[0], CancellationToken::new());
        tokio::spawn(relay.serve(PrometheusBuilder::new().build_recorder().handle(), stop.clone()));
        Self { address, stop }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_for_python_pays_by_connect_with_a_certificate() {
    pay_through_the_proxy(|house, command| {
        let orchestrator = house.pki().client("orchestrator").unwrap();
        command.args(["--url", &house.psp().url(), "--ca"]).arg(house.connect_ca_file());
        command.arg("--proxy").arg(format!("https://localhost:{}", house.proxy().port()));
        command.arg("--proxy-ca").arg(house.pki().ca_file());
        command.arg("--cert").arg(orchestrator.certificate_pem_path);
        command.arg("--key").arg(orchestrator.key_pem_path);
        None::<Beside>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_for_python_pays_through_a_relay_by_its_environment_alone() {
    pay_through_the_proxy(|house, command| {
        let beside = Beside::start(house, &house.psp().address().to_string());
        command.args(["--environment", "--url", &house.psp().url(), "--ca"]).arg(house.connect_ca_file());
        for name in ["NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "REQUESTS_CA_BUNDLE"] {
            command.env_remove(name);
        }
        command.env("HTTPS_PROXY", format!("http://{}", beside.address));
        Some(beside)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_for_python_pays_through_a_relay_s_port() {
    pay_through_the_proxy(|house, command| {
        let beside = Beside::start(house, &house.psp().address().to_string());
        command.args(["--url", &format!("http://{}", beside.address), "--ca"]).arg(house.pki().ca_file());
        Some(beside)
    })
    .await;
}

/// Node's packages, installed once under `target/`; nothing of them runs while they are.
pub(crate) fn node_modules() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripe-node");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read(format!("{FOLDER}/package-lock.json")).unwrap();
    let done = folder.join("installed.json");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    for name in ["package.json", "package-lock.json"] {
        fs::copy(format!("{FOLDER}/{name}"), folder.join(name)).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    crate::stripe::run(&mut npm);
    fs::write(done, wanted).unwrap();
    folder
}

/// Pays with the client for Node; `proxy` and certificates are in `how`, and host and port where they are not the PSP's.
pub(crate) async fn pay_by_node(payment: &Payment, mut how: Value) -> Value {
    if how["host"].is_null() {
        how["host"] = json!("localhost");
        how["port"] = json!(payment.house.psp().address().port());
    }
    how["number"] = json!(payment.token);
    how["declined"] = json!(payment.declined);
    how["unknown"] = json!(unknown_token());
    run_node(&how, &payment.house.connect_ca_file()).await
}

/// Runs the script with what it is given; `trusted` is what Node trusts besides.
pub(crate) async fn run_node(given: &Value, trusted: &Path) -> Value {
    let modules = tokio::task::spawn_blocking(node_modules).await.unwrap();
    let mut command = Command::new("node");
    command.arg(format!("{FOLDER}/payment.js")).arg(given.to_string());
    command.env("NODE_PATH", modules.join("node_modules")).env("NODE_EXTRA_CA_CERTS", trusted);
    let told = tokio::task::spawn_blocking(move || crate::stripe::run(&mut command)).await.unwrap();
    serde_json::from_str(told.trim()).unwrap()
}

fn as_against_the_psp(payment: &Payment, told: &Value) {
    let last4 = &payment.number[12..];
    assert_eq!(
        *told,
        json!({
            "last4": last4,
            "paid": "succeeded",
            "refund": "succeeded",
            "declined": { "type": "StripeCardError", "code": "card_declined", "status": 402 },
            "unknown": { "type": "StripeInvalidRequestError", "code": "token-not-found", "status": 404 },
            // The refusal of the tunnel itself reads as an error, with its status.
            "refused": { "type": "StripePermissionError", "code": "route-refused", "status": 403 },
        })
    );
    let arrived = fs::read_to_string(payment.house.psp().log_file()).unwrap();
    assert_eq!(arrived.matches(&payment.number).count(), 1, "only the payment method carries the number");
    assert!(!arrived.contains("tok_test_") && !arrived.contains(cards::APPROVED));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_for_node_pays_by_connect_with_a_certificate() {
    let payment = pay(named()).await;
    let orchestrator = payment.house.pki().client("orchestrator").unwrap();
    let how = json!({
        "proxy": format!("https://localhost:{}", payment.house.proxy().port()),
        "cert": orchestrator.certificate_pem_path,
        "key": orchestrator.key_pem_path,
        "ca": payment.house.pki().ca_file(),
    });
    let told = pay_by_node(&payment, how).await;
    as_against_the_psp(&payment, &told);
    payment.house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_for_node_pays_through_a_relay() {
    let payment = pay(named()).await;
    let upstream = format!("localhost:{}", payment.house.psp().address().port());
    let beside = Beside::start(&payment.house, &upstream);
    let how = json!({ "proxy": format!("http://{}", beside.address) });
    let told = pay_by_node(&payment, how).await;
    as_against_the_psp(&payment, &told);
    drop(beside);
    payment.house.stop().await;
}

#[test]
fn the_scripts_are_where_the_tests_look() {
    assert!(Path::new(PYTHON_FOLDER).join("payment.py").is_file());
    assert!(Path::new(FOLDER).join("payment.js").is_file());
}
