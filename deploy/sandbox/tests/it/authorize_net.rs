//! Authorize.Net's official clients for Node (JSON) and Python (XML): what they print against the PSP is what they print through
//! the proxy, by every entry they support. Neither can present a certificate, so that is a relay's port and a relay's `CONNECT`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use strongroom_sandbox::house::{House, TENANT};
use strongroom_sandbox::psp::cards;

use crate::adyen::{Shipped, assert_same, by_node, numbers, tokens};
use crate::stripe::{run, unknown_token};
use crate::support::{API_KEY, Setting};

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/authorize_net.js");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/authorize_net");
const PATH: &str = "/xml/v1/request.api";
const SECRETS: [(&str, &str); 2] = [("sandbox.key", "sk_test_own"), ("authorize-net.key", "sk_test_own")];
const ACCOUNT: [(&str, &str); 1] = [(
    "accounts/authorize-net/default.toml",
    "tenants = [\"*\"]\n[identity]\nlogin = \"own-login\"\ntransaction_key = { file = \"authorize-net.key\" }\n",
)];

fn printed() -> Value {
    let told = |code: &str, last4: &str, text: &str| {
        json!([
            "Ok",
            "r-7 & more",
            code,
            format!("XXXX{last4}"),
            format!("This transaction has been {text}.")
        ])
    };
    json!({
        "paid": told("1", "4242", "approved"),
        "refund": told("1", "4242", "approved"),
        "declined": told("2", "9995", "declined"),
        "refused": [],
    })
}

/// The number arrived with each payment that carries one, no name of it and no word for a secret ever.
fn assert_arrived(house: &House, payments: usize, names: &[String]) {
    let arrived = fs::read_to_string(house.psp().log_file()).unwrap();
    assert_eq!(arrived.matches(cards::APPROVED).count(), payments, "{arrived}");
    assert!(names.iter().all(|name| !arrived.contains(name)), "{arrived}");
    assert!(arrived.contains("own-login") && arrived.contains("sk_test_own"), "{arrived}");
    assert!(!arrived.contains("strongroom"), "{arrived}");
}

#[tokio::test(flavor = "multi_thread")]
async fn authorize_net_s_client_for_node_prints_through_a_relay_what_it_prints_against_the_psp() {
    let setting = Setting::start().await;
    let url = format!("https://localhost:{}{PATH}", setting.psp.address().port());
    let given = json!({ "url": url, "login": "acme", "key": API_KEY, "last4": "4242" });
    let direct = by_node(NODE, given, &numbers(), &[], &setting.pki.psp_ca_file()).await;
    let mut expected = printed();
    expected["invalid"] = json!(["Error", "r-7 & more", "3", "", "A valid amount is required."]);
    assert_eq!(direct, expected);

    let shipped = Shipped::start("authorize-net", &ACCOUNT, &SECRETS).await;
    let house = &shipped.house;
    let relay = shipped.relay("authorize-net");
    let own = format!("https://localhost:{}{PATH}", house.psp().address().port());
    let refused = [unknown_token(), cards::APPROVED.to_owned()];
    let mut names = vec![refused[0].clone()];
    for (entry, more) in [
        ("port", json!({ "url": format!("http://{}{PATH}", relay.address) })),
        ("connect", json!({ "url": own, "proxy": format!("http://{}", relay.address) })),
    ] {
        let mut given = json!({ "login": "strongroom", "key": "strongroom", "last4": "4242" });
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let cards = tokens(house).await;
        names.extend(cards.values().cloned());
        let told = by_node(NODE, given, &cards, &refused, &house.connect_ca_file()).await;
        assert_same(&told, &direct, json!([[404, "token-not-found"], [400, "pan-in-request"]]), entry);
    }
    // Each time: one that is paid, and one whose amount is none.
    assert_arrived(house, 4, &names);
    drop(relay);
    shipped.house.stop().await;
}

