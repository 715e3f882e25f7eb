//! The failure table, row by row: what the caller is told, how many requests the PSP saw, whether card data reached it,
//! and what the vault was told.

use std::time::Duration;

use serde_json::json;
use strongroom_domain::ProblemKind;

use crate::psp::{Then, json as answer, raw};
use crate::vault::OnOpen;
use crate::world::{NUMBER, Reply, Setup, TOKEN, World, usual_form};

/// Nothing reached the PSP and no forward was opened.
fn nothing_happened(world: &World, reply: &Reply, status: u16, problem: &str) {
    assert_eq!((reply.status, reply.problem().as_str()), (status, problem), "{}", reply.text());
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
}

/// The PSP saw exactly one request with the card, and the caller must not try again.
async fn outcome_unknown(world: &World, reply: &Reply) {
    assert_eq!((reply.status, reply.problem().as_str()), (502, "psp-outcome-unknown"), "{}", reply.text());
    assert_eq!(reply.header("stripe-should-retry"), Some("false"));
    assert_eq!(reply.header("retry-after"), None);
    assert!(reply.json()["forward_id"].is_string());
    assert_eq!(world.psp.requests(), 1, "sent once, never again");
    assert!(world.psp.seen()[0].holds(NUMBER));
    assert_eq!(world.vault.outcomes(1).await[0]["outcome"], "unknown");
}

#[tokio::test]
async fn a_misplaced_token_sends_nothing() {
    let world = World::usual().await;
    for form in [
        format!("{}&description={TOKEN}", usual_form()),
        format!("description={TOKEN}"),
        format!("card[number]={NUMBER}&card[cvc]={TOKEN}"),
    ] {
        let reply = world.create(&form).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        reply.problem();
    }
    for request in [
        world.form(&format!("/psp/v1/payment_methods?x={TOKEN}"), &usual_form()),
        world.form("/psp/v1/refunds", &format!("metadata[x]={TOKEN}")),
        world.request("GET", &format!("/psp/v1/payment_methods/{TOKEN}"), "", b""),
    ] {
        let reply = world.send(request).await;
        nothing_happened(&world, &reply, 400, "misplaced-token");
    }
    let mut request = world.form("/psp/v1/payment_methods", &usual_form());
    request.headers_mut().insert("x-note", TOKEN.parse().unwrap());
    let reply = world.send(request).await;
    nothing_happened(&world, &reply, 400, "misplaced-token");
}

#[tokio::test]
async fn a_card_number_in_a_request_sends_nothing() {
    let world = World::usual().await;
    for request in [
        world.form("/psp/v1/payment_methods", &format!("card[number]={NUMBER}")),
        world.form("/psp/v1/payment_methods", "card[number]=4242+4242+4242+4242"),
        world.form("/psp/v1/refunds", &format!("metadata[x]={NUMBER}")),
        world.form(&format!("/psp/v1/refunds?x={NUMBER}"), "a=b"),
        world.request("GET", &format!("/psp/v1/payment_methods/{NUMBER}"), "", b""),
        world.json("/psp/payments", &json!({ "source": { "number": TOKEN }, "reference": NUMBER })),
    ] {
        let reply = world.send(request).await;
        nothing_happened(&world, &reply, 400, "pan-in-request");
        assert!(!reply.text().contains(NUMBER));
    }
}

#[tokio::test]
async fn unlisted_calls_and_unreadable_bodies_send_nothing() {
    let world = World::usual().await;
    for (request, status, problem) in [
        (world.form("/psp/v1/charges", &usual_form()), 403, "route-refused"),
        (world.request("DELETE", "/psp/v1/payment_methods/pm_1", "", b""), 403, "route-refused"),
        (world.form("/psp/v1//payment_methods", &usual_form()), 403, "route-refused"),
        (world.form("/psp/v1/%70ayment_methods", &usual_form()), 403, "route-refused"),
        (world.form("/other/v1/payment_methods", &usual_form()), 403, "route-refused"),
        (
            world.request("POST", "/psp/v1/payment_methods", "text/plain", usual_form().as_bytes()),
            415,
            "unsupported-media-type",
        ),
        (world.request("POST", "/psp/payments", "application/json", b"{\"a\":"), 400, "invalid-request"),
        (world.form("/psp/v1/payment_methods", &"x".repeat(1024 * 1024 + 1)), 413, "body-too-large"),
    ] {
        let reply = world.send(request).await;
        nothing_happened(&world, &reply, status, problem);
    }
}

#[tokio::test]
async fn what_the_vault_refuses_is_not_sent() {
    let world = World::usual().await;
    for (kind, status, problem) in [
        (ProblemKind::TokenNotFound, 404, "token-not-found"),
        (ProblemKind::Forbidden, 404, "token-not-found"),
        (ProblemKind::AttributeUnavailable, 404, "attribute-unavailable"),
        (ProblemKind::RateLimited, 429, "rate-limited"),
        (ProblemKind::Unavailable, 424, "vault-unreachable"),
        (ProblemKind::Internal, 424, "vault-unreachable"),
        (ProblemKind::InvalidRequest, 424, "vault-unreachable"),
    ] {
        world.vault.then(OnOpen::Refuse(kind));
        let reply = world.create_usual().await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, problem));
        assert_eq!(reply.header("retry-after").is_some(), matches!(status, 424 | 429), "{problem}");
    }
    assert_eq!((world.psp.requests(), world.vault.outcomes_now()), (0, 0));
    assert_eq!(world.psp.connections(), 1, "the unused connection was kept");
}

