//! A payment's receipt in the caller's hand: caller, proxy, vault and PSP as they are.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::psp::cards;

use crate::house::tokenize;
use crate::support::SystemRandom;

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_of_a_payment_holds_the_receipt_of_its_forward() {
    let data = tempfile::tempdir().unwrap();
    let house = House::start(HouseOptions::new(data.path())).await.unwrap();
    let number = &cards::random_number(&SystemRandom).unwrap();
    let token = tokenize(&house, number).await;
    let charge = json!({
        "amount": 1099, "currency": "eur", "reference": "order-1",
        "card": { "number": token, "expiry_month": 1, "expiry_year": 2000 },
    });
    let client = house.proxy_client("orchestrator").unwrap();
    let headers = [("Content-Type", "application/json")];
    let body = charge.to_string();
    let paid = client.send("POST", "/sandbox/json/payments", &headers, body.as_bytes()).await.unwrap();
    assert_eq!(paid.status(), 201, "{}", paid.json());
    let receipt = paid.header("strongroom-receipt").unwrap();
    let forward = paid.header("strongroom-forward-id").unwrap();
    let vault = house.vault_client("orchestrator").unwrap();
    let path = format!("/v1/audit/receipts/{receipt}");
    let mut answer = vault.send("GET", &path, &[], b"").await.unwrap();
    for _ in 0..600 {
        if answer.status() != 202 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = vault.send("GET", &path, &[], b"").await.unwrap();
    }
    assert_eq!(answer.status(), 200, "{}", answer.json());
    let shown = answer.json();
    let leaf: Value = serde_json::from_str(shown["entries"][0]["leaf"].as_str().unwrap()).unwrap();
    assert_eq!((&leaf["evt"], &leaf["dst"]["forward_id"]), (&json!("pan.forward"), &json!(forward)));
    assert!(!shown.to_string().contains(number) && !shown.to_string().contains(&token));
    house.stop().await;
}
