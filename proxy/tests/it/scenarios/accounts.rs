//! Many accounts at one PSP: which one a call is for, and how the set of them changes while calls go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use serde_json::json;
use strongroom_domain::route::RouteName;
use strongroom_perimeter::clock::SystemClock;
use strongroom_proxy::config::PortConfig;
use strongroom_proxy::registry::Sources;
use strongroom_proxy::upstream::SystemResolver;

use crate::tube::{exchange, post};
use crate::world::{HOST, NUMBER, Reply, Setup, WORKLOADS, World, second_account, usual_form};

fn two_accounts() -> Setup {
    Setup { files: second_account(""), ..Setup::default() }
}

async fn at(world: &World, host: &str, path: &str) -> Reply {
    let mut request = world.form(path, &usual_form());
    request.headers_mut().insert("host", HeaderValue::try_from(host).unwrap());
    world.send(request).await
}

#[tokio::test]
async fn path_and_host_label_choose_the_account_and_its_key() {
    let world = World::new(two_accounts()).await;
    for (host, path, account, key) in [
        ("proxy.test", "/psp/v1/payment_methods", "default", "sk_own_account"),
        ("proxy.test", "/psp/@m-501/v1/payment_methods", "m-501", "sk_merchant_501"),
        ("psp.proxy.test", "/v1/payment_methods", "default", "sk_own_account"),
        ("m-501.psp.proxy.test", "/v1/payment_methods", "m-501", "sk_merchant_501"),
        ("M-501.PSP.proxy.test:8443", "/v1/payment_methods", "m-501", "sk_merchant_501"),
    ] {
        assert_eq!(at(&world, host, path).await.status, 200, "{host}{path}");
        let open = world.vault.opens().last().unwrap().clone();
        assert_eq!(open["account"], account, "{host}{path}");
        assert_eq!(open["path"], "/v1/payment_methods", "the account is no part of the path");
        let seen = world.psp.seen().last().unwrap().clone();
        assert_eq!(seen.line(), "POST /v1/payment_methods HTTP/1.1");
        assert!(seen.holds(&format!("Authorization: Bearer {key}")), "{}", seen.text());
    }
}

