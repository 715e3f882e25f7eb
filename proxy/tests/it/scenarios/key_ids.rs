//! The account is the one whose key the message names: an orchestrator that keeps a key per merchant changes nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, Request};
use strongroom_domain::route::RouteName;
use strongroom_perimeter::clock::SystemClock;
use strongroom_proxy::config::PortConfig;
use strongroom_proxy::registry::Sources;
use strongroom_proxy::upstream::SystemResolver;

use crate::tube::{Inner, enter, exchange, head, post};
use crate::world::{HOST, Reply, Setup, TOKEN, WORKLOADS, World, second_account, usual_form};

const BEARER: &str = "credentials = \"account\"\nkey_id = [{ header = \"authorization\", as = \"bearer\" }]";

/// Two accounts, found by `key-default` and `key-501`.
fn keyed() -> Setup {
    Setup {
        route: BEARER.into(),
        account: "tenants = [\"*\"]\ncredential_file = \"psp.key\"\nkey_id = \"key-default\"".into(),
        files: second_account("key_id = \"key-501\"\n"),
        connect: true,
        change: |config| {
            let route = RouteName::parse("psp").unwrap();
            let port = |account| PortConfig {
                address: "127.0.0.1:0".parse().unwrap(),
                route: route.clone(),
                account,
            };
            config.ports = vec![port(None), port(RouteName::parse("m-501"))];
        },
        ..Setup::default()
    }
}

async fn pay(world: &World, host: &str, path: &str, key: &str) -> Reply {
    let mut request = world.form(path, &usual_form());
    request.headers_mut().insert("host", HeaderValue::try_from(host).unwrap());
    let bearer = format!("Bearer {key}");
    request.headers_mut().insert("authorization", HeaderValue::try_from(bearer).unwrap());
    world.send(request).await
}

/// What the vault was asked and what the PSP was shown, last.
fn assert_paid_for(world: &World, account: &str, what: &str) {
    let secret = if account == "m-501" { "sk_merchant_501" } else { "sk_own_account" };
    assert_eq!(world.vault.opens().last().unwrap()["account"], account, "{what}");
    let seen = world.psp.seen().last().unwrap().clone();
    assert!(seen.holds(&format!("Authorization: Bearer {secret}\r\n")), "{what}: {}", seen.text());
    assert!(!seen.holds("key-"), "{what}: the id does not travel: {}", seen.text());
}

#[tokio::test]
async fn the_key_id_in_the_message_chooses_the_account_by_every_entry() {
    let world = World::new(keyed()).await;
    for (host, path, key, account) in [
        ("proxy.test", "/psp/v1/payment_methods", "key-501", "m-501"),
        ("proxy.test", "/psp/v1/payment_methods", "key-default", "default"),
        ("proxy.test", "/psp/v1/payment_methods", "strongroom", "default"),
        ("proxy.test", "/psp/@m-501/v1/payment_methods", "key-501", "m-501"),
        ("proxy.test", "/psp/@m-501/v1/payment_methods", "strongroom", "m-501"),
        ("psp.proxy.test", "/v1/payment_methods", "key-501", "m-501"),
        ("m-501.psp.proxy.test", "/v1/payment_methods", "key-501", "m-501"),
    ] {
        assert_eq!(pay(&world, host, path, key).await.status, 200, "{host}{path} {key}");
        assert_paid_for(&world, account, &format!("{host}{path} {key}"));
    }
    for (port, key, account) in
        [(0, "key-501", "m-501"), (0, "strongroom", "default"), (1, "key-501", "m-501")]
    {
        let mut stream = world.raw_as("orchestrator", world.ports[port]).await;
        let headers = format!("host: {HOST}\r\nauthorization: Bearer {key}\r\n");
        let reply = exchange(&mut stream, &post("/v1/payment_methods", &headers, &usual_form())).await;
        assert_eq!(reply.status, 200, "port {port} {key}");
        assert_paid_for(&world, account, key);
    }
    // One tunnel that names no account serves them all, call by call.
    let mut tunnel = world.tunnel("").await;
    for (key, account) in
        [("key-501", "m-501"), ("key-default", "default"), ("key-501", "m-501"), ("strongroom", "default")]
    {
        let headers = format!("host: {HOST}\r\nauthorization: Bearer {key}\r\n");
        let reply = exchange(&mut tunnel, &post("/v1/payment_methods", &headers, &usual_form())).await;
        assert_eq!(reply.status, 200, "tunnel {key}");
        assert_paid_for(&world, account, key);
    }
}

