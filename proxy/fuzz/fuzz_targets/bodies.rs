//! Any body in any format: no panic; without a token what leaves is what came; with one, only declared places differ.

#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use strongroom_domain::route::BodyFormat;
use strongroom_proxy::{fields, inject};
use strongroom_proxy_fuzz::{
    NUMBER, calls, card, content_type, headers, holds_number, other_card, telling_calls,
};

fuzz_target!(|body: &[u8]| {
    let _ = inject::check_passed_body(body);
    for call in calls() {
        let _ = fields::body_names(Some(content_type(call.body)), body);
        let Ok(plan) = inject::plan(call, &headers(call.body), body) else { continue };
        if plan.is_empty() {
            let sent = plan.inject(&[]).expect("nothing to fill");
            assert_eq!(&sent.body[..], body);
            continue;
        }
        let cards: Vec<_> = plan.wanted().iter().map(|_| card()).collect();
        let sent = plan.inject(&cards).expect("everything is released");
        // Sent once more, it is refused: the number stands in it.
        assert!(holds_number(&sent.body));
        assert!(inject::plan(call, &headers(call.body), &sent.body).is_err());
    }
    only_places_differ(body);
});

/// With two cards that differ in every character, what leaves differs exactly where card data stands; everything between
/// is the request as it came, in its order, byte for byte.
fn only_places_differ(body: &[u8]) {
    for call in telling_calls() {
        let fill = |card: fn() -> inject::ReleasedCard| {
            let plan = inject::plan(call, &headers(call.body), body).ok()?;
            let cards: Vec<_> = plan.wanted().iter().map(|_| card()).collect();
            (!cards.is_empty()).then(|| plan.inject(&cards).expect("everything is released").body)
        };
        let (Some(one), Some(other)) = (fill(card), fill(other_card)) else { continue };
        let quoted = matches!(call.body, BodyFormat::Json | BodyFormat::Graphql);
        let filled = differing(&one, &other);
        assert!(!filled.is_empty());
        let (mut left, mut at) = (body, 0);
        for Range { start, end } in filled {
            assert!([NUMBER, "737", "QUXQUX"].iter().any(|value| *value.as_bytes() == one[start..end]));
            // A JSON number may have become a string: its quotes are the value's.
            let (start, end) = if quoted { (start - 1, end + 1) } else { (start, end) };
            left = after(left, &one[at..start], at == 0);
            at = end;
        }
        // What stood at the last place, and then the rest as it came.
        assert!(left.ends_with(&one[at..]));
        match call.body {
            BodyFormat::Json => same_but(body, &one, "/card"),
            BodyFormat::Graphql => same_but(body, &one, "/variables/card"),
            BodyFormat::Form | BodyFormat::Xml | BodyFormat::Multipart => {}
        }
    }
}

/// The runs in which two texts of one length differ.
fn differing(one: &[u8], other: &[u8]) -> Vec<Range<usize>> {
    assert_eq!(one.len(), other.len());
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..one.len()).filter(|at| one[*at] != other[*at]) {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// What follows a piece in a text: where the text begins with it, or at its first place.
fn after<'a>(text: &'a [u8], piece: &[u8], at_its_start: bool) -> &'a [u8] {
    if at_its_start {
        return text.strip_prefix(piece).expect("what stands before the first place is as it came");
    }
    let found = text.windows(piece.len().max(1)).position(|window| piece.is_empty() || window == piece);
    &text[found.expect("what stands between two places is as it came") + piece.len()..]
}

/// Read by another reader, both bodies are the same but for the members of one object.
fn same_but(body: &[u8], sent: &[u8], parent: &str) {
    let (Ok(mut before), Ok(mut after)) =
        (serde_json::from_slice::<Value>(body), serde_json::from_slice::<Value>(sent))
    else {
        panic!("what is read as JSON here is JSON there")
    };
    for value in [&mut before, &mut after] {
        if let Some(Value::Object(card)) = value.pointer_mut(parent) {
            ["number", "cvc", "holder"].iter().for_each(|name| drop(card.remove(*name)));
        }
    }
    assert_eq!(before, after);
}
