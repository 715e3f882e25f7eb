//! An export releases cards: whoever asks what an exporter reached is told each of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use strongroom_domain::Token;

use super::ground::{ON, agreed, run, start, wanted};
use crate::find::{get, indexed};
use crate::service::VISA;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exporters_blast_radius_lists_each_card_that_was_exported() {
    let vault = start(ON).await;
    let mut exported = BTreeSet::new();
    for number in [VISA, "5555555555554444"] {
        let token = vault.tokenize("acme", &json!({ "number": number })).await;
        exported.insert(Token::parse(&token).unwrap().token_ref().to_string());
    }
    let id = agreed(&vault, &wanted(&age::x25519::Identity::generate())).await;
    assert_eq!(run(&vault, "exporter-two", &id).await.status(), 200);
    indexed(&vault).await;
    let radius =
        |who: &str| format!("/v1/audit/blast-radius?workload=spiffe%3A%2F%2Fstrongroom.test%2F{who}");
    let reached = get(&vault, "security", &radius("exporter-two")).await;
    let cards = reached["cards"].as_array().unwrap();
    let named: BTreeSet<String> =
        cards.iter().map(|card| card["token_ref"].as_str().unwrap().to_owned()).collect();
    assert_eq!((cards.len(), named), (2, exported), "{reached}");
    for card in cards {
        let releases = card["releases"].as_array().unwrap();
        assert_eq!((releases.len(), &card["tenant"]), (1, &json!("acme")));
        let one = &releases[0];
        assert_eq!(
            (&one["host"], &one["route"], &one["account"]),
            (&json!("export"), &Value::Null, &Value::Null)
        );
        assert_eq!((&one["export_id"], &one["forward_id"]), (&json!(id), &Value::Null));
    }
    let nothing = get(&vault, "security", &radius("exporter-one")).await;
    assert_eq!(nothing["cards"], json!([]), "who only asked for it had nothing released");
}
