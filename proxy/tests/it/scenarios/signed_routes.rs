//! The shipped routes of the PSPs that sign, with requests of the shapes their clients send: what reaches the PSP is what
//! it verifies, computed by another program from the bytes it got.

use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::psp::Seen;
use crate::world::{HOST, NUMBER, Setup, TOKEN, World};

const SECRET: &str = "a secret of this test and of nothing else";
/// The same in base64, as CyberSource gives secrets out.
const SECRET_BASE64: &str = "YSBzZWNyZXQgb2YgdGhpcyB0ZXN0IGFuZCBvZiBub3RoaW5nIGVsc2U=";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent/psp.py");

async fn world(route: &'static str, secrets: Vec<(&'static str, String)>) -> World {
    World::new(Setup { shipped: vec![route], files: secrets, ..Default::default() }).await
}

async fn send(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let mut request = world.request(method, path, "application/json", body.as_bytes());
    for (name, value) in headers {
        let name = HeaderName::try_from(*name).unwrap();
        request.headers_mut().insert(name, HeaderValue::try_from(*value).unwrap());
    }
    world.send(request).await.status
}

pub(super) fn verify(kind: &str, secret: &str, seen: &Seen) {
    use std::io::Write as _;
    let mut python = Command::new("python3")
        .args([SCRIPT, kind, secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs python3");
    python.stdin.take().unwrap().write_all(&seen.0).unwrap();
    let output = python.wait_with_output().unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.trim(), "good", "{kind}: {}", seen.text());
}

fn body(seen: &Seen) -> Value {
    serde_json::from_str(seen.text().split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn cybersource_payment() -> String {
    json!({
        "clientReferenceInformation": { "code": "order-1" },
        "paymentInformation": { "card": { "number": TOKEN, "securityCode": "000", "expirationMonth": "12",
                                          "expirationYear": "2099" } },
        "orderInformation": { "amountDetails": { "totalAmount": "102.21", "currency": "USD" },
                              "billTo": { "firstName": "Jané", "lastName": "Doe" } },
    })
    .to_string()
}

const MERCHANT: &str = "replace-with-the-merchant-id";

#[tokio::test]
async fn cybersource_verifies_the_http_signature() {
    let world = world("cybersource", vec![("cybersource.key", SECRET_BASE64.into())]).await;
    let list = |digest: &str| {
        format!(
            "keyid=\"strongroom\", algorithm=\"HmacSHA256\", headers=\"host date (request-target){digest} v-c-merchant-id\", \
             signature=\"AAAA\""
        )
        .replace("(request-target)", "request-target")
    };
    let (with_body, without) = (list(" digest"), list(""));
    let date = ("date", "Tue, 20 Apr 2021 02:07:55 GMT");
    let headers =
        [date, ("v-c-merchant-id", MERCHANT), ("signature", &with_body), ("digest", "SHA-256=AAAA")];
    assert_eq!(
        send(&world, "POST", "/cybersource/pts/v2/payments", &headers, &cybersource_payment()).await,
        200
    );
    let headers = [date, ("signature", without.as_str())];
    assert_eq!(send(&world, "GET", "/cybersource/tss/v2/transactions/1", &headers, "").await, 200);
    let headers = [date, ("v-c-merchant-id", "another"), ("signature", &with_body)];
    assert_eq!(
        send(&world, "POST", "/cybersource/pts/v2/payments", &headers, &cybersource_payment()).await,
        403
    );
    let seen = world.psp.seen();
    assert_eq!(seen.len(), 2);
    let card = &body(&seen[0])["paymentInformation"]["card"];
    let expected =
        json!({ "number": NUMBER, "securityCode": "737", "expirationMonth": "03", "expirationYear": "2030" });
    assert_eq!(*card, expected);
    seen.iter().for_each(|seen| verify("cybersource-http", SECRET_BASE64, seen));
}

#[tokio::test]
async fn cybersource_verifies_the_token() {
    let world = world("cybersource", vec![("cybersource.key", SECRET_BASE64.into())]).await;
    let token = |merchant: &str, digest: &str| {
        let claims = json!({ "digest": "of the caller's", digest: "SHA-256", "iat": 1, "exp": 121, "request-host": HOST,
            "request-method": "POST", "request-resource-path": "/pts/v2/payments", "iss": merchant, "jti": "1",
            "v-c-jwt-version": "2", "v-c-merchant-id": merchant });
        let head = BASE64_URL_SAFE_NO_PAD.encode(r#"{"kid":"strongroom","alg":"HS256","typ":"JWT"}"#);
        format!("Bearer {head}.{}.AAAA", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    for (merchant, digest, status) in [
        (MERCHANT, "digestAlgorithm", 200),
        (MERCHANT, "digest-algorithm", 200),
        ("another", "digestAlgorithm", 403),
    ] {
        let headers = [("authorization", &*token(merchant, digest))];
        let sent =
            send(&world, "POST", "/cybersource/pts/v2/payments", &headers, &cybersource_payment()).await;
        assert_eq!(sent, status, "{merchant} {digest}");
    }
    let seen = world.psp.seen();
    assert_eq!(seen.len(), 2);
    seen.iter().for_each(|seen| verify("cybersource-jwt", SECRET_BASE64, seen));
}

/// Whoever reads a token may read more of it than we do: what says whose money it is, is one string or nothing.
#[tokio::test]
async fn cybersource_s_token_names_its_merchant_and_call_in_strings_and_nowhere_else() {
    let world = world("cybersource", vec![("cybersource.key", SECRET_BASE64.into())]).await;
    let head = json!({ "kid": "strongroom", "alg": "HS256", "typ": "JWT" });
    let claims = json!({ "digest": "of the caller's", "digestAlgorithm": "SHA-256", "request-host": HOST,
        "iss": MERCHANT, "v-c-merchant-id": MERCHANT });
    let with = |table: &Value, name: &str, value: Value| {
        let mut table = table.clone();
        table[name] = value;
        table
    };
    let mut cases = vec![
        (head.clone(), claims.clone(), 200),
        (with(&head, "v-c-merchant-id", "another".into()), claims.clone(), 403),
        (with(&head, "jwk", json!({})), claims.clone(), 403),
        (with(&head, "typ", json!(["JWT"])), claims.clone(), 403),
    ];
    for name in
        ["request-host", "request-method", "request-resource-path", "digest-algorithm", "digestAlgorithm"]
    {
        cases.push((head.clone(), with(&claims, name, json!(["x"])), 403));
    }
    for name in ["iss", "v-c-merchant-id"] {
        cases.push((head.clone(), with(&claims, name, json!([MERCHANT])), 403));
        cases.push((head.clone(), with(&claims, name, Value::Null), 403));
    }
    for (head, claims, status) in cases {
        let [head, claims] = [head, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let token = format!("Bearer {head}.{claims}.AAAA");
        let headers = [("authorization", token.as_str())];
        let payment = cybersource_payment();
        let sent = send(&world, "POST", "/cybersource/pts/v2/payments", &headers, &payment).await;
        assert_eq!(sent, status, "{token}");
    }
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (1, 1));
}

#[tokio::test]
async fn a_body_that_minifies_to_a_card_number_is_refused() {
    let world = world("rapyd", vec![("rapyd.secret.key", SECRET.into())]).await;
    let headers = [("salt", "abcdefgh"), ("timestamp", "1618884475"), ("access_key", "strongroom")];
    for (body, status) in [
        ("{\"payment\": \"payment_1\",\n\"amount\": 1}", 200),
        ("{\"x\":4111\n1111\n1111\n1111}", 400),
        ("{\"x\":41\t11\r\n\r\n11  11 111 11 111}", 400),
    ] {
        assert_eq!(send(&world, "POST", "/rapyd/v1/refunds", &headers, body).await, status, "{body}");
    }
    assert_eq!(world.psp.requests(), 1);
}

#[tokio::test]
async fn rapyd_verifies_the_minified_body() {
    let secrets = vec![("rapyd.secret.key", SECRET.into())];
    let world = world("rapyd", secrets).await;
    let payment = format!(
        "{{ \"amount\": 1, \"description\": \"zwei  Wörter\", \"payment_method\": {{ \"type\": \"gb_visa_card\", \
         \"fields\": {{ \"number\": \"{TOKEN}\", \"expiration_month\": \"12\", \"expiration_year\": \"99\", \
         \"cvv\": \"000\", \"name\": \"JANE DOE\" }} }} }}"
    );
    let headers = [
        ("salt", "abcdefgh"),
        ("timestamp", "1618884475"),
        ("access_key", "strongroom"),
        ("signature", "AAAA"),
        ("idempotency", "i-1"),
    ];
    assert_eq!(send(&world, "POST", "/rapyd/v1/payments", &headers, &payment).await, 200);
    assert_eq!(send(&world, "GET", "/rapyd/v1/payments/payment_1", &headers, "").await, 200);
    let own = [("salt", "abcdefgh"), ("timestamp", "1618884475"), ("access_key", "mine")];
    assert_eq!(send(&world, "GET", "/rapyd/v1/payments/payment_1", &own, "").await, 403);
    let seen = world.psp.seen();
    assert_eq!(seen.len(), 2);
    let fields = &body(&seen[0])["payment_method"]["fields"];
    let expected = json!({ "number": NUMBER, "expiration_month": "03", "expiration_year": "30", "cvv": "737",
                           "name": "JANE DOE" });
    assert_eq!(*fields, expected);
    assert!(
        seen[0].holds("\"description\":\"zwei  Wörter\",\"payment_method\":{\"type\""),
        "{}",
        seen[0].text()
    );
    seen.iter().for_each(|seen| verify("rapyd", SECRET, seen));
}

#[tokio::test]
async fn dlocal_verifies_login_date_and_body() {
    let secrets = vec![("dlocal.secret.key", SECRET.into())];
    let world = world("dlocal", secrets).await;
    let payment = json!({ "amount": 120.0, "payer": { "name": "Jane" }, "card": { "holder_name": "JANE DOE",
        "number": TOKEN, "cvv": "000", "expiration_month": 12, "expiration_year": 2099 }, "order_id": "o-1" });
    let date = [("x-date", "2021-04-20T02:07:55.000Z"), ("x-version", "2.1")];
    assert_eq!(send(&world, "POST", "/dlocal/secure_payments", &date, &payment.to_string()).await, 200);
    assert_eq!(send(&world, "GET", "/dlocal/payments/D-1", &date, "").await, 200);
    for foreign in [("x-login", "another"), ("x-trans-key", "mine"), ("x-api-key", "mine")] {
        let headers = [date[0], foreign];
        assert_eq!(send(&world, "GET", "/dlocal/payments/D-1", &headers, "").await, 403, "{foreign:?}");
    }
    let seen = world.psp.seen();
    assert_eq!(seen.len(), 2);
    let card = &body(&seen[0])["card"];
    assert_eq!(
        (&card["number"], &card["expiration_month"], &card["expiration_year"]),
        (&json!(NUMBER), &json!(3), &json!(2030))
    );
    assert!(
        seen[0].holds("X-Login: replace-with-the-login\r\n") && seen[0].holds("X-Trans-Key: own-dlocal\r\n")
    );
    seen.iter().for_each(|seen| verify("dlocal", SECRET, seen));
}

#[tokio::test]
async fn fiserv_verifies_key_request_time_and_body() {
    let secrets = vec![("fiserv.secret.key", SECRET.into())];
    let world = world("fiserv", secrets).await;
    let payment = json!({ "requestType": "PaymentCardSaleTransaction", "transactionAmount": { "total": "13", "currency": "EUR" },
        "paymentMethod": { "paymentCard": { "number": TOKEN, "securityCode": "000",
                                            "expiryDate": { "month": "12", "year": "99" } } } });
    let headers = [("client-request-id", "request-1"), ("timestamp", "1618884475000")];
    let path = "/fiserv/ipp/payments-gateway/v2/payments";
    assert_eq!(send(&world, "POST", path, &headers, &payment.to_string()).await, 200);
    assert_eq!(send(&world, "GET", &format!("{path}/84"), &headers, "").await, 200);
    assert_eq!(send(&world, "POST", path, &headers[..1], &payment.to_string()).await, 400, "no timestamp");
    let seen = world.psp.seen();
    assert_eq!((seen.len(), world.vault.opens().len()), (2, 1));
    let card = &body(&seen[0])["paymentMethod"]["paymentCard"];
    let expected =
        json!({ "number": NUMBER, "securityCode": "737", "expiryDate": { "month": "03", "year": "30" } });
    assert_eq!(*card, expected);
    assert_eq!(world.vault.opens()[0]["attempt"], "request-1");
    seen.iter().for_each(|seen| verify("fiserv", SECRET, seen));
}

#[tokio::test]
async fn nuvei_verifies_the_checksum_in_the_body() {
    let secrets = vec![("nuvei.secret.key", SECRET.into())];
    let world = world("nuvei", secrets).await;
    let names = json!({ "merchantId": "replace-with-the-merchant-id", "merchantSiteId": "strongroom", "clientRequestId": "r-1",
        "timeStamp": "20260102030405", "checksum": "0".repeat(63) + "a" });
    let with = |more: Value| {
        let mut body = names.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let card = json!({ "cardNumber": TOKEN, "cardHolderName": "JANE DOE", "expirationMonth": "12", "expirationYear": "2099",
        "CVV": "000" });
    let payment = json!({ "sessionToken": "s-1", "amount": "10.99", "currency": "EUR", "paymentOption": { "card": card } });
    let refund = json!({ "clientUniqueId": "u-1", "amount": 1, "currency": "EUR", "relatedTransactionId": "1110000000009147135",
        "authCode": "111", "urlDetails": { "notificationUrl": "https://shop.example/n" } });
    for (path, body) in [
        ("/nuvei/ppp//api/v1/getSessionToken.do", with(json!({}))),
        ("/nuvei/ppp//api/v1/payment.do", with(payment.clone())),
        ("/nuvei/ppp/api/v1/payment.do", with(payment.clone())),
        ("/nuvei/ppp//api/v1/refundTransaction.do", with(refund)),
    ] {
        assert_eq!(send(&world, "POST", path, &[], &body).await, 200, "{path}");
        let seen = world.psp.seen().pop().unwrap();
        assert_eq!(seen.line(), format!("POST {} HTTP/1.1", path.trim_start_matches("/nuvei")));
        assert!(seen.holds("replace-with-the-site-id") && !seen.holds("strongroom"), "{}", seen.text());
        verify("nuvei", SECRET, &seen);
    }
    let sent = &body(&world.psp.seen()[1])["paymentOption"]["card"];
    let expected = json!({ "cardNumber": NUMBER, "cardHolderName": "JANE DOE", "expirationMonth": "03", "expirationYear": "2030",
        "CVV": "737" });
    assert_eq!(*sent, expected);
    let mut without = payment.clone();
    without["checksum"] = Value::Null;
    let mut other_site = payment;
    other_site["merchantSiteId"] = "another".into();
    for (body, status) in [(with(without), 400), (with(other_site), 403)] {
        assert_eq!(send(&world, "POST", "/nuvei/ppp//api/v1/payment.do", &[], &body).await, status, "{body}");
    }
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (4, 2));
}
