//! The caller's time and the route's: nothing begins that nobody waits for, and nothing that began is cut short for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strongroom_domain::{Clock, Timestamp};
use strongroom_perimeter::clock::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::psp::{Then, json};
use crate::vault::OnOpen;
use crate::world::{Reply, Setup, World, usual_form};

const TIMEOUT: &str = "strongroom-timeout-ms";

async fn create_within(world: &World, milliseconds: &'static str) -> Reply {
    let mut request = world.form("/psp/v1/payment_methods", &usual_form());
    request.headers_mut().insert(TIMEOUT, milliseconds.parse().unwrap());
    world.send(request).await
}

#[tokio::test]
async fn the_caller_s_time_never_travels_on() {
    let world = World::usual().await;
    assert_eq!(create_within(&world, "60000").await.status, 200);
    assert!(
        !world.psp.seen()[0].text().to_lowercase().contains("strongroom"),
        "{}",
        world.psp.seen()[0].text()
    );
}

#[tokio::test]
async fn a_time_that_cannot_be_read_sends_nothing() {
    let world = World::usual().await;
    for wrong in ["0", "-1", "1s", "", "1.5", "999999999"] {
        let reply = create_within(&world, wrong).await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid-request"), "{wrong}");
    }
    let mut request = world.form("/psp/v1/payment_methods", &usual_form());
    request.headers_mut().append(TIMEOUT, "1000".parse().unwrap());
    request.headers_mut().append(TIMEOUT, "1000".parse().unwrap());
    assert_eq!(world.send(request).await.problem(), "invalid-request");
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
}

/// The caller's time is over before its body is here: the call is refused before anything is connected or opened.
#[tokio::test]
async fn a_call_whose_time_is_over_opens_and_sends_nothing() {
    let world = World::usual().await;
    let body = usual_form();
    let head = format!(
        "POST /psp/v1/payment_methods HTTP/1.1\r\nhost: proxy.test\r\n{TIMEOUT}: 100\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = world.raw().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    // From before its header arrived: longer than its time.
    tokio::time::sleep(Duration::from_millis(150)).await;
    // Its header may have been read late on a busy machine; its time then began late, and the body waits as long.
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 424 ") && answer.contains("urn:strongroom:problem:deadline-spent"),
        "{answer}"
    );
    assert!(answer.contains("retry-after: 1\r\n") && answer.contains("\"error\":"), "{answer}");
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn a_vault_that_takes_longer_than_the_caller_waits_sends_nothing() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| config.vault.open_timeout_ms = 5_000;
    let world = World::new(Setup { change, ..Default::default() }).await;
    assert_eq!(world.create_usual().await.status, 200, "connections are there");
    world.vault.then(OnOpen::After(Duration::from_secs(60)));
    let reply = create_within(&world, "1000").await;
    assert_eq!((reply.status, reply.problem().as_str()), (424, "deadline-spent"), "{}", reply.text());
    assert_eq!(world.psp.requests(), 1);
}

#[tokio::test]
async fn once_sent_the_route_s_time_holds_and_the_answer_comes() {
    let world = World::usual().await;
    assert_eq!(world.create_usual().await.status, 200, "connections are there");
    let late = || Then::After(Duration::from_millis(1_600), json("200 OK", "{\"id\":\"pm_late\"}"));
    world.psp.then(late());
    // On a machine so busy that a second goes by before the first byte leaves, it is tried again.
    let reply = loop {
        let reply = create_within(&world, "1500").await;
        if reply.status == 200 || reply.problem() != "deadline-spent" {
            break reply;
        }
    };
    assert_eq!((reply.status, reply.json()["id"].as_str()), (200, Some("pm_late")), "{}", reply.text());
    let outcomes = world.vault.outcomes(2).await;
    assert_eq!(outcomes.last().unwrap()["outcome"], "answered");
}

#[tokio::test]
async fn the_whole_has_a_time_of_its_own() {
    let route = "credentials = \"account\"\nconnect_timeout_ms = 400\nupstream_timeout_ms = 100\n\
                 [route.psp.protect]\ntotal_timeout_ms = 500";
    let world = World::new(Setup { route: route.into(), ..Default::default() }).await;
    world.vault.then(OnOpen::After(Duration::from_secs(60)));
    let reply = world.create_usual().await;
    assert_eq!(reply.problem(), "deadline-spent", "the vault may take 5 s here, the whole may not");
    assert_eq!(world.psp.requests(), 0);
}

/// A wall clock that goes ahead while everything else stands still: what a suspended machine sees when it goes on.
#[derive(Default)]
struct Suspended(AtomicU64);

impl Clock for Suspended {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0.load(Ordering::SeqCst)))
    }
}

#[tokio::test]
async fn a_machine_that_slept_after_the_open_sends_nothing() {
    let clock = Arc::new(Suspended::default());
    let world = World::new(Setup { clock: clock.clone(), ..Default::default() }).await;
    for (seconds, sent) in [(60, true), (16 * 60, false)] {
        let told = Arc::new(Notify::new());
        world.vault.then(OnOpen::When(told.clone()));
        let opens = world.vault.opens().len() + 1;
        let sleep = async {
            while world.vault.opens().len() < opens {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            clock.0.fetch_add(seconds, Ordering::SeqCst);
            told.notify_one();
        };
        let (reply, ()) = tokio::join!(world.create_usual(), sleep);
        let outcome = world.vault.outcomes(opens).await[opens - 1]["outcome"].clone();
        if sent {
            assert_eq!((reply.status, outcome.as_str()), (200, Some("answered")));
        } else {
            assert_eq!((reply.status, reply.problem().as_str()), (424, "deadline-spent"), "{}", reply.text());
            assert_eq!((outcome.as_str(), world.psp.requests()), (Some("not-sent"), 1));
        }
    }
}
