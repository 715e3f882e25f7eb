//! What a suspension reaches, and whom it never reaches.

use std::process::Command;

use serde_json::json;

use super::everywhere::{LIFT, SUSPEND, change, id, two_of_security};
use crate::service::{Service, VISA};

#[tokio::test]
async fn no_card_leaves_for_a_suspended_caller_and_what_left_may_still_be_told() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let opened = vault.forward(&token, &["number"]).await;
    let outcome = format!("/v1/forwards/{}/outcome", opened.json()["id"].as_str().unwrap());
    assert_eq!(change(&vault, "security", SUSPEND, "orchestrator").await.status(), 200);
    // The proxy is not suspended, and asks on the word of one who is. Also for a token nobody has.
    let unknown = token.replace("tok_test_", "tok_live_");
    for token in [token.as_str(), unknown.as_str()] {
        let refused = vault.forward(token, &["number"]).await;
        assert!(matches!(refused.status(), 403 | 404), "{}", refused.json());
    }
    let refused = vault.forward(&token, &["number"]).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json()["type"], "urn:strongroom:problem:workload-suspended");
    let entry = vault.newest("pan.forward").await;
    assert_eq!((&entry["out"], &entry["rsn"]), (&json!("denied"), &json!("workload-suspended")));
    assert_eq!(
        (&entry["actor"]["id"], &entry["asserted_by"]),
        (&json!(id("orchestrator")), &json!(id("proxy")))
    );
    // What was sent before is told by the proxy, which is not suspended.
    let told = vault.send("proxy", "PUT", &outcome, Some(&json!({ "outcome": "answered" }))).await;
    assert!((200..300).contains(&told.status()), "{}", told.json());
    assert_eq!(change(&vault, "security", LIFT, "orchestrator").await.status(), 200);
    assert_eq!(vault.forward(&token, &["number"]).await.status(), 201);
}

#[tokio::test]
async fn the_last_that_could_lift_it_is_never_suspended_and_nobody_else_may() {
    let vault = Service::start_granting(&two_of_security()).await;
    for who in ["checkout", "platform", "auditor", "intruder"] {
        assert_eq!(change(&vault, who, SUSPEND, "orchestrator").await.status(), 403, "{who}");
        assert_eq!(change(&vault, who, LIFT, "orchestrator").await.status(), 403, "{who}");
    }
    assert_eq!(change(&vault, "security", SUSPEND, "security-two").await.status(), 200);
    let refused = change(&vault, "security", SUSPEND, "security").await;
    assert_eq!(refused.status(), 409, "{}", refused.json());
    let entry = vault.newest("workload.suspend").await;
    assert_eq!((&entry["out"], &entry["rsn"]), (&json!("denied"), &json!("last-of-role")));
    assert_eq!(change(&vault, "security-two", LIFT, "security-two").await.status(), 403, "not by itself");
    assert_eq!(change(&vault, "security", LIFT, "security-two").await.status(), 200);
    // Twice is once; what is not suspended cannot be lifted; what nobody knows is a mistake.
    for _ in 0..2 {
        assert_eq!(change(&vault, "security", SUSPEND, "security-two").await.status(), 200);
    }
    assert_eq!(vault.newest("workload.suspend").await["rsn"], "already");
    assert_eq!(change(&vault, "security", LIFT, "checkout").await.status(), 409);
    assert_eq!(change(&vault, "security", SUSPEND, "chekout").await.status(), 404);
    let leaking = json!({ "workload": id("checkout"), "reason": format!("it stole {VISA}") });
    let refused = vault.send("security", "POST", SUSPEND, Some(&leaking)).await;
    assert_eq!((refused.status(), &refused.json()["pointer"]), (400, &json!("/reason")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_suspends_and_lifts_by_command() {
    let vault = Service::start().await;
    let run = |who: &str, words: &[&str]| {
        let identity = vault.pki.client(who).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
        command.arg("workload").args(words);
        command.args(["--vault", &format!("https://localhost:{}", vault.address.port())]);
        command
            .arg("--certificate")
            .arg(identity.certificate_pem_path)
            .arg("--key")
            .arg(identity.key_pem_path);
        command.arg("--ca").arg(vault.pki.ca_file());
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), told)
    };
    let checkout = id("checkout");
    let why = ["--reason", "odd requests since noon"];
    let (code, told) = run("security", &["suspend", &checkout, why[0], why[1]]);
    assert!(code == 0 && told.contains(&format!("suspended: {checkout} since ")), "{told}");
    let (code, told) = run("security", &["list"]);
    assert!(
        code == 0 && told.contains("by spiffe://strongroom.test/security because \"odd requests"),
        "{told}"
    );
    let (code, told) = run("checkout", &["list"]);
    assert!(code != 0 && told.contains("403: this workload is suspended"), "{told}");
    let (code, told) = run("security", &["resume", &checkout, why[0], "a drill"]);
    assert!(code == 0 && told.contains("goes on"), "{told}");
    let (code, told) = run("security", &["list"]);
    assert_eq!((code, told.as_str()), (0, ""));
}
