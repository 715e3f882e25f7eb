//! A suspended orchestrator, as its PSP's SDK sees it: caller, proxy, vault and PSP as they are.

use std::time::Duration;

use serde_json::json;
use strongroom_sandbox::client::Exchange;
use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::psp::cards;

use crate::house::tokenize;
use crate::support::SystemRandom;

const HEADERS: [(&str, &str); 1] = [("Content-Type", "application/json")];

async fn change(house: &House, path: &str) {
    let body =
        json!({ "workload": "spiffe://strongroom.test/orchestrator", "reason": "a drill" }).to_string();
    let security = house.vault_client("security").unwrap();
    let answer = security.send("POST", path, &HEADERS, body.as_bytes()).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_callers_payment_is_an_error_to_its_sdk_and_nothing_reaches_the_psp() {
    let data = tempfile::tempdir().unwrap();
    let house = House::start(HouseOptions::new(data.path())).await.unwrap();
    let number = &cards::random_number(&SystemRandom).unwrap();
    let token = tokenize(&house, number).await;
    let client = house.proxy_client("orchestrator").unwrap();
    let charge = json!({
        "amount": 1099, "currency": "eur",
        "card": { "number": token, "expiry_month": 1, "expiry_year": 2000 },
    })
    .to_string();
    let pay = async || -> Exchange {
        client.send("POST", "/sandbox/json/payments", &HEADERS, charge.as_bytes()).await.unwrap()
    };
    let paid = pay().await;
    assert_eq!(paid.status(), 201, "{}", paid.json());
    let payment = format!("/sandbox/json/payments/{}", paid.json()["id"].as_str().unwrap());
    let at_psp = || std::fs::read_to_string(house.psp().log_file()).unwrap().matches(number).count();
    let before = at_psp();
    change(&house, "/v1/suspensions").await;

    let refused = pay().await;
    let problem = refused.json();
    assert_eq!(refused.status(), 403, "{problem}");
    assert_eq!(problem["type"], "urn:strongroom:problem:workload-suspended");
    // What SDKs look for: some read any other JSON as success.
    assert_eq!(problem["error"]["code"], "workload-suspended");
    assert_eq!(problem["error"]["type"], "invalid_request_error", "no SDK tries again by itself");
    assert!(problem["error"]["message"].as_str().unwrap().ends_with("nothing was sent"));
    assert_eq!(refused.header("strongroom-forward-id"), None);
    assert_eq!(at_psp(), before);
    // What holds no card data never asks the vault.
    assert_eq!(client.send("GET", &payment, &[], b"").await.unwrap().status(), 200);

    change(&house, "/v1/suspensions/lift").await;
    let mut again = pay().await;
    for _ in 0..600 {
        if again.status() == 201 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        again = pay().await;
    }
    assert_eq!((again.status(), at_psp()), (201, before + 1), "{}", again.json());
    house.stop().await;
}
