//! Adyen's official clients for Python and Node: what they print against the PSP is what they print through the proxy, by
//! every entry they support.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::psp::cards;

use crate::house::tokenize;
use crate::stripe::{python, run, unknown_token};
use crate::support::{API_KEY, Setting};
use crate::tunnel::{Beside, node_modules};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/adyen/payment.py");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/adyen.js");
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");
const HOST: &str = "adyen.proxy.internal";

/// A shipped route, leading to the sandbox PSP by a name, as PSPs have one.
pub(crate) fn shipped(route: &str) -> (String, String) {
    let path = format!("routes/{route}.toml");
    let text = fs::read_to_string(Path::new(POLICIES).join(&path)).unwrap();
    let (before, rest) = text.split_once("\nupstream = ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let text = format!(
        "{before}\nupstream = \"https://localhost:{{port}}\"\nroots_file = {{roots_file}}\n\
         private_addresses = [\"127.0.0.1\", \"::1\"]\nhosts = [\"{route}.proxy.internal\"]\n{after}"
    );
    (path, text)
}

/// A house that serves a shipped route too, with the key the PSP knows.
pub(crate) struct Shipped {
    pub(crate) house: House,
    _data: tempfile::TempDir,
}

impl Shipped {
    /// `files` are further files of the bundle; `secrets` those of the secrets folder.
    pub(crate) async fn start(route: &str, files: &[(&str, &str)], secrets: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("secrets");
        fs::create_dir_all(&folder).unwrap();
        for (file, secret) in secrets {
            let path = folder.join(file);
            fs::write(&path, format!("{secret}\n")).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let mut options = HouseOptions::new(data.path());
        options.policies.push(shipped(route));
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        options.policies.extend(files);
        Self { house: House::start(options).await.unwrap(), _data: data }
    }

    /// A relay beside the orchestrator for this route.
    pub(crate) fn relay(&self, route: &str) -> Beside {
        let upstream = format!("localhost:{}", self.house.psp().address().port());
        Beside::to(&self.house, &upstream, route)
    }
}

/// What each argument of the scripts is: numbers where they pay directly, tokens where they pay through the proxy.
pub(crate) async fn tokens(house: &House) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("number", tokenize(house, cards::APPROVED).await),
        ("declined", tokenize(house, cards::INSUFFICIENT_FUNDS).await),
        ("invalid", tokenize(house, cards::APPROVED).await),
    ])
}

pub(crate) fn numbers() -> BTreeMap<&'static str, String> {
    let numbers =
        [("number", cards::APPROVED), ("declined", cards::INSUFFICIENT_FUNDS), ("invalid", cards::APPROVED)];
    BTreeMap::from(numbers.map(|(name, number)| (name, number.to_owned())))
}

async fn told(mut command: Command) -> Value {
    let told = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    serde_json::from_str(told.trim()).unwrap()
}

async fn by_python(
    url: &str,
    key: &str,
    cards: &BTreeMap<&'static str, String>,
    refused: &[String],
    environment: &[(&str, &str)],
) -> Value {
    let mut command = Command::new(tokio::task::spawn_blocking(python).await.unwrap());
    command.arg(PYTHON).args(["--url", url, "--api-key", key]);
    for (name, card) in cards {
        command.arg(format!("--{name}")).arg(card);
    }
    for number in refused {
        command.args(["--refused", number]);
    }
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    ] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    told(command).await
}

pub(crate) async fn by_node(
    script: &str,
    mut given: Value,
    cards: &BTreeMap<&'static str, String>,
    refused: &[String],
    trusted: &Path,
) -> Value {
    for (name, card) in cards {
        given[*name] = json!(card);
    }
    given["refused"] = json!(refused);
    let modules = tokio::task::spawn_blocking(node_modules).await.unwrap();
    let mut command = Command::new("node");
    command.arg(script).arg(given.to_string()).env("NODE_PATH", modules.join("node_modules"));
    command.env("NODE_EXTRA_CA_CERTS", trusted);
    told(command).await
}

/// What the clients print against the PSP, but for `refused`: the same of both.
fn printed(error: &str) -> Value {
    json!({
        "paid": ["Authorised", "order-7", 1099, "4242"],
        "expires": "12/2034",
        "refund": ["received", 99],
        "declined": ["Refused", "Not enough balance", "12"],
        "invalid": { "error": error, "status": 422, "code": "100", "type": "validation" },
        "refused": [],
    })
}

pub(crate) fn assert_same(through: &Value, direct: &Value, refused: Value, entry: &str) {
    let mut expected = direct.clone();
    expected["refused"] = refused;
    assert_eq!(*through, expected, "{entry}");
}

