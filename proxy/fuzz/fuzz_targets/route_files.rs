//! Any route file, account file and relay configuration: no panic; what is accepted leads where it says and nowhere else.
//! Input: a route file; after a line `---` an account file; after another one a relay's configuration.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_domain::Environment;
use strongroom_domain::route::{Account, Credentials, Route};
use strongroom_proxy::relay::RelayConfig;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut files = text.split("\n---\n");
    let (route, account, relay) = (files.next(), files.next(), files.next());
    for environment in [Environment::Live, Environment::Test] {
        let Ok(route) = Route::parse("fuzz", route.unwrap_or_default(), environment) else { continue };
        check(&route, environment);
        let Some(account) = account else { continue };
        if let Ok(account) = Account::parse("default", account, &route) {
            let (host, port) = account.upstream(&route);
            assert!(is_host(host) && port != 0);
            for file in account.secret_files() {
                assert!(file.is_relative() && file.components().all(|part| part.as_os_str() != ".."));
            }
        }
    }
    let Some(Ok(relay)) = relay.map(toml::from_str::<RelayConfig>) else { return };
    if relay.check().is_ok() {
        assert!(relay.listen.iter().all(|listen| listen.address.ip().to_canonical().is_loopback()));
    }
});

fn check(route: &Route, environment: Environment) {
    assert!(is_host(&route.upstream.host) && route.upstream.port != 0);
    if environment == Environment::Live {
        assert!(route.upstream.private_addresses.is_empty());
        assert!(route.credentials != Credentials::Unpinned);
    }
    for call in &route.allow {
        assert!(!call.inject.is_empty());
        let path = call.path.as_str();
        assert!(path.starts_with('/') && !path.contains('?'));
        if !path.contains('{') {
            assert!(route.call(&call.method, path).is_some());
        }
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte))
}
