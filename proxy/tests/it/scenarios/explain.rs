//! `POST /-/explain`: a request is explained and nothing happens.

use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::world::{HOST, NUMBER, Setup, TOKEN, World, usual_form};

fn asked(message: &str) -> Request<Full<bytes::Bytes>> {
    let body = Full::new(bytes::Bytes::copy_from_slice(message.as_bytes()));
    Request::post("/-/explain")
        .header("host", "proxy.test")
        .header("content-type", "message/http")
        .body(body)
        .unwrap()
}

fn message(path: &str, kind: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: proxy.test\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn form(path: &str, body: &str) -> String {
    message(path, "application/x-www-form-urlencoded", body)
}

async fn explained(world: &World, message: &str) -> Value {
    let reply = world.send(asked(message)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    for secret in ["sk_own_account", TOKEN, NUMBER] {
        assert!(!reply.text().contains(secret), "{}", reply.text());
    }
    reply.json()
}

#[tokio::test]
async fn an_explanation_touches_nobody_and_shows_no_secret() {
    let world = World::usual().await;
    let told = explained(&world, &form("/psp/v1/payment_methods?x=1", &usual_form())).await;
    assert_eq!(
        (&told["verdict"], &told["route"], &told["account"]),
        (&json!("goes"), &json!("psp"), &json!("default"))
    );
    assert_eq!(told["upstream"], format!("https://{}", world.upstream()));
    assert_eq!(
        told["rule"],
        json!({ "kind": "allow", "method": "POST", "path": "/v1/payment_methods", "body": "form" })
    );
    assert_eq!(
        told["credential"],
        json!({ "mode": "account", "header": "authorization", "scheme": "Bearer", "identity": [] })
    );
    let card = &told["cards"][0];
    assert_eq!(card["attributes"], json!(["number", "cvc", "exp"]));
    assert_eq!(
        (&card["facts"], &card["brand"], &card["length"]),
        (&json!("unknown"), &Value::Null, &Value::Null)
    );
    let fields: Vec<_> = told["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            (field["at"].as_str().unwrap(), field["value"].as_str().unwrap(), field["word"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        fields,
        [
            ("card[number]", "number", "NUMBER"),
            ("card[cvc]", "cvc", "CVC"),
            ("card[exp_month]", "exp", "EXP_M"),
            ("card[exp_year]", "exp", "EXP_YYYY"),
        ]
    );
    let request = &told["request"];
    assert_eq!(request["target"], "/v1/payment_methods?x=1");
    assert_eq!(
        request["body"],
        "type=card&card[number]=NUMBER&card[cvc]=CVC&card[exp_month]=EXP_M&card[exp_year]=EXP_YYYY"
    );
    assert!(
        request["headers"].as_array().unwrap().contains(&json!(["authorization", "Bearer CREDENTIAL"])),
        "{told}"
    );
    assert_eq!(told["not_asked"].as_array().unwrap().len(), 3);
    assert_eq!((world.vault.opens().len(), world.psp.connections()), (0, 0));
    // The same request, for real, is filled at the same places.
    assert_eq!(world.create_usual().await.status, 200);
    assert!(
        world.psp.seen()[0]
            .holds("card[number]=4242424242424242&card[cvc]=737&card[exp_month]=3&card[exp_year]=2030")
    );
}

#[tokio::test]
async fn what_would_be_refused_is_told_as_the_call_is_refused() {
    let world = World::usual().await;
    let json_kind = "application/json";
    let cases = [
        form("/psp/v1/payment_methods", &format!("{}&description={TOKEN}", usual_form())),
        form("/psp/v1/payment_methods", &format!("card[number]={NUMBER}")),
        form("/psp/v1/payment_methods", &format!("card[number]=%7B%7B+{TOKEN}.cvc+%7D%7D")),
        form("/psp/v1/payment_methods", "card[number]=tok_test_short"),
        form("/psp/v1/payment_methods", &format!("{}&key=mine", usual_form())),
        form("/psp/v1/unknown", "a=1"),
        form("/psp/v1/refunds", &format!("charge={TOKEN}")),
        message("/psp/payments", json_kind, "{\"source\":"),
        message("/psp/payments", "text/plain", "{}"),
        message("/psp/payments", json_kind, "{}")
            .replace("Content-Type", "Authorization: Bearer mine\r\nContent-Type"),
    ];
    for message in cases {
        let told = explained_anyway(&world, &message).await;
        assert_eq!(told["verdict"], "refused", "{message}");
        assert!(told["request"].is_null() && told["signature"].is_null(), "{told}");
        let real = world.send(real(&message)).await;
        let (refused, problem) = (&told["refused"], real.json());
        for member in ["type", "title", "detail", "status", "error"] {
            assert_eq!(refused[member], problem[member], "{message}");
        }
    }
    assert_eq!((world.vault.opens().len(), world.psp.requests()), (0, 0));
}

/// What the caller wrote may be wrong, and is not said again.
async fn explained_anyway(world: &World, message: &str) -> Value {
    explained(world, message).await
}

/// The message as a call.
fn real(message: &str) -> Request<Full<bytes::Bytes>> {
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut request = Request::post(path);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(Full::new(bytes::Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

#[tokio::test]
async fn only_a_caller_of_the_route_is_told_and_only_at_this_place() {
    let world = World::new(Setup::with_tunnels()).await;
    let usual = form("/psp/v1/payment_methods", &usual_form());
    for (workload, told) in [("orchestrator", 200), ("elsewhere", 403), ("merchant", 403), ("checkout", 403)]
    {
        let reply = world.send_as(workload, asked(&usual)).await;
        assert_eq!(reply.status, told, "{workload}: {}", reply.text());
        if told == 403 {
            assert_eq!(reply.problem(), "forbidden", "{workload}");
            assert!(!reply.text().contains("payment_methods"), "{}", reply.text());
        }
    }
    let own = form("/psp/@m-501/v1/payment_methods", &usual_form());
    assert_eq!(world.send_as("merchant", asked(&own)).await.json()["account"], "m-501");

    let change = |change: fn(&mut Request<Full<bytes::Bytes>>)| {
        let mut request = asked(&usual);
        change(&mut request);
        request
    };
    for (request, status, problem) in [
        (asked("nonsense"), 400, "invalid-request"),
        (asked(&form("/other/v1", "")), 403, "route-refused"),
        (change(|request| *request.method_mut() = http::Method::PUT), 405, "method-not-allowed"),
        (change(|request| drop(request.headers_mut().remove("content-type"))), 415, "unsupported-media-type"),
        (
            change(|request| *request.uri_mut() = "/-/explain?route=PSP".parse().unwrap()),
            400,
            "invalid-request",
        ),
        (
            change(|request| *request.uri_mut() = "/-/explain?account=m-501".parse().unwrap()),
            400,
            "invalid-request",
        ),
        (change(|request| *request.uri_mut() = "/-/other".parse().unwrap()), 403, "route-refused"),
        // At a route's own host the path is the PSP's.
        (
            change(|request| drop(request.headers_mut().insert("host", HeaderValue::from_static(HOST)))),
            403,
            "route-refused",
        ),
    ] {
        let reply = world.send(request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, problem), "{}", reply.text());
    }
    // A message for a tunnel or a port names no route: the query does.
    let bare = usual.replace("/psp/v1", "/v1").replace("proxy.test", HOST);
    let request = || {
        let mut request = asked(&bare);
        *request.uri_mut() = "/-/explain?route=psp&account=m-501".parse().unwrap();
        request
    };
    assert_eq!(world.send(request()).await.json()["account"], "m-501");
    assert_eq!((world.vault.opens().len(), world.psp.connections()), (0, 0));
}

#[tokio::test]
async fn what_would_be_signed_is_shown_without_the_key() {
    const SECRET: &str = "a secret of this test and of nothing else";
    let route = "credentials = \"account\"\n[route.psp.sign]\nkind = \"hmac\"\noutput = \"hex\"\nheader = \"X-Signature\"\n\
        parts = [\"method\", \"target\", \"secret\", \"header:authorization\", \"body\"]\nminify = true\n";
    let account =
        "tenants = [\"*\"]\ncredential_file = \"psp.key\"\nsigning = { secret_file = \"signing.key\" }";
    let world = World::new(Setup {
        route: route.into(),
        account: account.into(),
        files: vec![("signing.key", SECRET.into())],
        ..Setup::default()
    })
    .await;
    let body =
        format!("{{ \"source\": {{ \"number\": \"{TOKEN}\", \"expiry_month\": 1 }}, \"note\": \"a  b\" }}");
    let told = explained(&world, &message("/psp/payments", "application/json", &body)).await;
    let signature = &told["signature"];
    assert_eq!((&signature["kind"], &signature["headers"]), (&json!("hmac"), &json!(["x-signature"])));
    let string = &signature["strings"][0];
    let text = "POST/paymentsSECRETBearer CREDENTIAL{\"source\":{\"number\":\"NUMBER\",\"expiry_month\":0},\"note\":\"a  b\"}";
    assert_eq!(string["text"], text);
    assert_eq!(string["sha256"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text)));
    assert!(!told.to_string().contains(SECRET), "{told}");
}

#[tokio::test]
async fn what_the_caller_brought_in_confidence_is_not_shown_to_it_again() {
    let digest = |text: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text));
    let world = World::new(Setup {
        route: "credentials = \"pinned\"\nidentity = [{ name = \"code\", header = \"X-Code\" }]".into(),
        account: format!(
            "tenants = [\"*\"]\ncredential_sha256 = [\"{}\"]\n[identity]\ncode = {{ sha256 = [\"{}\"] }}",
            digest("sk_of_the_caller"),
            digest("code_of_the_caller")
        ),
        ..Setup::default()
    })
    .await;
    // A verification code in clear, at its declared place, without a token beside it.
    let message = message("/psp/cards", "application/json", "{\"cvc\":\"921\",\"amount\":7}").replace(
        "Content-Type",
        "Authorization: Bearer sk_of_the_caller\r\nX-Code: code_of_the_caller\r\nCookie: c=1\r\nContent-Type",
    );
    let told = explained(&world, &message).await;
    assert_eq!((&told["verdict"], &told["credential"]["mode"]), (&json!("goes"), &json!("pinned")), "{told}");
    for word in ["sk_of_the_caller", "code_of_the_caller", "921", "c=1"] {
        assert!(!told.to_string().contains(word), "{word} in {told}");
    }
    assert_eq!(told["kept"], json!([{ "at": "/cvc", "value": "cvc" }]));
    assert_eq!(told["request"]["body"], "{\"cvc\":\"CVC_IN_CLEAR\",\"amount\":7}");
}
