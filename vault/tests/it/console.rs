//! The console: who sees what, what is written of each look, and every page in a real browser with a client certificate.

mod browser;
mod looks;
mod refusals;
mod story;

use serde_json::{Value, json};
use strongroom_sandbox::client::Exchange;

use crate::find::indexed;
use crate::service::{Service, VISA};

/// What a browser sends when somebody follows a link of the console.
const FOLLOWED: [(&str, &str); 4] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A page, as a browser asks for it.
async fn open(vault: &Service, who: &str, path: &str) -> Exchange {
    vault.client(who).send("GET", path, &FOLLOWED, &[]).await.unwrap()
}

/// A form, as a browser sends it.
async fn send(vault: &Service, who: &str, path: &str, body: &str) -> Exchange {
    let headers = [&FOLLOWED[..], &[FORM]].concat();
    vault.client(who).send("POST", path, &headers, body.as_bytes()).await.unwrap()
}

fn text(exchange: &Exchange) -> String {
    String::from_utf8(exchange.body()).unwrap()
}

/// Opens a forward for this card; gives its id.
async fn forwarded(vault: &Service, token: &str) -> String {
    let answer = vault.forward(token, &["number"]).await;
    assert_eq!(answer.status(), 201, "{}", answer.json());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// The proxy tells what became of it.
async fn told(vault: &Service, id: &str, outcome: &Value) {
    let path = format!("/v1/forwards/{id}/outcome");
    let answer = vault.send("proxy", "PUT", &path, Some(outcome)).await;
    assert_eq!(answer.status(), 204, "{}", answer.json());
}

/// A vault with two tenants; the first one's card was forwarded once, and answered. Gives token and forward.
async fn furnished() -> (Service, String, String) {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA })).await;
    vault.tokenize("globex", &json!({ "number": "4000056655665556" })).await;
    let id = forwarded(&vault, &token).await;
    let outcome = json!({
        "outcome": "answered", "status": 402, "upstream_ms": 212, "scrubbed": 1, "pan_suspected": 0, "psp_request_id": "req_<b>1</b>",
        "timings": { "connect_us": 4_200, "open_us": 2_300, "upstream_us": 212_000 },
    });
    told(&vault, &id, &outcome).await;
    indexed(&vault).await;
    (vault, token, id)
}
