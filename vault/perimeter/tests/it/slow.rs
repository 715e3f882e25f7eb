//! What slowness, silence and crowds cost: their own connection, never somebody else's.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::StreamBody;
use strongroom_perimeter::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, CHECKOUT, House, Leaf, quick, request};

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[tokio::test]
async fn a_peer_that_says_nothing_holds_up_nobody_and_is_closed() {
    let house = House::open().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(house.address).await.unwrap());
    }
    let started = Instant::now();
    assert_eq!(house.ask(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap().status, 200);
    // One after the other, they would have taken half a minute.
    assert!(started.elapsed() < Duration::from_secs(15), "waited for somebody else's handshake");
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed by the listener");
        assert_eq!(house.refusals.next().await.reason, "timeout");
    }
}

#[tokio::test]
async fn a_header_that_does_not_end_is_closed_and_a_quiet_connection_is_not() {
    let house = House::open().await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let mut quiet = house.h1(client.clone()).await.unwrap();
    assert_eq!(Answer::of(quiet.send_request(request("/whoami")).await.unwrap()).await.unwrap().status, 200);
    let mut loris = house.tls(client).await.unwrap();
    loris.write_all(b"GET /whoami HTTP/1.1\r\nhost: loc").await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    drop(loris.read_to_end(&mut answer).await);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(1_200), "{waited:?}");
    assert!(answer.is_empty());
    assert_eq!(quiet.send_request(request("/whoami")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn drops_of_a_header_do_not_keep_a_connection_alive() {
    let house = House::open().await;
    let loris = house.tls(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    let (mut read, mut write) = tokio::io::split(loris);
    let dripping = tokio::spawn(async move {
        for byte in
            std::iter::once(b"GET / HTTP/1.1\r\nx: ".as_slice()).chain(std::iter::repeat(b"a".as_slice()))
        {
            if write.write_all(byte).await.is_err() || write.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let closed = tokio::time::timeout(Duration::from_secs(60), read.read(&mut [0; 1])).await;
    assert!(closed.is_ok(), "still open");
    dripping.abort();
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = Limits { idle_timeout_ms: number(300), ..quick() };
    let house = House::open_with(limits, |_| {}).await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let mut h1 = house.tls(client.clone()).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(60), h1.read(&mut [0; 1])).await;
    assert_eq!(closed.expect("closed in time").unwrap_or(0), 0);
    let mut h2 = house.h2(client).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(h2.ready().await.is_err() || h2.is_closed());
}

#[tokio::test]
async fn an_old_connection_is_closed_after_its_answer() {
    let limits = Limits { connection_age_max_ms: number(300), ..quick() };
    let house = House::open_with(limits, |_| {}).await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    let answer = sender.send_request(request("/slow/600")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(Answer::of(answer).await.unwrap().body, "done");
}

#[tokio::test]
async fn one_request_too_many_is_overloaded_and_the_others_are_answered() {
    let limits = Limits { in_flight_max: number(2), ..quick() };
    let house = House::open_with(limits, |_| {}).await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut sender = house.h1(client.clone()).await.unwrap();
        busy.push(tokio::spawn(
            async move { sender.send_request(request("/slow/500")).await.unwrap().status() },
        ));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let refused = house.ask(client.clone()).await.unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json()["type"], "urn:strongroom:problem:overloaded");
    for answered in busy {
        assert_eq!(answered.await.unwrap(), 200);
    }
    assert_eq!(house.ask(client).await.unwrap().status, 200, "there is room again");
}

#[tokio::test]
async fn a_connection_too_many_waits_for_another_to_close() {
    let limits = Limits { connections_max: number(1), ..quick() };
    let house = House::open_with(limits, |_| {}).await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let first = house.h1(client.clone()).await.unwrap();
    let second = house.ask(client);
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(300), second.as_mut()).await.is_err());
    drop(first);
    assert_eq!(second.await.unwrap().status, 200);
}

#[tokio::test]
async fn bodies_too_large_or_too_slow_are_problems() {
    let limits = Limits { body_timeout_ms: number(300), body_bytes_max: number(2_000), ..quick() };
    let house = House::open_with(limits, |_| {}).await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let post = |body: Body| http::Request::post("/echo").header("host", "localhost").body(body).unwrap();
    for (length, status) in [(1_000, 200), (1_001, 413), (2_001, 413)] {
        let mut sender = house.h1(client.clone()).await.unwrap();
        let answer = sender.send_request(post(Body::from(vec![b'x'; length]))).await.unwrap();
        assert_eq!(answer.status(), status, "{length}");
    }
    let never_ends = StreamBody::new(futures_util::stream::unfold(0, |sent| async move {
        if sent > 0 {
            std::future::pending::<()>().await;
        }
        Some((Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b"x"))), sent + 1))
    }));
    let mut sender = house.h1(client).await.unwrap();
    let answer = sender.send_request(post(Body::new(never_ends))).await.unwrap();
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn a_header_too_large_is_refused() {
    let house = House::open().await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    let mut large = request("/whoami");
    large.headers_mut().insert("x", "a".repeat(40_000).parse().unwrap());
    let answer = sender.send_request(large).await.unwrap();
    assert_eq!(answer.status(), 431);
}
