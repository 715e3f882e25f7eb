//! Which selectors can match anything: one that never can is a mistake in the route file.

use super::{BodyFormat, HEADER_PREFIX, Inject, JsonForm};

/// Headers that say where a request goes, how it is read or who asks: no card data in any of them.
const HEADERS_TAKEN: [&str; 16] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Whether a place can be in a body of this format, or be a header.
pub(super) fn fits(body: BodyFormat, inject: &Inject) -> bool {
    let at = inject.at.as_str();
    let in_json = matches!(body, BodyFormat::Json | BodyFormat::Graphql);
    if inject.json_form == JsonForm::Integer && (!in_json || inject.header().is_some()) {
        return false;
    }
    match inject.header() {
        Some(name) => is_header(name) && !HEADERS_TAKEN.contains(&name),
        None => is_in_body(body, at),
    }
}

/// Whether a payment reference can stand there: where card data can, and in the header by which PSPs know a repeat.
pub(super) fn is_reference(body: BodyFormat, at: &str) -> bool {
    match at.strip_prefix(HEADER_PREFIX) {
        Some(name) => is_header(name) && (name == "idempotency-key" || !HEADERS_TAKEN.contains(&name)),
        None => is_in_body(body, at),
    }
}

fn is_in_body(body: BodyFormat, at: &str) -> bool {
    match body {
        BodyFormat::Form => !at.is_empty(),
        BodyFormat::Multipart => !at.is_empty() && !at.contains(['"', '\\', '\r', '\n']),
        BodyFormat::Json => at.len() > 1 && at.starts_with('/'),
        BodyFormat::Graphql => at.strip_prefix("/variables/").is_some_and(|rest| !rest.is_empty()),
        BodyFormat::Xml => is_xml_path(at),
    }
}

/// Lower case, as headers are compared.
fn is_header(name: &str) -> bool {
    let is_right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    !name.is_empty() && name.bytes().all(is_right)
}

/// `a/b` or `a/b@c`: local names, so without a colon.
pub(super) fn is_xml_path(at: &str) -> bool {
    let (elements, attribute) = match at.split_once('@') {
        Some((elements, attribute)) => (elements, Some(attribute)),
        None => (at, None),
    };
    elements.split('/').chain(attribute).all(is_xml_name)
}

fn is_xml_name(name: &str) -> bool {
    let mut chars = name.chars();
    let is_first = |char: char| char.is_ascii_alphabetic() || char == '_' || !char.is_ascii();
    let is_next = |char: char| is_first(char) || char.is_ascii_digit() || char == '-' || char == '.';
    chars.next().is_some_and(is_first) && chars.all(is_next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Attribute, Source};

    fn place(at: &str) -> Inject {
        Inject {
            at: at.into(),
            attribute: Attribute::Number,
            format: None,
            json_form: JsonForm::String,
            source: Source::Own,
            aliases: Vec::new(),
        }
    }

    #[test]
    fn a_selector_fits_its_format() {
        use BodyFormat::{Form, Graphql, Json, Multipart, Xml};
        for (body, at, right) in [
            (Form, "card[number]", true),
            (Form, "", false),
            (Multipart, "card[number]", true),
            (Multipart, "a\"b", false),
            (Json, "/source/number", true),
            (Json, "source/number", false),
            (Json, "/", false),
            (Graphql, "/variables/input/creditCard/number", true),
            (Graphql, "/variables/", false),
            (Graphql, "/query", false),
            (Xml, "submit/order/CARD-SSL/cardNumber", true),
            (Xml, "order/date@month", true),
            (Xml, "/order/date", false),
            (Xml, "order//date", false),
            (Xml, "@month", false),
            (Xml, "order@a@b", false),
            (Xml, "order@", false),
            (Xml, "ns:order/card", false),
            (Xml, "1order", false),
            (Xml, "order/a b", false),
            (Form, "header:x-card-number", true),
            (Json, "header:x_card", true),
            (Json, "header:", false),
            (Json, "header:X-Card", false),
            (Json, "header:authorization", false),
            (Json, "header:content-type", false),
        ] {
            assert_eq!(fits(body, &place(at)), right, "{body:?} {at}");
        }
        for (body, at, right) in [(Json, "/n", true), (Form, "n", false), (Xml, "n", false)] {
            let integer = Inject { json_form: JsonForm::Integer, ..place(at) };
            assert_eq!(fits(body, &integer), right, "{body:?}");
        }
    }
}
