//! The sandbox PSP over its own TLS, call by call.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use strongroom_sandbox::client::Exchange;
use strongroom_sandbox::psp::cards;
use strongroom_sandbox::search::{Form, Needles, Report};

use crate::support::Setting;

const METHODS: &str = "/v1/payment_methods";
const INTENTS: &str = "/v1/payment_intents";

fn method(number: &str) -> String {
    format!("type=card&card[number]={number}&card[exp_month]=12&card[exp_year]=2034&card[cvc]=737")
}

fn intent(number: &str) -> String {
    let card = method(number).replace("card[", "payment_method_data[card][");
    let card = card.replace("type=", "payment_method_data[type]=");
    format!("amount=1099&currency=eur&confirm=true&{card}")
}

fn text<'a>(json: &'a serde_json::Value, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default()
}

fn search(number: &str, bytes: &[u8]) -> Report {
    let mut needles = Needles::new();
    needles.number("number", number);
    needles.compile().unwrap().bytes(bytes)
}

#[tokio::test]
async fn a_payment_goes_its_way_and_survives_a_restart() {
    let setting = Setting::start().await;
    let created = setting.form(METHODS, None, &method(cards::APPROVED)).await;
    assert_eq!(created.status(), 200);
    let created = created.json();
    assert_eq!(created["card"]["brand"], "visa");
    assert_eq!(
        (created["card"]["last4"].as_str(), created["card"]["exp_year"].as_u64()),
        (Some("4242"), Some(2034))
    );
    let body = format!(
        "amount=500&currency=EUR&capture_method=manual&payment_method={}&metadata[order]=7",
        text(&created, "/id")
    );
    let waiting = setting.form(INTENTS, None, &body).await.json();
    assert_eq!(
        (text(&waiting, "/status"), text(&waiting, "/metadata/order")),
        ("requires_confirmation", "7")
    );
    let path = format!("{INTENTS}/{}", text(&waiting, "/id"));
    let confirmed = setting.form(&format!("{path}/confirm"), None, "").await.json();
    assert_eq!(
        (text(&confirmed, "/status"), confirmed["amount_capturable"].as_u64()),
        ("requires_capture", Some(500))
    );

    let setting = setting.restart().await;
    let captured = setting.form(&format!("{path}/capture"), None, "amount_to_capture=400").await.json();
    assert_eq!((text(&captured, "/status"), captured["amount_received"].as_u64()), ("succeeded", Some(400)));
    let refund = format!("payment_intent={}&amount=150", text(&waiting, "/id"));
    let first = setting.form("/v1/refunds", None, &refund).await.json();
    assert_eq!(text(&first, "/status"), "succeeded");
    let charge = format!("charge={}", text(&captured, "/latest_charge"));
    let rest = setting.form("/v1/refunds", None, &charge).await.json();
    assert_eq!(rest["amount"], 250);
    let none_left = setting.form("/v1/refunds", None, &charge).await;
    assert_eq!(
        (none_left.status(), text(&none_left.json(), "/error/code")),
        (400, "charge_already_refunded")
    );

    let setting = setting.restart().await;
    assert_eq!(setting.show(&path).await.json(), captured);
    assert_eq!(setting.show(&format!("/v1/refunds/{}", text(&first, "/id"))).await.json(), first);
    assert_eq!(setting.show(&format!("{METHODS}/{}", text(&created, "/id"))).await.json(), created);
    let again = setting.form(METHODS, None, &method("4242 4242-4242+4242")).await.json();
    assert_eq!(text(&again, "/card/fingerprint"), text(&created, "/card/fingerprint"));
    let cancel = setting.form(&format!("{path}/cancel"), None, "").await;
    assert_eq!(
        (cancel.status(), text(&cancel.json(), "/error/code")),
        (400, "payment_intent_unexpected_state")
    );
}

#[tokio::test]
async fn a_new_payment_can_be_canceled_once() {
    let setting = Setting::start().await;
    let created = setting.form(INTENTS, None, "amount=1&currency=usd").await.json();
    assert_eq!(text(&created, "/status"), "requires_payment_method");
    let path = format!("{INTENTS}/{}", text(&created, "/id"));
    assert_eq!(setting.form(&format!("{path}/confirm"), None, "").await.status(), 400);
    let canceled =
        setting.form(&format!("{path}/cancel"), None, "cancellation_reason=duplicate").await.json();
    assert_eq!(
        (text(&canceled, "/status"), text(&canceled, "/cancellation_reason")),
        ("canceled", "duplicate")
    );
    assert_eq!(setting.form(&format!("{path}/confirm"), None, "").await.status(), 400);
}

