//! Two replicas on one database: the same request at both, at the same time, is one card.

use std::collections::HashSet;
use std::sync::Arc;

use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;

use crate::crash::{Vault, card, door, number, onboard, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::configuration;

/// How often.
const TIMES: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_at_two_replicas_at_once_is_one_card() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &store_of(&server));
    let mut vaults = ["vault-1", "vault-2"].map(|name| Vault::prepare(folder.path(), name, &text));
    vaults.iter_mut().for_each(Vault::start);
    vaults.iter_mut().for_each(Vault::wait);
    onboard(pki.folder(), &vaults[0]).await;

    let mut doors = vaults.each_ref().map(|vault| door(pki.folder(), "checkout", vault.address()));
    let (mut tokens, mut replayed) = (HashSet::new(), 0);
    for n in 0..TIMES {
        let (number, key) = (number(n), format!("order-{n}"));
        let [first, second] = doors.each_mut().map(|door| {
            let (key, body) = (key.clone(), card(&number));
            async move {
                let headers = [("idempotency-key", key.as_str())];
                door.send("POST", "/v1/tenants/acme/cards", &headers, body).await.unwrap()
            }
        });
        let (first, second) = tokio::join!(first, second);
        assert_eq!(
            (first.status.as_u16(), second.status.as_u16()),
            (201, 201),
            "{} {}",
            first.json(),
            second.json()
        );
        assert_eq!(first.body, second.body, "the same bytes, whoever was first");
        let is_replay = |headers: &http::HeaderMap| headers.contains_key("idempotency-replayed");
        let replays = [&first, &second].into_iter().filter(|answer| is_replay(&answer.headers)).count();
        assert_eq!(replays, 1, "one made it");
        replayed += usize::from(is_replay(&first.headers));
        assert!(tokens.insert(first.json()["token"].as_str().unwrap().to_owned()));
    }
    println!("{} cards; the second replica was first {replayed} times", tokens.len());
    vaults.iter_mut().for_each(Vault::stop);
    let log = sound_log(vaults[0].config(), 2).await;
    assert_eq!(log.cards.len() as u64, TIMES, "one token each");
}
