//! The policy bundle on disk: the shipped files, embedded, and the route of the sandbox PSP.
//!
//! Promises: a file somebody changed is left as it is and told of; a file this program wrote is brought up to date.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::HouseError;
use super::folder::{self, write};

macro_rules! shipped {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../../../policies/", $path))),)*]
    };
}

/// What the vault cannot be without: path inside the bundle, text.
const SHIPPED: &[(&str, &str)] = shipped![
    "bundle.toml",
    "schema.cedarschema",
    "checkout.cedar",
    "custody.cedar",
    "export.cedar",
    "guardrails.cedar",
    "orchestration.cedar",
    "platform.cedar",
    "proxy.cedar",
    "review.cedar",
    "security.cedar",
    "workloads.json",
    "routes/adyen.toml",
    "routes/authorize-net.toml",
    "routes/braintree-graphql.toml",
    "routes/braintree.toml",
    "routes/checkout.toml",
    "routes/cybersource.toml",
    "routes/dlocal.toml",
    "routes/fiserv.toml",
    "routes/mastercard.toml",
    "routes/nuvei.toml",
    "routes/rapyd.toml",
    "routes/shift4.toml",
    "routes/stripe.toml",
    "routes/worldpay-access.toml",
    "routes/worldpay-wpg.toml",
    "accounts/adyen/default.toml",
    "accounts/authorize-net/default.toml",
    "accounts/braintree-graphql/default.toml",
    "accounts/braintree/default.toml",
    "accounts/checkout/default.toml",
    "accounts/cybersource/default.toml",
    "accounts/dlocal/default.toml",
    "accounts/fiserv/default.toml",
    "accounts/mastercard/default.toml",
    "accounts/nuvei/default.toml",
    "accounts/rapyd/default.toml",
    "accounts/shift4/default.toml",
    "accounts/stripe/default.toml",
    "accounts/worldpay-access/default.toml",
    "accounts/worldpay-wpg/default.toml",
];

/// The account at the sandbox PSP.
const ACCOUNT: &str = "# The sandbox's own account at its PSP. Written by strongroom-sandbox.\n\
    tenants = [\"*\"]\ncredential_file = \"sandbox.key\"\n";

/// The route of the sandbox PSP; `{port}`, `{roots_file}` and `{timeout_ms}` are filled in, here and in every route that
/// [`super::HouseOptions::policies`] gives.
pub const ROUTE_TEMPLATE: &str = include_str!("sandbox.toml");

/// Longer than any SDK waits, so that a slow card is seen to be slow and not given up.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(25);

/// The route file of a sandbox PSP at `psp`, whose root is in `roots_file`.
#[must_use]
pub fn route(psp: SocketAddr, roots_file: &Path) -> String {
    fill(ROUTE_TEMPLATE, psp, roots_file)
}

fn fill(template: &str, psp: SocketAddr, roots_file: &Path) -> String {
    template
        .replace("{port}", &psp.port().to_string())
        .replace("{roots_file}", &format!("{roots_file:?}"))
        .replace("{timeout_ms}", &UPSTREAM_TIMEOUT.as_millis().to_string())
}

/// Every file of the bundle; `changed` replaces or adds.
pub(super) fn files(
    psp: SocketAddr,
    roots_file: &Path,
    changed: &[(String, String)],
) -> Vec<(String, String)> {
    let shipped = SHIPPED.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let mut files: BTreeMap<String, String> = shipped.collect();
    files.insert("routes/sandbox.toml".into(), route(psp, roots_file));
    files.insert("accounts/sandbox/default.toml".into(), ACCOUNT.into());
    for (path, text) in changed {
        let text = if path.starts_with("routes/") { fill(text, psp, roots_file) } else { text.clone() };
        files.insert(path.clone(), text);
    }
    files.into_iter().collect()
}

/// Writes what is absent or still as an earlier start wrote it. Gives the files that were changed by somebody and stay.
pub(super) fn write_all(
    policies: &Path,
    manifest: &Path,
    files: &[(String, String)],
) -> Result<Vec<PathBuf>, HouseError> {
    let mut written: BTreeMap<String, String> = match folder::read_if_there(manifest)? {
        Some(text) => serde_json::from_str(&text).unwrap_or_default(), // unreadable: everything counts as changed
        None => BTreeMap::new(),
    };
    let mut kept = Vec::new();
    for (path, text) in files {
        let target = policies.join(path);
        let there = folder::read_if_there(&target)?;
        let ours = there.as_deref().is_none_or(|there| written.get(path) == Some(&digest(there)));
        if !ours && there.as_deref() != Some(text) {
            kept.push(target);
            continue;
        }
        if there.as_deref() != Some(text) {
            write(&target, text)?;
        }
        written.insert(path.clone(), digest(text));
    }
    let manifest_text = serde_json::to_string_pretty(&written).unwrap_or_default();
    write(manifest, &manifest_text)?;
    Ok(kept)
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Environment;
    use strongroom_domain::route::Route;

    fn found(folder: &Path, prefix: &str, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                found(&entry.path(), &format!("{name}/"), into);
            } else if !name.ends_with(".md")
                && !["tests/", "examples/", "prove/"].iter().any(|beside| name.starts_with(beside))
            {
                into.push(name);
            }
        }
    }

    #[test]
    fn every_shipped_policy_file_is_embedded() {
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let mut there = Vec::new();
        found(&policies, "", &mut there);
        there.sort();
        let mut embedded: Vec<_> = SHIPPED.iter().map(|(path, _)| (*path).to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, there);
    }

    #[test]
    fn the_generated_route_is_valid() {
        let text = route(SocketAddr::from(([127, 0, 0, 1], 7404)), Path::new("/data/pki/psp \"ca\".pem"));
        let route = Route::parse("sandbox", &text, Environment::Test).unwrap();
        assert_eq!((route.upstream.host.as_str(), route.upstream.port), ("127.0.0.1", 7404));
        assert!(Route::parse("sandbox", &text, Environment::Live).is_err(), "never in live");
    }

    #[test]
    fn what_somebody_changed_stays_and_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let (policies, manifest) = (folder.path().join("policies"), folder.path().join("generated.json"));
        let one = |text: &str| vec![("a.cedar".to_owned(), text.to_owned())];
        assert!(write_all(&policies, &manifest, &one("first")).unwrap().is_empty());
        assert!(write_all(&policies, &manifest, &one("second")).unwrap().is_empty());
        assert_eq!(std::fs::read_to_string(policies.join("a.cedar")).unwrap(), "second");
        std::fs::write(policies.join("a.cedar"), "mine").unwrap();
        assert_eq!(write_all(&policies, &manifest, &one("third")).unwrap(), [policies.join("a.cedar")]);
        assert_eq!(std::fs::read_to_string(policies.join("a.cedar")).unwrap(), "mine");
    }
}
