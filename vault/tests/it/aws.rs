//! The vault program under AWS KMS: a server that speaks its API, the real program, the real client library.
//!
//! While keys are fresh the KMS is not needed; a key disabled there stops everything within the age of keys; when it is
//! enabled again, nobody has to restart anything.

#[path = "../../sealing/tests/it/emulator.rs"]
pub(crate) mod emulator;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::client::{Client, Exchange};
use strongroom_sandbox::pki::{Pki, Server};

use crate::service::{ROUTE, VISA, configuration, plain_get, sqlite};
use emulator::Emulator;

/// The shortest age of keys a configuration may set: how long a disabled key stays in use.
const KEY_AGE: Duration = Duration::from_secs(5);

struct Program {
    child: Child,
    address: SocketAddr,
    ops: SocketAddr,
    pki: Pki,
    _folder: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(kms: &Emulator, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let [address, ops] = [free_address(), free_address()];
        let text = configuration(folder.path(), &pki, &sqlite(folder.path()));
        let file = format!("provider = \"file\"\nkey_file = {:?}", folder.path().join("kms.key"));
        let aws = format!(
            "provider = \"aws\"\nkey = \"{key}\"\nregion = \"us-east-1\"\nendpoint = \"{}\"",
            kms.endpoint()
        );
        assert!(text.contains(&file));
        let text = text
            .replace(&file, &aws)
            .replace("[policies]", &format!("[keys]\nmax_age_seconds = {}\n[policies]", KEY_AGE.as_secs()))
            .replacen("127.0.0.1:0", &address.to_string(), 1)
            .replacen("127.0.0.1:0", &ops.to_string(), 1);
        let config = folder.path().join("vault.toml");
        std::fs::write(&config, text).unwrap();
        assert!(program("migrate", &config).status().unwrap().success());
        let child = program("serve", &config).stdout(Stdio::null()).spawn().unwrap();
        Self { child, address, ops, pki, _folder: folder }
    }

    async fn until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if TcpStream::connect(self.ops).is_ok()
                && plain_get(self.ops, "/readyz").await.starts_with("HTTP/1.1 200")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the vault does not get ready");
    }

    async fn send(&self, workload: &str, method: &str, path: &str, body: &Value) -> Exchange {
        let identity = self.pki.client(workload).unwrap();
        let client = Client::new(&self.pki, Some(&identity), Server::Vault, self.address).unwrap();
        let headers = [("content-type", "application/json")];
        client.send(method, path, &headers, body.to_string().as_bytes()).await.unwrap()
    }

    async fn tokenize(&self) -> Exchange {
        self.send("checkout", "POST", "/v1/tenants/acme/cards", &json!({ "number": VISA })).await
    }

    async fn forward(&self, token: &str) -> Exchange {
        use sha2::Digest as _;
        let wanted = json!({
            "caller": "spiffe://strongroom.test/orchestrator", "caller_cert_sha256": "00".repeat(32),
            "route": "psp", "route_sha256": hex::encode(sha2::Sha256::digest(ROUTE)), "account": "default",
            "method": "POST", "path": "/v1/charges", "host": "api.psp.example",
            "cards": [{ "token": token, "attributes": ["number"] }],
        });
        self.send("proxy", "POST", "/v1/forwards", &wanted).await
    }

    async fn forward_until(&self, token: &str, status: u16) -> Exchange {
        until(status, || self.forward(token)).await
    }
}

/// Asks until the status comes, longer than keys can live.
async fn until<F: Future<Output = Exchange>>(status: u16, mut ask: impl FnMut() -> F) -> Exchange {
    let deadline = Instant::now() + 4 * KEY_AGE;
    loop {
        let answer = ask().await;
        if answer.status() == status {
            return answer;
        }
        assert!(Instant::now() < deadline, "still {}", answer.status());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The program, with credentials the client library's chain finds.
fn program(command: &str, config: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
    program.args([command, "--config"]).arg(config);
    program.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    program
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One call as the KMS's administrator.
fn administer(kms: &Emulator, action: &str, body: &Value) -> Value {
    let address = kms.endpoint().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let body = body.to_string();
    let authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=00";
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: TrentService.{action}\r\nauthorization: {authorization}\r\n\
         x-amz-date: 20260101T000000Z\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_default()
}

#[tokio::test]
async fn a_key_disabled_at_the_kms_stops_the_vault_within_the_age_of_keys_and_enabling_it_is_enough() {
    let kms = Emulator::roto();
    let made = administer(&kms, "CreateKey", &json!({}));
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let vault = Program::start(&kms, &key);
    vault.until_ready().await;
    let onboarded =
        vault.send("platform", "PUT", "/v1/tenants/acme", &json!({ "groups": ["merchants"] })).await;
    assert_eq!(onboarded.status(), 201, "{}", onboarded.json());
    let token = vault.tokenize().await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(vault.forward(&token).await.json()["cards"][0]["number"], VISA);

    administer(&kms, "DisableKey", &json!({ "KeyId": key }));
    let stopped = vault.forward_until(&token, 503).await;
    assert_eq!(stopped.json()["type"], "urn:strongroom:problem:unavailable");
    assert!(stopped.header("retry-after").is_some());
    assert_eq!(vault.tokenize().await.status(), 503);
    assert!(plain_get(vault.ops, "/readyz").await.contains("\"kms\":\""), "readiness says which dependency");

    administer(&kms, "EnableKey", &json!({ "KeyId": key }));
    assert_eq!(vault.forward_until(&token, 201).await.json()["cards"][0]["number"], VISA, "no restart");
    until(201, || vault.tokenize()).await;
}

#[tokio::test]
async fn an_unreachable_kms_is_not_felt_while_keys_are_fresh() {
    let kms = Emulator::roto();
    let made = administer(&kms, "CreateKey", &json!({}));
    let vault = Program::start(&kms, made["KeyMetadata"]["KeyId"].as_str().unwrap());
    vault.until_ready().await;
    vault.send("platform", "PUT", "/v1/tenants/acme", &json!({ "groups": ["merchants"] })).await;
    let token = vault.tokenize().await.json()["token"].as_str().unwrap().to_owned();
    drop(kms);
    assert_eq!(vault.forward(&token).await.status(), 201, "the keys are fresh");
    let stopped = vault.forward_until(&token, 503).await;
    assert!(stopped.header("retry-after").is_some());
    assert_eq!(vault.tokenize().await.status(), 503);
}
