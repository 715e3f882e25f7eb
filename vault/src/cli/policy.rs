//! `vault policy check|test|access`: the bundle as people meet it. Reads files, touches no store and no key.

use std::io::Write;
use std::path::{Path, PathBuf};

use strongroom_domain::Environment;

use crate::authz::{Authorizer, BundleError, PolicySource, PolicyTestError, PolicyTests};

/// Check, test and explain a policy bundle. A program of its own, `strongroom-policy`, proves one and compares two.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PolicyCommand {
    /// Validate a bundle as the vault does at start.
    Check(BundleArgs),
    /// Run the bundle's own tests: every file under tests/.
    Test(BundleArgs),
    /// Show who can do what to whose cards, and where they can go.
    Access(AccessArgs),
}

#[derive(Debug, clap::Args)]
struct BundleArgs {
    /// Folder of the bundle.
    #[arg(default_value = "policies")]
    folder: PathBuf,
    /// Environment to read it for; some settings are refused in live.
    #[arg(long, value_parser = parse_environment, value_name = "live|test")]
    environment: Environment,
}

#[derive(Debug, clap::Args)]
struct AccessArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Why a policy command ends without success.
#[derive(Debug, thiserror::Error)]
pub enum PolicyCommandError {
    /// The bundle does not validate.
    #[error("the policy bundle is refused: {0}")]
    Bundle(#[from] BundleError),
    /// A file of tests cannot be read.
    #[error("{file}: {error}")]
    Tests {
        /// The file.
        file: String,
        /// Why.
        error: PolicyTestError,
    },
    /// Tests ran and failed; they are already printed.
    #[error("policy tests failed: {0}")]
    Failed(usize),
    /// There is nothing to run.
    #[error("{0}: no policy tests there")]
    NoTests(String),
    /// Reading tests or writing the answer.
    #[error("policy command: {0}")]
    Io(#[from] std::io::Error),
}

/// Runs one policy command and writes its answer to `out`.
pub fn run(args: &PolicyArgs, out: &mut impl Write) -> Result<(), PolicyCommandError> {
    match &args.command {
        PolicyCommand::Check(bundle) => check(&load(bundle)?, out),
        PolicyCommand::Test(bundle) => test(&load(bundle)?, &bundle.folder.join("tests"), out),
        PolicyCommand::Access(access) => show_access(&load(&access.bundle)?, access.json, out),
    }
}

fn load(args: &BundleArgs) -> Result<Authorizer, BundleError> {
    Authorizer::for_review(&PolicySource::Folder(args.folder.clone()), args.environment)
}

fn check(authorizer: &Authorizer, out: &mut impl Write) -> Result<(), PolicyCommandError> {
    let bundle = authorizer.bundle();
    let forbids = bundle.policies().filter(|policy| policy.effect == "forbid").count();
    writeln!(out, "version      {}", bundle.version)?;
    writeln!(out, "sha256       {}", hex::encode(bundle.sha256))?;
    writeln!(out, "environment  {}", bundle.environment)?;
    writeln!(out, "grants       {}", bundle.policies().count() - forbids)?;
    writeln!(out, "guardrails   {forbids}")?;
    writeln!(out, "workloads    {}", bundle.workloads.len())?;
    writeln!(out, "routes       {}", bundle.routes.iter().count())?;
    let accounts: usize = bundle.routes.iter().map(|planned| planned.accounts.len()).sum();
    writeln!(out, "accounts     {accounts}")?;
    for warning in &bundle.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

fn test(authorizer: &Authorizer, folder: &Path, out: &mut impl Write) -> Result<(), PolicyCommandError> {
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for path in test_files(folder)? {
        let file = path.display().to_string();
        let tests = PolicyTests::parse(&std::fs::read_to_string(&path)?)
            .map_err(|error| PolicyCommandError::Tests { file: file.clone(), error })?;
        for test in &tests.tests {
            match test.run(authorizer) {
                Ok(()) => passed += 1,
                Err(was) => {
                    failed += 1;
                    writeln!(out, "{file}: {}: {was}", test.name)?;
                }
            }
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    match (passed, failed) {
        (0, 0) => Err(PolicyCommandError::NoTests(folder.display().to_string())),
        (_, 0) => Ok(()),
        _ => Err(PolicyCommandError::Failed(failed)),
    }
}

fn test_files(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn show_access(authorizer: &Authorizer, json: bool, out: &mut impl Write) -> Result<(), PolicyCommandError> {
    let review = authorizer.access();
    if json {
        let text = serde_json::to_string_pretty(&review).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        writeln!(out, "{review}")?;
    }
    Ok(())
}

fn parse_environment(text: &str) -> Result<Environment, &'static str> {
    match text {
        "live" => Ok(Environment::Live),
        "test" => Ok(Environment::Test),
        _ => Err("it is live or test"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: PolicyArgs,
    }

    fn shipped() -> String {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../policies").to_owned()
    }

    fn run_line(words: &[&str]) -> (Result<(), PolicyCommandError>, String) {
        let line = Line::try_parse_from([&["policy"], words].concat()).unwrap();
        let mut out = Vec::new();
        let result = run(&line.args, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_shipped_bundle_checks_and_passes_its_tests() {
        let (result, out) = run_line(&["check", &shipped(), "--environment", "test"]);
        result.unwrap();
        assert!(
            out.contains("version      ") && out.contains("guardrails   24") && !out.contains("warning"),
            "{out}"
        );
        let (result, out) = run_line(&["test", &shipped(), "--environment", "test"]);
        result.unwrap();
        assert!(out.trim_end().ends_with(" passed, 0 failed"), "{out}");
    }

    #[test]
    fn access_is_a_table_or_json() {
        let (result, out) = run_line(&["access", &shipped(), "--environment", "test"]);
        result.unwrap();
        assert!(
            out.contains("spiffe://strongroom.test/checkout") && out.contains("group merchants"),
            "{out}"
        );
        let (result, out) = run_line(&["access", &shipped(), "--environment", "test", "--json"]);
        result.unwrap();
        let review: serde_json::Value = serde_json::from_str(&out).unwrap();
        let rows = review["rows"].as_array().unwrap();
        assert!(rows.iter().any(|row| row["action"] == "Tokenize"), "{review}");
    }

    #[test]
    fn a_failing_test_is_printed_and_fails_the_command() {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(shipped()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let shown = folder.path().display().to_string();
        std::fs::create_dir(folder.path().join("tests")).unwrap();
        assert!(matches!(
            run_line(&["test", &shown, "--environment", "test"]).0,
            Err(PolicyCommandError::NoTests(_))
        ));
        let wrong = r#"{ "tests": [{ "name": "wishful", "expect": { "allow": ["checkout-puts-cards-in"] },
            "ask": { "workload": "spiffe://strongroom.test/checkout", "action": "ReadAudit" } }] }"#;
        std::fs::write(folder.path().join("tests/wrong.json"), wrong).unwrap();
        let (result, out) = run_line(&["test", &shown, "--environment", "test"]);
        assert!(matches!(result, Err(PolicyCommandError::Failed(1))));
        assert!(
            out.contains("wishful: it is deny: no-policy []") && out.contains("0 passed, 1 failed"),
            "{out}"
        );
    }

    #[test]
    fn an_environment_is_always_said() {
        assert!(Line::try_parse_from(["policy", "check"]).is_err());
        assert!(Line::try_parse_from(["policy", "check", "--environment", "prod"]).is_err());
    }
}
