//! `strongroom-policy prove`.

use std::fs;
use std::path::Path;

use strongroom_domain::Environment;
use strongroom_policy::{Invariants, Prover, first_refuted};
use strongroom_vault::authz::{Authorizer, PolicySource};
use strongroom_vault::evidence::{BadProofs, PolicyProofs};

use crate::{Changed, prove, run, shipped};

#[tokio::test]
async fn the_shipped_bundle_is_proved() {
    let (code, out) = prove(&shipped()).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("holds    forwards-come-from-bound-proxies (1 of 1 kinds"), "{out}");
    assert!(
        out.contains("holds    no-policy-fails") && out.trim_end().ends_with(" hold, 0 refuted"),
        "{out}"
    );
    assert!(
        !out.contains("nothing of it is permitted at all"),
        "a proof about nothing proves nothing: {out}"
    );
}

#[tokio::test]
async fn a_planted_permit_is_refuted_with_a_concrete_request() {
    let changed = Changed::new();
    changed.append(
        "proxy.cedar",
        "@id(\"a-shortcut\") permit (principal in Role::\"proxy\", action == Action::\"OpenForward\", resource is Tenant);",
    );
    let (code, out) = prove(changed.path()).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("REFUTED  forwards-come-from-bound-proxies"), "{out}");
    assert!(
        out.contains("action     Action::\"OpenForward\"") && out.contains("principal  Workload::\""),
        "{out}"
    );
    assert!(out.contains("by         a-shortcut"), "{out}");
    let changed = Changed::new();
    changed.append(
        "checkout.cedar",
        "@id(\"support-tries-it\") permit (principal in Role::\"support\", action == Action::\"Tokenize\", resource is Tenant);",
    );
    let (code, out) = prove(changed.path()).await;
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("REFUTED  cards-come-in-by-three-roles") && out.contains("by         support-tries-it"),
        "{out}"
    );
    assert!(out.contains("in [Role::\"support\""), "{out}");
}

/// Guardrails whose promise the shipped grants keep by themselves: it takes a grant that breaks it before one shows.
const KEPT_BY_GRANTS: &[(&str, &str)] = &[
    (
        "only-proxies-forward",
        "@id(\"planted\") permit (principal in Role::\"support\", action == Action::\"RecordOutcome\", resource is Forward);",
    ),
    (
        "only-security-suspends",
        "@id(\"planted\") permit (principal in Role::\"support\", action == Action::\"SuspendWorkload\", resource is Vault);",
    ),
];

#[tokio::test]
async fn no_guardrail_can_be_taken_out_unseen() {
    let text = fs::read_to_string(shipped().join("guardrails.cedar")).unwrap();
    let ids: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")")).collect();
    assert!(ids.len() >= 20);
    let invariants = fs::read_to_string(shipped().join("prove/invariants.cedar")).unwrap();
    let mut prover = Prover::start(Path::new("cvc5")).await.unwrap();
    for id in ids {
        let changed = Changed::new();
        changed.without(id);
        if let Some((_, planted)) = KEPT_BY_GRANTS.iter().find(|(kept, _)| *kept == id) {
            changed.append("orchestration.cedar", planted);
        }
        let source = PolicySource::Folder(changed.path().to_owned());
        let bundle = Authorizer::for_review(&source, Environment::Test).unwrap();
        let cedar = bundle.bundle().cedar();
        let invariants = Invariants::parse(&invariants, cedar.0).unwrap();
        let refuted = first_refuted(&mut prover, cedar, &invariants).await.unwrap();
        assert!(refuted.is_some(), "{id}");
    }
}

#[tokio::test]
async fn what_cannot_be_decided_is_no_proof() {
    let folder = shipped().display().to_string();
    let (error, out) = run(&["prove", &folder, "--environment", "test", "--solver", "/nowhere/cvc5"]).await;
    let told = error.unwrap_err().to_string();
    assert!(
        told.contains("apt-get install cvc5") && told.contains("Nothing was proved") && out.is_empty(),
        "{told}"
    );
    // A program that is no solver.
    let (error, _) = run(&["prove", &folder, "--environment", "test", "--solver", "/bin/true"]).await;
    assert!(error.unwrap_err().to_string().contains("nothing was proved"));
    let changed = Changed::new();
    changed.append("proxy.cedar", "not cedar");
    let broken = changed.path().display().to_string();
    let (error, _) = run(&["prove", &broken, "--environment", "test"]).await;
    assert!(error.unwrap_err().to_string().contains("is refused"));
}

