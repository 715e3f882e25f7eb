//! What we ship, we parse.

use std::collections::BTreeSet;
use std::path::Path;

use strongroom_domain::Environment;
use strongroom_domain::route::{Attribute, Call, Credentials};
use strongroom_proxy::route;

fn policies() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

#[test]
fn every_shipped_route_parses_for_live_with_its_account() {
    let only: BTreeSet<_> = ["stripe", "adyen", "checkout"].map(str::to_owned).into();
    let routes = route::read(&policies(), None, Environment::Live, Some(&only)).unwrap();
    assert_eq!(routes.len(), 3);
    for registered in routes {
        let route = registered.route;
        assert_ne!(route.credentials, Credentials::Unpinned, "{}", route.name);
        assert!(route.idempotency_header.is_some(), "{}", route.name);
        for call in &route.allow {
            assert!(call.attributes().contains(Attribute::Number), "{} {}", route.name, call.path.as_str());
            assert!(!call.ids.is_empty(), "{} {}", route.name, call.path.as_str());
        }
    }
}

#[test]
fn the_calls_of_a_charge_are_listed() {
    let routes = route::read(&policies(), None, Environment::Test, None).unwrap();
    for (name, method, path, with_card) in [
        ("stripe", "POST", "/v1/payment_methods", true),
        ("stripe", "POST", "/v1/tokens", true),
        ("stripe", "POST", "/v1/payment_intents", true),
        ("stripe", "POST", "/v1/payment_intents/pi_1/confirm", false),
        ("stripe", "GET", "/v1/payment_intents/pi_1", false),
        ("stripe", "POST", "/v1/refunds", false),
        ("adyen", "POST", "/v71/payments", true),
        ("adyen", "POST", "/checkout/v72/payments", true),
        ("adyen", "POST", "/v72/payments/details", false),
        ("adyen", "POST", "/v72/payments/8835511210681324/refunds", false),
        ("checkout", "POST", "/tokens", true),
        ("checkout", "POST", "/payments", true),
        ("checkout", "POST", "/payments/pay_1/refunds", false),
    ] {
        let found = routes.iter().find(|registered| registered.route.name.as_str() == name).unwrap();
        let call = found.route.call(method, path);
        assert_eq!(matches!(call, Some(Call::Allowed(_))), with_card, "{name} {method} {path}");
        assert!(call.is_some(), "{name} {method} {path}");
    }
}
