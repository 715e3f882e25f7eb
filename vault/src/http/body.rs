//! Strict JSON bodies: UTF-8, no unknown or duplicate field, bounded, and never a word of them in an error.
//!
//! Upholds: C-03.

use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use strongroom_domain::{Problem, ProblemKind};

/// Largest JSON body of one card or forward. A card is under 1 KiB; the rest is room for metadata (design §5).
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Reads a JSON body as `T`, whose `deny_unknown_fields` is the schema. `fields` are the names an error may point at.
pub fn parse<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &Bytes,
    fields: &[&'static str],
) -> Result<T, Problem> {
    if !is_of(headers, &["application/json"]) {
        return Err(Problem::because(ProblemKind::UnsupportedMediaType, "this call takes application/json"));
    }
    read(body, fields)
}

/// The same for a JSON Merge Patch (RFC 7396), which may also come as plain JSON.
pub fn parse_patch<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &Bytes,
    fields: &[&'static str],
) -> Result<T, Problem> {
    if !is_of(headers, &["application/merge-patch+json", "application/json"]) {
        let detail = "this call takes application/merge-patch+json";
        return Err(Problem::because(ProblemKind::UnsupportedMediaType, detail));
    }
    read(body, fields)
}

fn read<T: DeserializeOwned>(body: &Bytes, fields: &[&'static str]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| explain(&error, fields))?;
    json.end()
        .map_err(|_| Problem::because(ProblemKind::InvalidRequest, "something follows the JSON value"))?;
    Ok(value)
}

/// A body that was read whole, or why it was not.
pub fn bytes(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemKind::BodyTooLarge),
        _ => Problem::because(ProblemKind::InvalidRequest, "the body could not be read"),
    })
}

/// A member that is there: `null` is `Some(None)`, and one left out `None`.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: serde::Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}

fn is_of(headers: &HeaderMap, types: &[&str]) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    types.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// serde's messages hold input; only our own field names and constant sentences leave.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>, fields: &[&'static str]) -> Problem {
    use serde_json::error::Category;
    let problem = |detail| Problem::because(ProblemKind::InvalidRequest, detail);
    match error.inner().classify() {
        Category::Io | Category::Syntax | Category::Eof => problem("the body is not valid JSON"),
        Category::Data => {
            let message = error.inner().to_string();
            let known = |of: &str| fields.iter().find(|field| field.strip_prefix('/') == Some(of)).copied();
            let named = message.split('`').nth(1).and_then(known);
            let (detail, pointer) = if message.starts_with("missing field") {
                ("a required field is missing", named)
            } else if message.starts_with("duplicate field") {
                ("a field stands there twice", named)
            } else if message.starts_with("unknown field") {
                ("the body has a field this call does not know", None)
            } else if message.starts_with("metadata ") {
                (
                    "metadata is not valid: see its bounds in the API reference; card numbers and tokens do not belong there",
                    Some("/metadata"),
                )
            } else {
                (
                    "a field has a type or value this call does not take",
                    known(first_name(&error.path().to_string())),
                )
            };
            pointer.map_or_else(|| problem(detail), |pointer| problem(detail).at(pointer))
        }
    }
}

/// The field of the body that holds the place: `formats` of `formats[0]`.
fn first_name(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Card {
        #[expect(dead_code, reason = "only parsed")]
        number: String,
        #[expect(dead_code, reason = "only parsed")]
        exp_month: Option<u8>,
    }

    fn refused(body: &'static str) -> Problem {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        parse::<Card>(&headers, &Bytes::from_static(body.as_bytes()), &["/number", "/exp_month"]).unwrap_err()
    }

    #[test]
    fn each_mistake_has_its_words_and_its_field() {
        for (body, pointer) in [
            ("", None),
            ("{", None),
            ("[]", None),
            (r#"{"number":"4111111111111111"} x"#, None),
            (r#"{"exp_month":1}"#, Some("/number")),
            (r#"{"number":"4111111111111111","number":"4242424242424242"}"#, Some("/number")),
            (r#"{"number":4111111111111111}"#, Some("/number")),
            (r#"{"number":"4111111111111111","exp_month":"4242424242424242"}"#, Some("/exp_month")),
            (r#"{"number":"4111111111111111","4242424242424242":1}"#, None),
        ] {
            let problem = refused(body);
            assert_eq!(problem.kind, ProblemKind::InvalidRequest, "{body}");
            assert_eq!(problem.pointer, pointer, "{body}");
            assert!(!problem.detail.contains("4"), "{body}");
        }
    }

    #[test]
    fn other_media_types_are_refused() {
        let problem = parse::<Card>(&HeaderMap::new(), &Bytes::from_static(b"{}"), &[]).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::UnsupportedMediaType);
    }
}
