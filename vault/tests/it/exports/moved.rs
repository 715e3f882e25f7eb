//! A merchant moves: out of one vault by the command line, into another, and nothing is different there but the tokens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use strongroom_domain::Token;

use super::ground::{ON, command, ended, keep_identity, open, start_on, told};
use crate::crash::{number, store_of};
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, sqlite};

/// A published test number (Mastercard).
const MASTERCARD: &str = "5555555555554444";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_moves_from_sqlite_to_another_vault() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    moves(start_on(folder, &store, ON).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_moves_from_postgres_to_another_vault() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let store = store_of(&server);
    moves(start_on(tempfile::tempdir().unwrap(), &store, ON).await).await;
}

/// Fills the tenant: every kind of card, and some that must stay. Gives what must leave, by token.
async fn fill(vault: &Service) -> BTreeMap<String, Value> {
    vault.onboard_as("acme", json!({ "formats": ["pan_shaped"] })).await;
    let mut cards = vec![
        json!({ "number": VISA, "exp_month": 1, "exp_year": 2031, "holder": "JOSÉ \"JO\" Q", "alias": "old-card-1" }),
        json!({ "number": VISA, "exp_month": 2, "exp_year": 2032, "format": "pan_shaped" }),
        json!({ "number": MASTERCARD, "expires_at": "2090-01-01T00:00:00Z", "metadata": { "plan": "gold", "note": "a\\b" } }),
    ];
    cards.extend((0..20).map(|n| json!({ "number": number(n), "exp_month": 12, "exp_year": 2034 })));
    let mut kept = BTreeMap::new();
    for card in cards {
        kept.insert(vault.tokenize("acme", &card).await, card);
    }
    let erased = vault.tokenize("acme", &json!({ "number": number(100) })).await;
    let path = format!("/v1/tenants/acme/cards/{erased}");
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
    vault.onboard("globex").await;
    vault.tokenize("globex", &json!({ "number": number(101) })).await;
    kept
}

async fn moves(vault: Service) {
    let cards = fill(&vault).await;
    let (identity, out) = (age::x25519::Identity::generate(), tempfile::tempdir().unwrap());
    let manifest = hand_over(&vault, &identity, out.path(), cards.len()).await;
    let file = std::fs::read(out.path().join("acme.jsonl.age")).unwrap();
    assert!(open(&file, &age::x25519::Identity::generate()).is_none(), "nobody else opens it");
    let lines = open(&file, &identity).unwrap();
    keep_identity(&identity, &out.path().join("identity"));
    if let Some(text) = opened_by_another_program(out.path()) {
        assert_eq!(hex::encode(Sha256::digest(&text)), manifest["lines"]["sha256"].as_str().unwrap());
        println!("the age program opens it too, to the lines of the manifest");
    }
    let expected = |token: &str| {
        let mut line = cards[token].clone();
        line.as_object_mut().unwrap().remove("format");
        if !line["expires_at"].is_null() {
            line["expires_at"] = json!("2090-01-01T00:00:00.000000Z");
        }
        line["token"] = json!(token);
        line
    };
    let found: BTreeMap<_, _> = lines.iter().map(|line| (line["token"].as_str().unwrap(), line)).collect();
    assert_eq!((lines.len(), found.len()), (cards.len(), cards.len()));
    for (token, line) in found {
        let nulls = |value: Value| -> Value {
            Value::Object(
                value
                    .as_object()
                    .unwrap()
                    .clone()
                    .into_iter()
                    .filter(|(_, value)| !value.is_null())
                    .collect(),
            )
        };
        assert_eq!(line, &nulls(expected(token)));
    }
    assert_eq!(manifest["by_brand"], json!({ "visa": 2, "mastercard": 1, "unknown": 20 }));
    assert_eq!(manifest["aliases_left_out"], 1, "the pan_shaped one means nothing elsewhere");
    assert_eq!(manifest["file"]["sha256"], hex::encode(Sha256::digest(&file)));
    assert_on_the_log(&vault, &cards.keys().map(String::as_str).collect(), &manifest, out.path()).await;
    takes(&cards, out.path()).await;
    let (_folder, config) = vault.stop().await;
    assert!(strongroom_vault::app::check_audit(&config).await.unwrap().is_sound());
}