#[tokio::test]
async fn an_account_nobody_has_is_refused_and_none_is_guessed() {
    let world = World::new(two_accounts()).await;
    for (host, path) in [
        ("proxy.test", "/psp/@m-502/v1/payment_methods"),
        ("proxy.test", "/psp/@M-501/v1/payment_methods"),
        ("proxy.test", "/psp/@/v1/payment_methods"),
        ("m-502.psp.proxy.test", "/v1/payment_methods"),
        ("m-501.other.proxy.test", "/v1/payment_methods"),
    ] {
        let reply = at(&world, host, path).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"), "{host}{path}");
    }
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn a_caller_bound_to_one_account_reaches_no_other() {
    let world = World::new(two_accounts()).await;
    for (path, status) in
        [("/psp/@m-501/v1/refunds", 200), ("/psp/@default/v1/refunds", 403), ("/psp/v1/refunds", 403)]
    {
        let reply = world.send_as("merchant", world.form(path, "charge=ch_1")).await;
        assert_eq!(reply.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_account_with_a_host_of_its_own_goes_there_and_nowhere_else() {
    let world = World::new(Setup {
        files: second_account("upstream = \"https://m501.psp.test:PORT\"\n"),
        certificate_name: "m501.psp.test".into(),
        ..Setup::default()
    })
    .await;
    let reply = at(&world, "proxy.test", "/psp/@m-501/v1/payment_methods").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.vault.opens()[0]["host"], json!("m501.psp.test"));
    assert!(world.psp.seen()[0].holds(&format!("Host: m501.psp.test:{}", world.psp.address.port())));
    // The other account's host is the route's, and this PSP does not bear its name.
    let reply = at(&world, "proxy.test", "/psp/v1/payment_methods").await;
    assert_eq!((reply.status, reply.problem().as_str()), (424, "psp-unreachable"));
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (1, 1));
}

#[tokio::test]
async fn a_port_of_one_account_needs_no_name_at_all() {
    let world = World::new(Setup {
        change: |config| {
            let port = |account| PortConfig {
                address: "127.0.0.1:0".parse().unwrap(),
                route: RouteName::parse("psp").unwrap(),
                account,
            };
            config.ports = vec![port(None), port(RouteName::parse("m-501"))];
        },
        ..two_accounts()
    })
    .await;
    for (port, account) in [(0, "default"), (1, "m-501")] {
        for headers in ["host: whatever.example\r\n", &format!("host: {HOST}\r\n"), ""] {
            let mut stream = world.raw_as("orchestrator", world.ports[port]).await;
            let reply = exchange(&mut stream, &post("/v1/payment_methods", headers, &usual_form())).await;
            assert_eq!(reply.status, 200, "{headers}");
            assert_eq!(world.vault.opens().last().unwrap()["account"], account);
        }
    }
    let mut stream = world.raw_as("merchant", world.ports[0]).await;
    let reply = exchange(&mut stream, &post("/v1/refunds", "", "charge=ch_1")).await;
    assert_eq!((reply.status, reply.problem().as_str()), (403, "forbidden"));
    let mut stream = world.raw_as("orchestrator", world.ports[1]).await;
    let reply = exchange(&mut stream, &post("/psp/@default/v1/refunds", "", "charge=ch_1")).await;
    assert_eq!(reply.status, 403, "a port's path is the psp's");
}

fn reloading(setup: Setup) -> Setup {
    Setup { change: |config| config.listener.limits.reload_interval_ms = 50.try_into().unwrap(), ..setup }
}

/// Asks again and again until the answer has this status.
async fn until(world: &World, path: &str, status: u16) -> Reply {
    for _ in 0..600 {
        let reply = world.send(world.form(path, &usual_form())).await;
        if reply.status == status {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{path} never answered {status}");
}

#[tokio::test]
async fn accounts_and_routes_change_without_a_restart_and_a_bad_file_changes_nothing() {
    let world = World::new(reloading(Setup::default())).await;
    let path = "/psp/@m-501/v1/payment_methods";
    until(&world, path, 403).await;
    for (file, text) in second_account("").iter().rev() {
        world.write(file, text);
    }
    until(&world, path, 200).await;
    assert!(world.psp.seen().last().unwrap().holds("Bearer sk_merchant_501"));

    // A new key, while calls go on.
    world.write("m-501.key", "sk_rotated\n");
    for _ in 0..600 {
        until(&world, path, 200).await;
        if world.psp.seen().last().unwrap().holds("Bearer sk_rotated") {
            break;
        }
    }
    assert!(world.psp.seen().last().unwrap().holds("Bearer sk_rotated"));

    // A file nobody can use: everything stays as it was, also what another file would change.
    world.write("policies/accounts/psp/bad.toml", "tenants = []");
    world.write("m-501.key", "sk_never\n");
    let looks = Instant::now();
    while looks.elapsed() < Duration::from_millis(500) {
        until(&world, path, 200).await;
    }
    assert!(world.psp.seen().last().unwrap().holds("Bearer sk_rotated"));

    std::fs::remove_file(world.folder.path().join("policies/accounts/psp/bad.toml")).unwrap();
    std::fs::remove_file(world.folder.path().join("policies/accounts/psp/m-501.toml")).unwrap();
    until(&world, path, 403).await;
    assert_eq!(world.create_usual().await.status, 200);
    assert_eq!(world.psp.connections(), 1, "what did not change kept its connections");
    assert!(world.psp.seen().iter().all(|seen| seen.holds(NUMBER) && !seen.holds("sk_never")));
}

#[tokio::test]
async fn a_caller_taken_out_of_the_bundle_is_refused_in_the_tunnel_it_has() {
    let world = World::new(reloading(Setup::with_tunnels())).await;
    let mut tunnel = world.tunnel("").await;
    let refund = post("/v1/refunds", "", "charge=ch_1");
    assert_eq!(exchange(&mut tunnel, &refund).await.status, 200);
    let gone = r#""spiffe://strongroom.test/orchestrator", "#;
    assert!(WORKLOADS.contains(gone));
    world.write("policies/workloads.json", &WORKLOADS.replacen(gone, "", 1));
    for _ in 0..600 {
        let reply = exchange(&mut tunnel, &refund).await;
        if reply.status == 403 {
            assert_eq!(reply.problem(), "forbidden");
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the caller was never refused");
}

/// Prints what it took; the number of accounts read is what is asserted.
#[test]
fn a_thousand_accounts_load() {
    let folder = tempfile::tempdir().unwrap();
    let (policies, secrets) = (folder.path().join("policies"), folder.path().join("secrets"));
    for folder in ["routes", "accounts/psp"] {
        std::fs::create_dir_all(policies.join(folder)).unwrap();
    }
    std::fs::create_dir_all(&secrets).unwrap();
    let route = "[route.psp]\nupstream = \"https://api.psp.example\"\n\
                 credential = { header = \"Authorization\", scheme = \"Bearer\" }\n\
                 [[route.psp.pass]]\nmethod = \"POST\"\npath = \"/v1/refunds\"\n";
    std::fs::write(policies.join("routes/psp.toml"), route).unwrap();
    for number in 0..1_000 {
        let account = format!(
            "tenants = [\"m-{number}\"]\ncredential_file = \"m-{number}.key\"\nupstream = \"https://m{number}.psp.example\"\n"
        );
        std::fs::write(policies.join(format!("accounts/psp/m-{number}.toml")), account).unwrap();
        let key = secrets.join(format!("m-{number}.key"));
        std::fs::write(&key, format!("sk_{number}\n")).unwrap();
        crate::pki::keep_private(&key);
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
    let first = begun.elapsed();
    let begun = Instant::now();
    let again = sources.read(Some(&registry)).unwrap();
    println!(
        "1,000 accounts, each with key and host of its own: read in {first:?}, again in {:?}",
        begun.elapsed()
    );
    for registry in [registry, again] {
        assert_eq!(registry.entry.destinations().count(), 1_000);
        assert!(registry.entry.destinations().all(|one| one.keys.credential.is_some()));
    }
}
