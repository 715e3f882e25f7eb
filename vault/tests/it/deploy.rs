//! What `deploy/` ships, held to the programs it runs.

use std::process::Command;

use crate::service::repository;

/// Runs `deploy/check.py`: whether all held, and what it said.
fn check(arguments: &[&str]) -> (bool, String) {
    let mut python = Command::new("python3");
    let output = python.arg("-B").arg(repository().join("deploy/check.py")).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn what_is_shipped_agrees_with_the_programs() {
    let (holds, said) = check(&[]);
    assert!(holds, "{said}");
}

#[test]
fn every_planted_mistake_in_what_is_shipped_is_noticed() {
    let (noticed, said) = check(&["--planted"]);
    assert!(noticed, "{said}");
}
