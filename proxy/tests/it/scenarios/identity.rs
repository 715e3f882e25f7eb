//! Every way a PSP lets a request name the account: set or held to the account's, and no other travels.

use http::HeaderValue;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::world::{Setup, TOKEN, World};

fn setup(mode: &str, identity: &str, account: &str) -> Setup {
    Setup {
        route: format!("credentials = \"{mode}\"\nidentity = [{identity}]"),
        account: format!("tenants = [\"*\"]\n{account}"),
        ..Default::default()
    }
}

async fn pay(world: &World, path: &str, headers: &[(&'static str, &str)], body: &serde_json::Value) -> u16 {
    let mut request = world.json(path, body);
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::try_from(*value).unwrap());
    }
    let reply = world.send(request).await;
    if reply.status != 200 {
        assert_eq!((reply.status, reply.problem().as_str()), (403, "credential-refused"));
    }
    reply.status
}

fn card() -> serde_json::Value {
    json!({ "source": { "number": TOKEN } })
}

#[tokio::test]
async fn a_header_that_names_an_account_is_refused_unless_the_account_lists_it() {
    let place = r#"{ name = "connected", header = "Stripe-Account", required = false }"#;
    let own = "credential_file = \"psp.key\"\n";
    for (identity, allowed) in [
        ("", &[][..]),
        ("identity = { connected = \"acct_1\" }", &["acct_1"][..]),
        ("identity = { connected = [\"acct_1\", \"acct_2\"] }", &["acct_1", "acct_2"][..]),
        ("identity = { connected = [\"*\"] }", &["acct_1", "acct_2", "acct_3"][..]),
    ] {
        let world = World::new(setup("account", place, &format!("{own}{identity}"))).await;
        assert_eq!(pay(&world, "/psp/payments", &[], &card()).await, 200, "{identity}: without it");
        for account in ["acct_1", "acct_2", "acct_3"] {
            let status = pay(&world, "/psp/payments", &[("stripe-account", account)], &card()).await;
            assert_eq!(status == 200, allowed.contains(&account), "{identity} {account}");
        }
        let twice = [("stripe-account", "acct_1"), ("stripe-account", "acct_1")];
        assert_eq!(pay(&world, "/psp/payments", &twice, &card()).await, 403);
        assert_eq!(world.psp.requests(), 1 + allowed.len(), "{identity}");
        assert_eq!(world.vault.opens().len(), world.psp.requests(), "{identity}");
    }
}

#[tokio::test]
async fn a_required_header_is_the_account_s_own_whatever_the_caller_leaves_to_it() {
    let place = r#"{ name = "merchant", header = "v-c-merchant-id" }"#;
    let account = "credential_file = \"psp.key\"\nidentity = { merchant = \"merchant_one\" }";
    let world = World::new(setup("account", place, account)).await;
    for headers in [&[][..], &[("v-c-merchant-id", "strongroom")], &[("v-c-merchant-id", "merchant_one")]] {
        assert_eq!(pay(&world, "/psp/payments", headers, &card()).await, 200);
    }
    assert_eq!(pay(&world, "/psp/payments", &[("v-c-merchant-id", "merchant_two")], &card()).await, 403);
    for seen in world.psp.seen() {
        assert_eq!(seen.text().matches("V-C-Merchant-Id: merchant_one\r\n").count(), 1, "{}", seen.text());
    }
}

#[tokio::test]
async fn a_path_and_a_query_name_the_account_s_merchant() {
    let place = r#"{ name = "merchant", path = "id" }, { name = "merchant", query = "merchantAccount", required = false }"#;
    let account = "credential_file = \"psp.key\"\nidentity = { merchant = \"merchant_one\" }";
    let world = World::new(setup("account", place, account)).await;
    for (path, status) in [
        ("/psp/v1/payment_methods/merchant_one", 200),
        ("/psp/v1/payment_methods/merchant_one?merchantAccount=merchant_one", 200),
        ("/psp/v1/payment_methods/merchant_two", 403),
        ("/psp/v1/payment_methods/strongroom", 403),
        ("/psp/v1/payment_methods/merchant_one?merchantAccount=merchant_two", 403),
        ("/psp/v1/payment_methods/merchant_one?merchant%41ccount=merchant_two", 403),
        (
            "/psp/v1/payment_methods/merchant_one?merchantAccount=merchant_one&merchantAccount=merchant_one",
            403,
        ),
        ("/psp/v1/payment_methods/merchant_one?a=1;merchantaccount=merchant_two", 403),
    ] {
        assert_eq!(world.send(world.request("GET", path, "", b"")).await.status, status, "{path}");
    }
}

