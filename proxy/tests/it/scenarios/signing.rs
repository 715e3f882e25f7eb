//! Signed last: the PSP checks the signature over the very bytes it got.

use std::process::{Command, Stdio};

use http::HeaderValue;
use serde_json::json;

use crate::pki::keep_private;
use crate::psp::Seen;
use crate::world::{NUMBER, Setup, TOKEN, World};

const SECRET: &str = "a secret of this test and of nothing else";
const ROUTE: &str = "credentials = \"account\"\nidentity = [{ name = \"login\", header = \"X-Login\" }]\n\
    [route.psp.sign]\nkind = \"hmac\"\noutput = \"hex\"\nheader = \"X-Signature\"\nprefix = \"V2 \"\n\
    parts = [\"method-lower\", \"target\", \"header:X-Login\", \"header:X-Date\", \"body\"]\n";
const ACCOUNT: &str = "tenants = [\"*\"]\ncredential_file = \"psp.key\"\nidentity = { login = \"login-one\" }\n\
    signing = { secret_file = \"signing.key\" }";

fn setup() -> Setup {
    Setup {
        route: ROUTE.into(),
        account: ACCOUNT.into(),
        files: vec![("signing.key", SECRET.into())],
        ..Default::default()
    }
}

/// HMAC-SHA-256 in hex, by Python's own library: never by our code alone.
pub(crate) fn python_hmac(secret: &str, text: &[u8]) -> String {
    use std::io::Write as _;
    let script = "import hmac, sys; print(hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), 'sha256').hexdigest())";
    let mut python = Command::new("python3")
        .args(["-c", script, secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs python3");
    python.stdin.take().unwrap().write_all(text).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn check(seen: &Seen, secret: &str, start: &str) {
    let body = seen.text().split_once("\r\n\r\n").unwrap().1.to_owned();
    let text = [start.as_bytes(), b"login-one", b"today", body.as_bytes()].concat();
    let expected = format!("X-Signature: V2 {}\r\n", python_hmac(secret, &text));
    assert!(seen.holds(&expected), "{expected} in {}", seen.text());
    assert_eq!(seen.text().matches("X-Signature").count(), 1, "{}", seen.text());
}

#[tokio::test]
async fn the_signature_is_over_the_bytes_that_leave() {
    let world = World::new(setup()).await;
    let body =
        json!({ "amount": 100, "source": { "number": TOKEN, "expiry_month": 1 }, "note": "zwei  Wörter" });
    let mut request = world.json("/psp/payments?x=%2F", &body);
    request.headers_mut().insert("x-date", HeaderValue::from_static("today"));
    // The caller's own signature, over the body with the token.
    request.headers_mut().insert("x-signature", HeaderValue::from_static("V2 0123456789abcdef"));
    let reply = world.send(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.header("server-timing").unwrap().contains("sign;dur="));
    let mut get = world.request("GET", "/psp/v1/payment_methods/pm_1", "", b"");
    get.headers_mut().insert("x-date", HeaderValue::from_static("today"));
    assert_eq!(world.send(get).await.status, 200);
    let seen = world.psp.seen();
    assert!(seen[0].holds(NUMBER) && !seen[0].holds("0123456789abcdef"));
    check(&seen[0], SECRET, "post/payments?x=%2F");
    check(&seen[1], SECRET, "get/v1/payment_methods/pm_1");
}

#[tokio::test]
async fn what_cannot_be_signed_opens_nothing_and_sends_nothing() {
    let world = World::new(setup()).await;
    let body = json!({ "source": { "number": TOKEN } });
    let reply = world.send(world.json("/psp/payments", &body)).await;
    assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid-request"));
    let mut foreign = world.json("/psp/payments", &body);
    foreign.headers_mut().insert("x-date", HeaderValue::from_static("today"));
    foreign.headers_mut().insert("x-login", HeaderValue::from_static("login-two"));
    let reply = world.send(foreign).await;
    assert_eq!((reply.status, reply.problem().as_str()), (403, "credential-refused"));
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
}

fn often(config: &mut strongroom_proxy::config::ProxyConfig) {
    config.listener.limits.reload_interval_ms = 20.try_into().unwrap();
}

#[tokio::test]
async fn a_secret_that_is_replaced_signs_the_next_call_without_a_restart() {
    let world = World::new(Setup { change: often, ..setup() }).await;
    let other = "another secret of this test and nothing else";
    let path = world.folder.path().join("signing.key");
    let get = || {
        let mut get = world.request("GET", "/psp/v1/payment_methods/pm_1", "", b"");
        get.headers_mut().insert("x-date", HeaderValue::from_static("today"));
        get
    };
    world.send(get()).await;
    check(&world.psp.seen()[0], SECRET, "get/v1/payment_methods/pm_1");
    // A half-written or open file changes nothing.
    std::fs::write(&path, "short\n").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    world.send(get()).await;
    check(&world.psp.seen()[1], SECRET, "get/v1/payment_methods/pm_1");
    std::fs::write(&path, format!("{other}\n")).unwrap();
    keep_private(&path);
    let first = world.psp.seen()[0].text();
    for _ in 0..500 {
        world.send(get()).await;
        let last = world.psp.seen().pop().unwrap();
        if last.text() != first {
            return check(&last, other, "get/v1/payment_methods/pm_1");
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the new secret never came into use");
}

#[tokio::test]
async fn a_card_is_encrypted_to_the_psp_and_never_leaves_in_clear() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256);
    let Ok(key) = key else { panic!("no rsa key") };
    let world = World::new(Setup {
        account: "tenants = [\"*\"]\ncredential_file = \"psp.key\"\n\
                  encryption = { key_id = \"psp-1\", public_key_file = \"psp.pub.pem\" }"
            .into(),
        encrypt: "encrypt = { fields = [\"/source\"] }",
        files: vec![("psp.pub.pem", key.public_key_pem())],
        ..Default::default()
    })
    .await;
    let body = json!({ "amount": 100, "source": { "number": TOKEN, "expiry_month": 1 } });
    let reply = world.send(world.json("/psp/payments", &body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = world.psp.seen()[0].text();
    let sent: serde_json::Value = serde_json::from_str(seen.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (sent["amount"].as_i64(), sent["source"].as_str().unwrap().split('.').count()),
        (Some(100), 5)
    );
    assert!(!seen.contains(NUMBER) && !seen.contains(TOKEN), "{seen}");
    let reply = world.send(world.json("/psp/payments", &json!({ "card": { "number": "x" } }))).await;
    assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid-request"));
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (1, 1));
}
