//! New certificates, CAs and revocation lists without a restart; bad ones change nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use strongroom_perimeter::limits::Limits;
use strongroom_perimeter::listener::Reloaded;

use crate::support::{Answer, Authority, CHECKOUT, House, Leaf, quick, request};

#[tokio::test]
async fn a_revoked_caller_is_refused_at_its_next_request_on_an_open_connection() {
    let house = House::open().await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let other = house.client(&Leaf { serial: 8, ..Leaf::client(&[CHECKOUT]) });
    let (mut sender, mut unconcerned) =
        (house.h1(client.clone()).await.unwrap(), house.h1(other).await.unwrap());
    assert_eq!(ask(&mut sender).await.status, 200);

    house.write("crl.pem", &house.ca.list(&[7], (-1, 24)));
    assert_eq!(house.reloader.reload().unwrap(), Reloaded::Replaced);
    assert_eq!(house.reloader.reload().unwrap(), Reloaded::Unchanged);

    let refused = ask(&mut sender).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["type"]),
        (403, &"urn:strongroom:problem:forbidden".into())
    );
    assert_eq!(refused.headers["connection"], "close");
    assert!(sender.send_request(request("/whoami")).await.is_err(), "the connection is closed");
    assert_eq!(house.refusals.next().await.reason, "revoked");
    assert!(house.ask(client).await.is_err(), "and there is no way back in");
    assert_eq!(house.refusals.next().await.reason, "revoked");
    assert_eq!(ask(&mut unconcerned).await.status, 200);
}

#[tokio::test]
async fn a_revoked_caller_is_refused_over_h2_as_well() {
    let house = House::open().await;
    let mut sender = house.h2(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    house.write("crl.pem", &house.ca.list(&[7], (-1, 24)));
    house.reloader.reload().unwrap();
    let request = || http::Request::get("https://localhost/whoami").body(axum::body::Body::empty()).unwrap();
    assert_eq!(sender.send_request(request()).await.unwrap().status(), 403);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(sender.send_request(request()).await.is_err(), "the connection is closed");
}

#[tokio::test]
async fn changed_files_are_found_without_being_asked() {
    let limits = Limits { reload_interval_ms: NonZeroU32::new(50).unwrap(), ..quick() };
    let house = House::open_with(limits, |_| {}).await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    house.write("crl.pem", &house.ca.list(&[7], (-1, 24)));
    for _ in 0..100 {
        if ask(&mut sender).await.status == 403 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new list was never read");
}

#[tokio::test]
async fn a_certificate_that_ends_while_connected_is_refused() {
    let house = House::open().await;
    let mut sender =
        house.h1(house.client(&Leaf { hours: (-1, 1), ..Leaf::client(&[CHECKOUT]) })).await.unwrap();
    assert_eq!(ask(&mut sender).await.status, 200);
    house.clock.forward(2 * 3_600);
    assert_eq!(ask(&mut sender).await.status, 403);
    assert_eq!(house.refusals.next().await.reason, "expired");
}

#[tokio::test]
async fn a_list_that_ends_while_connected_refuses_everybody_until_a_new_one_comes() {
    let house = House::open().await;
    let leaf = Leaf { hours: (-1, 100), ..Leaf::client(&[CHECKOUT]) };
    let client = house.client(&leaf);
    let mut sender = house.h1(client.clone()).await.unwrap();
    assert_eq!(ask(&mut sender).await.status, 200);
    house.clock.forward(30 * 3_600);
    assert_eq!(ask(&mut sender).await.status, 403);
    assert_eq!(house.refusals.next().await.reason, "revocation-list-expired");
    house.write("crl.pem", &house.ca.list(&[], (-1, 100)));
    let (certificate, key) = house.ca.sign(&Leaf { hours: (-1, 100), ..Leaf::server() });
    house.write("server.pem", &certificate);
    house.write("server.key", &key);
    house.reloader.reload().unwrap();
    assert_eq!(house.ask(client).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_ca_that_is_taken_away_takes_its_callers_along() {
    let house = House::open_with(quick(), |config| config.crl_files.clear()).await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    house.write("ca.pem", &Authority::new("successor").pem);
    house.reloader.reload().unwrap();
    assert_eq!(ask(&mut sender).await.status, 403);
    assert_eq!(house.refusals.next().await.reason, "unknown-ca");
}

#[tokio::test]
async fn a_new_server_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let house = House::open().await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let mut open = house.h1(client.clone()).await.unwrap();
    let shown = |stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown(&house.tls(client.clone()).await.unwrap());
    let (certificate, key) = house.ca.sign(&Leaf::server());
    house.write("server.pem", &certificate);
    house.write("server.key", &key);
    assert_eq!(house.reloader.reload().unwrap(), Reloaded::Replaced);
    assert_ne!(shown(&house.tls(client).await.unwrap()), before);
    assert_eq!(ask(&mut open).await.status, 200);
}

#[tokio::test]
async fn bad_material_is_named_and_changes_nothing() {
    let house = House::open().await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let good = |name: &str| std::fs::read_to_string(house.file(name)).unwrap();
    let (server, list, ca) = (good("server.pem"), good("crl.pem"), good("ca.pem"));
    let other_key = house.ca.sign(&Leaf::server()).0;
    let expired = house.ca.sign(&Leaf { hours: (-48, -24), ..Leaf::server() }).0;
    let stranger = Authority::new("workloads");
    let cases = [
        ("server.pem", other_key, "server.key"),
        ("server.pem", expired, "expired"),
        ("server.pem", house.ca.pem.clone(), "put the server's own certificate first"),
        ("server.pem", String::new(), "holds no certificate"),
        ("ca.pem", "-----BEGIN".into(), "holds no certificate"),
        ("crl.pem", server.clone(), "holds no revocation list"),
        ("crl.pem", stranger.list(&[7], (-1, 24)), "no ca of client_ca_file signed"),
        ("crl.pem", house.ca.list(&[7], (-48, -24)), "past its nextUpdate"),
        ("crl.pem", house.ca.list(&[], (-20, 24)), "older than the one in use"),
    ];
    for (file, text, words) in cases {
        house.write(file, &text);
        let error = house.reloader.reload().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(house.ask(client.clone()).await.unwrap().status, 200, "{words}");
        house.write("server.pem", &server);
        house.write("crl.pem", &list);
        house.write("ca.pem", &ca);
        assert_eq!(house.reloader.reload().unwrap(), Reloaded::Unchanged);
    }
    std::fs::remove_file(house.file("server.key")).unwrap();
    assert!(house.reloader.reload().unwrap_err().to_string().contains("cannot read"));
}

async fn ask(sender: &mut hyper::client::conn::http1::SendRequest<axum::body::Body>) -> Answer {
    sender.ready().await.unwrap();
    Answer::of(sender.send_request(request("/whoami")).await.unwrap()).await.unwrap()
}
