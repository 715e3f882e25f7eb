//! Rates and places: who takes too much is told so before its body is read, and takes nothing from others.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::route::Rate;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::psp::{Then, json};
use crate::tube;
use crate::world::{Reply, Setup, World, second_account, usual_form};

fn protect(text: &str) -> Setup {
    let route = format!("credentials = \"account\"\nin_flight_max = 4\n[route.psp.protect]\n{text}");
    Setup { route, files: second_account(""), ..Default::default() }
}

/// Calls until one is refused; how many were not.
async fn until_refused(world: &World) -> (usize, Reply) {
    for answered in 0..10_000 {
        let reply = world.create_usual().await;
        if reply.status != 200 {
            return (answered, reply);
        }
    }
    panic!("nothing was refused");
}

/// The refusal says when to come back, and no forward was opened for it.
fn refused(world: &World, answered: usize, reply: &Reply, why: &str) {
    assert_eq!((reply.status, reply.problem().as_str()), (429, "rate-limited"), "{}", reply.text());
    assert!(reply.text().contains(why), "{}", reply.text());
    let again: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&again), "{again}");
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (answered, answered));
}

async fn merchant(world: &World) -> Reply {
    world.send_as("merchant", world.form("/psp/@m-501/v1/payment_methods", &usual_form())).await
}

#[tokio::test]
async fn a_caller_over_its_rate_at_a_route_is_told_when_and_others_are_served() {
    let world = World::new(protect("caller_rate = { per_second = 1, burst = 2 }")).await;
    let (answered, reply) = until_refused(&world).await;
    refused(&world, answered, &reply, "this caller calls this psp faster");
    assert!(answered >= 2, "its burst was answered");
    assert_eq!(merchant(&world).await.status, 200);
}

#[tokio::test]
async fn a_route_over_its_rate_refuses_whoever_calls() {
    let world = World::new(protect("rate = { per_second = 1, burst = 2 }")).await;
    let (answered, reply) = until_refused(&world).await;
    refused(&world, answered, &reply, "this psp is called faster");
}

#[tokio::test]
async fn a_caller_has_one_rate_for_all_routes_together() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| {
        config.limits.caller_rate = Rate::new(1, 2);
    };
    let world = World::new(Setup { change, ..protect("") }).await;
    let (answered, reply) = until_refused(&world).await;
    refused(&world, answered, &reply, "this caller calls faster");
    assert_eq!(merchant(&world).await.status, 200);
}

#[tokio::test]
async fn calls_the_route_does_not_list_count_too() {
    let world = World::new(protect("caller_rate = { per_second = 1, burst = 2 }")).await;
    let unlisted = || world.send(world.form("/psp/v1/charges", ""));
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 10_000 {
        statuses.push(unlisted().await.status);
    }
    assert_eq!((statuses[0], statuses.last()), (403, Some(&429)));
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn a_caller_that_fills_its_places_leaves_others_theirs() {
    let world = World::new(protect("caller_in_flight_max = 1")).await;
    let told = Arc::new(Notify::new());
    world.psp.then(Then::When(told.clone(), json("200 OK", "{}")));
    let others = async {
        while world.psp.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let second = world.create_usual().await;
        refused(&world, 1, &second, "too many calls at this psp under way");
        assert_eq!(merchant(&world).await.status, 200);
        told.notify_one();
    };
    let (first, ()) = tokio::join!(world.create_usual(), others);
    assert_eq!(first.status, 200);
    assert_eq!(world.create_usual().await.status, 200, "its place is free again");
}

#[tokio::test]
async fn a_stalled_psp_at_its_full_bulkhead_takes_no_place_of_another() {
    let setup = protect("caller_in_flight_max = 8");
    let world = World::new(Setup { shipped: vec!["stripe"], ..setup }).await;
    (0..4).for_each(|_| world.psp.then(Then::Stall));
    let stalled = futures_util::future::join_all((0..4).map(|_| world.create_usual()));
    let others = async {
        while world.psp.requests() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let reply = world.create_usual().await;
        refused(&world, 4, &reply, "too many calls at this psp at once");
        for _ in 0..8 {
            let request = world.form("/stripe/v1/payment_methods", &usual_form());
            assert_eq!(world.send(request).await.status, 200);
        }
    };
    tokio::select! {
        _ = stalled => panic!("the psp does not answer these"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_caller_s_places_are_counted_over_all_routes() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| {
        config.limits.caller_in_flight_max = NonZeroUsize::MIN;
    };
    let world = World::new(Setup { change, shipped: vec!["stripe"], ..protect("") }).await;
    world.psp.then(Then::Stall);
    let others = async {
        while world.psp.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let request = world.form("/stripe/v1/payment_methods", &usual_form());
        let reply = world.send(request).await;
        refused(&world, 1, &reply, "this caller has too many calls under way");
        assert_eq!(merchant(&world).await.status, 200);
    };
    tokio::select! {
        _ = world.create_usual() => panic!("the psp does not answer this"),
        () = others => {}
    }
}

#[tokio::test]
async fn tunnels_count_among_their_caller_s_calls() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| {
        config.limits.caller_rate = Rate::new(1, 2);
    };
    let world = World::new(Setup { change, ..Setup::with_tunnels() }).await;
    let connect = format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\n", world.upstream());
    let mut told = Vec::new();
    while told.len() < 1_000 && told.last().is_none_or(|status| status == "200") {
        let head = tube::head(&mut world.raw().await, &connect).await;
        told.push(head.split(' ').nth(1).unwrap().to_owned());
    }
    assert_eq!((told[0].as_str(), told.last().unwrap().as_str()), ("200", "429"));
    assert_eq!(world.psp.connections(), 0);
}

/// A question whose body does not come holds its caller's only place; once it is answered, the place is free again.
#[tokio::test]
async fn a_question_keeps_a_place_among_its_caller_s_calls_until_it_is_answered() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| {
        config.limits.caller_in_flight_max = NonZeroUsize::MIN;
    };
    let world = World::new(Setup { change, ..protect("") }).await;
    let asked = "GET /psp/v1/payment_methods/pm_1 HTTP/1.1\r\nhost: proxy.test\r\n\r\n";
    let head = format!(
        "POST /-/explain HTTP/1.1\r\nhost: proxy.test\r\ncontent-type: message/http\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        asked.len()
    );
    let mut question = world.raw().await;
    question.write_all(head.as_bytes()).await.unwrap();
    question.flush().await.unwrap();
    // Its body is asked for once its place is taken.
    let mut go_on = [0; 25];
    question.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let reply = world.create_usual().await;
    refused(&world, 0, &reply, "this caller has too many calls under way");
    assert_eq!(merchant(&world).await.status, 200);
    question.write_all(asked.as_bytes()).await.unwrap();
    question.flush().await.unwrap();
    let mut told = Vec::new();
    question.read_to_end(&mut told).await.unwrap();
    assert!(told.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&told));
    assert_eq!(world.create_usual().await.status, 200, "its place is free again");
}

