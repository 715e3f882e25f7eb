//! What goes right: tokens in, card data to the PSP, scrubbed answers out.

use std::io::Write as _;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::psp::{Then, json as answer, raw};
use crate::vault::OnOpen;
use crate::world::{NUMBER, TOKEN, World, usual_form};

#[tokio::test]
async fn a_form_with_a_token_reaches_the_psp_with_the_card() {
    let world = World::usual().await;
    world.psp.then(Then::Answer(raw(
        "200 OK",
        "Content-Type: application/json\r\nRequest-Id: req_1\r\nAlt-Svc: h3=\":443\"\r\n",
        format!(r#"{{"id":"pm_1","card":{{"last4":"4242","echo":"{NUMBER}"}}}}"#).as_bytes(),
    )));
    let mut request = world.form("/psp/v1/payment_methods?expand=x", &usual_form());
    request.headers_mut().insert("idempotency-key", "attempt-1".parse().unwrap());
    request.headers_mut().insert("stripe-version", "2026-01-01".parse().unwrap());
    request.headers_mut().insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
    let reply = world.send(request).await;

    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.text().contains(NUMBER) && reply.text().contains(TOKEN), "{}", reply.text());
    assert_eq!(reply.json()["card"]["last4"], "4242");
    assert_eq!(reply.header("request-id"), Some("req_1"));
    assert_eq!(reply.header("alt-svc"), None);
    let timing = reply.header("server-timing").unwrap();
    for stage in ["plan", "connect", "open", "inject", "upstream", "scrub"] {
        assert!(timing.contains(&format!("{stage};dur=")), "{timing}");
    }

    let seen = &world.psp.seen()[0];
    assert_eq!(seen.line(), "POST /v1/payment_methods?expand=x HTTP/1.1");
    for expected in [
        &format!("card[number]={NUMBER}"),
        "card[cvc]=737",
        "card[exp_month]=3&",
        "card[exp_year]=2030",
        "Idempotency-Key: attempt-1",
        "Stripe-Version: 2026-01-01",
        "Authorization: Bearer sk_own_account",
        "Accept-Encoding: identity",
        "Content-Type: application/x-www-form-urlencoded",
        &format!("Host: api.psp.test:{}", world.psp.address.port()),
    ] {
        assert!(seen.holds(expected), "{expected} in {}", seen.text());
    }
    for absent in [TOKEN, "X-Forwarded-For", "Via", "proxy.test", "Traceparent"] {
        assert!(!seen.holds(absent), "{absent} in {}", seen.text());
    }

    let opened = &world.vault.opens()[0];
    assert_eq!(opened["caller"], "spiffe://strongroom.test/orchestrator");
    assert_eq!(opened["caller_cert_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(opened["path"], "/v1/payment_methods");
    assert_eq!(opened["host"], "api.psp.test");
    assert_eq!(opened["attempt"], "attempt-1");
    assert_eq!(opened["cards"], json!([{ "token": TOKEN, "attributes": ["number", "cvc", "exp"] }]));
    assert_eq!(world.vault.callers(), ["spiffe://strongroom.test/proxy"]);

    let outcome = &world.vault.outcomes(1).await[0];
    assert_eq!((&outcome["outcome"], &outcome["status"]), (&json!("answered"), &json!(200)));
    assert_eq!((&outcome["scrubbed"], &outcome["psp_request_id"]), (&json!(1), &json!("req_1")));
}

#[tokio::test]
async fn json_takes_strings_and_integers_and_a_carried_expiry() {
    let world = World::usual().await;
    let body = json!({ "amount": 100, "source": { "type": "card", "number": TOKEN, "expiry_month": 1 } });
    let reply = world.send(world.json("/psp/payments", &body)).await;
    assert_eq!(reply.status, 200);
    let seen = world.psp.seen()[0].text();
    let sent: serde_json::Value = serde_json::from_str(seen.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({ "amount": 100, "source": { "type": "card", "number": NUMBER, "expiry_month": 3 } })
    );
}

#[tokio::test]
async fn passed_calls_and_calls_without_a_token_ask_no_vault() {
    let world = World::usual().await;
    let get = world.request("GET", "/psp/v1/payment_methods/pm_1", "", b"");
    assert_eq!(world.send(get).await.status, 200);
    assert_eq!(world.send(world.form("/psp/v1/refunds", "payment_intent=pi_1")).await.status, 200);
    assert_eq!(world.create("type=card&card[number]=").await.status, 200);
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (3, 0));
    assert_eq!(world.psp.connections(), 1, "one idle connection served all");
}

#[tokio::test]
async fn the_psp_s_own_errors_come_through_scrubbed() {
    let world = World::usual().await;
    world.psp.then(Then::Answer(answer(
        "402 Payment Required",
        &format!(r#"{{"error":{{"message":"4242-4242-4242-4242 {NUMBER}"}}}}"#),
    )));
    let reply = world.create_usual().await;
    assert_eq!(reply.status, 402);
    assert!(!reply.text().contains("4242-4242") && !reply.text().contains(NUMBER), "{}", reply.text());
    assert_eq!(world.vault.outcomes(1).await[0]["status"], 402);
}

#[tokio::test]
async fn compressed_answers_nobody_asked_for_are_undone_and_scrubbed() {
    let world = World::usual().await;
    let text = format!(r#"{{"id":"pm_1","echo":"{NUMBER}"}}"#);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    world.psp.then(Then::Answer(raw(
        "200 OK",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        &gzip,
    )));
    let reply = world.create_usual().await;
    assert_eq!((reply.status, reply.header("content-encoding")), (200, None));
    assert_eq!(reply.json()["echo"], TOKEN);
}

