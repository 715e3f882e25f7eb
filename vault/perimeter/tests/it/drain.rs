//! Stopping: what was begun is finished, nothing new is taken.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::{Answer, CHECKOUT, House, Leaf, request};

#[tokio::test]
async fn requests_in_flight_end_and_new_connections_are_not_taken() {
    let house = House::open().await;
    let client = house.client(&Leaf::client(&[CHECKOUT]));
    let (mut h1, mut h2) = (house.h1(client.clone()).await.unwrap(), house.h2(client).await.unwrap());
    let idle = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    let over_h2 = http::Request::get("https://localhost/slow/500").body(axum::body::Body::empty()).unwrap();
    let first =
        tokio::spawn(async move { Answer::of(h1.send_request(request("/slow/500")).await.unwrap()).await });
    let second = tokio::spawn(async move { Answer::of(h2.send_request(over_h2).await.unwrap()).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    house.stop.cancel();
    assert_eq!(first.await.unwrap().unwrap().body, "done");
    assert_eq!(second.await.unwrap().unwrap().body, "done");
    house.served.await.unwrap();
    assert!(idle.is_closed());
    assert!(TcpStream::connect(house.address).await.is_err());
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let house = House::open().await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    let endless = tokio::spawn(async move { sender.send_request(request("/slow/60000")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    house.stop.cancel();
    tokio::time::timeout(Duration::from_secs(40), house.served).await.expect("the deadline holds").unwrap();
    assert!(endless.await.unwrap().is_err());
}