/// Authorize.Net's way: name and key in the body, nothing in a header.
const IN_BODY: &str = r#"{ name = "login", field = "/merchantAuthentication/name" },
    { name = "transaction_key", field = "/merchantAuthentication/transactionKey" }"#;

fn in_body(mode: &str, key: &str) -> Setup {
    Setup {
        files: vec![("transaction.key", "a \"key\" of this test\n".into())],
        credential: "{}",
        ..setup(mode, IN_BODY, &format!("[identity]\nlogin = \"login-one\"\ntransaction_key = {key}"))
    }
}

fn with(name: &str, key: &str) -> serde_json::Value {
    json!({ "merchantAuthentication": { "name": name, "transactionKey": key }, "source": { "number": TOKEN } })
}

#[tokio::test]
async fn credentials_in_a_body_are_set_by_the_proxy() {
    let world = World::new(in_body("account", "{ file = \"transaction.key\" }")).await;
    for (name, key, status) in [
        ("strongroom", "strongroom", 200),
        ("login-one", "strongroom", 200),
        ("login-two", "strongroom", 403),
        ("login-one", "mine", 403),
        ("login-one", "a \"key\" of this test", 403),
    ] {
        assert_eq!(pay(&world, "/psp/payments", &[], &with(name, key)).await, status, "{name} {key}");
    }
    for seen in world.psp.seen() {
        let body: serde_json::Value =
            serde_json::from_str(seen.text().split("\r\n\r\n").nth(1).unwrap()).unwrap();
        let expected = json!({ "name": "login-one", "transactionKey": "a \"key\" of this test" });
        assert_eq!(body["merchantAuthentication"], expected);
        assert_eq!(body["source"]["number"], crate::world::NUMBER);
    }
    // Missing, of another kind, or spelled a second time in a way some readers take for the same.
    for body in [
        card(),
        json!({ "merchantAuthentication": { "name": "strongroom", "transactionKey": 7 }, "source": {} }),
        json!({ "merchantAuthentication": { "name": "strongroom", "transactionKey": "strongroom",
                "TransactionKey": "mine" }, "source": { "number": TOKEN } }),
        json!({ "merchantAuthentication": { "name": "strongroom", "transactionKey": "strongroom" },
                "MerchantAuthentication": { "name": "mine", "transactionKey": "mine" } }),
    ] {
        assert_eq!(pay(&world, "/psp/payments", &[], &body).await, 403, "{body}");
    }
    let mut header = world.json("/psp/payments", &with("strongroom", "strongroom"));
    header.headers_mut().insert("authorization", HeaderValue::from_static("Bearer mine"));
    assert_eq!(world.send(header).await.status, 403);
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (2, 2));
}

#[tokio::test]
async fn credentials_in_a_body_are_pinned_by_their_digest() {
    let digest = hex::encode(Sha256::digest(b"listed-key"));
    let world = World::new(in_body("pinned", &format!("{{ sha256 = [\"{digest}\"] }}"))).await;
    for (key, status) in [("listed-key", 200), ("other-key", 403), ("strongroom", 403)] {
        assert_eq!(pay(&world, "/psp/payments", &[], &with("login-one", key)).await, status, "{key}");
    }
    assert!(world.psp.seen()[0].holds("listed-key"));
}

#[tokio::test]
async fn a_form_field_names_an_account_the_account_lists() {
    let place = r#"{ name = "connected", field = "transfer_data[destination]", required = false }"#;
    let account = "credential_file = \"psp.key\"\nidentity = { connected = [\"acct_1\"] }";
    let world = World::new(setup("account", place, account)).await;
    for (form, status) in [
        ("amount=1", 200),
        ("transfer_data[destination]=acct_1", 200),
        ("transfer_data%5Bdestination%5D=acct_1", 200),
        ("transfer_data[destination]=acct_2", 403),
        ("transfer_data%5Bdestination%5D=acct_2", 403),
        ("transfer_data[destination]=acct_1&transfer_data[destination]=acct_1", 403),
        ("transfer_data[ destination]=acct_2", 403),
    ] {
        assert_eq!(world.send(world.form("/psp/v1/refunds", form)).await.status, status, "{form}");
    }
}

