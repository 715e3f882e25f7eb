//! Who gets no further than the handshake, and the audit entry of each (PCI DSS 4.2.1, 10.2.1.4).

use std::time::Duration;

use serde_json::{Value, json};
use strongroom_sandbox::client::Client;
use strongroom_sandbox::pki::{Identity, Lifetime, MintOptions, Server, SignedBy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::service::{Service, VISA};

/// A TLS 1.2 hello (RFC 5246 §7.4.1.2): one suite, signature algorithms, groups, and no `supported_versions`.
const TLS12_HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0x3f, 0x01, 0x00, 0x00, 0x3b, 0x03, 0x03, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0x00, 0x00, 0x02, 0xc0,
    0x2f, 0x01, 0x00, 0x00, 0x10, 0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03, 0x00, 0x0a, 0x00, 0x04,
    0x00, 0x02, 0x00, 0x17,
];

async fn refused_entries(vault: &Service, at_least: usize) -> Vec<Value> {
    for _ in 0..50 {
        let entries = vault.entries().await;
        let found: Vec<_> = entries.into_iter().filter(|entry| entry["evt"] == "tls.reject").collect();
        if found.len() >= at_least {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a refused handshake is not on the log");
}

#[tokio::test]
async fn whoever_is_not_who_they_must_be_is_refused_and_on_the_log() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let checkout = || MintOptions::client("checkout");
    let mint = |name: &str, options: MintOptions| vault.pki.mint(name, &options).unwrap();
    let cases: Vec<(&str, Option<Identity>)> = vec![
        ("no-certificate", None),
        ("unknown-ca", Some(mint("stranger", checkout().signed_by(SignedBy::Stranger)))),
        ("expired", Some(mint("expired", checkout().lifetime(Lifetime::Expired)))),
        ("not-yet-valid", Some(mint("early", checkout().lifetime(Lifetime::NotYet)))),
        ("identity-ambiguous", Some(mint("two", checkout().also_uri("spiffe://strongroom.test/platform")))),
        ("identity-none", Some(mint("nobody", checkout().without_uri()))),
    ];
    for (count, (reason, identity)) in cases.iter().enumerate() {
        let client = Client::new(&vault.pki, identity.as_ref(), Server::Vault, vault.address).unwrap();
        let body = json!({ "number": VISA }).to_string();
        let answer = client
            .send("POST", "/v1/tenants/acme/cards", &[("content-type", "application/json")], body.as_bytes())
            .await;
        assert!(answer.is_err(), "{reason}: {answer:?}");
        let entries = refused_entries(&vault, count + 1).await;
        let entry = &entries[count];
        assert_eq!((&entry["rsn"], &entry["out"]), (&json!(reason), &json!("denied")));
        assert_eq!(entry["obj"], json!({ "ref": "api", "type": "listener" }));
        assert_eq!(entry["src"]["ip"], "127.0.0.1");
        assert_eq!(entry["actor"].get("cert_sha256").is_some(), identity.is_some(), "{reason}");
    }
    let tokenized = vault.entries().await.into_iter().filter(|entry| entry["evt"] == "pan.tokenize");
    assert_eq!(tokenized.count(), 0, "nobody got through");
}

#[tokio::test]
async fn older_tls_is_refused_and_on_the_log() {
    let vault = Service::start().await;
    let mut stream = tokio::net::TcpStream::connect(vault.address).await.unwrap();
    stream.write_all(TLS12_HELLO).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&21), "a TLS alert");
    assert_eq!(refused_entries(&vault, 1).await[0]["rsn"], "tls-version");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_without_a_restart() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let path = "/v1/tenants/acme/cards";
    assert_eq!(vault.send("checkout", "POST", path, Some(&json!({ "number": VISA }))).await.status(), 201);
    let revoked = vault.pki.client("checkout").unwrap();
    vault.pki.revoke(&revoked).unwrap();
    let client = Client::new(&vault.pki, Some(&revoked), Server::Vault, vault.address).unwrap();
    for _ in 0..50 {
        let body = json!({ "number": VISA }).to_string();
        if client.send("POST", path, &[("content-type", "application/json")], body.as_bytes()).await.is_err()
        {
            assert_eq!(refused_entries(&vault, 1).await[0]["rsn"], "revoked");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a revoked certificate still works");
}