#[tokio::test]
async fn invariants_that_say_too_little_are_refused() {
    let text = fs::read_to_string(shipped().join("prove/invariants.cedar")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("invariants.cedar");
    let bundle = shipped().display().to_string();
    for (from, to, why) in [
        ("Action::\"Import\"", "Action::\"Tokenize\"", "none of them names"),
        ("@says(\"a token of another", "@about(\"a token of another", "it needs @says"),
        ("Role::\"matcher\"", "Role::\"matchmaker\"", "matchmaker"),
        (
            "permit (principal is Workload, action == Action::\"OpenForward\"",
            "forbid (principal is Workload, action == Action::\"OpenForward\"",
            "permit",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replace(from, to)).unwrap();
        let (error, _) =
            run(&["prove", &bundle, "--environment", "test", "--invariants", &file.display().to_string()])
                .await;
        let told = error.unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn a_proof_can_be_filed() {
    let folder = shipped().display().to_string();
    let (code, out) = run(&["prove", &folder, "--environment", "test", "--json"]).await;
    let proof: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code.unwrap(), 0);
    assert_eq!(proof["bundle"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(proof["invariants_sha256"].as_str().unwrap().len(), 64);
    assert!(proof["solver"].as_str().unwrap().contains("cvc5"));
    assert!(proof["findings"].as_array().unwrap().iter().all(|finding| finding["outcome"] == "holds"));
}

/// What `--out` writes is what the vault takes into evidence: solver, policies, schema, invariants and what came of each.
#[tokio::test]
async fn what_is_filed_is_what_was_proved_and_a_vault_takes_it_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proofs.json");
    let (bundle, to) = (shipped().display().to_string(), file.display().to_string());
    let (code, out) = run(&["prove", &bundle, "--environment", "test", "--out", &to]).await;
    assert_eq!(code.unwrap(), 0, "{out}");
    let in_force = Authorizer::for_review(&PolicySource::Folder(shipped()), Environment::Test).unwrap();
    let bytes = fs::read(&file).unwrap();
    let proofs = PolicyProofs::read(&bytes, in_force.bundle()).unwrap();
    assert!(proofs.solver.contains("cvc5") && proofs.tool.starts_with("strongroom-policy "), "{proofs:?}");
    assert_eq!((proofs.refuted(), proofs.hold()), (0, out.matches("holds    ").count() as u64));
    assert!(
        proofs
            .findings
            .iter()
            .any(|finding| finding.id == "reviews-are-people-s" && finding.kinds_permitted == 2)
    );
    assert!(proofs.inputs.contains_key("schema.cedarschema") && proofs.invariants.text.contains("@says"));
    // Another bundle's it is not.
    let changed = Changed::new();
    changed.replace("bundle.toml", "version = ", "version = 1");
    let another =
        Authorizer::for_review(&PolicySource::Folder(changed.path().into()), Environment::Test).unwrap();
    assert_eq!(PolicyProofs::read(&bytes, another.bundle()), Err(BadProofs::AnotherBundle));
    // What is refuted is filed too.
    changed.without("only-people-review");
    let (bundle, to) = (changed.path().display().to_string(), file.display().to_string());
    let invariants = shipped().join("prove/invariants.cedar").display().to_string();
    let words = ["prove", &bundle, "--environment", "test", "--invariants", &invariants, "--out", &to];
    assert_eq!(run(&words).await.0.unwrap(), 1);
    let widened =
        Authorizer::for_review(&PolicySource::Folder(changed.path().into()), Environment::Test).unwrap();
    let proofs = PolicyProofs::read(&fs::read(&file).unwrap(), widened.bundle()).unwrap();
    let refuted: Vec<_> = proofs.findings.iter().filter(|finding| finding.outcome == "refuted").collect();
    assert_eq!((refuted.len(), refuted[0].id.as_str()), (1, "reviews-are-people-s"));
    assert!(refuted[0].example.is_some(), "with the request that shows it");
}