/// The connected account in every spelling but the one the route declares.
#[tokio::test]
async fn a_field_names_an_account_in_one_spelling_and_one_kind_of_body_only() {
    let place = r#"{ name = "connected", field = "transfer_data[destination]", required = false },
        { name = "connected", field = "destination", required = false }"#;
    let account = "credential_file = \"psp.key\"\nidentity = { connected = [\"acct_1\"] }";
    // No refused field: those would refuse unreadable bodies by themselves.
    let credential = "{ header = \"Authorization\", scheme = \"Bearer\" }";
    let world = World::new(Setup { credential, ..setup("account", place, account) }).await;
    let form = "application/x-www-form-urlencoded";
    let part =
        |name: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nacct_2\r\n--x--");
    let (multipart, json) = ("multipart/form-data; boundary=x", "application/json");
    for (query, kind, body, status) in [
        (
            "?expand=charge",
            form,
            "charge=ch_1&transfer_data[amount]=1&metadata[destination]=x".to_owned(),
            200,
        ),
        ("", json, r#"{"metadata":{"destination":"x"}}"#.to_owned(), 200),
        ("", multipart, part("purpose"), 200),
        ("?transfer_data[destination]=acct_2", form, "charge=ch_1".to_owned(), 403),
        ("?transfer_data%5Bdestination%5D=acct_1", form, "charge=ch_1".to_owned(), 403),
        ("?a=1;destination=acct_2", form, String::new(), 403),
        ("", form, "charge=ch_1;transfer_data[destination]=acct_2".to_owned(), 403),
        ("", form, "charge=ch_1;destination=acct_2".to_owned(), 403),
        ("", form, "destination=acct_1&destination[]=acct_2".to_owned(), 403),
        ("", form, "[destination]=acct_2".to_owned(), 403),
        ("", form, "destination%00=acct_2".to_owned(), 403),
        ("", form, "transfer_data[destination][]=acct_2".to_owned(), 403),
        ("", form, "transfer_data[destination]x=acct_2".to_owned(), 403),
        ("", form, "Transfer_Data[DESTINATION]=acct_2".to_owned(), 403),
        ("", form, "transfer.data[destination]=acct_2".to_owned(), 403),
        ("", multipart, part("destination"), 403),
        ("", multipart, part("transfer_data[destination]"), 403),
        ("", json, r#"{"destination":"acct_2"}"#.to_owned(), 403),
        ("", json, r#"{"transfer_data":{"destination":"acct_2"}}"#.to_owned(), 403),
        ("", json, r#"{"transfer_data[destination]":"acct_2"}"#.to_owned(), 403),
        ("", "text/plain", "destination=acct_2".to_owned(), 403),
        ("", "text/xml", "<a/>".to_owned(), 403),
        ("", json, "destination=acct_2".to_owned(), 403),
    ] {
        let path = format!("/psp/v1/refunds{query}");
        let reply = world.send(world.request("POST", &path, kind, body.as_bytes())).await;
        assert_eq!(reply.status, status, "{query} {kind} {body}: {}", reply.text());
        assert!(status == 200 || reply.problem() == "credential-refused", "{query} {kind} {body}");
    }
    let mut untyped = world.form("/psp/v1/refunds", "destination=acct_2");
    untyped.headers_mut().remove("content-type");
    assert_eq!(world.send(untyped).await.status, 403);
    assert_eq!(world.psp.requests(), 3);
}

#[tokio::test]
async fn a_member_of_a_json_body_is_refused_as_a_field_of_another_kind() {
    let place = r#"{ name = "merchant", field = "/account/merchant_id", required = false }"#;
    let account = "credential_file = \"psp.key\"\nidentity = { merchant = \"one\" }";
    let world = World::new(setup("account", place, account)).await;
    for (kind, body, status) in [
        ("application/json", r#"{"account":{"merchant_id":"one"}}"#, 200),
        ("application/json", r#"{"account":{"merchant_id":"two"}}"#, 403),
        ("application/json", r#"{"account":{"merchant_id":"one","Merchant_Id":"two"}}"#, 403),
        ("application/json", r#"{"account[merchant_id]":"two"}"#, 403),
        ("application/x-www-form-urlencoded", "account[id]=two", 200),
        ("application/x-www-form-urlencoded", "account[merchant_id]=one", 403),
    ] {
        let reply = world.send(world.request("POST", "/psp/v1/refunds", kind, body.as_bytes())).await;
        assert_eq!(reply.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_header_with_another_kind_of_hyphen_is_a_second_one() {
    let place = r#"{ name = "connected", header = "Stripe-Account", required = false }"#;
    let account = "credential_file = \"psp.key\"\nidentity = { connected = [\"acct_1\"] }";
    let world = World::new(setup("account", place, account)).await;
    for (name, value, status) in [
        ("stripe-account", "acct_1", 200),
        ("stripe_account", "acct_2", 403),
        ("stripe_account", "acct_1", 403),
        ("x_api_key", "mine", 403),
        ("x-api_key", "mine", 403),
        ("api_key", "mine", 403),
        ("x_request_note", "mine", 200),
    ] {
        assert_eq!(pay(&world, "/psp/payments", &[(name, value)], &card()).await, status, "{name}: {value}");
    }
}

#[tokio::test]
async fn basic_credentials_of_the_account_are_whole_user_and_password() {
    let pair = "Basic dXNlcjpwYXNz";
    let mut world = setup("account", "", "credential_file = \"basic.key\"");
    world.credential = "{ header = \"Authorization\", scheme = \"Basic\" }";
    world.files = vec![("basic.key", "dXNlcjpwYXNz\n".into())];
    let world = World::new(world).await;
    for (value, status) in [("Basic c3Ryb25ncm9vbTo=", 200), ("Basic bWU6bWU=", 403), (pair, 403)] {
        assert_eq!(
            pay(&world, "/psp/payments", &[("authorization", value)], &card()).await,
            status,
            "{value}"
        );
    }
    assert!(world.psp.seen()[0].holds(&format!("Authorization: {pair}\r\n")));
    let digest = hex::encode(Sha256::digest(b"user:pass"));
    let mut world = setup("pinned", "", &format!("credential_sha256 = [\"{digest}\"]"));
    world.credential = "{ header = \"Authorization\", scheme = \"Basic\" }";
    let world = World::new(world).await;
    for (value, status) in [(pair, 200), ("Basic dXNlcjpvdGhlcg==", 403), ("Basic dXNlcjo=", 403)] {
        assert_eq!(
            pay(&world, "/psp/payments", &[("authorization", value)], &card()).await,
            status,
            "{value}"
        );
    }
}

/// Worldpay's merchant stands in an attribute of the root: it is the account's own, whatever else looks like it.
#[tokio::test]
async fn a_merchant_in_an_attribute_is_the_account_s_own_or_refused() {
    const OWN: &str = "replace-with-the-merchant-code";
    let world = World::new(Setup { shipped: vec!["worldpay-wpg"], ..Setup::default() }).await;
    let send = async |attributes: &str, inside: &str| {
        let body = format!(
            "<paymentService version=\"1.4\" {attributes}>{inside}<inquiry><orderInquiry orderCode=\"o\"/></inquiry></paymentService>"
        );
        let path = "/worldpay-wpg/jsp/merchant/xml/paymentService.jsp";
        world.send(world.request("POST", path, "text/xml", body.as_bytes())).await
    };
    for right in [format!("merchantCode=\"{OWN}\""), "merchantCode='strong&#114;oom'".into()] {
        assert_eq!(send(&right, "").await.status, 200, "{right}");
        let seen = world.psp.seen().pop().unwrap();
        assert!(seen.holds(OWN) && !seen.holds("strong"), "{}", seen.text());
    }
    let answered = world.psp.requests();
    for (attributes, inside) in [
        ("merchantCode=\"ANOTHER\"", ""),
        ("", ""),
        ("merchantcode=\"strongroom\"", ""),
        ("merchantCode=\"strongroom\" MerchantCode=\"ANOTHER\"", ""),
        ("merchantCode=\"strongroom\" xmlns:x=\"urn:x\" x:merchantCode=\"ANOTHER\"", ""),
        ("merchantCode=\"strongroom\"", "<merchantCode>ANOTHER</merchantCode>"),
    ] {
        let reply = send(attributes, inside).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (403, "credential-refused"),
            "{attributes} {inside}"
        );
        assert!(!reply.text().contains("ANOTHER"), "{}", reply.text());
    }
    assert_eq!(world.psp.requests(), answered, "nothing was sent");
}
