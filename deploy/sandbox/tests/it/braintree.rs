//! The official Braintree client for Python: it writes and reads XML.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strongroom_domain::{Environment, Token};
use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::psp::cards;

use crate::house::tokenize;
use crate::stripe::{python, run};
use crate::support::{API_KEY, Setting, SystemRandom};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/braintree/payment.py");
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");
const HOST: &str = "braintree.proxy.internal";

async fn pay(arguments: Vec<String>) -> serde_json::Value {
    let mut command = Command::new(tokio::task::spawn_blocking(python).await.unwrap());
    command.arg(SCRIPT).args(arguments);
    let told = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    serde_json::from_str(told.trim()).unwrap()
}

fn arguments(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect()
}

fn outcomes(last4: &str) -> [(&'static str, serde_json::Value); 5] {
    [
        ("approved", serde_json::json!(["submitted_for_settlement", "10.99", last4])),
        ("expires", "12/2034".into()),
        ("found", serde_json::json!([true, "submitted_for_settlement", "order <7> & more"])),
        ("held", "authorized".into()),
        ("declined", serde_json::json!([false, "Insufficient Funds", "processor_declined", "2001"])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_pays_and_is_declined_in_xml() {
    let setting = Setting::start().await;
    let address = setting.psp.address();
    let told = pay(arguments(&[
        ("--host", "localhost"),
        ("--port", &address.port().to_string()),
        ("--ca", setting.pki.psp_ca_file().to_str().unwrap()),
        ("--public-key", API_KEY),
        ("--private-key", "secret"),
        ("--number", cards::APPROVED),
        ("--held", cards::APPROVED),
        ("--declined", cards::INSUFFICIENT_FUNDS),
        ("--echoed", cards::ECHO),
    ]))
    .await;
    for (what, is) in outcomes("4242") {
        assert_eq!(told[what], is, "{what}: {told}");
    }
    assert!(told["echoed"].as_str().unwrap().contains(cards::ECHO), "{told}");
}

/// The shipped route, leading to the sandbox PSP.
fn route() -> String {
    let text = fs::read_to_string(Path::new(POLICIES).join("routes/braintree.toml")).unwrap();
    let (before, rest) = text.split_once("\nupstream = ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    format!(
        "{before}\nupstream = \"https://127.0.0.1:{{port}}\"\nroots_file = {{roots_file}}\n\
         private_addresses = [\"127.0.0.1\"]\nhosts = [\"{HOST}\"]\n{after}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_pays_with_a_token_in_xml_through_the_proxy() {
    let data = tempfile::tempdir().unwrap();
    let secrets = data.path().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    let pair = STANDARD.encode("sk_test_own:own-private-key");
    for (file, secret) in [("sandbox.key", "sk_test_own\n"), ("braintree.key", pair.as_str())] {
        let path = secrets.join(file);
        fs::write(&path, secret).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let mut options = HouseOptions::new(data.path());
    options.policies.push(("routes/braintree.toml".into(), route()));
    let house = House::start(options).await.unwrap();
    let number = cards::random_number(&SystemRandom).unwrap();
    let tokens = [
        tokenize(&house, &number).await,
        tokenize(&house, cards::INSUFFICIENT_FUNDS).await,
        tokenize(&house, cards::ECHO).await,
        tokenize(&house, &number).await,
        Token::generate(Environment::Test, &SystemRandom).unwrap().as_str().to_owned(),
    ];
    let orchestrator = house.pki().client("orchestrator").unwrap();
    let told = pay(arguments(&[
        ("--host", HOST),
        ("--port", &house.proxy().port().to_string()),
        ("--resolve", &format!("{HOST}=127.0.0.1")),
        ("--ca", house.pki().ca_file().to_str().unwrap()),
        ("--cert", orchestrator.certificate_pem_path.to_str().unwrap()),
        ("--key", orchestrator.key_pem_path.to_str().unwrap()),
        ("--public-key", "strongroom"),
        ("--private-key", "strongroom"),
        ("--number", &tokens[0]),
        ("--declined", &tokens[1]),
        ("--echoed", &tokens[2]),
        ("--held", &tokens[3]),
        ("--refused", &tokens[4]),
        ("--refused", cards::APPROVED),
    ]))
    .await;
    for (what, is) in outcomes(&number[12..]) {
        assert_eq!(told[what], is, "{what}: {told}");
    }
    // A PSP that sends the number back in every spelling: the caller reads its token, and no code.
    let echoed = told["echoed"].as_str().unwrap();
    assert!(echoed.contains(&tokens[2]) && !echoed.contains("737"), "{told}");
    for digits in [cards::ECHO, &cards::ECHO[..8]] {
        assert!(!told.to_string().contains(digits), "{told}");
    }
    // Neither a token nobody has nor a number of the caller's own looks like a success to the client.
    let refused = told["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 2, "{told}");
    let arrived = fs::read_to_string(house.psp().log_file()).unwrap();
    assert_eq!(arrived.matches(&number).count(), 2, "once for each sale");
    assert!(arrived.contains("<cvv>737</cvv>") && !arrived.contains("tok_test_"), "{arrived}");
    assert!(
        !arrived.contains("<number>4242424242424242</number>"),
        "a number of the caller's own never left"
    );
    house.stop().await;
}
