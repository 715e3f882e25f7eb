//! Authorize.Net's credential stands in the body, whatever the body's root is called: JSON and XML alike.

use crate::world::{NUMBER, Setup, TOKEN, World};

const NAMESPACE: &str = "AnetApi/xml/v1/schema/AnetApiSchema.xsd";
const OWN: &str = "replace-with-the-login-id";

fn json(auth: &str) -> String {
    format!(
        "{{\"getTransactionDetailsRequest\":{{\"merchantAuthentication\":{auth},\"transId\":\"60010736710\"}}}}"
    )
}

fn xml(auth: &str) -> String {
    format!(
        "<getTransactionDetailsRequest xmlns=\"{NAMESPACE}\"><merchantAuthentication>{auth}</merchantAuthentication>\
         <transId>60010736710</transId></getTransactionDetailsRequest>"
    )
}

const XML_PLACEHOLDERS: &str = "<name>strongroom</name><transactionKey>strongroom</transactionKey>";
const JSON_PLACEHOLDERS: &str = r#"{"name":"strongroom","transactionKey":"strongroom"}"#;

async fn send(world: &World, kind: &str, body: &str) -> (u16, String) {
    let request = world.request("POST", "/authorize-net/xml/v1/request.api", kind, body.as_bytes());
    let reply = world.send(request).await;
    (reply.status, reply.text())
}

#[tokio::test]
async fn every_call_of_the_one_path_carries_the_account_s_login_and_key() {
    let world = World::new(Setup { shipped: vec!["authorize-net"], ..Setup::default() }).await;
    for (kind, body) in [
        ("application/json", json(JSON_PLACEHOLDERS)),
        ("application/json", json(&JSON_PLACEHOLDERS.replacen("strongroom", OWN, 1))),
        ("text/xml", xml(XML_PLACEHOLDERS)),
        (
            "application/xml",
            xml("<name><![CDATA[strongroom]]></name><transactionKey>strong&#114;oom</transactionKey>"),
        ),
    ] {
        assert_eq!(send(&world, kind, &body).await.0, 200, "{body}");
        let seen = world.psp.seen().pop().unwrap();
        assert!(seen.holds(OWN) && seen.holds("own-authorize-net"), "{}", seen.text());
        assert!(!seen.text().contains("strong"), "{}", seen.text());
    }
    assert!(world.vault.opens().is_empty());
}

#[tokio::test]
async fn another_login_key_or_way_to_authenticate_is_refused() {
    let world = World::new(Setup { shipped: vec!["authorize-net"], ..Setup::default() }).await;
    let (good, good_xml) = (json(JSON_PLACEHOLDERS), xml(XML_PLACEHOLDERS));
    let mut cases = vec![
        ("application/json", json(r#"{"name":"another","transactionKey":"strongroom"}"#)),
        ("application/json", json(r#"{"name":"strongroom","transactionKey":"mine"}"#)),
        ("application/json", json(r#"{"name":"strongroom"}"#)),
        ("application/json", json(r#"{"name":"strongroom","transactionKey":null}"#)),
        ("application/json", json(r#"{"name":"strongroom","transactionKey":"strongroom","TransactionKey":"mine"}"#)),
        ("application/json", json(&format!("[{JSON_PLACEHOLDERS}]"))),
        ("application/json", "{}".into()),
        // Two roots: whose call is it?
        ("application/json", format!("{},\"other\":{{\"merchantAuthentication\":{{\"name\":\"x\"}}}}}}", &good[..good.len() - 1])),
        ("text/xml", xml("<name>another</name><transactionKey>strongroom</transactionKey>")),
        ("text/xml", xml("<name>strongroom</name><transactionKey>mine</transactionKey>")),
        ("text/xml", xml("<name>strongroom</name>")),
        ("text/xml", xml("<name/><transactionKey>strongroom</transactionKey>")),
        ("text/xml", xml("<name>strong<!-- -->room</name><transactionKey>strongroom</transactionKey>")),
        ("text/xml", xml(&XML_PLACEHOLDERS.replace("<name>", "<name>strongroom</name><name>"))),
        ("text/xml", good_xml.replace("<merchantAuthentication>", "<merchantAuthentication name=\"x\">")),
        // Elements that are somebody else's, or nobody's.
        ("text/xml", good_xml.replace(NAMESPACE, "urn:other")),
        ("text/xml", good_xml.replace(&format!(" xmlns=\"{NAMESPACE}\""), "")),
        ("text/xml", good_xml.replace("</transId>", "</transId><x:merchantAuthentication xmlns:x=\"urn:o\"><name>x</name></x:merchantAuthentication>")),
        ("text/plain", good.clone()),
    ];
    for name in [
        "sessionToken",
        "password",
        "accessToken",
        "clientKey",
        "fingerPrint",
        "mobileDeviceId",
        "impersonationAuthentication",
    ] {
        cases.push((
            "application/json",
            json(&JSON_PLACEHOLDERS.replace("{", &format!("{{\"{name}\":\"mine\","))),
        ));
        cases.push((
            "application/json",
            json(&JSON_PLACEHOLDERS.replace("{", &format!("{{\"{name}\":{{\"a\":\"mine\"}},"))),
        ));
        cases.push(("text/xml", xml(&format!("{XML_PLACEHOLDERS}<{name}>mine</{name}>"))));
        cases.push(("text/xml", xml(&format!("{XML_PLACEHOLDERS}<{name}><a>mine</a></{name}>"))));
    }
    for (kind, body) in cases {
        let (status, told) = send(&world, kind, &body).await;
        assert!(matches!(status, 400 | 403 | 415), "{status} {body}");
        assert!(!told.contains("mine") && !told.contains("own-authorize-net"), "{told}");
    }
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0), "nothing was sent");
}

/// Its SDK for Python takes off the first three bytes of every answer, whatever they are.
#[tokio::test]
async fn a_byte_order_mark_and_a_masked_number_come_back_as_they_were_and_the_number_does_not() {
    let world = World::new(Setup { shipped: vec!["authorize-net"], ..Setup::default() }).await;
    let sale = format!(
        "{{\"createTransactionRequest\":{{\"merchantAuthentication\":{JSON_PLACEHOLDERS},\"transactionRequest\":{{\"payment\":\
         {{\"creditCard\":{{\"cardNumber\":\"{TOKEN}\",\"expirationDate\":\"2099-12\"}}}}}}}}}}"
    );
    let answer = format!(
        "\u{feff}{{\"accountNumber\":\"XXXX4242\",\"echo\":\"{NUMBER}\",\"transId\":\"4111111145551142\"}}"
    );
    let head = "content-type: application/json; charset=utf-8\r\n";
    world.psp.then(crate::psp::Then::Answer(crate::psp::raw("200 OK", head, answer.as_bytes())));
    let (status, told) = send(&world, "application/json", &sale).await;
    assert_eq!((status, told), (200, answer.replace(NUMBER, TOKEN)));
}
