//! Messages of others: tokenized on the way in, or refused with nothing passed on.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use strongroom_domain::{Clock as _, ProblemKind};
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::listener::PublicListenerConfig;
use strongroom_proxy::config::ProxyConfig;
use strongroom_proxy::inbound::InboundConfig;

use super::signing::python_hmac;
use crate::psp::{Then, json as answer};
use crate::world::{NUMBER, Reply, Setup, TOKEN, World};

const SECRET: &str = "a secret of this sender and of nobody else";
const SECOND: &str = "5555555555554444";

const ACQUIRER: &str = r#"
[inbound.acquirer]
tenant = "acme"
path = "/acquirer/cards"
body = "json"
take = [
    { at = "/card/number", value = "number" },
    { at = "/card/cvc", value = "cvc", from = "/card/number" },
    { at = "/card/month", value = "exp", format = "M", from = "/card/number" },
    { at = "/card/year", value = "exp", format = "YYYY", from = "/card/number" },
    { at = "/card/name", value = "holder", from = "/card/number" },
    { at = "/other/number", value = "number" },
]
message_id = "/id"
ids = ["/reference"]
platform = "https://api.psp.test:PORT/hooks/acquirer"
roots_file = "../../psp-ca.pem"
pass_headers = ["X-Kind"]

[inbound.acquirer.verify]
secret_files = ["acquirer.secret"]
timestamp = { header = "X-Timestamp", tolerance_s = 300 }
sign = { parts = ["header:X-Timestamp", "text:.", "header:X-Kind", "text:.", "body"], output = "hex", header = "X-Signature", prefix = "v1=" }
"#;

const FORM: &str = r#"
[inbound.form]
tenant = "acme"
path = "/form"
body = "form"
take = [{ at = "pan", value = "number" }, { at = "exp", value = "exp", format = "MM/YY", from = "pan" }]
message_id = "order"
unsigned = "a page of an old shop posts this; nobody can sign in a browser"
platform = "https://api.psp.test:PORT/hooks/form"
roots_file = "../../psp-ca.pem"
"#;

const PARTNER: &str = r#"
[inbound.partner]
tenant = "acme"
path = "/partner"
body = "xml"
take = [{ at = "card/pan", value = "number" }, { at = "card/pan@cvv", value = "cvc", from = "card/pan" }]
message_id = "header:x-message"
certificates = ["spiffe://strongroom.test/partner", "spiffe://strongroom.test/rival"]
platform = "https://api.psp.test:PORT/hooks/partner"
roots_file = "../../psp-ca.pem"
"#;

fn receive(config: &mut ProxyConfig) {
    let listener = PublicListenerConfig {
        address: config.listener.address,
        certificate_file: config.listener.certificate_file.clone(),
        key_file: config.listener.key_file.clone(),
        certificates: Vec::new(),
        client_ca_file: None,
        crl_files: Vec::new(),
        dns_identities: Vec::new(),
        limits: config.listener.limits,
    };
    let vault_tls = config.vault.tls.clone();
    config.inbound = Some(InboundConfig { listener, vault_tls, platform_tls: None });
}

fn setup() -> Setup {
    Setup {
        change: receive,
        files: vec![
            ("policies/inbound/acquirer.toml", ACQUIRER.into()),
            ("policies/inbound/form.toml", FORM.into()),
            ("policies/inbound/partner.toml", PARTNER.into()),
            ("acquirer.secret", SECRET.into()),
        ],
        ..Setup::default()
    }
}

fn now() -> i64 {
    SystemClock.now().unix_seconds()
}

fn message() -> Value {
    json!({ "id": "evt-1", "reference": "4111111111111111", "card": { "number": NUMBER, "cvc": "737", "month": 3, "year": "2030",
            "name": "JANE DOE" }, "amount": 7 })
}

fn signed_with(secret: &str, time: i64, body: &str) -> Request<Full<Bytes>> {
    signed_as(secret, time, "card.updated", body)
}

