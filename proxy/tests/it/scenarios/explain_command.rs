//! `explain`, `route check` and `route test` as people run them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::world::TOKEN;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-proxy"))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = command.stdin.take().unwrap().write_all(input.as_bytes());
    command.wait_with_output().unwrap()
}

fn told(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn payment() -> String {
    format!(
        "POST /stripe/v1/payment_methods\nHost: proxy\nContent-Type: application/x-www-form-urlencoded\n\
         Idempotency-Key: k-1\n\ntype=card&card[number]={TOKEN}&card[exp_month]=12\n"
    )
}

#[test]
fn the_command_explains_a_shipped_route_without_any_secret() {
    let (good, out, err) = told(&run(&["explain", "--environment", "test"], &payment()));
    assert!(good, "{err}");
    for line in [
        "verdict     goes",
        "route       stripe, account default, to https://api.stripe.com:443",
        "rule        allow POST /v1/payment_methods, body form",
        "attempt     k-1",
        "fills       card[number] with number of card 0: NUMBER",
        "fills       card[exp_month] with exp as M of card 0: EXP_M",
        "type=card&card[number]=NUMBER&card[exp_month]=EXP_M",
    ] {
        assert!(out.lines().any(|found| found == line), "{line} in\n{out}");
    }
    assert!(!out.contains(TOKEN));
    let (good, out, _) = told(&run(&["explain", "--environment", "test", "--json"], &payment()));
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(good && json["fields"][0]["at"] == "card[number]", "{out}");
}

#[test]
fn the_command_fails_and_says_why_where_a_call_would_be_refused() {
    let misplaced = payment().replace("type=card", &format!("description={TOKEN}"));
    let (good, out, err) = told(&run(&["explain", "--environment", "test"], &misplaced));
    assert!(!good && out.contains("refused     misplaced-token: "), "{out}{err}");
    assert!(!out.contains(TOKEN) && !err.contains(TOKEN), "{out}{err}");
    let orchestrator = "spiffe://strongroom.test/orchestrator";
    for (arguments, input, says) in [
        (
            &["--caller", "spiffe://strongroom.test/checkout"][..],
            payment(),
            "policy does not let this caller",
        ),
        (&["--route", "nobody"], payment(), "no route has this host name"),
        (&[], "GET\n".to_owned(), "not one complete HTTP/1.1 request"),
        (&["--caller", orchestrator, "none.http"], String::new(), "No such file"),
        (&["--vault", "https://localhost:1"], payment(), "--tenant"),
    ] {
        let (good, out, err) =
            told(&run(&[&["explain", "--environment", "test"], arguments].concat(), &input));
        assert!(!good && err.contains(says), "{says} in {out}{err}");
    }
    let allowed = ["explain", "--environment", "test", "--caller", orchestrator];
    assert!(told(&run(&allowed, &payment())).0);
}

/// Copies the shipped routes and accounts, with some texts replaced.
fn policies(changes: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["routes", "accounts/stripe", "accounts/rapyd"] {
        let from = root().join("policies").join(part);
        std::fs::create_dir_all(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(from).unwrap().map(|file| file.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if part != "routes" || name == "stripe.toml" || name == "rapyd.toml" {
                std::fs::copy(&file, folder.path().join(part).join(name)).unwrap();
            }
        }
    }
    std::fs::copy(root().join("policies/workloads.json"), folder.path().join("workloads.json")).unwrap();
    for (file, from, to) in changes {
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
    folder
}

#[test]
fn route_check_finds_every_mistake_of_every_file_in_one_run() {
    let clean = policies(&[]);
    let (good, out, err) = told(&run(&["route", "check", "--policies", clean.path().to_str().unwrap()], ""));
    assert!(good && out.contains("stripe: https://api.stripe.com:443"), "{out}{err}");

    let folder = policies(&[
        ("routes/stripe.toml", "upstream =", "surprise = 1\nhosts = [\"one.example\"]\nupstream ="),
        ("routes/stripe.toml", "at = \"card[number]\"", "at = \"\""),
        ("routes/stripe.toml", "method = \"GET\"", "method = \"GRAB\""),
        (
            "routes/rapyd.toml",
            "unknown_outcome_status = 424",
            "unknown_outcome_status = 500\nhosts = [\"UP\"]",
        ),
        ("routes/rapyd.toml", "output = \"base64-of-hex\"", "output = \"base65\""),
        ("accounts/rapyd/default.toml", "tenants = [\"*\"]", "tenants = []\ncredential_sha256 = [\"00\"]"),
        ("workloads.json", "\"workloads\": [", "\"workloads\": [ 7,"),
    ]);
    std::fs::write(folder.path().join("routes/other.toml"), "[route.other\n").unwrap();
    let at = folder.path().to_str().unwrap();
    let (good, out, err) = told(&run(&["route", "check", "--policies", at], ""));
    assert!(!good, "{out}");
    for (file, line_of, says) in [
        ("routes/other.toml", "[route.other", ""),
        ("routes/stripe.toml", "surprise", "unknown field `surprise`"),
        ("routes/stripe.toml", "at = \"\"", "can never match"),
        ("routes/stripe.toml", "GRAB", "`GRAB` is no method"),
        ("routes/rapyd.toml", "unknown_outcome_status", "502 or 424"),
        ("routes/rapyd.toml", "hosts", "lower-case names"),
        ("workloads.json", "7,", "invalid type"),
    ] {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        let line = text.lines().position(|line| line.contains(line_of)).unwrap() + 1;
        let begins = format!("{at}/{file}:{line}:");
        assert!(
            out.lines().any(|found| found.starts_with(&begins) && found.contains(says)),
            "{begins} {says} in\n{out}"
        );
    }
    assert!(err.contains("things are wrong"), "{err}");
}

#[test]
fn route_test_runs_every_example_of_the_shipped_routes() {
    let folders = [
        "route",
        "test",
        "--environment",
        "test",
        "--examples",
        "policies/examples",
        "--examples",
        "proxy/tests/contracts",
    ];
    let (good, out, err) = told(&run(&folders, ""));
    assert!(good, "{out}{err}");
    assert!(!out.contains("no example of route"), "{out}");
    assert!(out.lines().filter(|line| line.starts_with("ok ")).count() >= 25, "{out}");
}

#[test]
fn an_example_that_does_not_hold_fails_with_what_would_become_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let request =
        "POST /v1/payment_methods\nContent-Type: application/x-www-form-urlencoded\n\ncard[number]=$TOKEN"
            .to_owned();
    for (name, text) in [
        ("stripe-right", format!("{request}\n--- sent\ncard[number]=$NUMBER\n")),
        ("stripe-wrong", format!("{request}\n--- sent\ncard[number]=$TOKEN\n")),
        ("stripe-goes", format!("{request}\n--- refused misplaced-token\n")),
        ("stripe-other", format!("{request}&x=$TOKEN\n--- refused route-refused\n")),
        ("stripe-silent", request.clone()),
        ("stripe-unknown", format!("{request}\n--- refused nonsense\n")),
        ("nobody-at-all", format!("{request}\n--- sent\n\n")),
    ] {
        std::fs::write(folder.path().join(format!("{name}.txt")), text).unwrap();
    }
    let at = folder.path().to_str().unwrap();
    let (good, out, err) = told(&run(&["route", "test", "--environment", "test", "--examples", at], ""));
    assert!(!good && err.contains("6 examples fail"), "{out}{err}");
    for (name, says) in [
        ("stripe-wrong", "would be sent as"),
        ("stripe-goes", "must be refused with misplaced-token"),
        ("stripe-other", "is refused with misplaced-token"),
        ("stripe-silent", "says neither"),
        ("stripe-unknown", "says neither"),
        ("nobody-at-all", "does not begin with a route's"),
    ] {
        let line = out.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.starts_with("FAILED") && line.contains(says), "{line}");
    }
    assert!(out.contains("card[number]=$NUMBER") && out.contains("ok      "), "{out}");
    let empty = tempfile::tempdir().unwrap();
    let none = run(&["route", "test", "--examples", empty.path().to_str().unwrap()], "");
    assert!(!none.status.success());
    assert!(json!(String::from_utf8_lossy(&none.stderr)).to_string().contains("no example"));
}