#[tokio::test]
async fn an_unknown_key_id_or_another_account_s_is_refused_and_never_shown() {
    let world = World::new(keyed()).await;
    let secret = "sk_live_put_there_by_mistake";
    for (host, path, key) in [
        ("proxy.test", "/psp/v1/payment_methods", secret),
        ("proxy.test", "/psp/v1/payment_methods", "KEY-501"),
        ("proxy.test", "/psp/@default/v1/payment_methods", "key-501"),
        ("proxy.test", "/psp/@m-501/v1/payment_methods", "key-default"),
        ("proxy.test", "/psp/@m-501/v1/payment_methods", secret),
        ("m-501.psp.proxy.test", "/v1/payment_methods", "key-default"),
    ] {
        let reply = pay(&world, host, path, key).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (403, "credential-refused"),
            "{host}{path} {key}"
        );
        for shown in [key, "sk_own_account", "sk_merchant_501"] {
            assert!(
                !reply.text().contains(shown) && !format!("{:?}", reply.headers).contains(shown),
                "{shown}"
            );
        }
    }
    let headers = |key: &str| format!("host: {HOST}\r\nauthorization: Bearer {key}\r\n");
    let mut stream = world.raw_as("orchestrator", world.ports[1]).await;
    let reply =
        exchange(&mut stream, &post("/v1/payment_methods", &headers("key-default"), &usual_form())).await;
    assert_eq!((reply.status, reply.problem().as_str()), (403, "credential-refused"), "a port of m-501");
    // The user of the proxy credentials names the account of a tunnel.
    let user = BASE64_STANDARD.encode("m-501:");
    let mut tunnel = world.tunnel(&format!("proxy-authorization: Basic {user}\r\n")).await;
    let reply =
        exchange(&mut tunnel, &post("/v1/payment_methods", &headers("key-default"), &usual_form())).await;
    assert_eq!((reply.status, reply.problem().as_str()), (403, "credential-refused"), "a tunnel of m-501");
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0), "nothing was sent");
}

#[tokio::test]
async fn a_caller_reaches_by_a_key_id_what_it_is_bound_to_and_nothing_else() {
    let world = World::new(keyed()).await;
    for (key, status) in [("key-501", 200), ("key-default", 403), ("strongroom", 403)] {
        let mut request = world.form("/psp/v1/refunds", "charge=ch_1");
        let bearer = format!("Bearer {key}");
        request.headers_mut().insert("authorization", HeaderValue::try_from(bearer).unwrap());
        assert_eq!(world.send_as("merchant", request).await.status, status, "{key}");
    }
    // Its tunnel opens, since one account there is its own; each request inside is held to the binding.
    let mut stream = world.raw_as("merchant", world.proxy).await;
    let upstream = world.upstream();
    let answer = head(&mut stream, &format!("CONNECT {upstream} HTTP/1.1\r\nhost: {upstream}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut tunnel = enter(world.folder.path(), stream, &Inner::default()).await.unwrap();
    for (key, status) in [("key-501", 200), ("key-default", 403), ("strongroom", 403), ("key-501", 200)] {
        let headers = format!("host: {HOST}\r\nauthorization: Bearer {key}\r\n");
        assert_eq!(
            exchange(&mut tunnel, &post("/v1/refunds", &headers, "charge=ch_1")).await.status,
            status,
            "{key}"
        );
    }
    let mut stream = world.raw_as("elsewhere", world.proxy).await;
    let answer = head(&mut stream, &format!("CONNECT {upstream} HTTP/1.1\r\nhost: {upstream}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_signature_is_made_with_the_key_it_names() {
    let secrets = ["a secret of account one, no other", "a secret of account two, no other"];
    let account = |key: &str, merchant: &str, file: &str| {
        format!(
            "tenants = [\"*\"]\n[identity]\nmerchant = \"{merchant}\"\n[signing]\nkey_id = \"{key}\"\nsecret_file = \"{file}\"\n"
        )
    };
    let world = World::new(Setup {
        shipped: vec!["cybersource"],
        files: vec![
            ("one.key", BASE64_STANDARD.encode(secrets[0])),
            ("two.key", BASE64_STANDARD.encode(secrets[1])),
            ("policies/accounts/cybersource/default.toml", account("key-one", "merchant_one", "one.key")),
            ("policies/accounts/cybersource/two.toml", account("key-two", "merchant_two", "two.key")),
        ],
        ..Setup::default()
    })
    .await;
    let body = format!("{{\"paymentInformation\":{{\"card\":{{\"number\":\"{TOKEN}\"}}}}}}");
    let signature = |key: &str| {
        format!(
            "keyid=\"{key}\", algorithm=\"HmacSHA256\", headers=\"host date request-target digest v-c-merchant-id\", signature=\"AAAA\""
        )
    };
    let token = |key: &str, merchant: &str| {
        let head = BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"kid\":\"{key}\",\"alg\":\"HS256\"}}"));
        let claims =
            format!("{{\"digest\":\"x\",\"iss\":\"{merchant}\",\"v-c-merchant-id\":\"{merchant}\"}}");
        format!("Bearer {head}.{}.AAAA", BASE64_URL_SAFE_NO_PAD.encode(claims))
    };
    for (headers, paid) in [
        (vec![("signature", signature("key-one"))], Some((0, "cybersource-http"))),
        (vec![("signature", signature("key-two"))], Some((1, "cybersource-http"))),
        (vec![("authorization", token("key-two", "merchant_two"))], Some((1, "cybersource-jwt"))),
        (vec![("authorization", token("strongroom", "merchant_one"))], Some((0, "cybersource-jwt"))),
        (vec![("signature", signature("key-three"))], None),
        (vec![("authorization", token("key-two", "merchant_one"))], None),
        (vec![("signature", signature("key-two")), ("v-c-merchant-id", "merchant_one".into())], None),
        (
            vec![("signature", signature("key-one")), ("authorization", token("key-two", "merchant_two"))],
            None,
        ),
    ] {
        let before = world.psp.requests();
        let mut request =
            world.request("POST", "/cybersource/pts/v2/payments", "application/json", body.as_bytes());
        for (name, value) in &headers {
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), HeaderValue::try_from(value.as_str()).unwrap());
        }
        let reply = world.send(request).await;
        let Some((account, kind)) = paid else {
            assert_eq!((reply.status, world.psp.requests()), (403, before), "{headers:?}");
            continue;
        };
        assert_eq!(reply.status, 200, "{headers:?} {}", reply.text());
        let seen = world.psp.seen().pop().unwrap();
        super::signed_routes::verify(kind, &BASE64_STANDARD.encode(secrets[account]), &seen);
        assert_eq!(world.vault.opens().last().unwrap()["account"], ["default", "two"][account]);
    }
}