#[tokio::test]
async fn declined_and_wrong_cards_say_so_as_stripe_does() {
    let setting = Setting::start().await;
    for (number, code, decline_code) in [
        (cards::DECLINED, "card_declined", "generic_decline"),
        (cards::INSUFFICIENT_FUNDS, "card_declined", "insufficient_funds"),
        (cards::LOST, "card_declined", "lost_card"),
        (cards::STOLEN, "card_declined", "stolen_card"),
        (cards::EXPIRED, "expired_card", ""),
        (cards::INCORRECT_CVC, "incorrect_cvc", ""),
        (cards::PROCESSING_ERROR, "processing_error", ""),
        ("4532015112830366", "card_declined", "test_mode_live_card"),
        (cards::INCORRECT_NUMBER, "incorrect_number", ""),
        ("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv", "invalid_number", ""),
    ] {
        let answer = setting.form(INTENTS, None, &intent(number)).await;
        let json = answer.json();
        assert_eq!((answer.status(), text(&json, "/error/type")), (402, "card_error"), "{number}");
        assert_eq!((text(&json, "/error/code"), text(&json, "/error/decline_code")), (code, decline_code));
        let id = text(&json, "/error/payment_intent/id");
        if !id.is_empty() {
            let shown = setting.show(&format!("{INTENTS}/{id}")).await.json();
            assert_eq!(text(&shown, "/status"), "requires_payment_method");
            assert_eq!(text(&shown, "/last_payment_error/code"), code);
        }
    }
    for (change, code) in [
        ("[exp_month]=13", "invalid_expiry_month"),
        ("[exp_month]=x", "invalid_expiry_month"),
        ("[exp_year]=2001", "invalid_expiry_year"),
        ("[exp_year]=2134", "invalid_expiry_year"),
        ("[cvc]=12", "invalid_cvc"),
    ] {
        let answer = setting.form(METHODS, None, &format!("{}&card{change}", method(cards::APPROVED))).await;
        assert_eq!((answer.status(), text(&answer.json(), "/error/code")), (402, code));
    }
    let missing = setting.form(METHODS, None, "type=card").await;
    assert_eq!((missing.status(), text(&missing.json(), "/error/code")), (400, "parameter_missing"));
    for path in
        ["/v1/payment_methods/pm_x", "/v1/payment_intents/pi_x", "/v1/refunds/re_x", "/json/payments/pay_x"]
    {
        let unknown = setting.show(path).await;
        assert_eq!((unknown.status(), text(&unknown.json(), "/error/code")), (404, "resource_missing"));
    }
    assert_eq!(setting.show("/v1/customers").await.status(), 404);
}

