//! A PSP that sends back what it was sent: scrub(inject(x)) holds no number, in whatever format.

#![no_main]

use std::collections::BTreeSet;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strongroom_proxy::inject;
use strongroom_proxy::scrub::{ScrubRules, scrub_body};
use strongroom_proxy_fuzz::{calls, card, content_type, headers, holds_number};

fuzz_target!(|body: &[u8]| {
    let none = BTreeSet::new();
    let rules = ScrubRules { ids: &none, cvc_fields: &none };
    for call in calls() {
        let Ok(plan) = inject::plan(call, &headers(call.body), body) else { continue };
        let cards: Vec<_> = plan.wanted().iter().map(|_| card()).collect();
        let sent = plan.inject(&cards).expect("everything is released");
        let echo = Bytes::copy_from_slice(&sent.body);
        let back = scrub_body(Some(content_type(call.body)), echo, &sent.secrets, &rules);
        assert!(!holds_number(&back.body));
    }
});
