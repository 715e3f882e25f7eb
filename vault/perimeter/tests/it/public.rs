//! A listener for callers outside the house: it asks nobody for a certificate, and names nobody.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use strongroom_perimeter::Caller;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::listener::{ListenError, Listener, PublicListenerConfig};
use strongroom_perimeter::tls::anonymous_client_config;

use crate::support::{House, Leaf, quick};

async fn who(request: Request<Body>) -> String {
    let caller = request.extensions().get::<Caller>();
    format!(
        "{{\"who\":\"{}\"}}",
        caller.map_or_else(|| "nobody".into(), |caller| caller.workload.to_string())
    )
}

fn bind(
    house: &House,
    client_ca_file: Option<PathBuf>,
    crl_files: Vec<PathBuf>,
) -> Result<Listener, ListenError> {
    let config = PublicListenerConfig {
        address: "127.0.0.1:0".parse().unwrap(),
        certificate_file: house.file("server.pem"),
        key_file: house.file("server.key"),
        certificates: Vec::new(),
        client_ca_file,
        crl_files,
        dns_identities: Vec::new(),
        limits: quick(),
    };
    Listener::bind_public(config, Arc::clone(&house.clock) as _, Arc::new(SystemRandom::new()))
}

/// The house, with the public listener in the place of its own.
async fn open(with_ca: bool) -> House {
    let mut house = House::open().await;
    let listener = bind(&house, with_ca.then(|| house.file("ca.pem")), Vec::new()).unwrap();
    house.address = listener.local_addr();
    tokio::spawn(listener.serve(Router::new().fallback(who), house.stop.clone()));
    house
}

#[tokio::test]
async fn a_public_listener_asks_nobody_and_names_nobody() {
    let house = open(false).await;
    let anonymous = || anonymous_client_config(Some(&house.file("ca.pem"))).unwrap();
    assert_eq!(house.ask(anonymous()).await.unwrap().json()["who"], "nobody");
    // A certificate nobody asked for names nobody either.
    let answer = house.ask(house.client(&Leaf::client(&["spiffe://strongroom.test/partner"]))).await.unwrap();
    assert_eq!(answer.json()["who"], "nobody");
    assert!(answer.headers.contains_key("request-id") && answer.headers["cache-control"] == "no-store");
}

#[tokio::test]
async fn a_public_listener_with_a_ca_is_one_with_callers() {
    let house = open(true).await;
    assert!(house.ask(anonymous_client_config(Some(&house.file("ca.pem"))).unwrap()).await.is_err());
    let named =
        house.ask(house.client(&Leaf::client(&["spiffe://strongroom.test/partner"]))).await.unwrap().json();
    assert!(named["who"].as_str().unwrap().starts_with("spiffe://"), "{named}");
}

#[tokio::test]
async fn a_revocation_list_of_nobody_is_refused() {
    let house = House::open().await;
    let refused = bind(&house, None, vec![house.file("crl.pem")]).unwrap_err();
    assert!(matches!(refused, ListenError::Material(_)), "{refused:?}");
}
