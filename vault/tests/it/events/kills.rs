//! Events through `kill -9`: none is lost, each keeps its id, and another replica goes on within the lease.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;

use super::QUICK;
use super::ground::{Certificate, Receiver, Reply, secret};
use crate::crash::{Vault, card, door, number, onboard, store_of};
use crate::postgres::PostgresServer;
use crate::service::{configuration, sqlite};

async fn tokenize(pki: &Path, vault: &Vault, numbers: std::ops::Range<u64>) {
    let mut door = door(pki, "checkout", vault.address());
    for n in numbers {
        let body = card(&number(n));
        let answer = door.send("POST", "/v1/tenants/acme/cards", &[], body).await.unwrap();
        assert_eq!(answer.status.as_u16(), 201, "{}", answer.json());
    }
}

fn ids(got: &[super::Got], taken: bool) -> HashSet<String> {
    got.iter().filter(|came| came.taken || !taken).map(|came| came.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_killed_before_or_after_a_delivery_delivers_under_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    pki.client("checkout").unwrap();
    pki.client("platform").unwrap();
    let certificate = Certificate::issue(folder.path(), "receiver");
    let key = secret(folder.path(), "key", "A");
    // First nobody listens: events are committed and cannot be delivered.
    let silent = Receiver::start(&certificate, |_| Reply::Silence).await;
    let hook = QUICK.to_owned() + &silent.webhook("all", &certificate.authority, &[&key]);
    let hook = hook + "timeout_ms = 500\n";
    let address = silent.address;
    drop(silent);
    let text = configuration(folder.path(), &pki, &sqlite(folder.path())) + &hook;
    let mut vault = Vault::prepare(folder.path(), "vault-1", &text);
    vault.start();
    vault.wait();
    onboard(pki.folder(), &vault).await;
    tokenize(pki.folder(), &vault, 0..20).await;
    vault.kill();
    // Then somebody listens and never answers: delivered, as far as the receiver knows, and not marked.
    let silent = Receiver::start_at(address, &certificate, |_| Reply::Silence).await;
    vault.start();
    vault.wait();
    let first = silent.awaited("events of before the kill", |got| !got.is_empty()).await;
    vault.kill();
    drop(silent);
    let receiver = Receiver::start_at(address, &certificate, |_| Reply::Status(204)).await;
    vault.start();
    vault.wait();
    tokenize(pki.folder(), &vault, 20..22).await;
    let got = receiver.awaited("every event", |got| ids(got, true).len() == 22).await;
    assert!(ids(&first, false).is_subset(&ids(&got, true)), "the same event is the same id");
    vault.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_takes_over_from_one_that_is_killed() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    pki.client("checkout").unwrap();
    pki.client("platform").unwrap();
    let certificate = Certificate::issue(folder.path(), "receiver");
    let key = secret(folder.path(), "key", "A");
    let attempts = Arc::new(AtomicU32::new(0));
    let receiver = Receiver::start(&certificate, move |_| {
        // Every third is refused, so that there is always something to be marked.
        Reply::Status(if attempts.fetch_add(1, Ordering::SeqCst) % 3 == 2 { 503 } else { 200 })
    })
    .await;
    let hook = QUICK.to_owned() + &receiver.webhook("all", &certificate.authority, &[&key]);
    let hook = hook + "timeout_ms = 1000\n";
    let text = configuration(folder.path(), &pki, &store_of(&server)) + &hook;
    let mut one = Vault::prepare(folder.path(), "vault-1", &text);
    let mut other = Vault::prepare(folder.path(), "vault-2", &text);
    one.start();
    one.wait();
    onboard(pki.folder(), &one).await;
    tokenize(pki.folder(), &one, 0..10).await;
    receiver.awaited("the first replica's", |got| !ids(got, true).is_empty()).await;
    other.start();
    other.wait();
    tokenize(pki.folder(), &other, 10..20).await;
    one.kill();
    tokenize(pki.folder(), &other, 20..40).await;
    let got = receiver.awaited("both replicas' events", |got| ids(got, true).len() == 40).await;
    let sent_again = got.iter().filter(|came| came.taken).count() - 40;
    println!("40 events, {sent_again} taken twice over the kill");
    other.stop();
}
