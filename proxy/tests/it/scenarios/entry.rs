//! How callers reach a route.

use bytes::Bytes;
use http::{HeaderValue, Request, Version};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{HOST, World, usual_form};

#[tokio::test]
async fn a_route_is_reached_by_path_by_its_host_and_by_suffix() {
    let world = World::usual().await;
    for (host, path) in [
        ("proxy.test", "/psp/v1/payment_methods"),
        (HOST, "/v1/payment_methods"),
        ("API.PSP.test:8443", "/v1/payment_methods"),
        ("psp.proxy.test", "/v1/payment_methods"),
    ] {
        let mut request = world.form(path, &usual_form());
        request.headers_mut().insert("host", HeaderValue::try_from(host).unwrap());
        assert_eq!(world.send(request).await.status, 200, "{host}{path}");
    }
    let lines: Vec<_> = world.psp.seen().iter().map(|seen| seen.line()).collect();
    assert_eq!(lines, ["POST /v1/payment_methods HTTP/1.1"; 4]);
}

#[tokio::test]
async fn a_host_no_route_has_is_no_destination() {
    let world = World::usual().await;
    let mut request = world.form("/v1/payment_methods", &usual_form());
    request.headers_mut().insert("host", HeaderValue::from_static("collect.evil.example"));
    let reply = world.send(request).await;
    assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"));
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn only_callers_of_the_bundle_reach_a_route_also_without_a_token() {
    let world = World::usual().await;
    // `checkout` is no proxy's caller, `elsewhere` is bound to another route, nobody has heard of `stranger`.
    for workload in ["checkout", "elsewhere", "stranger", "proxy"] {
        for request in [
            world.form("/psp/v1/refunds", "charge=ch_1"),
            world.form("/psp/v1/payment_methods", "type=card&customer=cus_1"),
            world.form("/psp/v1/payment_methods", &usual_form()),
        ] {
            let reply = world.send_as(workload, request).await;
            assert_eq!((reply.status, reply.problem().as_str()), (403, "forbidden"), "{workload}");
        }
    }
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0));
    assert_eq!(world.send(world.form("/psp/v1/refunds", "charge=ch_1")).await.status, 200);
}

#[tokio::test]
async fn no_header_makes_another_call_of_a_listed_one() {
    let world = World::usual().await;
    for (name, value) in
        [("x-http-method-override", "DELETE"), ("x-original-url", "/v1/payouts"), ("x-host", "a.example")]
    {
        let mut request = world.form("/psp/v1/refunds", "charge=ch_1");
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        let reply = world.send(request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"), "{name}");
    }
    assert_eq!(world.psp.requests(), 0);
}

#[tokio::test]
async fn the_vault_hears_of_the_attempt_the_psp_hears_of() {
    let world = World::usual().await;
    for (connection, attempt) in [("keep-alive", Some("order-7")), ("keep-alive, Idempotency-Key", None)] {
        let mut request = world.form("/psp/v1/payment_methods", &usual_form());
        request.headers_mut().insert("idempotency-key", HeaderValue::from_static("order-7"));
        request.headers_mut().insert("connection", HeaderValue::from_static(connection));
        assert_eq!(world.send(request).await.status, 200);
        assert_eq!(world.vault.opens().last().unwrap()["attempt"].as_str(), attempt, "{connection}");
        assert_eq!(world.psp.seen().last().unwrap().holds("Idempotency-Key: order-7"), attempt.is_some());
    }
}

#[tokio::test]
async fn what_names_no_route_or_two_is_refused_and_no_tunnel_opens_without_an_authority() {
    let world = World::usual().await;
    for head in [
        format!("POST http://{HOST}/v1/payment_methods HTTP/1.1\r\nhost: {HOST}\r\n"),
        format!("POST https://evil.example/v1/payment_methods HTTP/1.1\r\nhost: {HOST}\r\n"),
        "POST https://evil.example/v1/payment_methods HTTP/1.1\r\nhost: evil.example\r\n".into(),
        format!("CONNECT {} HTTP/1.1\r\nhost: {HOST}\r\n", world.upstream()),
        format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n"),
        format!("POST /psp/v1/payment_methods HTTP/1.1\r\nhost: {HOST}\r\nhost: proxy.test\r\n"),
    ] {
        let mut stream = world.raw().await;
        stream
            .write_all(format!("{head}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 4"), "{head} {answer}");
    }
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn a_caller_may_speak_http_2() {
    let world = World::usual().await;
    let stream = world.raw_with(b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method("POST")
        .version(Version::HTTP_2)
        .uri(format!("https://{HOST}/v1/payment_methods"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(usual_form())))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    assert!(world.psp.seen()[0].holds("POST /v1/payment_methods HTTP/1.1"));
}

#[tokio::test]
async fn a_chunked_body_leaves_with_its_length() {
    let world = World::usual().await;
    let form = usual_form();
    let (first, second) = form.split_at(20);
    let mut stream = world.raw().await;
    let request = format!(
        "POST /psp/v1/payment_methods HTTP/1.1\r\nhost: proxy.test\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let seen = &world.psp.seen()[0];
    assert!(seen.holds("Content-Length: ") && !seen.holds("Transfer-Encoding"), "{}", seen.text());
}
