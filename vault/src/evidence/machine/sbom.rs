//! The software bill of materials, from the lock file this program was built with.
//!
//! Does not promise: that each component is in the program: the lock file also names what only tests and other systems need.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::of_bundle;
use crate::evidence::AssembleError;
use crate::evidence::facts::Facts;

const LOCK_FILE: &str = include_str!("../../../../Cargo.lock");
const ROOT: &str = "strongroom-vault";

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Package {
    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

pub(super) fn sbom(facts: &Facts) -> Result<Value, AssembleError> {
    let lock: Lock = toml::from_str(LOCK_FILE).map_err(|_| AssembleError::LockFile)?;
    let by_name = by_name(&lock);
    let (mut seen, mut open) = (BTreeSet::new(), vec![find(&by_name, ROOT).ok_or(AssembleError::LockFile)?]);
    let (mut components, mut dependencies, mut root) = (Vec::new(), Vec::new(), Value::Null);
    while let Some(package) = open.pop() {
        if !seen.insert(package.reference()) {
            continue;
        }
        let needs: Vec<&Package> =
            package.dependencies.iter().filter_map(|text| find(&by_name, text)).collect();
        let references: BTreeSet<String> = needs.iter().map(|package| package.reference()).collect();
        dependencies.push(json!({ "ref": package.reference(), "dependsOn": references }));
        if package.name == ROOT {
            root = component(package, "application");
        } else {
            components.push(component(package, "library"));
        }
        open.extend(needs);
    }
    components.sort_by_key(|component| component["bom-ref"].to_string());
    dependencies.sort_by_key(|dependency| dependency["ref"].to_string());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": format!("urn:uuid:{}", of_bundle(facts, "sbom")),
        "version": 1,
        "metadata": { "timestamp": facts.about.made_at, "component": root },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn component(package: &Package, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": package.reference(),
        "name": package.name,
        "version": package.version,
    });
    if package.source.is_some() {
        component["purl"] = package.reference().into();
    }
    if let Some(checksum) = &package.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn by_name(lock: &Lock) -> BTreeMap<&str, Vec<&Package>> {
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in &lock.package {
        by_name.entry(&package.name).or_default().push(package);
    }
    by_name
}

/// What a lock file means by `name` or `name version`.
fn find<'a>(by_name: &BTreeMap<&str, Vec<&'a Package>>, text: &str) -> Option<&'a Package> {
    let mut words = text.split(' ');
    let packages = by_name.get(words.next()?)?;
    match words.next() {
        Some(version) => packages.iter().find(|package| package.version == version).copied(),
        None => packages.first().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dependency_of_the_lock_file_is_found() {
        let lock: Lock = toml::from_str(LOCK_FILE).unwrap();
        let by_name = by_name(&lock);
        for package in &lock.package {
            for dependency in &package.dependencies {
                let found = find(&by_name, dependency).unwrap_or_else(|| panic!("{dependency}"));
                assert!(dependency.split(' ').next() == Some(found.name.as_str()), "{dependency}");
            }
        }
        assert!(find(&by_name, "rustls").is_some_and(|rustls| rustls.checksum.is_some()));
    }
}
