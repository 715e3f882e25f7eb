//! The shipped bundle is proved; what is planted is refuted by a request; a change shows exactly what it newly permits.
//!
//! Needs cvc5, as the proofs do: without it these tests fail and say so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod changes;
mod proofs;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use strongroom_policy::cli::{Cli, CliError};
use tempfile::TempDir;

pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A copy of the shipped bundle to change.
pub(crate) struct Changed(TempDir);

impl Changed {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        copy(&shipped(), folder.path());
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Replaces a text that is there.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) -> &Self {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} holds no {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
        self
    }

    pub(crate) fn append(&self, file: &str, policy: &str) -> &Self {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}\n{policy}\n")).unwrap();
        self
    }

    /// Takes a guardrail out.
    pub(crate) fn without(&self, guardrail: &str) -> &Self {
        let path = self.path().join("guardrails.cedar");
        let text = fs::read_to_string(&path).unwrap();
        let start = text.find(&format!("@id(\"{guardrail}\")")).unwrap();
        let end = start + text[start..].find(";\n").unwrap() + 2;
        fs::write(path, format!("{}{}", &text[..start], &text[end..])).unwrap();
        self
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        } else if name == "routes"
            || name == "accounts"
            || path.ends_with("accounts")
            || from.ends_with("accounts")
            || from.ends_with("routes")
        {
            fs::create_dir(to.join(&name)).unwrap();
            copy(&path, &to.join(&name));
        }
    }
}

/// Runs a command line: its exit code and what it printed.
pub(crate) async fn run(words: &[&str]) -> (Result<u8, CliError>, String) {
    let cli = Cli::try_parse_from([&["strongroom-policy"], words].concat()).unwrap();
    let mut out = Vec::new();
    let code = cli.run(&mut out).await;
    (code, String::from_utf8(out).unwrap())
}

/// Proves a folder by the shipped invariants.
pub(crate) async fn prove(folder: &Path) -> (u8, String) {
    let (folder, file) =
        (folder.display().to_string(), shipped().join("prove/invariants.cedar").display().to_string());
    let (code, out) = run(&["prove", &folder, "--environment", "test", "--invariants", &file]).await;
    (code.unwrap(), out)
}

/// Compares the shipped bundle with a changed one.
pub(crate) async fn diff(new: &Path) -> (u8, String) {
    let (old, new) = (shipped().display().to_string(), new.display().to_string());
    let (code, out) = run(&["diff", &old, &new, "--environment", "test"]).await;
    (code.unwrap(), out)
}
