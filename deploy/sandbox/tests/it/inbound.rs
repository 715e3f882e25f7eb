//! A message of others in a whole house: the vault makes the token for the inbound identity and for no other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::tls::{ClientTlsConfig, anonymous_client_config};
use strongroom_proxy::app::Ambient;
use strongroom_proxy::config::ProxyConfig;
use strongroom_proxy::inbound::{InboundConfig, Receiver};
use strongroom_proxy::upstream::{Admission, Answer, Dialer, Pool, SystemResolver};
use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::pki::Server;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const VISA: &str = "4242424242424242";

const ENTRY: &str = r#"
[inbound.shop]
tenant = "acme"
path = "/shop"
body = "json"
take = [{ at = "/card/number", value = "number" }, { at = "/card/code", value = "cvc", from = "/card/number" }]
message_id = "/id"
unsigned = "a message of a test, whose sender is the test"
platform = "https://localhost:PORT/json/payments"
roots_file = "ROOTS"
"#;

fn receiver(house: &House, workload: &str) -> Receiver {
    let mut config = ProxyConfig::read(&house.folder().proxy_config()).unwrap();
    let (server, client) =
        (house.pki().server(Server::Proxy).unwrap(), house.pki().client(workload).unwrap());
    let listener = format!(
        "address = \"127.0.0.1:0\"\ncertificate_file = {:?}\nkey_file = {:?}",
        server.certificate_pem_path, server.key_pem_path
    );
    let vault_tls = ClientTlsConfig {
        certificate_file: client.certificate_pem_path,
        key_file: client.key_pem_path,
        ca_file: house.pki().ca_file(),
        crl_files: Vec::new(),
    };
    let listener = toml::from_str(&listener).unwrap();
    config.vault.open_timeout_ms = 5_000;
    config.inbound = Some(InboundConfig { listener, vault_tls, platform_tls: None });
    let ambient = Ambient {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom::new()),
        resolver: Arc::new(SystemResolver),
    };
    Receiver::bind(&config, &ambient).unwrap().unwrap()
}

async fn deliver(house: &House, at: std::net::SocketAddr, message: &Value) -> Answer {
    let mut tls = anonymous_client_config(Some(&house.pki().ca_file())).unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (tls, resolver) = (Arc::new(tls), Arc::new(SystemResolver));
    let wait = Duration::from_secs(30);
    let dialer = Dialer::new("localhost", at.port(), Admission::Any, resolver, tls, wait).unwrap();
    let ready = Pool::new(dialer).connect().await.unwrap();
    let request = Request::post("/shop")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(message.to_string())))
        .unwrap();
    ready.send(request, Instant::now() + wait, 1 << 20).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbound_identity_tokenizes_what_the_forwarding_one_may_not() {
    let data = tempfile::tempdir().unwrap();
    let house = House::start(HouseOptions::new(data.path())).await.unwrap();
    let folder = house.folder().policies().join("inbound");
    std::fs::create_dir_all(&folder).unwrap();
    let entry = ENTRY
        .replace("PORT", &house.psp().address().port().to_string())
        .replace("ROOTS", house.pki().psp_ca_file().to_str().unwrap());
    std::fs::write(folder.join("shop.toml"), entry).unwrap();
    let message =
        json!({ "id": "m-1", "amount": 1099, "currency": "eur", "card": { "number": VISA, "code": "737" } });
    let stop = CancellationToken::new();

    // The platform of this test is the sandbox's PSP: it keeps what it gets, and knows no token.
    let mut tokens = Vec::new();
    let receiving = receiver(&house, "inbound");
    let at = receiving.local_addr();
    tokio::spawn(receiving.serve(stop.clone(), stop.clone()));
    for _ in 0..2 {
        let answer = deliver(&house, at, &message).await;
        let kept = std::fs::read_to_string(house.psp().log_file()).unwrap();
        assert!(!kept.contains(VISA) && kept.contains("***"), "{kept}");
        let found = kept.rfind("tok_test_").unwrap_or_else(|| panic!("{} {kept}", answer.status));
        tokens.push(kept[found..found + 43].to_owned());
        assert!(!String::from_utf8_lossy(&answer.body).contains(VISA));
    }
    assert_ne!(
        tokens[0], tokens[1],
        "of what anyone may send, no delivery tells which number another one held"
    );

    // The token is a card's: the orchestrator charges it.
    let charge = json!({ "amount": 1, "currency": "eur", "card": { "number": tokens[0], "expiry_month": 1, "expiry_year": 2000 } });
    let client = house.proxy_client("orchestrator").unwrap();
    let headers = [("Content-Type", "application/json")];
    let told =
        client.send("POST", "/sandbox/json/payments", &headers, charge.to_string().as_bytes()).await.unwrap();
    assert!(told.status() < 500, "{}", told.json());
    let looked = house.vault_client("orchestrator").unwrap();
    let facts = looked.send("GET", &format!("/v1/tenants/acme/cards/{}", tokens[0]), &[], b"").await.unwrap();
    assert_eq!((facts.status(), facts.json()["last4"].as_str()), (200, Some("4242")));

    // The identity that forwards makes none.
    let forwarding = receiver(&house, "proxy");
    let at = forwarding.local_addr();
    tokio::spawn(forwarding.serve(stop.clone(), stop.clone()));
    let calls = std::fs::read_to_string(house.psp().log_file()).unwrap();
    let mut other = message.clone();
    other["id"] = json!("m-2");
    let refused = deliver(&house, at, &other).await;
    assert_eq!(refused.status.as_u16(), 503);
    assert_eq!(std::fs::read_to_string(house.psp().log_file()).unwrap(), calls, "nothing was passed on");
    stop.cancel();
    house.stop().await;
}
