//! Payments that are let through once: the second under a reference never reaches the PSP, whatever became of the first.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::psp::{Then, json as answer, raw};
use crate::vault::OnOpen;
use crate::world::{NUMBER, Reply, Setup, TOKEN, World};

const ONCE: &str = "mode = \"at-most-once\"\nreference = \"/order/id\"";

async fn world() -> World {
    World::new(Setup { encrypt: ONCE, ..Setup::default() }).await
}

fn payment(reference: &str) -> Value {
    json!({ "order": { "id": reference }, "source": { "type": "card", "number": TOKEN } })
}

async fn pay(world: &World, reference: &str) -> Reply {
    world.send(world.json("/psp/payments", &payment(reference))).await
}

fn assert_taken(reply: &Reply, state: &str) {
    assert_eq!((reply.status, reply.problem().as_str()), (403, "payment-reference-taken"));
    let document = reply.json();
    assert_eq!(document["state"], state, "{document}");
    assert!(document["forward_id"].is_string(), "{document}");
    assert!(!reply.text().contains("order-") && !reply.text().contains(TOKEN), "{document}");
    assert_eq!(reply.header("retry-after"), None, "nothing invites to try again");
}

#[tokio::test]
async fn the_second_payment_under_a_reference_never_reaches_the_psp() {
    let world = world().await;
    assert_eq!(pay(&world, "order-1").await.status, 200);
    assert_eq!(world.vault.outcomes(1).await[0]["outcome"], "answered");
    assert_taken(&pay(&world, " order-1").await, "answered");
    assert_eq!(pay(&world, "order-2").await.status, 200);
    let seen = world.psp.seen();
    assert_eq!(seen.len(), 2, "one request for each reference");
    assert!(seen[0].holds("order-1") && seen[0].holds(NUMBER) && seen[1].holds("order-2"));
    let opens = world.vault.opens();
    assert_eq!((&opens[0]["reference"], &opens[1]["reference"]), (&json!("order-1"), &json!("order-1")));
}

#[tokio::test]
async fn of_payments_at_once_under_one_reference_one_reaches_the_psp() {
    let world = world().await;
    let replies = join_all((0..20).map(|_| pay(&world, "order-1"))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!((reply.status, reply.problem().as_str()), (403, "payment-reference-taken"));
    }
    assert_eq!(world.psp.requests(), 1);
}

#[tokio::test]
async fn a_payment_that_broke_off_is_not_sent_again() {
    for (then, outcome, status) in [
        (Then::Close, "unknown", 502),
        (Then::AnswerAndClose(answer("500 Internal Server Error", "{}")), "answered", 500),
        (Then::AnswerAndClose(answer("429 Too Many Requests", "{}")), "answered", 429),
        (
            Then::AnswerAndClose(raw("302 Found", "location: https://elsewhere.test/\r\n", b"")),
            "answered",
            502,
        ),
    ] {
        let world = world().await;
        world.psp.then(then);
        assert_eq!(pay(&world, "order-1").await.status, status, "{outcome}");
        assert_eq!(world.vault.outcomes(1).await[0]["outcome"], outcome);
        assert_taken(&pay(&world, "order-1").await, outcome);
        assert_eq!(world.psp.requests(), 1, "{status}");
    }
}

#[tokio::test]
async fn without_a_usable_reference_nothing_is_connected_asked_or_sent() {
    let world = world().await;
    let without = json!({ "source": { "number": TOKEN } });
    let twice = json!({ "order": { "id": "order-1", "ID": "order-2" }, "source": { "number": TOKEN } });
    let object = json!({ "order": { "id": {} }, "source": { "number": TOKEN } });
    for body in [without, twice, object, payment(""), payment("a\u{7}"), payment(&"r".repeat(256))] {
        let reply = world.send(world.json("/psp/payments", &body)).await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, "payment-reference-missing"), "{body}");
        assert!(reply.json()["error"]["message"].is_string(), "an sdk reads it as an error");
    }
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0));
    // A card number is no reference, and no token is one.
    for (reference, problem) in [(NUMBER, "pan-in-request"), (TOKEN, "misplaced-token")] {
        assert_eq!(pay(&world, reference).await.problem(), problem);
    }
    // Without card data there is nothing to let through once.
    let stored = json!({ "source": { "number": "stored" } });
    assert_eq!(world.send(world.json("/psp/payments", &stored)).await.status, 200);
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (1, 0));
}

