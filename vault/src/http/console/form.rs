//! What people fill in: fields left empty are not asked for; times are UTC; nothing that was refused is shown again.
//!
//! Promises: a card number in a form is refused and counted before anything else sees it (PCI DSS 3.5.1, 12.10.7), and so is a
//! token in a field that is not its own: from there it would get into an address.
//! Upholds: C-66.

use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use http::{HeaderMap, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use strongroom_domain::{Problem, ProblemKind, scan, token};

use crate::http::body;
use crate::http::query::{self, Parameters};

/// Unreserved letters stay (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Reads what stands behind the `?` of a form's address.
pub(super) fn of_query(query: Option<&str>, names: &[&'static str]) -> Result<Parameters, Problem> {
    read(query, names, "target")
}

fn read(text: Option<&str>, names: &[&'static str], place: &'static str) -> Result<Parameters, Problem> {
    let mut parameters = query::parse(text, names)?;
    refuse_card_data(&parameters, names, place)?;
    parameters.retain(|_, value| {
        let text = value.trim();
        if text.len() != value.len() {
            *value = text.to_owned();
        }
        !value.is_empty()
    });
    for name in ["from", "until", "to"] {
        if let Some(value) = parameters.get_mut(name) {
            *value = in_utc(value);
        }
    }
    Ok(parameters)
}

/// In its own field a token may stand, elsewhere only what may be shown and be in an address.
fn refuse_card_data(
    parameters: &Parameters,
    names: &[&'static str],
    place: &'static str,
) -> Result<(), Problem> {
    if parameters.values().any(|value| scan::holds_pan(value)) {
        metrics::counter!("strongroom_pan_unexpected_total", "where" => place).increment(1);
        let detail = "a card number stands in the form; nothing was done";
        return Err(Problem::because(ProblemKind::PanInRequest, detail));
    }
    let misplaced = names.iter().copied().filter(|name| *name != "/token").find(|name| {
        parameters.get(&name[1..]).is_some_and(|value| token::holds_token_shape(value.as_bytes()))
    });
    misplaced.map_or(Ok(()), |name| {
        let detail = "a token stands in a field that is not its own; nothing was done";
        Err(Problem::because(ProblemKind::InvalidRequest, detail).at(name))
    })
}

/// Reads the body of a form that was sent.
pub(super) fn of_body(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    names: &[&'static str],
) -> Result<Parameters, Problem> {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    if headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes) != Some(FORM) {
        return Err(Problem::because(
            ProblemKind::UnsupportedMediaType,
            "this is for the console's own forms",
        ));
    }
    let body = body::bytes(body)?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| Problem::because(ProblemKind::InvalidRequest, "the form is not UTF-8"))?;
    read(Some(text), names, "body")
}

/// The browser's `2026-11-29T20:00` and `2026-11-29`, as the API writes times.
fn in_utc(text: &str) -> String {
    match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

/// A time of the API as a browser's field takes it.
pub(super) fn for_field(text: &str) -> String {
    text.chars().take(19).collect()
}

/// A link with these parameters.
pub(super) fn link<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut link = path.to_owned();
    for (place, (name, value)) in pairs.into_iter().enumerate() {
        link.push(if place == 0 { '?' } else { '&' });
        link.push_str(name);
        link.push('=');
        link.extend(utf8_percent_encode(value, ESCAPED));
    }
    link
}

/// A link to the page of a forward.
pub(super) fn forward(tenant: &str, id: &str) -> String {
    let part = |text| utf8_percent_encode(text, ESCAPED);
    format!("/console/tenants/{}/forwards/{}", part(tenant), part(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["/token", "/from", "/workload"];

    fn sent(kind: &'static str, body: &'static str) -> Result<Parameters, Problem> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, http::HeaderValue::from_static(kind))]);
        of_body(&headers, Ok(Bytes::from_static(body.as_bytes())), NAMES)
    }

    #[test]
    fn what_is_empty_is_not_asked_for_and_times_are_utc() {
        for (given, read) in [
            ("2026-11-29", "2026-11-29T00:00:00Z"),
            ("2026-11-29T20%3A15", "2026-11-29T20:15:00Z"),
            ("2026-11-29T20%3A15%3A01", "2026-11-29T20:15:01Z"),
            ("2026-11-29T20%3A15%3A01.5Z", "2026-11-29T20:15:01.5Z"),
        ] {
            let parameters = of_query(Some(&format!("token=+&workload=&from={given}")), NAMES).unwrap();
            assert_eq!(parameters, Parameters::from([("from", read.to_owned())]));
        }
        assert_eq!(for_field("2026-11-29T20:15:01.500000Z"), "2026-11-29T20:15:01");
    }

    #[test]
    fn a_card_number_in_a_form_is_refused_however_it_is_written() {
        const FORM: &str = "application/x-www-form-urlencoded";
        assert_eq!(sent(FORM, "token=+a+").unwrap()["token"], "a");
        for body in ["token=4242424242424242", "workload=4242+4242+4242+4242", "token=%34242424242424242"] {
            assert_eq!(sent(FORM, body).unwrap_err().kind, ProblemKind::PanInRequest, "{body}");
        }
        assert_eq!(sent(FORM, "number=4242424242424242").unwrap_err().kind, ProblemKind::InvalidRequest);
        assert_eq!(sent("text/plain", "token=a").unwrap_err().kind, ProblemKind::UnsupportedMediaType);
    }

    #[test]
    fn a_token_stands_in_its_own_field_alone() {
        const TOKEN: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
        let read = |text: &str| of_query(Some(text), NAMES);
        assert_eq!(read(&format!("token={TOKEN}")).unwrap()["token"], TOKEN);
        for (text, pointer) in [
            (format!("workload={TOKEN}"), "/workload"),
            (format!("workload=+of+{TOKEN}."), "/workload"),
            (format!("from={}", TOKEN.replace('_', "%5F")), "/from"),
            (format!("token={TOKEN}&workload={}w", &TOKEN[..42]), "/workload"),
        ] {
            let problem = read(&text).unwrap_err();
            assert_eq!(
                (problem.kind, problem.pointer),
                (ProblemKind::InvalidRequest, Some(pointer)),
                "{text}"
            );
            assert!(!problem.detail.contains("tok_"));
        }
        assert_eq!(read("workload=4242+4242+4242+4242").unwrap_err().kind, ProblemKind::PanInRequest);
    }

    #[test]
    fn a_link_holds_its_values_and_nothing_else() {
        assert_eq!(link("/x", []), "/x");
        assert_eq!(
            link("/x", [("a", "spiffe://b/c?d&e=\"'<"), ("f", "")]),
            "/x?a=spiffe%3A%2F%2Fb%2Fc%3Fd%26e%3D%22%27%3C&f="
        );
    }
}
