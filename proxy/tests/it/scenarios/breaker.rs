//! A PSP that fails is left alone for a while, and tried again by a few.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use strongroom_domain::ProblemKind;
use tokio::sync::Notify;

use crate::psp::{Then, json as answer};
use crate::vault::OnOpen;
use crate::world::{Reply, Setup, TOKEN, World, second_account, usual_form};

/// Opens on the third failure and stays open for longer than any test.
const THREE: &str = "failures = 3, percent = 50, window_ms = 600000, open_ms = 600000";

fn breaker(text: &str) -> Setup {
    let route = format!("credentials = \"account\"\n[route.psp.protect]\nbreaker = {{ {text} }}");
    Setup { route, ..Default::default() }
}

/// The breaker is open: nothing was connected, opened or sent for this call.
async fn open(world: &World) {
    let counts = || (world.psp.connections(), world.psp.requests(), world.vault.opens().len());
    let before = counts();
    let reply = world.create_usual().await;
    assert_eq!((reply.status, reply.problem().as_str()), (424, "psp-circuit-open"), "{}", reply.text());
    let again: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&again), "{again}");
    assert_eq!(reply.header("stripe-should-retry"), None, "nothing was sent");
    assert_eq!(counts(), before);
}

#[tokio::test]
async fn resets_open_it_and_calls_without_a_card_are_stopped_too() {
    let world = World::new(breaker(THREE)).await;
    for _ in 0..3 {
        world.psp.then(Then::Close);
        assert_eq!(world.create_usual().await.problem(), "psp-outcome-unknown");
    }
    open(&world).await;
    let refund = world.send(world.form("/psp/v1/refunds", "payment_intent=pi_1")).await;
    assert_eq!(refund.problem(), "psp-circuit-open");
    assert_eq!(world.psp.requests(), 3);
    assert_eq!(
        world.vault.outcomes(3).await.len(),
        3,
        "each forward has its outcome, the stopped calls have none"
    );
}

#[tokio::test]
async fn failed_handshakes_open_it() {
    let world = World::new(Setup { foreign_ca: true, ..breaker(THREE) }).await;
    for _ in 0..3 {
        assert_eq!(world.create_usual().await.problem(), "psp-unreachable");
    }
    open(&world).await;
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (3, 0));
}

#[tokio::test]
async fn the_psp_s_own_5xx_open_it_and_pass_until_then() {
    let world = World::new(breaker(THREE)).await;
    for status in ["500 Internal Server Error", "503 Service Unavailable", "504 Gateway Timeout"] {
        world.psp.then(Then::Answer(answer(status, "{\"error\":{}}")));
        assert!(world.create_usual().await.status >= 500);
    }
    open(&world).await;
}

#[tokio::test]
async fn silence_opens_it_when_the_psp_had_its_whole_time() {
    let mut setup = breaker(THREE);
    setup.route = format!("upstream_timeout_ms = 100\n{}", setup.route);
    let world = World::new(setup).await;
    for _ in 0..3 {
        world.psp.then(Then::Stall);
        assert_eq!(world.create_usual().await.problem(), "psp-outcome-unknown");
    }
    open(&world).await;
}

#[tokio::test]
async fn what_says_nothing_about_the_psp_does_not_open_it() {
    let world = World::new(breaker("failures = 1, percent = 1, window_ms = 600000, open_ms = 600000")).await;
    for status in ["400 Bad Request", "402 Payment Required", "409 Conflict", "429 Too Many Requests"] {
        world.psp.then(Then::Answer(answer(status, "{\"error\":{}}")));
        assert!(world.create_usual().await.status < 500);
    }
    for kind in [ProblemKind::TokenNotFound, ProblemKind::Unavailable, ProblemKind::RateLimited] {
        world.vault.then(OnOpen::Refuse(kind));
        assert!(world.create_usual().await.status < 500);
    }
    world.vault.then(OnOpen::Garbage);
    assert_eq!(world.create_usual().await.problem(), "vault-unreachable");
    assert_eq!(
        world.create(&format!("{}&description={TOKEN}", usual_form())).await.problem(),
        "misplaced-token"
    );
    let large = Then::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nx".to_vec());
    world.psp.then(large);
    assert_eq!(world.create_usual().await.problem(), "psp-outcome-unknown");
    assert_eq!(world.create_usual().await.status, 200);
}

#[tokio::test]
async fn an_address_the_guard_refuses_does_not_open_it() {
    let setup = breaker("failures = 1, percent = 1, window_ms = 600000, open_ms = 600000");
    let world = World::new(Setup { resolves: vec!["169.254.169.254:0".parse().unwrap()], ..setup }).await;
    for _ in 0..3 {
        assert_eq!(world.create_usual().await.problem(), "psp-unreachable");
    }
}

/// Calls until the breaker lets one through.
async fn let_through(world: &World) -> Reply {
    loop {
        let reply = world.create_usual().await;
        if reply.status == 200 || reply.problem() != "psp-circuit-open" {
            return reply;
        }
    }
}

#[tokio::test]
async fn half_open_tries_as_often_as_declared_and_closes_again() {
    let world = World::new(breaker("failures = 3, window_ms = 600000, open_ms = 300, probes = 1")).await;
    for _ in 0..3 {
        world.psp.then(Then::Close);
        assert_eq!(world.create_usual().await.problem(), "psp-outcome-unknown");
    }
    let told = Arc::new(Notify::new());
    world.psp.then(Then::When(told.clone(), answer("200 OK", "{}")));
    let others = async {
        while world.psp.requests() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..5 {
            open(&world).await;
        }
        told.notify_one();
    };
    let (probe, ()) = tokio::join!(let_through(&world), others);
    assert_eq!(probe.status, 200);
    for _ in 0..5 {
        assert_eq!(world.create_usual().await.status, 200);
    }
    assert_eq!(world.psp.requests(), 9);
}

#[tokio::test]
async fn a_failed_probe_opens_it_again() {
    let world = World::new(breaker("failures = 3, window_ms = 600000, open_ms = 50, probes = 1")).await;
    for _ in 0..3 {
        world.psp.then(Then::Close);
        world.create_usual().await;
    }
    for _ in 0..3 {
        world.psp.then(Then::Close);
        assert_eq!(let_through(&world).await.problem(), "psp-outcome-unknown");
    }
    assert_eq!(world.psp.requests(), 6, "one call for each time it was tried");
    assert_eq!(let_through(&world).await.status, 200);
}

#[tokio::test]
async fn another_upstream_of_the_route_has_a_breaker_of_its_own() {
    let files = second_account("upstream = \"https://127.0.0.1:PORT\"");
    let world = World::new(Setup { files, ..breaker(THREE) }).await;
    for _ in 0..3 {
        world.psp.then(Then::Close);
        world.create_usual().await;
    }
    open(&world).await;
    let other = world.json("/psp/@m-501/payments", &json!({ "source": { "number": TOKEN } }));
    assert_eq!(world.send(other).await.status, 200);
}