/// Writes a request by hand and reads what comes until the connection ends.
async fn by_hand(world: &World, parts: &[&str]) -> String {
    let mut stream = world.raw().await;
    for part in parts {
        // However it ends: what was answered before counts.
        let _ = stream.write_all(part.as_bytes()).await;
        let _ = stream.flush().await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

const HEAD: &str = "POST /psp/v1/payment_methods HTTP/1.1\r\nhost: proxy.test\r\n\
                    content-type: application/x-www-form-urlencoded\r\n";

#[tokio::test]
async fn slow_and_oversize_requests_open_nothing() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| {
        let limits = &mut config.listener.limits;
        let soon = 200.try_into().unwrap();
        (limits.header_timeout_ms, limits.body_timeout_ms, limits.idle_timeout_ms) = (soon, soon, soon);
        limits.body_bytes_max = 2_000.try_into().unwrap();
    };
    let world = World::new(Setup { change, ..Default::default() }).await;
    let slow = by_hand(&world, &[HEAD, "content-length: 100\r\n\r\n", "card[number]="]).await;
    assert!(
        slow.starts_with("HTTP/1.1 400 ") && slow.contains("urn:strongroom:problem:invalid-request"),
        "{slow}"
    );
    let drip = by_hand(&world, &[HEAD, "x-drip: "]).await;
    assert_eq!(drip, "", "a header that does not end is not answered");
    let long = format!("x-long: {}\r\n\r\n", "x".repeat(40_000));
    let long = by_hand(&world, &[HEAD, &long]).await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    let chunk = format!("7d1\r\n{}\r\n0\r\n\r\n", "x".repeat(0x7d1));
    let large =
        by_hand(&world, &[HEAD, "connection: close\r\ntransfer-encoding: chunked\r\n\r\n", &chunk]).await;
    assert!(large.starts_with("HTTP/1.1 413 ") && large.contains("\"error\":"), "{large}");
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn a_listener_that_is_full_answers_503_at_once_and_opens_nothing() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| {
        config.listener.limits.in_flight_max = 1.try_into().unwrap();
    };
    let world = World::new(Setup { change, ..Default::default() }).await;
    world.psp.then(Then::Stall);
    let others = async {
        while world.psp.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let reply = world.create_usual().await;
        assert_eq!((reply.status, reply.problem().as_str()), (503, "overloaded"), "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
        assert_eq!((world.psp.requests(), world.vault.opens().len()), (1, 1));
    };
    tokio::select! {
        _ = world.create_usual() => panic!("the psp does not answer this"),
        () = others => {}
    }
}
