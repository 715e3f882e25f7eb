//! The command: `strongroom-vault tenant …` as a person at a terminal runs it.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::DAY;
use crate::service::{Service, VISA};

/// How a command ended, and what it wrote.
struct Ended {
    status: i32,
    told: String,
}

async fn tenant(vault: &Service, who: &str, words: &[&str]) -> Ended {
    let identity = vault.pki.client(who).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
    command
        .arg("tenant")
        .args(words)
        .args(["--vault", &format!("https://localhost:{}", vault.address.port())]);
    command.arg("--certificate").arg(identity.certificate_pem_path).arg("--key").arg(identity.key_pem_path);
    command.arg("--ca").arg(vault.pki.ca_file()).current_dir(vault.folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = [output.stdout, output.stderr].concat();
    Ended { status: output.status.code().unwrap(), told: String::from_utf8(told).unwrap() }
}

fn write(vault: &Service, text: &str) -> String {
    let file = vault.folder.path().join("tenants.toml");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

const DEFAULTS: &str =
    "[defaults]\ngroups = [\"merchants\"]\nretention = { days = 400, reason = \"chargebacks\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_tenants_come_from_one_file_within_a_minute() {
    let vault = Service::start().await;
    let mut text = DEFAULTS.to_owned();
    for n in 0..500 {
        writeln!(text, "[tenant.merchant-{n:03}]").unwrap();
    }
    let file = write(&vault, &text);
    let dry = tenant(&vault, "platform", &["apply", "--dry-run", &file]).await;
    assert!(
        dry.status == 0 && dry.told.contains("500 new, 0 changed, 0 as they are, 0 refused"),
        "{}",
        dry.told
    );
    let listed = vault.send("platform", "GET", "/v1/tenants", None).await.json();
    assert_eq!(listed["tenants"], json!([]), "a dry run makes nothing");

    let began = Instant::now();
    let applied = tenant(&vault, "platform", &["apply", &file]).await;
    let taken = began.elapsed();
    println!("500 tenants onboarded in {:.1} s", taken.as_secs_f64());
    assert!(applied.status == 0 && applied.told.contains("500 applied, 0 failed"), "{}", applied.told);
    assert!(taken < Duration::from_secs(60), "{taken:?}");
    let created = vault.entries().await.into_iter().filter(|entry| entry["evt"] == "tenant.create").count();
    assert_eq!(created, 500);
    let list = tenant(&vault, "platform", &["list"]).await;
    assert_eq!(
        list.told.lines().filter(|line| line.contains("active     400 days   merchants")).count(),
        500
    );
    vault.tokenize("merchant-499", &json!({ "number": VISA })).await;

    let again = tenant(&vault, "platform", &["apply", &file]).await;
    assert!(again.status == 0 && again.told.contains("0 new, 0 changed, 500 as they are"), "{}", again.told);
    let verified = tenant(&vault, "security", &["verify"]).await;
    assert!(
        verified.status == 0 && verified.told.contains("past_due = 0 in 500 tenants; 0 keep"),
        "{}",
        verified.told
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_applied_as_a_whole_and_says_what_it_changes() {
    let vault = Service::start().await;
    let file = write(&vault, &format!("{DEFAULTS}[tenant.acme]\n[tenant.globex]\nbrands = [\"visa\"]\n"));
    let applied = tenant(&vault, "platform", &["apply", &file]).await;
    assert!(applied.status == 0 && applied.told.contains("+ acme: "), "{}", applied.told);

    let file = write(
        &vault,
        &format!("{DEFAULTS}[tenant.acme]\nsuspended = true\n[tenant.globex]\ncolour = \"red\"\n"),
    );
    let refused = tenant(&vault, "platform", &["apply", &file]).await;
    assert_eq!(refused.status, 1);
    assert!(refused.told.contains("~ acme: suspended: false → true"), "{}", refused.told);
    assert!(
        refused.told.contains("! globex: the vault refused with 400")
            && refused.told.contains("nothing was changed"),
        "{}",
        refused.told
    );
    let shown = tenant(&vault, "platform", &["show", "acme"]).await;
    assert!(shown.told.contains("\"suspended\": false"), "{}", shown.told);

    let file = write(&vault, &format!("{DEFAULTS}[tenant.acme]\n[tenant.globex]\n"));
    let changed = tenant(&vault, "platform", &["apply", &file]).await;
    assert!(changed.told.contains("~ globex: brands: [\"visa\"] → null"), "{}", changed.told);
    assert!(changed.told.contains("1 applied, 0 failed"), "{}", changed.told);

    for (words, told) in [(["suspend", "globex"], "suspended"), (["resume", "globex"], "active")] {
        let rested = tenant(&vault, "platform", &words).await;
        assert!(rested.status == 0 && rested.told.contains(&format!("globex is {told}")), "{}", rested.told);
        let list = tenant(&vault, "platform", &["list"]).await;
        assert!(
            list.told.lines().any(|line| line.starts_with("globex") && line.contains(told)),
            "{}",
            list.told
        );
    }
    for (who, words) in [("orchestrator", ["show", "acme"]), ("platform", ["show", "nobody"])] {
        let refused = tenant(&vault, who, &words).await;
        assert!(refused.status != 0, "{}", refused.told);
    }
    let kept = vault.send("platform", "GET", "/v1/tenants/globex", None).await.json();
    assert_eq!(
        kept["retention"],
        json!({ "days": 400, "reason": "chargebacks" }),
        "resuming keeps every setting"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_ends_cards_says_how_many_and_waits_for_the_word() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    for _ in 0..3 {
        vault.tokenize("acme", &json!({ "number": VISA })).await;
    }
    let vault = vault.restart_after(10 * DAY).await;
    let file = write(
        &vault,
        "[tenant.acme]\ngroups = [\"merchants\"]\nretention = { days = 5, reason = \"orders\" }\n",
    );
    let waits = tenant(&vault, "platform", &["apply", &file]).await;
    assert_eq!(waits.status, 3, "{}", waits.told);
    assert!(
        waits.told.contains("shorter retentions end 3 cards") && waits.told.contains("--confirm-due 3"),
        "{}",
        waits.told
    );
    assert_eq!(tenant(&vault, "platform", &["apply", "--confirm-due", "2", &file]).await.status, 3);
    let done = tenant(&vault, "platform", &["apply", "--confirm-due", "3", &file]).await;
    assert!(done.status == 0 && done.told.contains("1 applied"), "{}", done.told);
    assert_eq!(vault.send("platform", "GET", "/v1/tenants/acme", None).await.json()["retention"]["days"], 5);
}
