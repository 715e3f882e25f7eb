//! Pinned keys, certificates PSPs ask for, names that move.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use strongroom_proxy::config::ProxyConfig;

use crate::psp::{Then, json};
use crate::world::{Reply, Setup, World};

const FOREIGN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn pinned(pin: &str) -> Setup {
    let route = format!("credentials = \"account\"\n[route.psp.protect]\npins = [\"{pin}\", \"{FOREIGN}\"]");
    Setup { route, change: looks_often, ..Default::default() }
}

fn looks_often(config: &mut ProxyConfig) {
    config.listener.limits.reload_interval_ms = 20.try_into().unwrap();
}

fn unpinned(world: &World, reply: &Reply) {
    assert_eq!((reply.status, reply.problem().as_str()), (424, "psp-unreachable"), "{}", reply.text());
    assert!(reply.text().contains("none of the pinned keys"), "{}", reply.text());
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0), "card data stays in the vault");
}

#[tokio::test]
async fn a_psp_that_shows_a_pinned_key_is_paid() {
    for pin in ["PIN_OF_CA", "PIN_OF_LEAF"] {
        assert_eq!(World::new(pinned(pin)).await.create_usual().await.status, 200, "{pin}");
    }
    let older = Setup { versions: vec![&rustls::version::TLS12], ..pinned("PIN_OF_CA") };
    assert_eq!(World::new(older).await.create_usual().await.status, 200);
}

#[tokio::test]
async fn a_valid_certificate_without_a_pinned_key_gets_nothing() {
    let one = "1".repeat(64);
    let world = World::new(pinned(&one)).await;
    unpinned(&world, &world.create_usual().await);
    let older = Setup { versions: vec![&rustls::version::TLS12], ..pinned(&one) };
    let world = World::new(older).await;
    unpinned(&world, &world.create_usual().await);
}

#[tokio::test]
async fn a_pinned_key_does_not_make_up_for_a_wrong_name_or_authority() {
    let wrong_name = Setup { certificate_name: "other.test".into(), ..pinned("PIN_OF_LEAF") };
    let wrong_authority = Setup { foreign_ca: true, ..pinned("PIN_OF_LEAF") };
    for setup in [wrong_name, wrong_authority] {
        let world = World::new(setup).await;
        let reply = world.create_usual().await;
        assert_eq!(reply.problem(), "psp-unreachable");
        assert!(!reply.text().contains("pinned"), "{}", reply.text());
        assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
    }
}

#[tokio::test]
async fn other_pins_hold_for_the_next_call_without_a_restart() {
    let world = World::new(pinned("PIN_OF_CA")).await;
    assert_eq!(world.create_usual().await.status, 200, "a connection is there");
    let path = "policies/routes/psp.toml";
    let text = std::fs::read_to_string(world.folder.path().join(path)).unwrap();
    let (before, rest) = text.split_once("pins = [\"").unwrap();
    world.write(path, &format!("{before}pins = [\"{}\"{}", "1".repeat(64), &rest[65..]));
    let reply = loop {
        let reply = world.create_usual().await;
        if reply.status != 200 {
            break reply;
        }
    };
    assert!(reply.text().contains("none of the pinned keys"), "{}", reply.text());
}

const PRESENTS: &str = "credentials = \"account\"\n[route.psp.protect]\nclient_certificate = true";

fn presents(merchant: &str) -> Setup {
    let account = format!(
        "tenants = [\"*\"]\ncredential_file = \"psp.key\"\n[client_certificate]\n\
         certificate_file = \"{merchant}.leaf.pem\"\nkey_file = \"{merchant}.key\""
    );
    Setup { route: PRESENTS.into(), account, psp_asks: true, change: looks_often, ..Default::default() }
}

fn certificate(world: &World, merchant: &str) -> Vec<u8> {
    let path = world.folder.path().join(format!("{merchant}.leaf.pem"));
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[tokio::test]
async fn a_psp_that_asks_for_a_certificate_gets_the_account_s() {
    let world = World::new(presents("merchant-a")).await;
    assert_eq!(world.create_usual().await.status, 200);
    assert_eq!(world.psp.presented(), [certificate(&world, "merchant-a")]);
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_presented_without_a_restart() {
    let world = World::new(presents("merchant-a")).await;
    assert_eq!(world.create_usual().await.status, 200);
    let read = |name: &str| std::fs::read_to_string(world.folder.path().join(name)).unwrap();
    let (chain, key) = (read("merchant-b.leaf.pem"), read("merchant-b.key"));
    let other = certificate(&world, "merchant-b");
    // Between the two they do not belong together: then the old ones stay.
    world.write("merchant-a.key", &key);
    world.write("merchant-a.leaf.pem", &chain);
    while world.psp.presented().last() != Some(&other) {
        assert_eq!(world.create_usual().await.status, 200);
    }
}

#[tokio::test]
async fn a_name_that_moves_to_a_private_address_is_not_followed() {
    let change = |config: &mut ProxyConfig| config.limits.dns_age_max_ms = 1;
    let world = World::new(Setup { change, ..Default::default() }).await;
    // Every connection ends with its answer, so that every call connects anew.
    let last = || Then::AnswerAndClose(json("200 OK", "{\"id\":\"pm_1\"}"));
    (0..1_000).for_each(|_| world.psp.then(last()));
    assert_eq!(world.create_usual().await.status, 200);
    world.names.change(vec!["169.254.169.254:0".parse().unwrap()]);
    let reply = loop {
        // An idle connection whose end was not yet seen may still be tried.
        let reply = world.create_usual().await;
        if reply.status == 424 {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((reply.status, reply.problem().as_str()), (424, "psp-unreachable"), "{}", reply.text());
    assert!(reply.text().contains("address nothing may be sent to"), "{}", reply.text());
}
