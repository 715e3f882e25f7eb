//! `kill -9` of the vault and of the proxy while payments are under way: what was paid stays paid, what was answered is
//! on the log, and a restart needs no help.
//!
//! Vault and proxy run in processes of their own (this test binary, started again as a service), on the files a house
//! wrote. `STRONGROOM_CRASH_ROUNDS=20 STRONGROOM_CRASH_ACKS=10000` runs the full campaign.

mod load;
mod site;

use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_domain::ForwardId;
use strongroom_sandbox::line::LineError;
use strongroom_sandbox::psp::cards;
use strongroom_vault::store::ForwardState;

use site::{PSP_CALL, Site};

/// One setting of the tests.
#[expect(clippy::disallowed_methods, reason = "tests take their settings from the environment")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How long a proxy may take to have an outcome recorded by a vault that came back.
const RECORDED_TIME_MAX: Duration = Duration::from_secs(30);

/// What is sent to have a token charged. The expiry is filled in from the card.
fn charge(token: &str) -> String {
    json!({
        "amount": 1099, "currency": "eur",
        "card": { "number": token, "expiry_month": 1, "expiry_year": 2000 },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_killed_between_open_and_answer_costs_no_payment() {
    let mut site = Site::open().await;
    let token = site.tokenize(cards::SLOW).await;
    let mut door = site.proxy_door();
    let body = charge(&token);
    let paying = tokio::spawn(async move {
        door.send("POST", "/sandbox/json/payments", &[("idempotency-key", "slow-1")], body).await
    });
    site.psp_read(1).await;
    site.vault.kill();
    let killed = Instant::now();
    let answer = paying.await.unwrap().expect("an answer in spite of the vault");
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (201, Some("approved")));
    println!("answered {} ms after the vault was killed", killed.elapsed().as_millis());

    site.vault.start();
    site.vault.wait();
    let log = site.log().await;
    let [id] = &log.forwards_of(&token)[..] else { panic!("one forward was opened") };
    let recorded = Instant::now();
    while site.forward_state(id).await != ForwardState::Answered {
        assert!(recorded.elapsed() < RECORDED_TIME_MAX, "the outcome did not arrive");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_killed_between_open_and_answer_leaves_its_entry_and_the_key_finds_the_payment() {
    let mut site = Site::open().await;
    let token = site.tokenize(cards::SLOW).await;
    let key = [("idempotency-key", "slow-1")];
    let mut door = site.proxy_door();
    let body = charge(&token);
    let paying = tokio::spawn(async move { door.send("POST", "/sandbox/json/payments", &key, body).await });
    site.psp_read(1).await;
    site.proxy.kill();
    assert!(matches!(paying.await.unwrap(), Err(LineError::Lost(_))));

    let log = site.log().await;
    let [id] = &log.forwards_of(&token)[..] else { panic!("its entry was durable before card data left") };
    assert_eq!(site.forward_state(id).await, ForwardState::Open, "nobody knows how it ended");
    site.proxy.start();
    site.proxy.wait();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let sent = site.proxy_door().send("POST", "/sandbox/json/payments", &key, charge(&token)).await;
        let answer = sent.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.json());
        assert_eq!(answer.headers["idempotent-replayed"], "true", "the PSP knows the payment");
        answers.push(answer.json()["id"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(site.log().await.forwards_of(&token).len(), 3, "each forward is an entry");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_proxy_loses_no_payment_that_was_answered() {
    println!("{}", load::kill(load::Victim::Proxy).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_vault_loses_no_payment_that_was_answered() {
    println!("{}", load::kill(load::Victim::Vault).await);
}

impl Site {
    /// Waits until the PSP has read so many charges.
    async fn psp_read(&self, charges: u64) {
        let asked = Instant::now();
        while self.psp.counts().get(PSP_CALL).copied().unwrap_or_default() < charges {
            assert!(asked.elapsed() < RECORDED_TIME_MAX, "the PSP was not reached");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn forward_state(&self, id: &str) -> ForwardState {
        let store = self.store().await;
        store.forward(ForwardId::parse(id).unwrap()).await.unwrap().unwrap().state
    }
}
