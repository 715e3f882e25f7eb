//! CyberSource's official client for Node, which signs its bodies. The PSP verifies each signature over the bytes that reached it,
//! so what it takes was signed anew, over card data, with the account's key.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use strongroom_sandbox::psp::cards;

use crate::adyen::{Shipped, assert_same, by_node, numbers, tokens};
use crate::stripe::unknown_token;
use crate::support::{API_KEY, Setting};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/cybersource.js");
const HOST: &str = "cybersource.proxy.internal";
/// The account's, which no caller has.
const SECRET: &str = "sk_test_own_and_long_enough_to_sign";
const ACCOUNT: &str = "tenants = [\"*\"]\n[identity]\nmerchant = \"acme\"\n\
                       [signing]\nkey_id = \"key-acme\"\nsecret_file = \"cybersource.key\"\n";

/// The client's settings for where it believes the PSP to be, and the key it signs with.
fn config(kind: &str, environment: &str, key_id: &str, secret: &str) -> Value {
    json!({ "authenticationType": kind, "runEnvironment": environment, "merchantKeyId": key_id,
            "merchantsecretKey": STANDARD.encode(secret) })
}

fn with(mut config: Value, more: &Value) -> Value {
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn refusal(status: u16, reason: &str) -> Value {
    json!({ "status": status, "reason": reason })
}

#[tokio::test(flavor = "multi_thread")]
async fn cybersource_s_client_pays_through_every_entry_with_signatures_the_psp_verifies_over_card_data() {
    let setting = Setting::start().await;
    let ca = setting.pki.psp_ca_file();
    let psp = format!("localhost:{}", setting.psp.address().port());
    let mut direct = Value::Null;
    for kind in ["http_signature", "jwt"] {
        let given = json!({ "config": config(kind, &psp, "key-acme", API_KEY),
                            "changed": [{ "merchantsecretKey": STANDARD.encode("another secret") }] });
        direct = by_node(SCRIPT, given, &numbers(), &[], &ca).await;
        let expected = json!({
            "paid": ["AUTHORIZED", "10.99", "order-7", null],
            "declined": ["DECLINED", null, "order-7", "INSUFFICIENT_FUND"],
            "invalid": refusal(400, "INVALID_DATA"),
            "refused": [refusal(401, "Authentication Failed")],
        });
        assert_eq!(direct, expected, "{kind}");
    }

    let secrets = [("sandbox.key", SECRET), ("cybersource.key", &*STANDARD.encode(SECRET))];
    let account = [("accounts/cybersource/default.toml", ACCOUNT)];
    let shipped = Shipped::start("cybersource", &account, &secrets).await;
    let house = &shipped.house;
    let relay = shipped.relay("cybersource");
    let orchestrator = house.pki().client("orchestrator").unwrap();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let certificate = json!({
        "enableClientCert": true,
        "clientCertDir": orchestrator.certificate_pem_path.parent().unwrap(),
        "sslClientCert": name(&orchestrator.certificate_pem_path),
        "privateKey": name(&orchestrator.key_pem_path),
        "sslCaCert": house.pki().ca_file(),
    });
    let (psp, proxy) = (format!("localhost:{}", house.psp().address().port()), house.proxy().port());
    let by_relay =
        json!({ "useProxy": true, "proxyAddress": "127.0.0.1", "proxyPort": relay.address.port() });
    let by_path =
        with(certificate.clone(), &json!({ "intermediateHost": format!("localhost:{proxy}/cybersource") }));
    let by_port = json!({ "intermediateHost": format!("http://{}", relay.address) });
    let refused = [unknown_token(), cards::APPROVED.to_owned()];
    for (entry, kind, environment, key_id, more) in [
        ("relay", "http_signature", psp.clone(), "strongroom", &by_relay),
        ("relay", "jwt", psp.clone(), "key-acme", &by_relay),
        ("port", "jwt", psp.clone(), "strongroom", &by_port),
        ("path", "http_signature", psp.clone(), "key-acme", &by_path),
        ("host", "http_signature", format!("{HOST}:{proxy}"), "strongroom", &certificate),
    ] {
        let given = json!({
            "config": with(config(kind, &environment, key_id, "a secret that opens nothing"), more),
            "resolve": HOST,
            "changed": [{ "merchantKeyId": "key-of-nobody" }],
        });
        let told = by_node(SCRIPT, given, &tokens(house).await, &refused, &house.connect_ca_file()).await;
        let expected = json!([
            refusal(404, "token-not-found"),
            refusal(400, "pan-in-request"),
            refusal(403, "credential-refused"),
        ]);
        assert_same(&told, &direct, expected, &format!("{entry} {kind}"));
    }
    let arrived = fs::read_to_string(house.psp().log_file()).unwrap();
    // Each time: one that is paid, and one whose amount is none.
    assert_eq!(arrived.matches(cards::APPROVED).count(), 10, "{arrived}");
    assert!(!arrived.contains("tok_test_") && !arrived.contains("key-of-nobody"), "{arrived}");
    assert!(arrived.contains("keyid=\\\"key-acme\\\"") && !arrived.contains("strongroom\\\""), "{arrived}");
    drop(relay);
    shipped.house.stop().await;
}
