//! Any headers: as places they are filled once or refused; what travels belongs to the hop it travels; an injected number
//! comes back in none. Input: lines `name: value`.

#![no_main]

use std::collections::BTreeSet;

use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use libfuzzer_sys::fuzz_target;
use strongroom_proxy::scrub::{ScrubRules, scrub_headers};
use strongroom_proxy::{headers, inject};
use strongroom_proxy_fuzz::{NUMBER, TOKEN, calls, card, header_call, header_lines, holds_number, upstream};

fuzz_target!(|text: &[u8]| {
    let given = header_lines(text);
    places(&given);
    travel(&given);
    let call = &calls()[1];
    let body = format!("card[number]={TOKEN}");
    let plan = inject::plan(call, &strongroom_proxy_fuzz::headers(call.body), body.as_bytes());
    let secrets = plan.expect("the request is right").inject(&[card()]).expect("released").secrets;
    let (ids, cvc_fields) = (BTreeSet::from(["x-id".to_owned()]), BTreeSet::new());
    let mut scrubbed = given.clone();
    let counts = scrub_headers(&mut scrubbed, &secrets, &ScrubRules { ids: &ids, cvc_fields: &cvc_fields });
    assert!(!scrubbed.values().any(|value| holds_number(value.as_bytes())));
    assert!(!scrubbed.keys().any(|name| holds_number(name.as_str().as_bytes())));
    assert!(counts.replaced > 0 || scrubbed == given);
});

fn places(given: &http::HeaderMap) {
    let call = header_call();
    let clean = inject::check_clean(Some(call), "/v1/x", given);
    let Ok(plan) = inject::plan(call, given, b"{}") else { return };
    let wanted = plan.wanted();
    if wanted.is_empty() {
        return;
    }
    let cards: Vec<_> = wanted.iter().map(|_| card()).collect();
    let sent = plan.inject(&cards).expect("everything is released");
    assert_eq!(&sent.body[..], b"{}");
    for (name, value) in &sent.headers {
        assert_eq!(given.get_all(name).iter().count(), 1);
        let expected = if name == "x-card-number" { NUMBER } else { "737" };
        assert!(value.as_bytes() == expected.as_bytes() && value.is_sensitive());
    }
    let mut out = given.clone();
    sent.headers.into_iter().for_each(|(name, value)| drop(out.insert(name, value)));
    // Once the declared ones are filled, a token is nowhere, if it was nowhere else before.
    if clean.is_ok() {
        out.remove("x-card-number");
        out.remove("x-card-code");
        assert!(inject::check_clean(None, "/v1/x", &out).is_ok());
    }
}

fn travel(given: &http::HeaderMap) {
    let out = headers::outgoing(given, upstream());
    assert_eq!(out.get_all(HOST).iter().collect::<Vec<_>>(), ["psp.example"]);
    assert_eq!(out.get_all(ACCEPT_ENCODING).iter().collect::<Vec<_>>(), ["identity"]);
    let back = headers::incoming(given);
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
        assert!(!out.contains_key(&name) && !back.contains_key(&name));
    }
    assert!(!back.contains_key(CONTENT_ENCODING) && !back.contains_key("alt-svc"));
    let _ = headers::steer(given);
}
