//! Where card data may go: an address that was judged, to a peer whose certificate names the route's host.

use std::net::SocketAddr;

use crate::world::{Reply, Setup, World};

fn refused(world: &World, reply: &Reply) {
    assert_eq!((reply.status, reply.problem().as_str()), (424, "psp-unreachable"), "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0), "card data stays in the vault");
}

fn at(address: &str) -> Vec<SocketAddr> {
    vec![SocketAddr::new(address.parse().unwrap(), 0)]
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_or_metadata_address_is_not_dialled() {
    for address in ["169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "::1", "127.0.0.2", "fd00:ec2::254"] {
        let world = World::new(Setup { resolves: at(address), ..Default::default() }).await;
        let reply = world.create_usual().await;
        refused(&world, &reply);
        assert!(reply.text().contains("address nothing may be sent to"), "{}", reply.text());
        assert_eq!(world.psp.connections(), 0);
    }
}

#[tokio::test]
async fn one_bad_address_among_good_ones_condemns_the_name() {
    let mut resolves = at("127.0.0.1");
    resolves.extend(at("169.254.169.254"));
    let world = World::new(Setup { resolves, ..Default::default() }).await;
    refused(&world, &world.create_usual().await);
    assert_eq!(world.psp.connections(), 0);
}

#[tokio::test]
async fn a_literal_address_passes_the_same_guard() {
    let upstream_host = || "127.0.0.1".to_owned();
    let setup =
        Setup { upstream_host: upstream_host(), private_addresses: "[]".into(), ..Default::default() };
    let world = World::new(setup).await;
    refused(&world, &world.create_usual().await);
    assert_eq!(world.psp.connections(), 0);
    let listed = World::new(Setup { upstream_host: upstream_host(), ..Default::default() }).await;
    assert_eq!(listed.create_usual().await.status, 200);
}

#[tokio::test]
async fn a_name_without_an_address_is_said_so() {
    let world = World::new(Setup { resolves: Vec::new(), ..Default::default() }).await;
    refused(&world, &world.create_usual().await);
}

#[tokio::test]
async fn a_certificate_for_another_name_gets_nothing() {
    let setup = Setup { certificate_name: "other.test".into(), ..Default::default() };
    let world = World::new(setup).await;
    let reply = world.create_usual().await;
    refused(&world, &reply);
    assert!(reply.text().contains("certificate"), "{}", reply.text());
}

#[tokio::test]
async fn a_certificate_from_another_ca_gets_nothing() {
    let world = World::new(Setup { foreign_ca: true, ..Default::default() }).await;
    refused(&world, &world.create_usual().await);
}

#[tokio::test]
async fn tls_1_2_is_spoken_to_psps_that_offer_nothing_newer() {
    let world = World::new(Setup { versions: vec![&rustls::version::TLS12], ..Default::default() }).await;
    assert_eq!(world.create_usual().await.status, 200);
}
