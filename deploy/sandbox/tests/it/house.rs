//! A whole house, used by its clients.

use serde_json::json;
use strongroom_sandbox::house::{House, HouseError, HouseOptions, TENANT};
use strongroom_sandbox::psp::cards;

use crate::support::SystemRandom;

/// A card in, a token out.
pub(crate) async fn tokenize(house: &House, number: &str) -> String {
    let card = json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": "737" });
    let client = house.vault_client("checkout").unwrap();
    let headers = [("Content-Type", "application/json")];
    let path = format!("/v1/tenants/{TENANT}/cards");
    let answer = client.send("POST", &path, &headers, card.to_string().as_bytes()).await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.json());
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_payments_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let number = &cards::random_number(&SystemRandom).unwrap();
    let house = House::start(HouseOptions::new(data.path())).await.unwrap();
    let second = House::start(HouseOptions::new(data.path())).await;
    assert!(matches!(second, Err(HouseError::InUse(_))), "one at a time");
    let token = tokenize(&house, number).await;
    let headers = [("Content-Type", "application/json")];
    let charge = json!({
        "amount": 1099, "currency": "eur",
        "card": { "number": token, "expiry_month": 1, "expiry_year": 2000 },
    });
    let client = house.proxy_client("orchestrator").unwrap();
    let first =
        client.send("POST", "/sandbox/json/payments", &headers, charge.to_string().as_bytes()).await.unwrap();
    assert_eq!(first.status(), 201, "{}", first.json());
    let payment = first.json()["id"].as_str().unwrap().to_owned();
    house.stop().await;

    let house = House::start(HouseOptions::new(data.path())).await.unwrap();
    assert!(house.kept().is_empty());
    let client = house.proxy_client("orchestrator").unwrap();
    let shown = client.send("GET", &format!("/sandbox/json/payments/{payment}"), &[], b"").await.unwrap();
    assert_eq!((shown.status(), shown.json()["amount"].as_u64()), (200, Some(1099)), "{}", shown.json());
    let again = client
        .host("sandbox.proxy.internal")
        .send("POST", "/json/payments", &headers, charge.to_string().as_bytes())
        .await
        .unwrap();
    assert_eq!(again.status(), 201, "{}", again.json());
    let arrived = std::fs::read_to_string(house.psp().log_file()).unwrap();
    assert_eq!(arrived.matches(number).count(), 2, "{arrived}");
    house.stop().await;
}
