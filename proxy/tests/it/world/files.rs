//! The files of a world: routes, accounts and secrets, its own and those shipped.

use std::path::Path;

use super::{CALLS, HOST, Setup, WORKLOADS};
use crate::pki;

pub(super) fn write_policies(at: &Path, setup: &Setup, port: u16) {
    let Setup { route, account, credential, encrypt, upstream_host, private_addresses, .. } = setup;
    let calls = CALLS.replace("body = \"json\"", &format!("body = \"json\"\n{encrypt}"));
    let text = format!(
        "[route.psp]\nupstream = \"https://{upstream_host}:{port}\"\nhosts = [\"{HOST}\"]\n\
         roots_file = \"../../psp-ca.pem\"\nprivate_addresses = {private_addresses}\n\
         credential = {credential}\n\
         idempotency = {{ header = \"Idempotency-Key\" }}\n{route}\n{}{calls}",
        patient("psp", route),
    );
    for (path, text) in [
        ("policies/routes/psp.toml", text.as_str()),
        ("policies/accounts/psp/default.toml", account),
        ("policies/workloads.json", WORKLOADS),
        ("psp.key", "sk_own_account\n"),
    ] {
        write(at, path, text);
    }
    let upstream = format!(
        "upstream = \"https://{upstream_host}:{port}\"\nroots_file = \"../../psp-ca.pem\"\n\
         private_addresses = {private_addresses}"
    );
    setup.shipped.iter().for_each(|route| ship(at, route, &upstream));
}

/// No breaker opens where a test does not say when: scenarios make PSPs fail as often as they like.
fn patient(route: &str, text: &str) -> String {
    match text.contains(".protect]") {
        true => String::new(),
        false => format!("[route.{route}.protect]\nbreaker = {{ failures = 1000000 }}\n"),
    }
}

/// A shipped route and its account, with the route's own upstream replaced and a credential that names the route.
fn ship(at: &Path, route: &str, upstream: &str) {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let file = format!("routes/{route}.toml");
    let text = std::fs::read_to_string(policies.join(&file)).unwrap();
    let (before, rest) = text.split_once("\nupstream = ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let text = format!("{before}\n{upstream}\n{after}\n{}", patient(route, after));
    std::fs::write(at.join("policies").join(&file), text).unwrap();
    let file = format!("accounts/{route}/default.toml");
    std::fs::create_dir_all(at.join("policies/accounts").join(route)).unwrap();
    let account = std::fs::read_to_string(policies.join(&file)).unwrap();
    let account = match account.split_once("\ncredential_file = \"") {
        None => account,
        Some((before, rest)) => {
            let (_, after) = rest.split_once('"').unwrap();
            format!("{before}\ncredential_file = \"{route}.key\"{after}")
        }
    };
    write(at, &format!("policies/{file}"), &account);
    write(at, &format!("{route}.key"), &format!("own-{route}\n"));
}

pub(super) fn write(at: &Path, path: &str, text: &str) {
    let path = at.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    pki::keep_private(&beside);
    std::fs::rename(beside, path).unwrap();
}
