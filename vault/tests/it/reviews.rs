//! Reviews: signed by people with their own keys, of what is in force and on the log, and refused otherwise.

mod command;
mod overdue;
mod refused;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use strongroom_sandbox::client::Exchange;
use strongroom_sandbox::pki::Pki;
use strongroom_vault::app;
use strongroom_vault::review::{LogDigest, ReviewKind, ReviewRecord, sign, verify};

use crate::crash::store_of;
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA};

/// What is to be reviewed, once everything is signed that is on the log now.
pub(crate) async fn shown(vault: &Service, who: &str, kind: &str) -> Value {
    let present = vault.entries().await.len() as u64;
    for _ in 0..400 {
        let exchange = vault.send(who, "GET", &format!("/v1/reviews/{kind}"), None).await;
        match exchange.status() {
            200 => {
                let shown = exchange.json();
                if shown["digest"]["size"].as_u64().is_none_or(|size| size >= present) {
                    return shown;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            429 | 503 => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            status => panic!("{status}: {}", exchange.json()),
        }
    }
    panic!("nothing of the log was signed")
}

/// A record with what its person says, in canonical form.
pub(crate) fn said(shown: &Value, decision: &str, remarks: &str) -> String {
    let mut record = shown["record"].clone();
    record["decision"] = json!(decision);
    record["remarks"] = json!(remarks);
    serde_json::from_value::<ReviewRecord>(record).unwrap().canonical().unwrap()
}

/// This text, signed by somebody's key, under somebody's certificate.
pub(crate) fn signed(vault: &Service, key_of: &str, certificate_of: &str, text: &str) -> Value {
    signed_by(&vault.pki, key_of, certificate_of, text)
}

pub(crate) fn signed_by(pki: &Pki, key_of: &str, certificate_of: &str, text: &str) -> Value {
    let key = pki.client(key_of).unwrap().key_pem_path;
    let signature = sign(text, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    let certificate = pki.client(certificate_of).unwrap().certificate().unwrap();
    json!({
        "record": STANDARD.encode(text),
        "signature": STANDARD.encode(signature),
        "certificate": STANDARD.encode(certificate),
    })
}

pub(crate) async fn file(vault: &Service, who: &str, kind: &str, body: &Value) -> Exchange {
    vault.send(who, "POST", &format!("/v1/reviews/{kind}"), Some(body)).await
}

/// Reviews and gives the answer.
pub(crate) async fn review(vault: &Service, who: &str, kind: &str, decision: &str, remarks: &str) -> Value {
    let text = said(&shown(vault, who, kind).await, decision, remarks);
    let exchange = file(vault, who, kind, &signed(vault, who, who, &text)).await;
    assert_eq!(exchange.status(), 201, "{}", exchange.json());
    exchange.json()
}

async fn first_root(vault: &Service) -> String {
    let store = app::open_store(&vault.config.store).await.unwrap();
    let row = store.last_review(ReviewKind::Log).await.unwrap().unwrap();
    ReviewRecord::parse(&row.record).unwrap().entries.unwrap().root
}

/// One after the other: each begins where the last one ended and names it, and each holds by itself.
async fn follow_one_another(vault: &Service) {
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let first = review(vault, "reviewer", "log", "approved", "").await;
    assert_eq!((&first["kind"], &first["number"]), (&json!("log"), &json!(1)));
    let entry = vault.newest("review.log").await;
    assert_eq!(
        (&entry["obj"]["type"], &entry["obj"]["ref"], &entry["n"], &entry["rsn"]),
        (&json!("review"), &first["sha256"], &json!(1), &json!("approved"))
    );
    assert_eq!(entry["actor"]["id"], "spiffe://strongroom.test/reviewer");
    // Who signs that nothing came has reviewed nothing.
    let mut nothing = shown(vault, "reviewer", "log").await;
    let from = nothing["record"]["entries"]["from"].as_u64().unwrap();
    let empty = LogDigest { from, size: from, root: first_root(vault).await, ..LogDigest::default() };
    nothing["record"]["entries"] = json!({
        "from": from, "size": from, "root": empty.root, "digest_sha256": hex::encode(empty.sha256().unwrap()), "refused": 0, "findings": 0,
    });
    let body = signed(vault, "reviewer", "reviewer", &said(&nothing, "approved", ""));
    assert_eq!(file(vault, "reviewer", "log", &body).await.status(), 409);
    let second = review(vault, "reviewer", "log", "follow-up", "a denial was seen").await;
    assert_eq!(second["number"], 2);
    let access = review(vault, "reviewer", "access", "approved", "").await;
    assert_eq!((&access["kind"], &access["number"]), (&json!("access"), &json!(1)));
    let store = app::open_store(&vault.config.store).await.unwrap();
    let rows = store.reviews(ReviewKind::Log, 0).await.unwrap();
    let records: Vec<_> = rows.iter().map(|row| ReviewRecord::parse(&row.record).unwrap()).collect();
    let of = |at: usize| records[at].entries.clone().unwrap();
    assert_eq!((rows.len(), of(0).from, of(1).from), (2, 0, of(0).size));
    assert!(of(1).size > of(0).size, "what came in between");
    assert_eq!(records[0].previous, None);
    assert_eq!(records[1].previous.as_deref(), first["sha256"].as_str());
    assert_eq!(store.last_review(ReviewKind::Log).await.unwrap().as_ref(), rows.last());
    for row in &rows {
        assert_eq!(verify(&row.record, &row.signature, &row.certificate), Ok(()));
    }
    // The digest's numbers are those of the entries.
    let entries = vault.entries().await;
    let refused =
        entries[..usize::try_from(of(0).size).unwrap()].iter().filter(|entry| entry["out"] != "success");
    assert_eq!(of(0).refused, refused.count() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_follow_one_another_on_sqlite() {
    let vault = Service::start().await;
    follow_one_another(&vault).await;
    // They go on after a restart.
    let vault = vault.restart().await;
    assert_eq!(review(&vault, "reviewer", "log", "approved", "").await["number"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_follow_one_another_on_postgres() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let vault = Service::start_on(tempfile::tempdir().unwrap(), &store_of(&server)).await;
    follow_one_another(&vault).await;
    vault.stop().await;
}
