//! A payment reference is let through once: caller, proxy, vault and PSP as they are.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom_sandbox::client::Exchange;
use strongroom_sandbox::house::{House, HouseOptions, ROUTE_TEMPLATE, TENANT};
use strongroom_sandbox::psp::cards;

use crate::house::tokenize;
use crate::support::SystemRandom;

/// The sandbox's own route, where the PSP's JSON payments are let through once.
fn once() -> String {
    let ids = "ids = [\"id\", \"reference\"]";
    let (before, after) = ROUTE_TEMPLATE.split_once(ids).unwrap();
    format!("{before}{ids}\nmode = \"at-most-once\"\nreference = \"/reference\"{after}")
}

async fn pay(house: &House, token: &str, reference: &str) -> Exchange {
    let charge = json!({
        "amount": 1099, "currency": "eur", "reference": reference,
        "card": { "number": token, "expiry_month": 1, "expiry_year": 2000 },
    });
    let client = house.proxy_client("orchestrator").unwrap();
    let headers = [("Content-Type", "application/json")];
    client.send("POST", "/sandbox/json/payments", &headers, charge.to_string().as_bytes()).await.unwrap()
}

async fn story(house: &House, id: &str) -> Value {
    let client = house.vault_client("orchestrator").unwrap();
    let path = format!("/v1/tenants/{TENANT}/forwards/{id}");
    let answer = client.send("GET", &path, &[], b"").await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.json());
    answer.json()
}

/// What the services count.
async fn plain(address: std::net::SocketAddr) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_payment_under_a_reference_reaches_no_psp_and_the_first_tells_its_story() {
    let data = tempfile::tempdir().unwrap();
    let policies = vec![("routes/sandbox.toml".to_owned(), once())];
    let house = House::start(HouseOptions { policies, ..HouseOptions::new(data.path()) }).await.unwrap();
    let number = &cards::random_number(&SystemRandom).unwrap();
    let token = tokenize(&house, number).await;
    let paid = pay(&house, &token, "order-1").await;
    assert_eq!(paid.status(), 201, "{}", paid.json());
    let (again, twice) = tokio::join!(pay(&house, &token, "order-1"), pay(&house, &token, "order-1"));
    let problem = again.json();
    for refused in [&again, &twice] {
        assert_eq!(refused.status(), 403, "{}", refused.json());
        assert_eq!(refused.json()["error"]["code"], "payment-reference-taken");
    }
    let arrived = || std::fs::read_to_string(house.psp().log_file()).unwrap().matches(number).count();
    assert_eq!(arrived(), 1);

    let id = problem["forward_id"].as_str().unwrap();
    let mut shown = story(&house, id).await;
    // The outcome is told after the answer is on its way.
    for _ in 0..600 {
        if shown["state"] != "open" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        shown = story(&house, id).await;
    }
    assert_eq!((&shown["state"], &shown["outcome"]["status"]), (&json!("answered"), &json!(201)), "{shown}");
    assert_eq!(shown["grounds"]["call"], "/json/payments");
    assert!(shown["outcome"]["timings"]["upstream_us"].is_u64(), "{shown}");
    assert!(!shown.to_string().contains(number) && !shown.to_string().contains("order-1"), "{shown}");
    assert_eq!(pay(&house, &token, "order-1").await.json()["state"], "answered");
    let metrics = plain(house.vault_ops()).await;
    let refused = "strongroom_references_refused_total{route=\"sandbox\",state=\"answered\"}";
    assert!(metrics.contains(refused), "{metrics}");
    let other = tokenize(&house, number).await;
    assert_eq!(pay(&house, &other, "order-2").await.status(), 201);
    assert_eq!(arrived(), 2);
    house.stop().await;
}