#[tokio::test]
async fn the_outcome_never_delays_the_answer_and_is_told_in_the_end() {
    let world = World::usual().await;
    for _ in 0..3 {
        world.vault.then_outcome(StatusCode::SERVICE_UNAVAILABLE);
    }
    let reply = world.create_usual().await;
    assert_eq!((reply.status, world.vault.outcomes_now()), (200, 0));
    assert_eq!(world.vault.outcomes(1).await[0]["outcome"], "answered");
}

#[tokio::test]
async fn a_vault_that_dies_after_opening_costs_nothing() {
    let world = World::usual().await;
    world.psp.then(Then::After(Duration::from_millis(1_500), answer("200 OK", r#"{"id":"pm_1"}"#)));
    let call = tokio::time::timeout(Duration::from_secs(60), world.create_usual());
    let dies = async {
        while world.psp.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.vault.die();
    };
    let (reply, ()) = tokio::join!(call, dies);
    assert_eq!(reply.unwrap().status, 200);
    assert_eq!(world.vault.outcomes_now(), 0);
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_the_call() {
    let world = World::usual().await;
    world.psp.then(Then::After(Duration::from_millis(1_500), answer("200 OK", "{}")));
    tokio::select! {
        _ = world.create_usual() => panic!("answered before it hung up"),
        () = async {
            while world.psp.requests() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    assert_eq!(world.vault.outcomes(1).await[0]["outcome"], "answered");
}

#[tokio::test]
async fn the_next_vault_is_asked_when_the_first_takes_no_connection() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = crate::world::Setup { dead_vaults: vec![format!("https://{free}")], ..Default::default() };
    let world = World::new(setup).await;
    world.vault.then(OnOpen::After(Duration::from_millis(1)));
    assert_eq!(world.create_usual().await.status, 200);
    assert_eq!(world.vault.opens().len(), 1);
}

#[tokio::test]
async fn a_declared_header_is_filled_and_the_token_in_it_stays_here() {
    let world = World::usual().await;
    world.psp.then(Then::Answer(answer("201 Created", r#"{"id":"card_1"}"#)));
    let mut request = world.json("/psp/cards", &json!({ "cvc": "000" }));
    request.headers_mut().insert("x-card-number", TOKEN.parse().unwrap());
    let reply = world.send(request).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let seen = &world.psp.seen()[0];
    assert_eq!(seen.text().matches("X-Card-Number: ").count(), 1, "{}", seen.text());
    assert!(
        seen.holds(&format!("X-Card-Number: {NUMBER}\r\n")) && seen.holds(r#"{"cvc":"737"}"#),
        "{}",
        seen.text()
    );
    assert!(!seen.holds(TOKEN), "{}", seen.text());
    // The same header at another call is no place.
    let mut request = world.form("/psp/v1/refunds", "payment_intent=pi_1");
    request.headers_mut().insert("x-card-number", TOKEN.parse().unwrap());
    let reply = world.send(request).await;
    assert_eq!((reply.status, reply.problem().as_str()), (400, "misplaced-token"));
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (1, 1));
}
