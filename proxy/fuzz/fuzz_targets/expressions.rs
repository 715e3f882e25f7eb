//! Any text at a declared place: it is a token, one of the expressions there are, a value without a token, or refused.
//! Input: which place (a byte), then the text.

#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use strongroom_domain::Token;
use strongroom_domain::token::holds_token_shape;
use strongroom_proxy::inject;
use strongroom_proxy_fuzz::{card, expression_call};

const PLACES: [(&str, &str); 5] =
    [("number", "number"), ("cvc", "cvc"), ("exp", "exp"), ("month", "exp"), ("holder", "holder")];
const FORMATS: [(&str, &str); 8] = [
    ("M", "3"),
    ("MM", "03"),
    ("YY", "30"),
    ("YYYY", "2030"),
    ("MMYY", "0330"),
    ("MM/YY", "03/30"),
    ("MM/YYYY", "03/2030"),
    ("YYYY-MM", "2030-03"),
];

fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (place, attribute) = PLACES[usize::from(*which) % PLACES.len()];
    let call = expression_call();
    let body = json!({ place: text }).to_string();
    let Ok(plan) = inject::plan(call, &HeaderMap::new(), body.as_bytes()) else { return };
    let wanted = plan.wanted();
    let cards: Vec<_> = wanted.iter().map(|_| card()).collect();
    let filled = plan.inject(&cards).map(|sent| serde_json::from_slice::<Value>(&sent.body).expect("JSON"));
    if wanted.is_empty() {
        // What passes as it is holds nothing that looks like a token.
        assert!(!holds_token_shape(text.as_bytes()));
        assert_eq!(filled.expect("nothing to fill")[place], text);
        return;
    }
    let Ok(filled) = filled else { return };
    let format = expected(text, attribute);
    let written = match filled[place].as_str() {
        Some(text) => text.to_owned(),
        None => filled[place].to_string(),
    };
    let right = match attribute {
        "number" => written == "4111111111111111",
        "cvc" => written == "737",
        "holder" => written == "QUXQUX",
        // As the expression says; else as the place does; a JSON integer has no leading zeros.
        _ => match (format, place) {
            (Some(format), "exp") => written == format,
            (Some(format), _) => written == format.trim_start_matches('0'),
            (None, "exp") => written == "03/30",
            (None, _) => written == "3",
        },
    };
    assert!(right, "{place} {text:?} {written:?}");
});

/// Reads what was accepted another way: it can only be one of few texts. Gives the expiry in the format asked for.
fn expected(text: &str, attribute: &str) -> Option<&'static str> {
    if text.starts_with(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        // Another name of a card, sixteen digits, where a number goes.
        assert!(attribute == "number" && (text.starts_with("90") || text.starts_with("91")));
        assert!(text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit()));
        return None;
    }
    if Token::parse(text).is_ok() {
        return None;
    }
    let inner =
        text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).expect("an expression").trim();
    let (token, rest) = inner.split_once('.').expect("a token and an attribute");
    assert!(Token::parse(token).is_ok());
    let mut parts = rest.split('|').map(str::trim);
    assert_eq!(parts.next(), Some(attribute));
    let format = parts.next();
    assert_eq!(parts.next(), None);
    format.map(|format| {
        assert_eq!(attribute, "exp");
        FORMATS.iter().find(|(name, _)| *name == format).expect("a format there is").1
    })
}
