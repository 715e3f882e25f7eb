//! Any answer of a vault to an open: no panic; nothing but digits, a code, an expiry and a name goes anywhere.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_proxy::inject;
use strongroom_proxy::vault::Opened;
use strongroom_proxy_fuzz::{TOKEN, calls, headers};

fuzz_target!(|answer: &[u8]| {
    let Ok(opened) = Opened::parse(answer) else { return };
    let call = &calls()[0];
    let body = format!("{{\"card\":{{\"number\":\"{TOKEN}\",\"cvc\":\"0\",\"exp\":\"0\"}}}}");
    let plan = inject::plan(call, &headers(call.body), body.as_bytes()).expect("the request is right");
    let Ok(sent) = plan.inject(&opened.cards) else { return };
    let sent: serde_json::Value = serde_json::from_slice(&sent.body).expect("JSON");
    let digits = |text: &serde_json::Value| {
        text.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    assert!(digits(&sent["card"]["number"]) && digits(&sent["card"]["cvc"]));
    assert_eq!(sent["card"]["exp"].as_str().map(str::len), Some(5));
});