/// Prints what it took; that each key finds its own account is what is asserted.
#[test]
fn a_thousand_accounts_are_each_found_by_their_key_id() {
    let folder = tempfile::tempdir().unwrap();
    let (policies, secrets) = (folder.path().join("policies"), folder.path().join("secrets"));
    for folder in [policies.join("routes"), policies.join("accounts/psp"), secrets.clone()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let route = format!(
        "[route.psp]\nupstream = \"https://api.psp.example\"\n\
         credential = {{ header = \"Authorization\", scheme = \"Bearer\" }}\n{BEARER}\n\
         [[route.psp.pass]]\nmethod = \"POST\"\npath = \"/v1/refunds\"\n"
    );
    std::fs::write(policies.join("routes/psp.toml"), route).unwrap();
    let key = secrets.join("psp.key");
    std::fs::write(&key, "sk_own\n").unwrap();
    crate::pki::keep_private(&key);
    for number in 0..1_000 {
        let account =
            format!("tenants = [\"m-{number}\"]\ncredential_file = \"psp.key\"\nkey_id = \"key-{number}\"\n");
        std::fs::write(policies.join(format!("accounts/psp/m-{number}.toml")), account).unwrap();
    }
    std::fs::write(policies.join("workloads.json"), WORKLOADS).unwrap();
    let config = format!(
        "environment = \"test\"\npolicies_folder = {policies:?}\nsecrets_folder = {secrets:?}\n\
         listener = {{ address = \"127.0.0.1:0\", certificate_file = \"a\", key_file = \"b\", client_ca_file = \"c\" }}\n\
         ops = {{ address = \"127.0.0.1:0\" }}\n\
         vault = {{ urls = [], tls = {{ certificate_file = \"a\", key_file = \"b\", ca_file = \"c\" }} }}\n"
    );
    let sources = Sources {
        config: toml::from_str(&config).unwrap(),
        resolver: Arc::new(SystemResolver),
        clock: Arc::new(SystemClock),
    };
    let begun = Instant::now();
    let registry = sources.read(None).unwrap();
    let read = begun.elapsed();
    let begun = Instant::now();
    let mut found = BTreeSet::new();
    for number in 0..1_000 {
        let request = Request::builder()
            .uri("/psp/v1/refunds")
            .header("host", "proxy")
            .header("authorization", format!("Bearer key-{number}"));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let account = registry.entry.find(&parts, None).unwrap().destination.account.name.clone();
        assert_eq!(account.as_str(), format!("m-{number}"));
        found.insert(account);
    }
    println!("1,000 accounts with a key id each: read in {read:?}, all found in {:?}", begun.elapsed());
    assert_eq!(found.len(), 1_000);
    // The same id twice: nothing is served.
    let twice = policies.join("accounts/psp/m-7.toml");
    std::fs::write(&twice, "tenants = [\"m-7\"]\ncredential_file = \"psp.key\"\nkey_id = \"key-8\"\n")
        .unwrap();
    let error = sources.read(Some(&registry)).err().unwrap().to_string();
    assert!(error.contains("`m-7` and `m-8`"), "{error}");
}
