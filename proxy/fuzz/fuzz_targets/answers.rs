//! Any answer of any kind: no panic, and an injected number does not stand in what comes out.

#![no_main]

use std::collections::BTreeSet;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strongroom_proxy::inject;
use strongroom_proxy::scrub::{ScrubRules, scrub_body};
use strongroom_proxy_fuzz::{TOKEN, calls, card, headers, holds_number, holds_number_in_json};

fuzz_target!(|answer: &[u8]| {
    let call = &calls()[1];
    let body = format!("card[number]={TOKEN}&card[cvc]=0");
    let plan = inject::plan(call, &headers(call.body), body.as_bytes()).expect("the request is right");
    let secrets = plan.inject(&[card()]).expect("everything is released").secrets;
    let (ids, cvc_fields) = (BTreeSet::from(["id".to_owned()]), BTreeSet::from(["code".to_owned()]));
    let rules = ScrubRules { ids: &ids, cvc_fields: &cvc_fields };
    for kind in
        ["application/json", "application/x-www-form-urlencoded", "text/xml", "text/plain", "image/png"]
    {
        let scrubbed = scrub_body(Some(kind), Bytes::copy_from_slice(answer), &secrets, &rules);
        let holds = if kind == "application/json" { holds_number_in_json } else { holds_number };
        assert!(!holds(&scrubbed.body), "{kind}");
        assert!(scrubbed.replaced > 0 || scrubbed.body == answer, "{kind}");
    }
});
