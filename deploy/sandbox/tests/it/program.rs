//! The program itself, as a person runs it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::stripe::python;

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom-sandbox");

/// Runs the check in a folder where nothing is, and reads its last line.
fn check(arguments: &[&str]) -> (Option<i32>, Value) {
    let elsewhere = tempfile::tempdir().unwrap();
    let ran = Command::new(PROGRAM).arg("--check").args(arguments).current_dir(&elsewhere).output().unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    let last = told.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing is left behind");
    (ran.status.code(), serde_json::from_str(last).unwrap())
}

#[test]
fn the_check_finds_the_number_at_the_psp_and_nowhere_else() {
    let (code, found) = check(&[]);
    assert_eq!(code, Some(0), "{found}");
    assert!(found["token"].as_str().unwrap().starts_with("tok_test_"));
    assert_eq!((&found["psp_status"], &found["psp_saw_pan"]), (&200.into(), &true.into()), "{found}");
    for entry in ["orchestrator_status", "by_host_status", "by_connect_status"] {
        assert_eq!(found[entry], 200, "{entry}: {found}");
    }
    for clean in [
        "orchestrator_saw_pan",
        "checkout_answer_holds_pan",
        "vault_at_rest_holds_pan",
        "logs_hold_pan",
        "cvc_elsewhere",
    ] {
        assert_eq!(found[clean], false, "{clean}: {found}");
    }
    assert!(found["bytes_searched"].as_u64().unwrap() > 100_000, "{found}");
    for step in ["start", "tokenize", "charge", "stop", "search"] {
        assert!(found["milliseconds"][step].is_u64(), "{step}: {found}");
    }
}

#[test]
fn the_check_notices_that_the_psp_never_got_the_number() {
    let (code, found) = check(&["--break=skip-inject"]);
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(found["psp_saw_pan"], false);
    assert_eq!(found["psp_status"], Value::Null, "the proxy refuses a token in a place nobody declared");
    assert_eq!(found["orchestrator_saw_pan"], false);
    for entry in ["orchestrator_status", "by_host_status", "by_connect_status"] {
        assert_eq!(found[entry], 400, "refused by every entry: {entry}: {found}");
    }
}

#[test]
fn the_check_notices_a_number_that_comes_back_to_the_orchestrator() {
    let (code, found) = check(&["--break=echo"]);
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(found["psp_saw_pan"], true);
    assert_eq!(found["orchestrator_saw_pan"], true);
    assert_eq!(found["vault_at_rest_holds_pan"], false);
}

#[test]
fn the_check_begins_with_a_fresh_folder_only() {
    let used = tempfile::tempdir().unwrap();
    std::fs::write(used.path().join("something"), "").unwrap();
    let ran = Command::new(PROGRAM).arg("--check").arg("--data").arg(used.path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(2), "unable, which is neither yes nor no");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("fresh folder"));
}

/// A serving sandbox and what it printed.
struct Serving {
    program: Child,
    script: String,
}

impl Serving {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--port-base", "0", "--data", "it's data"]).current_dir(folder);
        let program = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut serving = Self { program, script: String::new() };
        let mut lines = BufReader::new(serving.program.stdout.take().unwrap()).lines();
        while !serving.script.contains("# Ready") {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {}", serving.script)).unwrap();
            serving.script.push_str(&line);
            serving.script.push('\n');
        }
        serving
    }

    /// Everything it printed, in a shell, as it stands.
    fn run(&self, more: &str) -> Output {
        let python = python();
        let path = std::env::join_paths(
            std::iter::once(python.parent().unwrap().to_owned())
                .chain(["/usr/local/bin", "/usr/bin", "/bin"].map(Into::into)),
        );
        let script = format!("{}{more}", self.script);
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("PATH", path.unwrap())
            .output()
            .unwrap()
    }

    fn stop(mut self) {
        Command::new("kill").args(["-INT", &self.program.id().to_string()]).status().unwrap();
        assert_eq!(self.program.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_printed_lines_work_as_they_stand_and_again_after_a_restart() {
    if Command::new("curl").arg("--version").output().is_err() {
        return; // nothing to copy the lines to
    }
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path());
    let ran = serving.run("echo; echo token: $TOKEN");
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}{errors}");
    let paid = told.replace("\": \"", "\":\"").matches("\"status\":\"succeeded\"").count();
    assert!(paid >= 3, "by path, by host name and by connect: {told}");
    assert!(told.contains("4242 succeeded succeeded"), "{told}");
    assert!(!told.contains("4242424242424242") && !errors.contains("4242424242424242"), "{told}{errors}");
    let token = told.lines().find_map(|line| line.strip_prefix("token: ")).unwrap().to_owned();
    assert!(token.starts_with("tok_test_"), "{told}");
    serving.stop();

    let serving = Serving::start(folder.path());
    let again = format!("TOKEN={token}\n{}", charge_of(&serving.script));
    let ran = serving.run(&again);
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{told}{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(told.matches("succeeded succeeded").count(), 2, "the earlier token still pays: {told}");
    serving.stop();
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The part of the script that runs the official client.
fn charge_of(script: &str) -> &str {
    &script[script.find("python3 -").unwrap()..]
}
