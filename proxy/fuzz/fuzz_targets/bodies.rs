//! Any body in any format: no panic; without a token what leaves is what came; with one, only places differ.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_proxy::inject;
use strongroom_proxy_fuzz::{calls, card, headers, holds_number};

fuzz_target!(|body: &[u8]| {
    let _ = inject::check_passed_body(body);
    for call in calls() {
        let Ok(plan) = inject::plan(&call, &headers(call.body), body) else { continue };
        if plan.is_empty() {
            let sent = plan.inject(&[]).expect("nothing to fill");
            assert_eq!(&sent.body[..], body);
            continue;
        }
        let wanted = plan.wanted();
        let cards: Vec<_> = wanted.iter().map(|_| card()).collect();
        let sent = plan.inject(&cards).expect("everything is released");
        // Sent once more, it is refused: the number stands in it.
        assert!(holds_number(&sent.body));
        assert!(inject::plan(&call, &headers(call.body), &sent.body).is_err());
    }
});
