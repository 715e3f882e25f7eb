//! What the targets share: a call of each format, cards, and what an answer may not hold.

#![forbid(unsafe_code)]

pub mod echo;

use std::sync::OnceLock;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use strongroom_domain::Environment;
use strongroom_domain::route::{AllowedCall, BodyFormat, Route, Upstream};
use strongroom_proxy::inject::ReleasedCard;

/// The token seeds name.
pub const TOKEN: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
/// The number it stands for.
pub const NUMBER: &str = "4111111111111111";
/// Another number: no digit of it stands where the first one has it.
pub const OTHER_NUMBER: &str = "5555555555554444";

/// Where card data goes, in each format: number, code, expiry, holder.
pub const PLACES: [(&str, [&str; 4]); 5] = [
    ("json", ["/card/number", "/card/cvc", "/card/exp", "/card/holder"]),
    ("form", ["card[number]", "card[cvc]", "card[exp]", "card[holder]"]),
    ("xml", ["order/card/number", "order/card/cvc", "order/card@exp", "order/card/holder"]),
    ("multipart", ["number", "cvc", "exp", "holder"]),
    (
        "graphql",
        ["/variables/card/number", "/variables/card/cvc", "/variables/card/exp", "/variables/card/holder"],
    ),
];

fn route(rows: impl Iterator<Item = String>) -> Route {
    let head =
        "[route.fuzz]\nupstream = \"https://psp.example\"\ncredential = { header = \"authorization\" }\n";
    let text = rows.fold(head.to_owned(), |text, row| text + &row);
    Route::parse("fuzz", &text, Environment::Live).expect("the route is right")
}

fn allowed(rows: impl Iterator<Item = String>) -> Vec<AllowedCall> {
    route(rows).allow
}

/// Where calls go.
#[must_use]
pub fn upstream() -> &'static Upstream {
    static UPSTREAM: OnceLock<Upstream> = OnceLock::new();
    let any = "{ at = \"/number\", value = \"number\" }\n";
    UPSTREAM.get_or_init(|| route([row("json", any)].into_iter()).upstream)
}

fn row(format: &str, inject: &str) -> String {
    format!(
        "[[route.fuzz.allow]]\nmethod = \"POST\"\npath = \"/\"\nbody = \"{format}\"\ninject = [\n{inject}]\n"
    )
}

/// A call of each format with a number, a code and an expiry, in the order of [`PLACES`].
#[must_use]
pub fn calls() -> &'static [AllowedCall] {
    static CALLS: OnceLock<Vec<AllowedCall>> = OnceLock::new();
    let made = || {
        allowed(PLACES.into_iter().map(|(format, [number, cvc, exp, _])| {
            row(
                format,
                &format!(
                    "{{ at = \"{number}\", value = \"number\" }},\n\
                 {{ at = \"{cvc}\", value = \"cvc\", from = \"{number}\" }},\n\
                 {{ at = \"{exp}\", value = \"exp\", format = \"MM/YY\", from = \"{number}\" }},\n"
                ),
            )
        }))
    };
    CALLS.get_or_init(made)
}

/// The same with a number, a code and a holder: values that differ in every character from one card to the other.
#[must_use]
pub fn telling_calls() -> &'static [AllowedCall] {
    static CALLS: OnceLock<Vec<AllowedCall>> = OnceLock::new();
    let made = || {
        allowed(PLACES.into_iter().map(|(format, [number, cvc, _, holder])| {
            row(
                format,
                &format!(
                    "{{ at = \"{number}\", value = \"number\" }},\n\
                 {{ at = \"{cvc}\", value = \"cvc\", from = \"{number}\" }},\n\
                 {{ at = \"{holder}\", value = \"holder\" }},\n"
                ),
            )
        }))
    };
    CALLS.get_or_init(made)
}

/// A call with JSON and two headers as places.
#[must_use]
pub fn header_call() -> &'static AllowedCall {
    static CALL: OnceLock<Vec<AllowedCall>> = OnceLock::new();
    let made = || {
        allowed(
            [row(
                "json",
                "{ at = \"header:x-card-number\", value = \"number\" },\n\
             { at = \"header:x-card-code\", value = \"cvc\", from = \"header:x-card-number\" },\n",
            )]
            .into_iter(),
        )
    };
    &CALL.get_or_init(made)[0]
}

/// A call with JSON in which every attribute has a place of its own.
#[must_use]
pub fn expression_call() -> &'static AllowedCall {
    static CALL: OnceLock<Vec<AllowedCall>> = OnceLock::new();
    let made = || {
        allowed(
            [row(
                "json",
                "{ at = \"/number\", value = \"number\" },\n{ at = \"/cvc\", value = \"cvc\" },\n\
             { at = \"/exp\", value = \"exp\", format = \"MM/YY\" },\n\
             { at = \"/month\", value = \"exp\", format = \"M\", json = \"integer\" },\n\
             { at = \"/holder\", value = \"holder\" },\n",
            )]
            .into_iter(),
        )
    };
    &CALL.get_or_init(made)[0]
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

/// Lines `name: value` as headers; what no HTTP library would hand on is left out.
#[must_use]
pub fn header_lines(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fn released(number: &str, cvc: &str, holder: &str) -> ReleasedCard {
    ReleasedCard {
        number: Some(number.into()),
        cvc: Some(cvc.into()),
        expiry: strongroom_domain::Expiry::new(3, 2030).ok(),
        holder: Some(holder.into()),
    }
}

/// What the vault releases.
#[must_use]
pub fn card() -> ReleasedCard {
    released(NUMBER, "737", "QUXQUX")
}

/// Another card, with no character in common with the first one at any place.
#[must_use]
pub fn other_card() -> ReleasedCard {
    released(OTHER_NUMBER, "946", "zyvzyv")
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

/// The same for JSON, as its readers read it: a digit beside it that is written as an escape makes it another number there too,
/// and one after an escaped backslash is none.
#[must_use]
pub fn holds_number_in_json(text: &[u8]) -> bool {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match &text[at..] {
            [b'\\', b'\\', ..] => {
                plain.push(b'\\');
                at += 2;
            }
            [b'\\', b'u', b'0', b'0', b'3', digit @ b'0'..=b'9', ..] => {
                plain.push(*digit);
                at += 6;
            }
            rest => {
                plain.push(rest[0]);
                at += 1;
            }
        }
    }
    holds_number(&plain)
}