/// What the `age` program makes of the file, where it is installed: an implementation that shares nothing with ours.
fn opened_by_another_program(out: &std::path::Path) -> Option<Vec<u8>> {
    let mut age = std::process::Command::new("age");
    let output =
        age.args(["--decrypt", "-i", "identity", "acme.jsonl.age"]).current_dir(out).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// The four commands, as two people. Gives the manifest.
async fn hand_over(
    vault: &Service,
    to: &age::x25519::Identity,
    out: &std::path::Path,
    cards: usize,
) -> Value {
    let cli = async |who: &str, args: &[&str]| {
        let args = [&["card", "export"][..], args, &["--tenant", "acme"]].concat();
        ended(command(&vault.pki, vault.address.port(), who, &args, out)).await
    };
    let recipient = to.to_public().to_string();
    let asked = ["request", "--recipient", &recipient, "--purpose", "moving house", "--cards-max", "100"];
    let (status, text) = cli("exporter-one", &asked).await;
    assert_eq!(status, 0, "{text}");
    let (id, sha256) = (told(&text, "export"), told(&text, "sha256"));
    assert_eq!(told(&text, "recipient"), recipient);
    let (status, text) = cli("exporter-two", &["approve", "--export", &id]).await;
    assert!(status == 3 && told(&text, "sha256") == sha256, "shown and not approved: {text}");
    let wrong = "00".repeat(32);
    let (status, text) = cli("exporter-two", &["approve", "--export", &id, "--sha256", &wrong]).await;
    assert!(status == 1 && text.contains("not what you were told"), "{text}");
    let (status, text) = cli("exporter-one", &["approve", "--export", &id, "--sha256", &sha256]).await;
    assert!(status == 1 && text.contains("cannot approve it"), "{text}");
    let (status, text) = cli("exporter-one", &["run", "--export", &id, "--out", "acme.jsonl.age"]).await;
    assert!(status == 1 && text.contains("nobody has approved"), "{text}");
    let (status, text) = cli("exporter-two", &["approve", "--export", &id, "--sha256", &sha256]).await;
    assert_eq!(status, 0, "{text}");
    let (status, text) = cli("exporter-two", &["run", "--export", &id, "--out", "acme.jsonl.age"]).await;
    assert!(status == 0 && text.contains(&format!("{cards} cards in ")), "{text}");
    let (status, text) = cli("exporter-two", &["run", "--export", &id, "--out", "acme.jsonl.age"]).await;
    assert!(status == 1 && text.contains("is there already"), "{text}");
    let (_, text) = cli("exporter-one", &["list"]).await;
    assert!(text.starts_with(&id) && text.contains("approved by two runs 1"), "{text}");
    assert!(!out.join("acme.jsonl.age.part").exists());
    serde_json::from_slice(&std::fs::read(out.join("acme.jsonl.age.manifest.json")).unwrap()).unwrap()
}

/// One entry for each card that left and for no other; begin and end, the end with the digests.
async fn assert_on_the_log(
    vault: &Service,
    tokens: &BTreeSet<&str>,
    manifest: &Value,
    out: &std::path::Path,
) {
    let entries = vault.entries().await;
    let of = |event: &str| entries.iter().filter(|entry| entry["evt"] == event).collect::<Vec<_>>();
    let named: BTreeSet<String> =
        of("pan.export").iter().map(|entry| entry["obj"]["ref"].as_str().unwrap().to_owned()).collect();
    let exported: BTreeSet<String> =
        tokens.iter().map(|token| Token::parse(token).unwrap().token_ref().as_str().to_owned()).collect();
    assert_eq!((of("pan.export").len(), &named), (exported.len(), &exported));
    for entry in of("pan.export") {
        assert_eq!(entry["export"]["request_sha256"], manifest["request_sha256"]);
        assert_eq!(entry["req"]["id"], manifest["log"]["request_id"]);
        assert_eq!(entry["pol"]["id"], json!(["exporters-export"]));
        assert!(!entry["key"]["dek_id"].is_null());
    }
    let runs = of("export.run");
    let (began, ended) = (runs[runs.len() - 2], runs[runs.len() - 1]);
    assert_eq!((&began["rsn"], &ended["rsn"]), (&json!("began"), &json!("complete")));
    assert_eq!((&began["n"], &ended["n"]), (&json!(tokens.len()), &json!(tokens.len())));
    let written = std::fs::read(out.join("acme.jsonl.age.manifest.json")).unwrap();
    assert_eq!(ended["export"]["manifest_sha256"], hex::encode(Sha256::digest(&written)));
    assert_eq!(ended["export"]["file_sha256"], manifest["file"]["sha256"]);
    assert_eq!(manifest["approval"]["person"], "two");
    assert_eq!(manifest["request"]["person"], "one");
}

/// Another vault takes the file as it is.
async fn takes(cards: &BTreeMap<String, Value>, out: &std::path::Path) {
    let there = Service::start().await;
    there.onboard("acme").await;
    let args = [
        "card",
        "import",
        "--tenant",
        "acme",
        "--state",
        "import",
        "--identity",
        "identity",
        "acme.jsonl.age",
    ];
    let (status, text) = ended(command(&there.pki, there.address.port(), "importer", &args, out)).await;
    assert_eq!(status, 0, "{text}");
    let mapping = std::fs::read_to_string(out.join("import/mapping.csv")).unwrap();
    let pairs: BTreeMap<&str, &str> = mapping
        .lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<_> = row.split(',').collect();
            (cells[1], cells[2])
        })
        .collect();
    assert_eq!(
        pairs.keys().copied().collect::<Vec<_>>(),
        cards.keys().map(String::as_str).collect::<Vec<_>>()
    );
    for (old, new) in pairs {
        let card = &cards[old];
        let facts =
            there.send("orchestrator", "GET", &format!("/v1/tenants/acme/cards/{new}"), None).await.json();
        assert_eq!(
            (&facts["exp_month"], &facts["metadata"]),
            (&card["exp_month"], &or_empty(&card["metadata"], &facts))
        );
        let opened = there.forward(new, &["number"]).await.json();
        assert_eq!(opened["cards"][0]["number"], card["number"]);
        if !card["holder"].is_null() {
            assert_eq!(there.forward(new, &["holder"]).await.json()["cards"][0]["holder"], card["holder"]);
        }
    }
    let by_alias = there.forward("old-card-1", &["number"]).await.json();
    assert_eq!(by_alias["cards"][0]["number"], VISA, "the alias goes on leading to the card");
    there.stop().await;
}

/// Facts show metadata as an empty object or leave it out.
fn or_empty(metadata: &Value, facts: &Value) -> Value {
    if metadata.is_null() { facts["metadata"].clone() } else { metadata.clone() }
}