/// The number arrived with each payment, the token never, and the key is the account's own.
fn assert_arrived(house: &House, payments: usize) {
    let arrived = fs::read_to_string(house.psp().log_file()).unwrap();
    assert_eq!(arrived.matches(cards::APPROVED).count(), payments, "{arrived}");
    assert!(!arrived.contains("tok_test_") && !arrived.contains("\"strongroom\""), "{arrived}");
    assert!(arrived.contains("sk_test_own"), "{arrived}");
}

const SECRETS: [(&str, &str); 2] = [("sandbox.key", "sk_test_own"), ("adyen.key", "sk_test_own")];

#[tokio::test(flavor = "multi_thread")]
async fn adyen_s_client_for_python_prints_through_a_relay_what_it_prints_against_the_psp() {
    let setting = Setting::start().await;
    let ca = setting.pki.psp_ca_file();
    let trust = [("REQUESTS_CA_BUNDLE", ca.to_str().unwrap())];
    let url = format!("https://localhost:{}/v72", setting.psp.address().port());
    let direct = by_python(&url, API_KEY, &numbers(), &[], &trust).await;
    assert_eq!(direct, printed("AdyenAPIUnprocessableEntity"));

    let shipped = Shipped::start("adyen", &[], &SECRETS).await;
    let house = &shipped.house;
    let relay = shipped.relay("adyen");
    let proxy = format!("http://{}", relay.address);
    let connect_ca = house.connect_ca_file();
    let through = [("HTTPS_PROXY", proxy.as_str()), ("REQUESTS_CA_BUNDLE", connect_ca.to_str().unwrap())];
    let refused = [unknown_token(), cards::APPROVED.to_owned()];
    let told = json!([
        { "error": "AdyenAPICommunicationError", "status": 404, "code": "token-not-found", "type": "invalid_request_error" },
        { "error": "AdyenAPIValidationError", "status": 400, "code": "pan-in-request", "type": "invalid_request_error" },
    ]);
    // By CONNECT the address is the PSP's own and the environment says the rest; by the relay's port the address alone changes.
    let url = format!("https://localhost:{}/v72", house.psp().address().port());
    let by_connect = by_python(&url, "strongroom", &tokens(house).await, &refused, &through).await;
    assert_same(&by_connect, &direct, told.clone(), "connect");
    let by_port = by_python(&format!("{proxy}/v72"), "strongroom", &tokens(house).await, &refused, &[]).await;
    assert_same(&by_port, &direct, told, "port");
    assert_arrived(house, 4);
    drop(relay);
    shipped.house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adyen_s_client_for_node_prints_through_every_entry_what_it_prints_against_the_psp() {
    let setting = Setting::start().await;
    let url = format!("https://localhost:{}/v72", setting.psp.address().port());
    let given = json!({ "url": url, "apiKey": API_KEY });
    let direct = by_node(NODE, given, &numbers(), &[], &setting.pki.psp_ca_file()).await;
    assert_eq!(direct, printed("HttpClientException"));

    let shipped = Shipped::start("adyen", &[], &SECRETS).await;
    let house = &shipped.house;
    let orchestrator = house.pki().client("orchestrator").unwrap();
    let relay = shipped.relay("adyen");
    let certificate = json!({
        "cert": orchestrator.certificate_pem_path, "key": orchestrator.key_pem_path, "ca": house.pki().ca_file(),
    });
    let (proxy, psp) = (house.proxy().port(), house.psp().address().port());
    let own = format!("https://localhost:{psp}/v72");
    let refused = [unknown_token(), cards::APPROVED.to_owned()];
    let told = json!([
        { "error": "HttpClientException", "status": 404, "code": "token-not-found", "type": "invalid_request_error" },
        { "error": "HttpClientException", "status": 400, "code": "pan-in-request", "type": "invalid_request_error" },
    ]);
    let through_relay = json!({ "host": "127.0.0.1", "port": relay.address.port(), "protocol": "http:" });
    let through_proxy = json!({ "host": "localhost", "port": proxy, "protocol": "https:" });
    for (entry, with_certificate, more) in [
        ("path", true, json!({ "url": format!("https://localhost:{proxy}/adyen/v72") })),
        ("host", true, json!({ "url": format!("https://{HOST}:{proxy}/v72"), "resolve": true })),
        ("connect", true, json!({ "url": own, "proxy": through_proxy })),
        ("relay", false, json!({ "url": own, "proxy": through_relay })),
    ] {
        let mut given = if with_certificate { certificate.clone() } else { json!({}) };
        given["apiKey"] = json!("strongroom");
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let through = by_node(NODE, given, &tokens(house).await, &refused, &house.connect_ca_file()).await;
        assert_same(&through, &direct, told.clone(), entry);
    }
    assert_arrived(house, 8);
    drop(relay);
    shipped.house.stop().await;
}
