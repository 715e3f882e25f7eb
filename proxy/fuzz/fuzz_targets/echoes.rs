//! An answer that spells an injected number, in any of twenty-three ways, among anything, in any kind of body or in a header:
//! no spelling of it comes out.
//!
//! Input: spelling, kind of body, lead and tail lengths inside what is encoded (a byte each), then the text around it.

#![no_main]

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use strongroom_proxy::inject;
use strongroom_proxy::scrub::{ScrubRules, scrub_body, scrub_headers};
use strongroom_proxy_fuzz::echo::{is_spelled_in, spelled};
use strongroom_proxy_fuzz::{TOKEN, calls, card, headers};

const KINDS: [&str; 6] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "text/xml",
    "text/html",
    "image/png",
    "application/octet-stream",
];

fuzz_target!(|input: &[u8]| {
    let [which, kind, lead, tail, around @ ..] = input else { return };
    let call = &calls()[1];
    let body = format!("card[number]={TOKEN}");
    let plan = inject::plan(call, &headers(call.body), body.as_bytes()).expect("the request is right");
    let secrets = plan.inject(&[card()]).expect("everything is released").secrets;
    let none = BTreeSet::new();
    let rules = ScrubRules { ids: &none, cvc_fields: &none };
    let letters = |count: u8| "k".repeat(usize::from(count % 7));
    let echo = spelled(*which, &letters(*lead), &letters(*tail));
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let (before, after) = around.split_at(around.len() / 2);
    // Beside other digits, or inside a longer run of an encoding's alphabet, it may be another number.
    let apart = |byte: Option<&u8>| byte.is_none_or(|byte| b"\"'<>{}:;, \n".contains(byte));
    if !apart(before.last()) || !apart(after.first()) || is_spelled_in(around) {
        return;
    }
    let answer = match kind {
        "application/json" => {
            let text = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes).replace(['"', '\\'], "'").replace(char::is_control, " ")
            };
            format!("{{\"a\":\"{}{echo}{}\"}}", text(before), text(after)).into_bytes()
        }
        _ => [before, echo.as_bytes(), after].concat(),
    };
    let scrubbed = scrub_body(Some(kind), Bytes::from(answer.clone()), &secrets, &rules);
    assert!(scrubbed.replaced > 0, "{kind} {echo}");
    assert!(!is_spelled_in(&scrubbed.body), "{kind} {echo}");
    if serde_json::from_slice::<serde_json::Value>(&answer).is_ok() && kind == "application/json" {
        assert!(serde_json::from_slice::<serde_json::Value>(&scrubbed.body).is_ok());
    }
    let value = [before, echo.as_bytes(), after].concat();
    let Ok(value) = HeaderValue::from_bytes(&value) else { return };
    let mut headers = HeaderMap::from_iter([(HeaderName::from_static("x-echo"), value)]);
    assert!(scrub_headers(&mut headers, &secrets, &rules).replaced > 0, "{echo}");
    assert!(!headers.values().any(|value| is_spelled_in(value.as_bytes())), "{echo}");
});