#[tokio::test]
async fn a_reference_in_a_header_serves_as_well() {
    let once = "mode = \"at-most-once\"\nreference = \"header:idempotency-key\"";
    let world = World::new(Setup { encrypt: once, ..Setup::default() }).await;
    let keyed = || {
        let mut request = world.json("/psp/payments", &payment("order-1"));
        request.headers_mut().insert("idempotency-key", "attempt-1".parse().unwrap());
        request
    };
    assert_eq!(world.send(keyed()).await.status, 200);
    assert_eq!(world.vault.outcomes(1).await.len(), 1);
    assert_taken(&world.send(keyed()).await, "answered");
    assert_eq!(pay(&world, "order-1").await.problem(), "payment-reference-missing");
    let opens = world.vault.opens();
    assert_eq!((&opens[0]["reference"], &opens[0]["attempt"]), (&json!("attempt-1"), &json!("attempt-1")));
    assert_eq!(world.psp.requests(), 1);
}

#[tokio::test]
async fn what_the_vault_cannot_do_is_safe_to_try_again_under_the_same_reference() {
    let world = world().await;
    world.vault.then(OnOpen::Refuse(strongroom_domain::ProblemKind::Unavailable));
    let reply = pay(&world, "order-1").await;
    assert_eq!((reply.status, reply.problem().as_str()), (424, "vault-unreachable"));
    assert_eq!(pay(&world, "order-1").await.status, 200, "it was never taken");
    assert_eq!(world.psp.requests(), 1);
}

#[tokio::test]
async fn an_outcome_tells_timings_and_the_header_the_route_names() {
    let named = "credentials = \"account\"\nrequest_id = { header = \"X-Correlation\" }";
    let world = World::new(Setup { route: named.into(), encrypt: ONCE, ..Setup::default() }).await;
    let head = "content-type: application/json\r\nRequest-Id: req_1\r\nX-Correlation: cor-7\r\n";
    world.psp.then(Then::Answer(raw("200 OK", head, b"{}")));
    assert_eq!(pay(&world, "order-1").await.status, 200);
    let outcome = world.vault.outcomes(1).await.remove(0);
    assert_eq!(outcome["psp_request_id"], "cor-7");
    for stage in ["plan_us", "connect_us", "open_us", "inject_us", "upstream_us", "scrub_us"] {
        assert!(outcome["timings"][stage].is_u64(), "{stage} of {outcome}");
    }
}

#[tokio::test]
async fn a_vault_that_knows_no_timings_is_told_the_outcome_without() {
    let world = world().await;
    world.vault.then_outcome(StatusCode::BAD_REQUEST);
    assert_eq!(pay(&world, "order-1").await.status, 200);
    let outcome = world.vault.outcomes(1).await.remove(0);
    assert_eq!((&outcome["outcome"], &outcome["status"]), (&json!("answered"), &json!(200)));
    assert!(outcome.get("timings").is_none(), "{outcome}");
}

#[tokio::test]
async fn a_caller_who_gives_up_while_the_vault_takes_the_reference_leaves_it_free() {
    let change = |config: &mut strongroom_proxy::config::ProxyConfig| config.vault.open_timeout_ms = 5_000;
    let world = World::new(Setup { encrypt: ONCE, change, ..Setup::default() }).await;
    assert_eq!(pay(&world, "order-0").await.status, 200, "connections are there");
    let before = world.vault.opens().len();
    world.vault.then(OnOpen::After(Duration::from_millis(1_500)));
    // On a machine so busy that a second goes by before the vault is asked, it is asked again.
    while world.vault.opens().len() == before {
        let mut request = world.json("/psp/payments", &payment("order-1"));
        request.headers_mut().insert("strongroom-timeout-ms", "1000".parse().unwrap());
        let reply = world.send(request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (424, "deadline-spent"), "{}", reply.text());
    }
    assert_eq!(world.vault.outcomes(2).await[1]["outcome"], "not-sent");
    assert_eq!(world.psp.requests(), 1);
    assert_eq!(pay(&world, "order-1").await.status, 200, "the reference is free again");
}