#[tokio::test]
async fn a_slow_garbled_or_absent_vault_sends_nothing() {
    let world = World::usual().await;
    world.vault.then(OnOpen::After(Duration::from_secs(60)));
    let reply = world.create_usual().await;
    assert_eq!((reply.status, reply.problem().as_str()), (424, "vault-unreachable"));
    world.vault.then(OnOpen::Garbage);
    assert_eq!(world.create_usual().await.problem(), "vault-unreachable");
    assert_eq!(world.vault.opens().len(), 2, "an open is never sent again");
    world.vault.die();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let reply = world.create_usual().await;
    assert_eq!((reply.status, reply.problem().as_str()), (424, "vault-unreachable"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 2));
}

#[tokio::test]
async fn a_connection_closed_instead_of_an_answer_is_an_unknown_outcome() {
    let world = World::usual().await;
    world.psp.then(Then::Close);
    let reply = world.create_usual().await;
    outcome_unknown(&world, &reply).await;
}

#[tokio::test]
async fn half_an_answer_is_an_unknown_outcome() {
    let world = World::usual().await;
    let mut half = answer("200 OK", r#"{"id":"pm_1"}"#);
    half.truncate(half.len() - 3);
    world.psp.then(Then::AnswerAndClose(half));
    let reply = world.create_usual().await;
    outcome_unknown(&world, &reply).await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_an_unknown_outcome() {
    let world = World::usual().await;
    world.psp.then(Then::AnswerAndClose(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()));
    let reply = world.create_usual().await;
    outcome_unknown(&world, &reply).await;
}

const BROTLI_BOMB: &str = concat!(
    "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500baf7",
    "7ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bdffcbffff3ffc1300715800a07b",
    "ff07"
);

#[tokio::test]
async fn an_answer_too_large_or_unreadable_is_an_unknown_outcome() {
    for bytes in [
        raw("200 OK", "", &vec![b'x'; 4 * 1024 * 1024 + 1]),
        raw("200 OK", "content-encoding: compress\r\n", b"\x0b\x02\x80hello\x03"),
        raw("200 OK", "content-encoding: gzip, br\r\n", b"\x0b\x02\x80hello\x03"),
        // 64 MiB of zeros.
        raw("200 OK", "content-encoding: br\r\n", &hex::decode(BROTLI_BOMB).unwrap()),
        // 100 MB announced: given up at once, and never read.
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nx".to_vec(),
        raw("200 OK", "content-encoding: gzip\r\n", b"no gzip"),
    ] {
        let world = World::usual().await;
        world.psp.then(Then::Answer(bytes));
        let reply = world.create_usual().await;
        outcome_unknown(&world, &reply).await;
    }
}

#[tokio::test]
async fn a_hundred_megabytes_that_do_come_are_read_no_further_than_the_limit() {
    let world = World::usual().await;
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x1_0000], b"\r\n"].concat();
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    (0..1_526).for_each(|_| bytes.extend_from_slice(&chunk));
    assert!(bytes.len() > 100_000_000);
    world.psp.then(Then::AnswerAndClose(bytes));
    let reply = world.create_usual().await;
    outcome_unknown(&world, &reply).await;
}

#[tokio::test]
async fn a_stalled_psp_is_an_unknown_outcome_after_the_route_s_time() {
    let route = "credentials = \"account\"\nupstream_timeout_ms = 300".into();
    let world = World::new(Setup { route, ..Default::default() }).await;
    world.psp.then(Then::Stall);
    let began = std::time::Instant::now();
    let reply = world.create_usual().await;
    assert!((Duration::from_millis(300)..Duration::from_secs(60)).contains(&began.elapsed()));
    outcome_unknown(&world, &reply).await;
}

#[tokio::test]
async fn a_route_may_answer_424_where_sdks_retry_5xx() {
    let route = "credentials = \"account\"\nunknown_outcome_status = 424".into();
    let world = World::new(Setup { route, ..Default::default() }).await;
    world.psp.then(Then::Close);
    let reply = world.create_usual().await;
    assert_eq!((reply.status, reply.problem().as_str()), (424, "psp-outcome-unknown"));
    assert_eq!(reply.header("retry-after"), None);
}

#[tokio::test]
async fn a_passed_call_that_gets_no_answer_is_an_unknown_outcome_too() {
    let world = World::usual().await;
    world.psp.then(Then::Close);
    let reply = world.send(world.form("/psp/v1/refunds", "payment_intent=pi_1")).await;
    assert_eq!((reply.status, reply.problem().as_str()), (502, "psp-outcome-unknown"));
    assert_eq!(reply.header("stripe-should-retry"), Some("false"));
    assert_eq!((world.psp.requests(), world.vault.outcomes_now()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_an_incident_and_never_followed() {
    let world = World::usual().await;
    for status in [
        "300 Multiple Choices",
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "304 Not Modified",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("location: https://127.0.0.1:{}/collect\r\n", world.psp.address.port());
        world.psp.then(Then::Answer(raw(status, &location, b"")));
        let before = world.psp.requests();
        let reply = world.create_usual().await;
        assert_eq!((reply.status, reply.problem().as_str()), (502, "psp-redirected"));
        assert_eq!(reply.header("stripe-should-retry"), Some("false"));
        assert_eq!(reply.header("location"), None);
        assert_eq!(world.psp.requests(), before + 1);
    }
    assert_eq!(world.vault.outcomes(7).await[6]["status"], 308);
}

#[tokio::test]
async fn an_idle_connection_the_psp_closed_is_replaced_without_sending_twice() {
    let world = World::usual().await;
    for round in 1..=5 {
        world.psp.then(Then::AnswerAndClose(answer("200 OK", r#"{"id":"pm_1"}"#)));
        assert_eq!(world.create_usual().await.status, 200);
        assert_eq!(world.psp.requests(), round);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
