//! Stripe's official client for Node where it can change host, port and protocol alone, and what it prints against the PSP.

use serde_json::{Value, json};
use strongroom_sandbox::psp::cards;

use crate::stripe::pay;
use crate::support::{API_KEY, Setting};
use crate::tunnel::{Beside, pay_by_node, run_node};

#[tokio::test(flavor = "multi_thread")]
async fn stripe_s_client_for_node_prints_by_host_and_by_port_what_it_prints_against_the_psp() {
    let setting = Setting::start().await;
    let given = json!({
        "host": "localhost", "port": setting.psp.address().port(), "apiKey": API_KEY,
        "number": cards::APPROVED, "declined": cards::INSUFFICIENT_FUNDS,
    });
    let direct = run_node(&given, &setting.pki.psp_ca_file()).await;
    assert_eq!(
        direct,
        json!({
            "last4": "4242",
            "paid": "succeeded",
            "refund": "succeeded",
            "declined": { "type": "StripeCardError", "code": "card_declined", "status": 402 },
        })
    );
    for entry in ["host", "port"] {
        let payment = pay(Vec::new()).await;
        let house = &payment.house;
        let beside = Beside::to(house, &house.psp().address().to_string(), "sandbox");
        let orchestrator = house.pki().client("orchestrator").unwrap();
        let how = if entry == "host" {
            json!({
                "host": "sandbox.proxy.internal", "port": house.proxy().port(),
                "cert": orchestrator.certificate_pem_path, "key": orchestrator.key_pem_path, "ca": house.pki().ca_file(),
            })
        } else {
            json!({ "host": "127.0.0.1", "port": beside.address.port(), "protocol": "http" })
        };
        let mut expected = direct.clone();
        expected["last4"] = Value::from(&payment.number[12..]);
        expected["unknown"] =
            json!({ "type": "StripeInvalidRequestError", "code": "token-not-found", "status": 404 });
        assert_eq!(pay_by_node(&payment, how).await, expected, "{entry}");
        let arrived = std::fs::read_to_string(house.psp().log_file()).unwrap();
        assert_eq!(
            arrived.matches(&payment.number).count(),
            1,
            "{entry}: only the payment method carries the number"
        );
        drop(beside);
        payment.house.stop().await;
    }
}
