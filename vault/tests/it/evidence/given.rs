//! What is given to a bundle, or goes away under it: proofs of policies, and the caller.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::{Clock, Environment};
use strongroom_perimeter::clock::SystemClock;
use strongroom_vault::authz::{Authorizer, PolicySource};
use strongroom_vault::evidence::{
    PROOFS_FORMAT, PolicyProofs, ProvedBundle, ProvedFinding, ProvedInvariants, is_input, verify,
};

use super::ground::{DAY, json as read_json, key, read, unpack};
use crate::service::{Service, VISA};

/// Proofs of the bundle this vault has in force, of the form `strongroom-policy prove --out` writes; that program's own tests hold
/// what it writes against the same reader.
fn proofs(vault: &Service) -> PolicyProofs {
    proofs_of(&vault.folder.path().join("policies"))
}

pub(crate) fn proofs_of(folder: &Path) -> PolicyProofs {
    use sha2::Digest as _;
    let source = PolicySource::Folder(folder.to_owned());
    let authorizer = Authorizer::for_review(&source, Environment::Test).unwrap();
    let bundle = authorizer.bundle();
    let paths = bundle.file_sha256.keys().filter(|path| is_input(path));
    let inputs: BTreeMap<_, _> =
        paths.map(|path| (path.clone(), std::fs::read_to_string(folder.join(path)).unwrap())).collect();
    let text = "// what must hold".to_owned();
    let finding = |id: &str, outcome: &str| ProvedFinding {
        id: id.into(),
        says: "what it says".into(),
        kinds: 2,
        kinds_permitted: 1,
        outcome: outcome.into(),
        example: None,
    };
    PolicyProofs {
        format: PROOFS_FORMAT.into(),
        tool: "strongroom-policy".into(),
        solver: "a solver".into(),
        bundle: ProvedBundle {
            environment: Environment::Test,
            sha256: hex::encode(bundle.sha256),
            version: bundle.version,
        },
        inputs,
        invariants: ProvedInvariants { sha256: hex::encode(sha2::Sha256::digest(&text)), text },
        findings: vec![finding("one", "holds"), finding("two", "refuted"), finding("three", "holds")],
    }
}

#[test]
fn a_number_or_a_token_in_escapes_is_none_of_a_proof() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let source = PolicySource::Folder(folder.clone());
    let authorizer = Authorizer::for_review(&source, Environment::Test).unwrap();
    let token = format!("tok_test_{}", "b".repeat(64));
    assert!(strongroom_domain::token::holds_token_shape(token.as_bytes()));
    for (said, is_taken) in [("nothing of a card", true), (VISA, false), (token.as_str(), false)] {
        let mut proofs = proofs_of(&folder);
        proofs.findings[0].says = "MARK".into();
        let escaped: String = said.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let text = serde_json::to_string(&proofs).unwrap().replace("MARK", &escaped);
        let read = PolicyProofs::read(text.as_bytes(), authorizer.bundle());
        assert_eq!(read.is_ok(), is_taken, "{said}");
    }
}

async fn give(vault: &Service, proofs: &Value) -> strongroom_sandbox::client::Exchange {
    let (from, to) = (SystemClock.now().minus(DAY), SystemClock.now());
    vault.send("security", "POST", &format!("/v1/evidence?from={from}&to={to}&sample=1"), Some(proofs)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_are_taken_in_if_they_are_of_the_policies_in_force() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let sound = proofs(&vault);
    let value = serde_json::to_value(&sound).unwrap();
    let exchange = give(&vault, &value).await;
    assert_eq!(exchange.status(), 200, "{}", String::from_utf8_lossy(&exchange.body()));
    let folder = tempfile::tempdir().unwrap();
    unpack(&exchange.body(), folder.path());
    verify(folder.path(), &key(&vault).await).unwrap();
    assert_eq!(read_json(folder.path(), "proofs/policy.json"), value);
    assert_eq!(read_json(folder.path(), "evidence.json")["proofs"]["bundle"], value["bundle"]);
    let page = read(folder.path(), "requirement-7.html");
    assert!(page.contains("<span class=\"count\">2</span> statements that hold"), "{page}");
    assert!(page.contains("1</span> statements that do not"), "what is refuted is red: {page}");
    let changed = |path: &[&str], to: Value| {
        let mut changed = value.clone();
        let (last, parents) = path.split_last().unwrap();
        let at = parents.iter().fold(&mut changed, |at, name| &mut at[*name]);
        at[*last] = to;
        changed
    };
    for (what, body, status) in [
        ("another bundle", changed(&["bundle", "sha256"], json!("00".repeat(32))), 409),
        ("another version", changed(&["bundle", "version"], json!(1)), 409),
        ("another environment", changed(&["bundle", "environment"], json!("live")), 409),
        (
            "another policy",
            changed(&["inputs", "guardrails.cedar"], json!("permit (principal, action, resource);")),
            400,
        ),
        ("a policy less", changed(&["inputs"], json!({})), 400),
        ("a policy more", changed(&["inputs", "more.cedar"], json!("")), 400),
        ("other invariants", changed(&["invariants", "text"], json!("")), 400),
        ("no finding", changed(&["findings"], json!([])), 400),
        (
            "another outcome",
            changed(
                &["findings"],
                json!([{ "id": "a", "says": "b", "kinds": 1, "kinds_permitted": 1, "outcome": "perhaps" }]),
            ),
            400,
        ),
        ("another form", changed(&["format"], json!("strongroom-proofs/2")), 400),
        ("a member more", changed(&["more"], json!(1)), 400),
        ("a card number", changed(&["solver"], json!("4242424242424242")), 400),
        ("nothing", json!({}), 400),
    ] {
        let exchange = give(&vault, &body).await;
        assert_eq!(exchange.status(), status, "{what}: {}", exchange.json());
        assert_eq!(vault.newest("evidence.make").await["out"], "failure", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_whose_caller_went_away_is_made_and_on_the_log() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let (from, to) = (SystemClock.now().minus(DAY), SystemClock.now());
    let path = format!("/v1/evidence?from={from}&to={to}&sample=1");
    let made = async || {
        let entries = vault.entries().await;
        entries.iter().filter(|entry| entry["evt"] == "evidence.make" && entry["out"] == "success").count()
    };
    for attempt in 1..=20_u64 {
        let before = made().await;
        let client = vault.client("security");
        let asked = client.send("GET", &path, &[], b"");
        // Whoever asks goes away while it is made: the connection ends with the question.
        let answered = tokio::time::timeout(Duration::from_millis(40 * attempt), asked).await.is_ok();
        if answered {
            continue; // made sooner than that: nobody went away
        }
        for _ in 0..100 {
            if made().await > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // It had not even been sent: later, then.
    }
    panic!("no making was ever cut off, or none came to its end");
}
