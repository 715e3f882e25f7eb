//! Reading and writing what names an account inside a body, by the body's kind.
//!
//! Promises: a place is found once and whole, or the request is refused; what is written there says the same in the
//! body's own notation.

use std::ops::Range;

use strongroom_domain::route::IdentityAt;
use zeroize::Zeroizing;

use super::CredentialRefused;
use crate::body::json::{self, Event, Pointer, Reading};
use crate::body::{Malformed, form, xml};
use crate::fields;

/// The kind of body a place is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    Json,
    Form,
    Xml,
}

impl Home {
    /// `None`: the place is in no body.
    pub(super) fn of(at: &IdentityAt) -> Option<Self> {
        match at {
            IdentityAt::Field(at) if at.starts_with('/') => Some(Self::Json),
            IdentityAt::Field(_) => Some(Self::Form),
            IdentityAt::Element(_) => Some(Self::Xml),
            IdentityAt::Header(_) | IdentityAt::Path(_) | IdentityAt::Query(_) | IdentityAt::Claim(_) => None,
        }
    }

    /// `None`: a kind that no place is in.
    pub(super) fn of_body(content_type: Option<&str>) -> Option<Self> {
        let kind = content_type.map(fields::essence)?;
        match kind.as_str() {
            "application/x-www-form-urlencoded" => Some(Self::Form),
            kind if fields::is_json(kind) => Some(Self::Json),
            kind if fields::is_xml(kind) => Some(Self::Xml),
            _ => None,
        }
    }
}

/// Where a value stands and what it says.
pub(super) type Found = Option<(Range<usize>, Zeroizing<String>)>;

/// Finds the one value of a place in a body of its kind.
pub(super) fn find(
    at: &IdentityAt,
    namespace: Option<&str>,
    body: &[u8],
) -> Result<Found, CredentialRefused> {
    match at {
        IdentityAt::Field(at) => match Pointer::parse_below_any(at) {
            Some(pointer) => in_json(&pointer, body),
            None => in_form(at, body),
        },
        IdentityAt::Element(at) => in_xml(&xml::Selector::parse(at), namespace, body),
        IdentityAt::Header(_) | IdentityAt::Path(_) | IdentityAt::Query(_) | IdentityAt::Claim(_) => Ok(None),
    }
}

/// A value in the notation of a body.
pub(super) fn write(home: Option<Home>, own: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(6 * own.len() + 2));
    match home {
        Some(Home::Form) => form::encode_into(own, &mut text),
        Some(Home::Xml) => xml::escape_into(own, &mut text),
        Some(Home::Json) | None => {
            text.push('"');
            json::escape_into(own, &mut text);
            text.push('"');
        }
    }
    text
}

/// The one string at a pointer; anything else there, or a second spelling of it, is refused.
fn in_json(pointer: &Pointer, body: &[u8]) -> Result<Found, CredentialRefused> {
    let (mut found, mut like) = (None, 0);
    let scanned = json::scan(body, Reading::Strict, |path, event| {
        if matches!(event, Event::Key(_)) || !pointer.is_like(path) {
            return Ok(());
        }
        like += 1;
        if let (Event::String(text), true) = (event, pointer.is(path)) {
            found = Some((text.span(), Zeroizing::new(text.decoded().into_owned())));
        }
        Ok::<(), Malformed>(())
    });
    scanned.map_err(|_| CredentialRefused)?;
    if like > 1 || (like == 1 && found.is_none()) { Err(CredentialRefused) } else { Ok(found) }
}

fn in_form(name: &str, body: &[u8]) -> Result<Found, CredentialRefused> {
    let mut found = None;
    for pair in form::pairs(body) {
        let given = String::from_utf8_lossy(form::decode(&body[pair.name]).bytes()).into_owned();
        let compact = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
        if !compact(&given).eq_ignore_ascii_case(name) {
            continue;
        }
        let span = pair.value.ok_or(CredentialRefused)?;
        let value = String::from_utf8(form::decode(&body[span.clone()]).into_bytes())
            .map_err(|_| CredentialRefused)?;
        if given != name || found.replace((span, Zeroizing::new(value))).is_some() {
            return Err(CredentialRefused);
        }
    }
    Ok(found)
}

/// The text of the one element, or attribute, at a selector; one that holds more than text is refused.
fn in_xml(
    selector: &xml::Selector,
    namespace: Option<&str>,
    body: &[u8],
) -> Result<Found, CredentialRefused> {
    let (mut found, mut wrong) = (None, false);
    let scanned = xml::scan(body, namespace, Reading::Strict, |path, event| {
        if let xml::Event::Value(value) = event
            && selector.is(path)
        {
            let text = Zeroizing::new(value.decoded().into_owned());
            wrong |= value.is_mixed() || value.is_empty_tag || found.is_some();
            found = Some((value.span.clone(), text));
        }
        Ok::<(), Malformed>(())
    });
    scanned.map_err(|_| CredentialRefused)?;
    if wrong { Err(CredentialRefused) } else { Ok(found) }
}
