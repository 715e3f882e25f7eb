//! What the targets share: a call of each format, a card, and what an answer may not hold.

#![forbid(unsafe_code)]

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use strongroom_domain::Environment;
use strongroom_domain::route::{AllowedCall, BodyFormat, Route};
use strongroom_proxy::inject::ReleasedCard;

/// The token seeds name.
pub const TOKEN: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
/// The number it stands for.
pub const NUMBER: &str = "4111111111111111";

const ROUTE: &str = r#"
[route.fuzz]
upstream = "https://psp.example"
credential = { header = "authorization" }
"#;

/// A call of each format, in the order of [`content_type`].
#[must_use]
pub fn calls() -> Vec<AllowedCall> {
    let mut text = ROUTE.to_owned();
    for (format, number, cvc, exp) in [
        ("json", "/card/number", "/card/cvc", "/card/exp"),
        ("form", "card[number]", "card[cvc]", "card[exp]"),
        ("xml", "order/card/number", "order/card/cvc", "order/card@exp"),
        ("multipart", "number", "cvc", "exp"),
        ("graphql", "/variables/card/number", "/variables/card/cvc", "/variables/card/exp"),
    ] {
        text.push_str(&format!(
            "[[route.fuzz.allow]]\nmethod = \"POST\"\npath = \"/\"\nbody = \"{format}\"\ninject = [\n\
             {{ at = \"{number}\", value = \"number\" }},\n\
             {{ at = \"{cvc}\", value = \"cvc\", from = \"{number}\" }},\n\
             {{ at = \"{exp}\", value = \"exp\", format = \"MM/YY\", from = \"{number}\" }},\n]\n"
        ));
    }
    Route::parse("fuzz", &text, Environment::Live).expect("the route is right").allow
}

/// The media type of a format.
#[must_use]
pub const fn content_type(format: BodyFormat) -> &'static str {
    match format {
        BodyFormat::Json | BodyFormat::Graphql => "application/json",
        BodyFormat::Form => "application/x-www-form-urlencoded",
        BodyFormat::Xml => "text/xml",
        BodyFormat::Multipart => "multipart/form-data; boundary=b",
    }
}

/// The headers of a request in a format.
#[must_use]
pub fn headers(format: BodyFormat) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type(format)))])
}

/// What the vault releases.
#[must_use]
pub fn card() -> ReleasedCard {
    ReleasedCard {
        number: Some(NUMBER.into()),
        cvc: Some("737".into()),
        expiry: strongroom_domain::Expiry::new(3, 2030).ok(),
        holder: None,
    }
}

/// Whether the number stands in a text, alone.
#[must_use]
pub fn holds_number(text: &[u8]) -> bool {
    text.windows(NUMBER.len()).enumerate().any(|(at, window)| {
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        window == NUMBER.as_bytes()
            && !at.checked_sub(1).is_some_and(|before| is_digit(text.get(before)))
            && !is_digit(text.get(at + NUMBER.len()))
    })
}