/// Python with the client, in a virtual environment under `target/`; made once, whoever comes first.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authorize-net-venv");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let python = folder.join("venv/bin/python");
    let lists = ["build.txt", "requirements.txt"].map(|list| format!("{FOLDER}/{list}"));
    let wanted = lists.iter().flat_map(|list| fs::read(list).unwrap()).collect::<Vec<_>>();
    let done = folder.join("installed.txt");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")));
    for list in lists {
        let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let sources = ["--only-binary=:all:", "--no-binary=authorizenet,PyXB-X", "--no-build-isolation"];
        run(Command::new(&python).args(options).args(sources).args(["--require-hashes", "-r", &list]));
    }
    fs::write(done, wanted).unwrap();
    python
}

async fn by_python(given: &[(&str, &str)], refused: &[&str], environment: &[(&str, &str)]) -> Value {
    let mut command = Command::new(tokio::task::spawn_blocking(python).await.unwrap());
    command.arg(format!("{FOLDER}/payment.py"));
    for (name, value) in given {
        command.arg(format!("--{name}")).arg(value);
    }
    for number in refused {
        command.args(["--refused", number]);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(environment.iter().copied());
    let told = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    serde_json::from_str(told.lines().last().unwrap()).unwrap()
}

/// Sixteen digits that stand for a card: this client checks the length of what it sends.
async fn digits(house: &House, number: &str) -> String {
    let headers = [("Content-Type", "application/json")];
    let client = house.vault_client("platform").unwrap();
    let tenant = json!({ "groups": ["merchants"], "formats": ["pan_shaped"] }).to_string();
    let path = format!("/v1/tenants/{TENANT}");
    let answer = client.send("PUT", &path, &headers, tenant.as_bytes()).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.json());
    let card =
        json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": "737", "format": "pan_shaped" });
    let client = house.vault_client("checkout").unwrap();
    let path = format!("/v1/tenants/{TENANT}/cards");
    let answer = client.send("POST", &path, &headers, card.to_string().as_bytes()).await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.json());
    answer.json()["pan_shaped"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn authorize_net_s_client_for_python_prints_through_a_relay_what_it_prints_against_the_psp() {
    let setting = Setting::start().await;
    let ca = setting.pki.psp_ca_file();
    let url = format!("https://localhost:{}{PATH}", setting.psp.address().port());
    let numbers = [("number", cards::APPROVED), ("declined", cards::INSUFFICIENT_FUNDS), ("last4", "4242")];
    let asked = [&numbers[..], &[("url", url.as_str()), ("login", "acme"), ("key", API_KEY)]].concat();
    let direct = by_python(&asked, &[], &[("REQUESTS_CA_BUNDLE", ca.to_str().unwrap())]).await;
    assert_eq!(direct, printed());

    let shipped = Shipped::start("authorize-net", &ACCOUNT, &SECRETS).await;
    let house = &shipped.house;
    let relay = shipped.relay("authorize-net");
    let proxy = format!("http://{}", relay.address);
    let (by_port, own) =
        (format!("{proxy}{PATH}"), format!("https://localhost:{}{PATH}", house.psp().address().port()));
    let trusted = house.connect_ca_file();
    let through = [("https_proxy", proxy.as_str()), ("REQUESTS_CA_BUNDLE", trusted.to_str().unwrap())];
    let mut names = Vec::new();
    for (entry, url, environment) in [("port", by_port, &[][..]), ("connect", own, &through)] {
        let cards = [digits(house, cards::APPROVED).await, digits(house, cards::INSUFFICIENT_FUNDS).await];
        let asked = [
            ("number", cards[0].as_str()),
            ("declined", &cards[1]),
            ("last4", "4242"),
            ("url", &url),
            ("login", "strongroom"),
            ("key", "strongroom"),
        ];
        // Digits that stand for no card, and a number of the caller's own: on an HTTP error the client has no response.
        let told = by_python(&asked, &["9100000000000000", cards::APPROVED], environment).await;
        assert_same(&told, &direct, json!([null, null]), entry);
        names.extend(cards);
    }
    assert_arrived(house, 2, &names);
    drop(relay);
    shipped.house.stop().await;
}
