//! AWS Signature Version 4, in the `Authorization` header.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use http::HeaderMap;
use strongroom_domain::Timestamp;

use super::{Canonical, Message, SignError, Signer, SigningKey};
use crate::body::form;

/// Where the signature is good.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// Refuses a request with a header that is covered and cannot be.
pub(super) fn check(headers: &HeaderMap) -> Result<(), SignError> {
    canonical_headers(headers).map(drop)
}

pub(super) fn sign(
    signer: &Signer,
    scope: &Scope<'_>,
    message: &mut Message<'_>,
    now: Timestamp,
) -> Result<(), SignError> {
    let SigningKey::Shared { key, .. } = &signer.key else { return Err(SignError::Failed) };
    let Prepared { date, credential, names, string, .. } = prepare(scope, message, now)?;
    let first = zeroize::Zeroizing::new([b"AWS4", key.as_slice()].concat());
    let mut tag = mac(&first, date.as_bytes());
    for step in [scope.region, scope.service, "aws4_request", string.as_str()] {
        tag = mac(tag.as_ref(), step.as_bytes());
    }
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{credential}, SignedHeaders={names}, Signature={}",
        signer.key_id()?,
        hex::encode(tag)
    );
    message.set("authorization", &value)
}

/// What [`sign`] signs: a string that holds the digest of another.
pub(super) fn canonical(
    scope: &Scope<'_>,
    message: &mut Message<'_>,
    now: Timestamp,
) -> Result<Vec<Canonical>, SignError> {
    let Prepared { request, string, .. } = prepare(scope, message, now)?;
    Ok(vec![
        Canonical { name: "canonical-request", text: request.into_bytes() },
        Canonical { name: "string", text: string.into_bytes() },
    ])
}

struct Prepared {
    date: String,
    credential: String,
    /// The names of the signed headers.
    names: String,
    /// The canonical request.
    request: String,
    /// The string to sign.
    string: String,
}

/// Sets what is signed and not the caller's, and writes both strings.
fn prepare(scope: &Scope<'_>, message: &mut Message<'_>, now: Timestamp) -> Result<Prepared, SignError> {
    // `2026-01-02T03:04:05.000000Z` less its punctuation: `20260102T030405Z`.
    let time: String = now.to_string()[..19].chars().filter(|char| !matches!(char, '-' | ':')).collect();
    let time = format!("{time}Z");
    let date = time[..8].to_owned();
    let body = hex::encode(digest::digest(&digest::SHA256, &message.body));
    message.set("x-amz-date", &time)?;
    message.set("x-amz-content-sha256", &body)?;

    let (headers, names) = canonical_headers(message.headers)?;
    let request = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{body}",
        message.method,
        encode_path(message.path()),
        canonical_query(message.query().unwrap_or_default()),
    );
    let credential = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let hashed = hex::encode(digest::digest(&digest::SHA256, request.as_bytes()));
    let string = format!("AWS4-HMAC-SHA256\n{time}\n{credential}\n{hashed}");
    Ok(Prepared { date, credential, names, request, string })
}

fn mac(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

/// `host`, `content-type` and every `x-amz-…`: lines, and the list of names.
fn canonical_headers(headers: &HeaderMap) -> Result<(String, String), SignError> {
    let signed = |name: &str| matches!(name, "host" | "content-type") || name.starts_with("x-amz-");
    let mut names: Vec<_> =
        headers.keys().map(http::HeaderName::as_str).filter(|name| signed(name)).collect();
    names.sort_unstable();
    let mut lines = String::new();
    for name in &names {
        let values =
            headers.get_all(*name).iter().map(|value| value.to_str().map_err(|_| SignError::Missing));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let folded: Vec<String> =
            values.iter().map(|value| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{name}:{}", folded.join(","));
    }
    Ok((lines, names.join(";")))
}

/// Each name and value decoded, encoded the one way, sorted.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A plus stands for itself in a URI (RFC 3986); only forms mean a space by it.
            let canonical =
                |text: &str| encode(form::decode(text.replace('+', "%2B").as_bytes()).bytes(), false);
            (canonical(name), canonical(value))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Paths of routes have no escapes, so one encoding is both of the specification's.
fn encode_path(path: &str) -> String {
    encode(path.as_bytes(), true)
}

fn encode(bytes: &[u8], keep_slash: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte))
            }
            b'/' if keep_slash => out.push('/'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
