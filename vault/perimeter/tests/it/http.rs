//! What every request and every answer carries.

use crate::support::{Answer, CHECKOUT, House, Leaf, request};
use http::Request;

async fn answer(house: &House, request: Request<axum::body::Body>) -> Answer {
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    Answer::of(sender.send_request(request).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn every_answer_is_named_and_never_cached() {
    let house = House::open().await;
    for path in ["/whoami", "/nowhere", "/panic/x", "/named"] {
        let answer = answer(&house, request(path)).await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert!(answer.headers.contains_key("request-id"), "{path}");
    }
    let whoami = answer(&house, request("/whoami")).await;
    assert_eq!(whoami.json()["request_id"], whoami.headers["request-id"].to_str().unwrap());
}

#[tokio::test]
async fn a_psp_s_request_id_stays_and_ours_stands_beside_it() {
    let house = House::open().await;
    let answer = answer(&house, request("/named")).await;
    assert_eq!(answer.headers["request-id"], "req_of_a_psp");
    assert_eq!(answer.headers["strongroom-request-id"].len(), 36);
}

#[tokio::test]
async fn unknown_paths_and_methods_and_panics_are_problems() {
    let house = House::open().await;
    let mut wrong_method = request("/whoami");
    *wrong_method.method_mut() = http::Method::DELETE;
    for (request, status, slug) in [
        (request("/nowhere/4242424242424242"), 404, "not-found"),
        (wrong_method, 405, "method-not-allowed"),
        (request("/panic/4242424242424242"), 500, "internal"),
    ] {
        let answer = answer(&house, request).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["type"], format!("urn:strongroom:problem:{slug}"));
        assert_eq!(answer.json()["request_id"], answer.headers["request-id"].to_str().unwrap());
        assert!(!String::from_utf8_lossy(&answer.body).contains("4242"));
    }
}

#[tokio::test]
async fn a_trace_goes_on_and_what_rides_along_does_not() {
    let house = House::open().await;
    let mut traced = request("/whoami");
    let headers = traced.headers_mut();
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    headers.insert("tracestate", "vendor=4242424242424242".parse().unwrap());
    headers.insert("baggage", "card=4242424242424242".parse().unwrap());
    headers.insert("request-id", "chosen-by-the-caller".parse().unwrap());
    let seen = answer(&house, traced).await.json();
    assert!(seen["traceparent"].as_str().unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_ne!(seen["request_id"], "chosen-by-the-caller");
    let headers = seen["headers"].as_array().unwrap();
    assert!(!headers.contains(&"tracestate".into()) && !headers.contains(&"baggage".into()));
}