fn signed_as(secret: &str, time: i64, kind: &str, body: &str) -> Request<Full<Bytes>> {
    let signature = python_hmac(secret, format!("{time}.{kind}.{body}").as_bytes());
    post(
        "/acquirer/cards",
        "application/json",
        body,
        &[
            ("x-timestamp", &time.to_string()),
            ("x-signature", &format!("v1={signature}")),
            ("x-kind", kind),
            ("x-other", "stays here: 4111111111111111"),
        ],
    )
}

fn signed(body: &Value) -> Request<Full<Bytes>> {
    signed_with(SECRET, now(), &body.to_string())
}

fn post(path: &str, kind: &str, body: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post(path).header("host", "in.example").header("content-type", kind);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

fn problem(reply: &Reply) -> (u16, String) {
    let uri = reply.json()["type"].as_str().unwrap_or_default().to_owned();
    (reply.status, uri.rsplit(':').next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_signed_message_reaches_the_platform_with_tokens_alone() {
    let world = World::new(setup()).await;
    world.psp.then(Then::Answer(answer(
        "202 Accepted",
        &format!("{{\"took\":\"{NUMBER}\",\"code\":{{\"cvc\":\"737\"}}}}"),
    )));
    let reply = world.deliver(None, signed(&message())).await;
    let [created] = &world.vault.created()[..] else { panic!("one card") };
    assert_eq!((created.tenant.as_str(), reply.status), ("acme", 202));
    assert_eq!(
        created.card,
        json!({ "number": NUMBER, "cvc": "737", "holder": "JANE DOE", "exp_month": 3, "exp_year": 2030 })
    );
    // What the platform says of the number goes back as the token.
    assert_eq!(reply.json(), json!({ "took": created.token, "code": { "cvc": "***" } }));
    let seen = &world.psp.seen()[0];
    let (head, body) = {
        let text = seen.text();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    };
    let mut expected = message();
    expected["card"]["number"] = json!(created.token);
    expected["card"]["cvc"] = json!("***");
    assert_eq!(body, expected.to_string(), "nothing else changes");
    assert!(!seen.holds(NUMBER) && !seen.holds("737"));
    assert!(head.starts_with("post /hooks/acquirer http/1.1\r\n"), "{head}");
    for line in [
        "strongroom-inbound: acquirer",
        "strongroom-message-id: evt-1",
        "x-kind: card.updated",
        "content-type: application/json",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(!head.contains("x-other") && !head.contains("x-signature"), "{head}");
}

#[tokio::test]
async fn a_message_that_comes_again_leads_to_the_same_tokens() {
    let world = World::new(setup()).await;
    let mut two = message();
    two["other"] = json!({ "number": SECOND });
    for _ in 0..2 {
        assert_eq!(world.deliver(None, signed(&two)).await.status, 200);
    }
    // Another message with the same cards is another one.
    two["id"] = json!("evt-2");
    assert_eq!(world.deliver(None, signed(&two)).await.status, 200);
    let created = world.vault.created();
    let keys: Vec<_> = created.iter().map(|created| created.key.as_str()).collect();
    assert_eq!((keys.len(), keys[0], keys[1]), (6, keys[2], keys[3]));
    assert!(keys[0] != keys[1] && !keys[..4].contains(&keys[4]) && !keys[..4].contains(&keys[5]), "{keys:?}");
    assert!(keys.iter().all(|key| !key.contains("evt") && !key.contains("4242")), "{keys:?}");
    let seen = world.psp.seen();
    assert_eq!(seen[0].text(), seen[1].text());
    assert_ne!(seen[0].text(), seen[2].text());
}

#[tokio::test]
async fn what_is_not_from_its_sender_is_refused_and_nothing_passes() {
    let world = World::new(setup()).await;
    let body = message().to_string();
    let strip = |name: &str| {
        let mut request = signed(&message());
        request.headers_mut().remove(name);
        request
    };
    let mut altered = signed(&message());
    *altered.body_mut() = Full::new(Bytes::from(body.replace("\"amount\":7", "\"amount\":8")));
    let mut twice = signed(&message());
    let copy = twice.headers()["x-signature"].clone();
    twice.headers_mut().append("x-signature", copy);
    for (request, why) in [
        (strip("x-signature"), "no signature"),
        (strip("x-timestamp"), "no timestamp"),
        (signed_with("another secret, not the sender's", now(), &body), "another secret"),
        (signed_with(SECRET, now() - 301, &body), "too old"),
        (signed_with(SECRET, now() + 400, &body), "from the future"),
        (altered, "another body"),
        (twice, "two signatures"),
    ] {
        let reply = world.deliver(None, request).await;
        assert_eq!(problem(&reply), (403, "forbidden".into()), "{why}");
        assert!(!reply.text().contains(NUMBER));
    }
    assert_eq!((world.vault.created().len(), world.psp.connections()), (0, 0));
}

#[tokio::test]
async fn what_is_not_declared_is_refused_and_nothing_passes() {
    let world = World::new(setup()).await;
    let with = |pointer: &str, value: Value| {
        let mut message = message();
        *message.pointer_mut(pointer).unwrap() = value;
        signed(&message)
    };
    let without = |name: &str| {
        let mut message = message();
        message.as_object_mut().unwrap().remove(name);
        signed(&message)
    };
    let big = json!({ "id": "evt-1", "card": { "number": NUMBER }, "note": "x".repeat(1024 * 1024) });
    let form = "application/x-www-form-urlencoded";
    let travels = signed_as(SECRET, now(), NUMBER, &message().to_string());
    let mut unsigned = signed(&message());
    unsigned.headers_mut().insert("x-kind", "card.deleted".parse().unwrap());
    let mut compressed = signed(&message());
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let cases: Vec<(Request<Full<Bytes>>, u16, &str)> = vec![
        (post("/nobody", "application/json", "{}", &[]), 404, "not-found"),
        (post("/form?x=1", form, "pan=1", &[]), 404, "not-found"),
        (Request::get("/form").header("host", "a").body(Full::default()).unwrap(), 405, "method-not-allowed"),
        (post("/form", "text/plain", "pan=1", &[]), 415, "unsupported-media-type"),
        (compressed, 415, "unsupported-media-type"),
        (travels, 400, "pan-in-request"),
        (unsigned, 403, "forbidden"),
        (with("/card/cvc", json!(["737"])), 400, "invalid-request"),
        (signed(&big), 413, "body-too-large"),
        (without("card"), 400, "invalid-request"),
        (without("id"), 400, "invalid-request"),
        (with("/card/number", Value::Null), 400, "invalid-request"),
        (with("/card/number", json!(TOKEN)), 400, "misplaced-token"),
        (with("/card/month", json!("13")), 400, "invalid-request"),
        (with("/card/year", Value::Null), 400, "invalid-request"),
        (with("/card/name", json!(NUMBER)), 400, "pan-in-request"),
        (with("/amount", json!(NUMBER)), 400, "pan-in-request"),
        (with("/amount", json!({ "deep": ["4242 4242 4242 4242"] })), 400, "pan-in-request"),
        (with("/amount", json!(TOKEN)), 400, "misplaced-token"),
        (with("/id", json!(NUMBER)), 400, "pan-in-request"),
        (with("/id", json!("x".repeat(129))), 400, "invalid-request"),
        (
            post("/form", form, "order=1&pan=4242424242424242&pan=4242424242424242", &[]),
            400,
            "invalid-request",
        ),
        (post("/form", form, "order=1&pan=4242424242424242&exp=3/30", &[]), 400, "invalid-request"),
        (post("/form", form, "order=1&exp=03/30", &[]), 400, "invalid-request"),
    ];
    for (number, (request, status, slug)) in cases.into_iter().enumerate() {
        let reply = world.deliver(None, request).await;
        assert_eq!(problem(&reply), (status, slug.to_owned()), "case {number}: {}", reply.text());
        assert!(!reply.text().contains(NUMBER) && !reply.text().contains(TOKEN), "case {number}");
    }
    assert_eq!((world.vault.created().len(), world.psp.requests()), (0, 0));
}

#[tokio::test]
async fn a_form_anyone_posts_is_taken_where_the_entry_says_why() {
    let world = World::new(setup()).await;
    let form = "order=o-1&pan=4242+4242+4242+4242&exp=03%2F30&note=a%26b";
    let reply = world.deliver(None, post("/form", "application/x-www-form-urlencoded", form, &[])).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let created = &world.vault.created()[0];
    assert_eq!(created.card, json!({ "number": "4242 4242 4242 4242", "exp_month": 3, "exp_year": 2030 }));
    assert!(
        world.psp.seen()[0].holds(&format!("\r\n\r\norder=o-1&pan={}&exp=03%2F30&note=a%26b", created.token))
    );
}

#[tokio::test]
async fn a_sender_with_a_certificate_is_known_by_it_and_nobody_else_is() {
    let with_ca = |config: &mut ProxyConfig| {
        receive(config);
        let inbound = config.inbound.as_mut().unwrap();
        inbound.listener.client_ca_file = Some(config.listener.client_ca_file.clone());
    };
    let world = World::new(Setup { change: with_ca, ..setup() }).await;
    let message = || {
        let body = format!("<card><pan cvv=\"737\">{NUMBER}</pan><x>1</x></card>");
        post("/partner", "text/xml", &body, &[("x-message", "m-1")])
    };
    assert!(world.try_deliver(None, message()).await.is_none(), "the listener asks for one");
    assert_eq!(problem(&world.deliver(Some("checkout"), message()).await), (403, "forbidden".into()));
    assert_eq!(world.psp.requests(), 0);
    assert_eq!(world.deliver(Some("partner"), message()).await.status, 200);
    let token = &world.vault.created()[0].token;
    assert!(world.psp.seen()[0].holds(&format!("<card><pan cvv=\"***\">{token}</pan><x>1</x></card>")));
    // The same message again is the same to the vault; under its name from another sender, it is another.
    for sender in ["partner", "rival"] {
        assert_eq!(world.deliver(Some(sender), message()).await.status, 200);
    }
    let keys: Vec<_> = world.vault.created().into_iter().map(|created| created.key).collect();
    assert!(keys[0] == keys[1] && keys[0] != keys[2], "{keys:?}");

    // Where nobody is asked for one, nobody is a sender by it.
    let open = World::new(setup()).await;
    assert_eq!(problem(&open.deliver(Some("partner"), message()).await), (403, "forbidden".into()));
    assert_eq!((open.vault.created().len(), open.psp.requests()), (0, 0));
}

#[tokio::test]
async fn what_fails_behind_is_told_as_send_again_and_what_the_card_lacks_is_not() {
    let world = World::new(setup()).await;
    for (kind, status, slug) in [
        (ProblemKind::InvalidCard, 422, "invalid-card"),
        (ProblemKind::NumberNotAccepted, 422, "number-not-accepted"),
        (ProblemKind::Forbidden, 503, "unavailable"),
        (ProblemKind::RateLimited, 503, "unavailable"),
    ] {
        world.vault.then_create(kind);
        let reply = world.deliver(None, signed(&message())).await;
        assert_eq!(problem(&reply), (status, slug.to_owned()), "{kind:?}");
    }
    assert_eq!(world.psp.requests(), 0, "no token, no message");
    let redirect = crate::psp::raw("302 Found", "location: https://elsewhere.example/\r\n", b"");
    for then in [Then::Close, Then::Answer(redirect)] {
        world.psp.then(then);
        assert_eq!(problem(&world.deliver(None, signed(&message())).await), (503, "unavailable".into()));
    }
    world.psp.then(Then::Answer(answer("500 Oops", "{\"error\":1}")));
    assert_eq!(world.deliver(None, signed(&message())).await.status, 500, "the platform's own word");
    world.vault.die();
    let before = world.psp.requests();
    assert_eq!(problem(&world.deliver(None, signed(&message())).await), (503, "unavailable".into()));
    assert_eq!(world.psp.requests(), before);
}

#[tokio::test]
async fn a_sender_s_secret_and_entry_change_without_a_restart() {
    let quick = |config: &mut ProxyConfig| {
        receive(config);
        config.inbound.as_mut().unwrap().listener.limits.reload_interval_ms = 50.try_into().unwrap();
    };
    let world = World::new(Setup { change: quick, ..setup() }).await;
    let next = "the next secret of this sender, while it changes";
    let body = message().to_string();
    assert_eq!(world.deliver(None, signed_with(next, now(), &body)).await.status, 403);
    world.write("next.secret", next);
    let port = world.psp.address.port().to_string();
    let both = ACQUIRER
        .replace("[\"acquirer.secret\"]", "[\"acquirer.secret\", \"next.secret\"]")
        .replace("PORT", &port);
    world.write("policies/inbound/acquirer.toml", &both);
    let mut taken = 403;
    for _ in 0..600 {
        taken = world.deliver(None, signed_with(next, now(), &body)).await.status;
        if taken == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(taken, 200, "the entry was read again");
    // A file that cannot be used changes nothing.
    world.write("policies/inbound/form.toml", "[inbound.form]\n");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.deliver(None, signed(&message())).await.status, 200);
    let form = "order=o-1&pan=4242424242424242";
    assert_eq!(
        world.deliver(None, post("/form", "application/x-www-form-urlencoded", form, &[])).await.status,
        200
    );
}

#[tokio::test]
async fn an_entry_anyone_may_send_to_takes_so_many_and_leaves_the_others_theirs() {
    let world = World::new(setup()).await;
    let mut refused = None;
    for _ in 0..1_000 {
        let reply = world.deliver(None, post("/form", "text/plain", "pan=1", &[])).await;
        if reply.status != 415 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("no sender has more than the entry's rate");
    assert_eq!(problem(&refused), (429, "rate-limited".into()));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.vault.created().len(), 0);
    assert_eq!(world.deliver(None, signed(&message())).await.status, 200, "a sender who is known");
}

/// A code that nobody declared would travel on: where a field has one of its usual names, the message is refused.
#[tokio::test]
async fn a_verification_code_nobody_declared_passes_nothing_on() {
    let world = World::new(setup()).await;
    for (field, value) in [
        ("cvv", json!("737")),
        ("security_code", json!(" 7373 ")),
        ("cvc", json!(737)),
        ("cardCode", json!(7)), // 007, as a number
        ("csc", json!(["737"])),
    ] {
        let mut with_code = message();
        with_code["details"] = json!({ field: value });
        let reply = world.deliver(None, signed(&with_code)).await;
        assert_eq!(problem(&reply), (400, "invalid-request".into()), "{field}");
        assert!(!reply.text().contains("737"), "{}", reply.text());
    }
    let form = format!("pan={NUMBER}&exp=03/30&order=o-1&card[cvv]=737");
    let reply = world.deliver(None, post("/form", "application/x-www-form-urlencoded", &form, &[])).await;
    assert_eq!(problem(&reply), (400, "invalid-request".into()));
    assert_eq!(
        (world.vault.created().len(), world.psp.connections()),
        (0, 0),
        "nothing is made of it or passed on"
    );
    for (field, value) in
        [("cvv", json!("M")), ("cvc", json!(null)), ("cvvResult", json!("737")), ("code", json!("737"))]
    {
        let mut without = message();
        without["details"] = json!({ field: value });
        assert_eq!(world.deliver(None, signed(&without)).await.status, 200, "{field}");
    }
}
