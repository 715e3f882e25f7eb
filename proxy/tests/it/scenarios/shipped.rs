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
    let routes = route::read(&policies(), None, Environment::Live, None).unwrap();
    let with_idempotency: BTreeSet<_> =
        ["stripe", "adyen", "checkout", "shift4", "rapyd", "dlocal", "fiserv"].into();
    assert!(routes.len() >= 15);
    for registered in routes {
        let route = registered.route;
        assert_ne!(route.credentials, Credentials::Unpinned, "{}", route.name);
        assert_eq!(
            route.idempotency_header.is_some(),
            with_idempotency.contains(route.name.as_str()),
            "{}",
            route.name
        );
        // Below the shortest time an SDK of that PSP waits (60 s; Adyen's 30 s), with a second to open and three to connect.
        let limit = if route.name.as_str() == "adyen" { 26 } else { 56 };
        assert!(route.upstream_timeout.as_secs() <= limit, "{}", route.name);
        for call in &route.allow {
            assert!(call.attributes().contains(Attribute::Number), "{} {}", route.name, call.path.as_str());
            assert!(!call.ids.is_empty(), "{} {}", route.name, call.path.as_str());
        }
    }
}

#[test]
fn no_reference_in_a_declared_field_is_altered() {
    // A million go through `examples/references.rs`.
    let counted = crate::references::run(&policies(), 40_000);
    assert!(counted.references >= 40_000 && counted.like_numbers > 15_000, "{counted:?}");
    assert_eq!(counted.altered, 0, "{counted:?}");
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
        ("cybersource", "POST", "/pts/v2/payments", true),
        ("cybersource", "POST", "/pts/v2/payments/7/captures", false),
        ("rapyd", "POST", "/v1/payments", true),
        ("rapyd", "POST", "/v1/refunds", false),
        ("dlocal", "POST", "/secure_payments", true),
        ("dlocal", "POST", "/refunds", false),
        ("fiserv", "POST", "/ipp/payments-gateway/v2/payments", true),
        ("fiserv", "POST", "/sandbox/ipp/payments-gateway/v2/payments/84", false),
        ("checkout", "POST", "/tokens", true),
        ("checkout", "POST", "/payments", true),
        ("checkout", "POST", "/payments/pay_1/refunds", false),
        ("braintree", "POST", "/merchants/acme/transactions", true),
        ("braintree", "POST", "/merchants/acme/transactions/dk3f8x2a/refund", false),
        ("braintree", "PUT", "/merchants/acme/transactions/dk3f8x2a/void", false),
        ("braintree", "GET", "/merchants/acme/transactions/dk3f8x2a", false),
        ("braintree-graphql", "POST", "/graphql", true),
        ("worldpay-wpg", "POST", "/jsp/merchant/xml/paymentService.jsp", true),
        ("worldpay-access", "POST", "/api/payments", true),
        ("worldpay-access", "POST", "/api/payments/eyJrIjoxfQ/settlements", false),
        ("mastercard", "PUT", "/api/rest/version/81/merchant/ACME/order/o-1/transaction/1", true),
        ("mastercard", "GET", "/api/rest/version/81/merchant/ACME/order/o-1", false),
        ("authorize-net", "POST", "/xml/v1/request.api", true),
        ("nuvei", "POST", "/ppp/api/v1/payment.do", true),
        ("nuvei", "POST", "/ppp//api/v1/payment.do", true),
        ("nuvei", "POST", "/ppp//api/v1/initPayment.do", true),
        ("nuvei", "POST", "/ppp//api/v1/refundTransaction.do", false),
        ("shift4", "POST", "/charges", true),
        ("shift4", "POST", "/charges/char_1/capture", false),
        ("shift4", "POST", "/refunds", false),
    ] {
        let found = routes.iter().find(|registered| registered.route.name.as_str() == name).unwrap();
        let call = found.route.call(method, path);
        assert_eq!(matches!(call, Some(Call::Allowed(_))), with_card, "{name} {method} {path}");
        assert!(call.is_some(), "{name} {method} {path}");
    }
}