#[tokio::test]
async fn only_its_own_key_is_let_in() {
    let setting = Setting::start().await;
    let client = setting.client();
    for headers in [
        &[][..],
        &[("Authorization", "Bearer sk_test_other")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Digest x")],
    ] {
        let answer = client.send("POST", METHODS, headers, method(cards::APPROVED).as_bytes()).await.unwrap();
        assert_eq!((answer.status(), text(&answer.json(), "/error/type")), (401, "invalid_request_error"));
    }
    // `curl -u sk_test_sandbox:`
    let basic = [("Authorization", "Basic c2tfdGVzdF9zYW5kYm94Og==")];
    assert_eq!(
        client.send("POST", METHODS, &basic, method(cards::APPROVED).as_bytes()).await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_no_second_payment() {
    let setting = Setting::start().await;
    let first = setting.form(INTENTS, Some("k1"), &intent(cards::APPROVED)).await;
    let declined = setting.form(INTENTS, Some("k2"), &intent(cards::DECLINED)).await;
    let invalid = setting.form(INTENTS, Some("k3"), "amount=0").await;
    assert_eq!((first.status(), declined.status(), invalid.status()), (200, 402, 400));

    let setting = setting.restart().await;
    let again = setting.form(INTENTS, Some("k1"), &intent(cards::APPROVED)).await;
    assert_eq!((again.json(), again.header("idempotent-replayed")), (first.json(), Some("true")));
    assert_eq!(setting.form(INTENTS, Some("k2"), &intent(cards::DECLINED)).await.json(), declined.json());
    let other = setting.form(INTENTS, Some("k1"), &intent("5555555555554444")).await;
    assert_eq!((other.status(), text(&other.json(), "/error/type")), (400, "idempotency_error"));
    let fixed = setting.form(INTENTS, Some("k3"), &intent(cards::APPROVED)).await;
    assert_eq!(fixed.status(), 200, "a request that was refused unread does not use its key up");
    setting.clock.advance_days(1);
    let next_day = setting.form(INTENTS, Some("k1"), &intent(cards::APPROVED)).await;
    assert_ne!(next_day.json(), first.json());
}

#[tokio::test]
async fn the_json_api_takes_numbers_as_strings_and_expiries_as_integers() {
    let setting = Setting::start().await;
    let bearer = [("Authorization", "Bearer sk_test_sandbox"), ("Content-Type", "application/json")];
    let pay = |number: &'static str, month: &'static str| {
        let client = setting.client();
        async move {
            let card = format!(
                r#"{{"number":"{number}","cvc":"737","expiry_month":{month},"expiry_year":2034,"name":"Ada"}}"#
            );
            let body = format!(r#"{{"amount":1099,"currency":"eur","reference":"r-1","card":{card}}}"#);
            client.send("POST", "/json/payments", &bearer, body.as_bytes()).await.unwrap()
        }
    };
    let approved = pay(cards::APPROVED, "3").await;
    assert_eq!((approved.status(), text(&approved.json(), "/status")), (201, "approved"));
    let path = format!("/json/payments/{}", text(&approved.json(), "/id"));
    assert_eq!(setting.show(&path).await.json(), approved.json());
    let declined = pay(cards::DECLINED, "3").await;
    assert_eq!((declined.status(), text(&declined.json(), "/error/code")), (402, "card_declined"));
    assert_eq!(pay(cards::APPROVED, "\"3\"").await.status(), 400);
    assert_eq!(pay(cards::INCORRECT_NUMBER, "3").await.status(), 402);
}

#[tokio::test]
async fn the_log_holds_every_request_whole_for_its_owner_only_and_nothing_else_holds_a_number() {
    let setting = Setting::start().await;
    let number = cards::random_number(&crate::support::SystemRandom).unwrap();
    assert_eq!(setting.form(METHODS, None, &method(&number)).await.status(), 200);
    assert_eq!(setting.form(INTENTS, Some("k"), &intent(&number)).await.status(), 200);
    let lines = fs::read_to_string(setting.psp.log_file()).unwrap();
    let bodies: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(bodies[0]["body"], method(&number).as_str());
    assert_eq!((bodies.len(), text(&bodies[1], "/path")), (2, INTENTS));
    let mut needles = Needles::new();
    needles.number("number", &number);
    let report = needles.compile().unwrap().path(setting.folder.path()).unwrap();
    assert!(report.hits.iter().all(|hit| hit.path == setting.psp.log_file() && hit.form == Form::Plain));
    assert_eq!(report.hits.len(), 2);
    for entry in fs::read_dir(setting.folder.path().join("psp")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let counts = setting.psp.counts();
    assert_eq!((counts["POST /v1/payment_methods"], counts["POST /v1/payment_intents"]), (1, 1));
}

#[tokio::test]
async fn a_torn_last_line_of_the_state_is_dropped_and_any_other_stops_the_start() {
    let setting = Setting::start().await;
    let created = setting.form(METHODS, None, &method(cards::APPROVED)).await.json();
    let state = setting.folder.path().join("psp/psp-state.jsonl");
    let whole = fs::read(&state).unwrap();
    fs::write(&state, [&whole[..], b"{\"kind\":\"int"].concat()).unwrap();
    let setting = setting.restart().await;
    assert_eq!(fs::read(&state).unwrap(), whole);
    assert_eq!(setting.show(&format!("{METHODS}/{}", text(&created, "/id"))).await.status(), 200);
    fs::write(&state, [b"{}\n", &whole[..]].concat()).unwrap();
    let identity = setting.pki.server(strongroom_sandbox::pki::Server::Psp).unwrap();
    let config = strongroom_sandbox::psp::PspConfig::new(identity, setting.folder.path().join("psp"));
    let random = std::sync::Arc::new(crate::support::SystemRandom);
    assert!(strongroom_sandbox::psp::Psp::start(config, setting.clock.clone(), random).await.is_err());
}

fn echoed(answer: &Exchange) -> bool {
    search(cards::ECHO, &answer.received).found("number")
}

#[tokio::test]
async fn the_slow_card_is_answered_late_and_its_replay_at_once() {
    let setting = Setting::start().await;
    let begin = Instant::now();
    assert_eq!(setting.form(INTENTS, Some("s"), &intent(cards::SLOW)).await.status(), 200);
    let first = begin.elapsed();
    assert!(first >= Duration::from_millis(1_500));
    let begin = Instant::now();
    assert_eq!(setting.form(INTENTS, Some("s"), &intent(cards::SLOW)).await.status(), 200);
    assert!(begin.elapsed() < first);
}

#[tokio::test]
async fn a_reset_comes_after_the_payment_and_its_key_finds_it() {
    let setting = Setting::start().await;
    for number in [cards::RESET, cards::CUT] {
        let error = setting.try_form(INTENTS, Some(number), &intent(number)).await.unwrap_err();
        match number {
            cards::RESET => {
                assert_eq!(error.reason.kind(), std::io::ErrorKind::ConnectionReset);
                assert!(error.exchange.received.is_empty());
            }
            _ => assert_eq!(error.exchange.status(), 200),
        }
        let again = setting.form(INTENTS, Some(number), &intent(number)).await;
        assert_eq!((again.status(), text(&again.json(), "/status")), (200, "succeeded"));
    }
    assert_eq!(setting.psp.counts()["POST /v1/payment_intents"], 4);
}

#[tokio::test]
async fn every_other_way_to_answer_is_what_the_table_says() {
    let setting = Setting::start().await;
    let redirect = setting.form(INTENTS, None, &intent(cards::REDIRECT)).await;
    assert_eq!((redirect.status(), redirect.header("location")), (307, Some("/redirected")));
    let garbage = setting.form(INTENTS, None, &intent(cards::GARBAGE)).await;
    assert!(garbage.status() == 200 && garbage.json().is_null());
    assert!(search(cards::GARBAGE, &garbage.received).found("number"));
    let broken = setting.form(METHODS, None, &method(cards::SERVER_ERROR)).await;
    assert!(broken.status() == 500 && search(cards::SERVER_ERROR, &broken.received).found("number"));
    for (number, coding) in [(cards::GZIP, "gzip"), (cards::DEFLATE, "deflate")] {
        let answer = setting.form(METHODS, None, &method(number)).await;
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert!(!search(number, &answer.received).found("number"));
        let mut plain = String::new();
        let body = answer.body();
        match coding {
            "gzip" => std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut plain),
            _ => std::io::Read::read_to_string(&mut flate2::read::ZlibDecoder::new(&*body), &mut plain),
        }
        .unwrap();
        let json: serde_json::Value = serde_json::from_str(&plain).unwrap();
        assert_eq!((text(&json, "/object"), text(&json, "/echo/number")), ("payment_method", number));
    }
}

#[tokio::test]
async fn the_echo_card_comes_back_in_body_and_headers_in_every_encoding() {
    let setting = Setting::start().await;
    let answer = setting.form(METHODS, None, &method(cards::ECHO)).await;
    let json = answer.json();
    assert_eq!(
        (answer.status(), text(&json, "/echo/escaped"), text(&json, "/echo/cvc")),
        (200, cards::ECHO, "737")
    );
    let report = search(cards::ECHO, &answer.body());
    for form in [
        Form::Plain,
        Form::Grouped,
        Form::JsonEscape,
        Form::Percent,
        Form::XmlEntity,
        Form::Hex,
        Form::Base64,
    ] {
        assert!(report.hits.iter().any(|hit| hit.form == form), "{form:?}");
    }
    let head = answer.received.len() - answer.body().len();
    let report = search(cards::ECHO, &answer.received[..head]);
    for form in [Form::Plain, Form::Grouped, Form::Hex, Form::Base64] {
        assert!(report.hits.iter().any(|hit| hit.form == form), "{form:?}");
    }
    let later = setting.show(&format!("{METHODS}/{}", text(&json, "/id"))).await;
    assert!(later.status() == 200 && !echoed(&later), "only the request with the number is answered with it");
    let wrapped = setting.form(METHODS, None, &method(cards::ECHO_WRAPPED)).await;
    assert!(search(cards::ECHO_WRAPPED, &wrapped.body()).hits.iter().all(|hit| hit.form != Form::Plain));
    assert!(search(cards::ECHO_WRAPPED, &wrapped.body()).found("number"));
}

#[test]
fn the_readme_lists_every_card() {
    let readme = include_str!("../../README.md");
    for number in [
        cards::APPROVED,
        cards::DECLINED,
        cards::INSUFFICIENT_FUNDS,
        cards::LOST,
        cards::STOLEN,
        cards::EXPIRED,
        cards::INCORRECT_CVC,
        cards::PROCESSING_ERROR,
        cards::INCORRECT_NUMBER,
        cards::SLOW,
        cards::RESET,
        cards::CUT,
        cards::REDIRECT,
        cards::GARBAGE,
        cards::GZIP,
        cards::DEFLATE,
        cards::ECHO,
        cards::SERVER_ERROR,
        cards::ECHO_WRAPPED,
    ] {
        assert!(readme.contains(&format!("| {number}")), "{number}");
    }
}
