//! Taking card data out of what a PSP answers.
//!
//! Promises: a number just injected is in no answer, body or header, in none of these forms: a digit run of its own,
//! plain or grouped; its digits escaped (JSON, percent, character references, one inside the other up to three deep);
//! base64 at any alignment; hex; each of these also in UTF-16. Everything else stays byte for byte, but for verification codes in fields of their
//! own, and for foreign card numbers that can hardly be anything else. Near-linear in the size of the answer.
//! Does not promise: to find a number the PSP encrypted, compressed twice or spread over several fields; nor a
//! verification code in running text (three digits are everywhere) or in UTF-16.
//! Upholds: C-16, C-40.

mod decode;
mod encoded;
mod fields;
mod foreign;
mod number;
mod value;

mod form;
mod json;
mod text;
mod xml;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::body::edit;
use crate::inject::Injections;
pub use decode::{DecodeError, decode};
use value::{Findings, Scrubber};

/// What a route says of the fields of its answers.
///
/// A field that begins with `/` is an exact JSON Pointer (`/data/id`; in XML `/answer/order/@id`); any other is a name
/// (`id`), and means the field of that name at any depth, the form field of that whole decoded key, or the header of that name.
#[derive(Clone, Copy, Debug)]
pub struct ScrubRules<'a> {
    /// Fields that hold references: a foreign number there is never masked.
    pub ids: &'a BTreeSet<String>,
    /// Fields that may hold the verification code, besides those named like one.
    pub cvc_fields: &'a BTreeSet<String>,
}

/// What scrubbing did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrubCounts {
    /// Values replaced or masked.
    pub replaced: u32,
    /// Digit runs that pass the check digit and were left.
    pub suspected: u32,
}

/// A scrubbed body.
#[derive(Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// The bytes for the caller.
    pub body: Bytes,
    /// Values replaced or masked.
    pub replaced: u32,
    /// Digit runs that pass the check digit and were left.
    pub suspected: u32,
}

impl fmt::Debug for Scrubbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body, replaced, suspected } = self;
        write!(f, "Scrubbed({} bytes, {replaced} replaced, {suspected} suspected)", body.len())
    }
}

/// How an answer is searched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Field by field; as text where it is not JSON after all.
    Json,
    /// Field by field.
    Form,
    /// Field by field; as text where it is not XML after all.
    Xml,
    /// As it stands: HTML, plain text, lines of JSON.
    Text,
    /// Only for the injected numbers: a digit run in an image means nothing.
    Binary,
}

/// Scrubs a decoded body.
#[must_use]
pub fn scrub_body(
    content_type: Option<&str>,
    body: Bytes,
    secrets: &Injections,
    rules: &ScrubRules<'_>,
) -> Scrubbed {
    let scrubber = Scrubber::new(secrets, rules);
    let shape = shape(content_type, &body);
    let findings = match shape {
        Shape::Json => json::scrub(&scrubber, &body).unwrap_or_else(|_| text::scrub(&scrubber, &body)),
        Shape::Form => form::scrub(&scrubber, &body),
        Shape::Xml => xml::scrub(&scrubber, &body).unwrap_or_else(|_| text::scrub(&scrubber, &body)),
        Shape::Text => text::scrub(&scrubber, &body),
        Shape::Binary => text::scrub_injected(&scrubber, &body),
    };
    let scrubbed = applied(body, findings);
    // A form is cut at every `&`, also at those of character references in a body that is no form; of XML only the values
    // were searched, not what stands between them; and what is not called JSON may be read as it stands.
    let read_as_it_stands = match shape {
        Shape::Form | Shape::Xml => true,
        Shape::Json => !is_json(&kind(content_type)),
        Shape::Text | Shape::Binary => false,
    };
    if scrubbed.replaced > 0 || read_as_it_stands {
        return again(&scrubber, scrubbed);
    }
    scrubbed
}

/// Whether a field of this name usually holds a verification code, at whatever depth the name says.
pub(crate) fn names_a_code(name: &str) -> bool {
    fields::is_cvc_name(fields::last_part(name))
}

/// How often what came out is searched again at most. Once is what anything but an answer made for it takes.
const AGAIN_MAX: usize = 4;

/// Searches what came out again, as long as something is found: what is taken out may leave a number alone that was part
/// of a longer run before.
fn again(scrubber: &Scrubber<'_>, mut scrubbed: Scrubbed) -> Scrubbed {
    for _ in 0..AGAIN_MAX {
        let findings = text::scrub_injected(scrubber, &scrubbed.body);
        let more = applied(scrubbed.body, findings);
        scrubbed = Scrubbed {
            body: more.body,
            replaced: scrubbed.replaced.saturating_add(more.replaced),
            suspected: scrubbed.suspected.saturating_add(more.suspected),
        };
        if more.replaced == 0 {
            break;
        }
    }
    scrubbed
}

fn applied(body: Bytes, Findings { edits, counts }: Findings) -> Scrubbed {
    let body = if edits.is_empty() { body } else { edit::apply(&body, edits).into() };
    Scrubbed { body, replaced: counts.replaced, suspected: counts.suspected }
}

/// The media type without its parameters, in lower case.
fn kind(content_type: Option<&str>) -> String {
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

fn shape(content_type: Option<&str>, body: &[u8]) -> Shape {
    let kind = kind(content_type);
    let begins = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    if kind == "application/x-www-form-urlencoded" {
        return Shape::Form;
    }
    if is_json(&kind) || begins.starts_with(b"{") || begins.starts_with(b"[") {
        return Shape::Json;
    }
    let xml = matches!(kind.as_str(), "text/xml" | "application/xml") || kind.ends_with("+xml");
    if xml || begins.starts_with(b"<?xml") {
        return Shape::Xml;
    }
    let opaque = [
        "image/",
        "audio/",
        "video/",
        "font/",
        "application/octet-stream",
        "application/pdf",
        "application/zip",
    ]
    .iter()
    .any(|prefix| kind.starts_with(prefix));
    if opaque && std::str::from_utf8(body).is_err() { Shape::Binary } else { Shape::Text }
}

/// Scrubs header values in place. A header whose name holds an injected number, or whose scrubbed value is no header
/// value, is removed.
pub fn scrub_headers(headers: &mut HeaderMap, secrets: &Injections, rules: &ScrubRules<'_>) -> ScrubCounts {
    let scrubber = Scrubber::new(secrets, rules);
    let mut counts = ScrubCounts::default();
    let mut unfit: Vec<HeaderName> = Vec::new();
    for (name, value) in headers.iter_mut() {
        let findings = scrubber.header(name.as_str(), value.as_bytes());
        if findings.edits.is_empty() {
            counts.add(findings.counts);
        } else {
            let scrubbed = again(&scrubber, applied(Bytes::copy_from_slice(value.as_bytes()), findings));
            counts.add(ScrubCounts { replaced: scrubbed.replaced, suspected: scrubbed.suspected });
            match HeaderValue::from_maybe_shared(scrubbed.body) {
                Ok(scrubbed) => *value = scrubbed,
                Err(_) => unfit.push(name.clone()),
            }
        }
        if scrubber.holds_number(name.as_str().as_bytes()) {
            counts.replaced = counts.replaced.saturating_add(1);
            unfit.push(name.clone());
        }
    }
    for name in unfit {
        headers.remove(name);
    }
    counts
}

impl ScrubCounts {
    fn add(&mut self, other: Self) {
        self.replaced = self.replaced.saturating_add(other.replaced);
        self.suspected = self.suspected.saturating_add(other.suspected);
    }
}
