//! What `deploy/` ships, held to the programs it runs.

use std::process::Command;

use strongroom_vault::config::VaultConfig;

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
fn every_configuration_of_kubernetes_is_one_the_vault_takes() {
    for overlay in ["test", "live"] {
        let folder = repository().join("deploy/kubernetes/overlays").join(overlay).join("config");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let vaults = files.filter(|path| !path.ends_with("proxy.toml"));
        let read: Vec<_> = vaults.map(|path| VaultConfig::read(&path).unwrap()).collect();
        assert!(read.len() >= 2 && read.iter().all(|one| one.environment.as_str() == overlay));
    }
}

#[test]
fn every_planted_mistake_in_what_is_shipped_is_noticed() {
    let (noticed, said) = check(&["--planted"]);
    assert!(noticed, "{said}");
}
