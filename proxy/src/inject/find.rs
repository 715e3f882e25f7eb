//! Finding the declared places of a request, format by format.
//!
//! Promises: what is not at a declared place is searched for tokens and card numbers (in messages of others, for verification
//! codes by their names too) as what it says, whatever it is
//! written as; a declared place is there once or the request is refused.
//! Upholds: C-39.

use http::{HeaderMap, HeaderName};
use strongroom_domain::route::{AllowedCall, Attribute, BodyFormat, HEADER_PREFIX, Inject, Source};
use zeroize::Zeroizing;

use super::places::{Content, Found, Place};
use super::{InjectError, clean, expression};
use crate::body::json::{self, Event, Pointer, Reading};
use crate::body::{form, multipart, xml};

/// Reads what stands at a declared place, which is given by its index.
type Declared<'r> = &'r dyn Fn(usize, &str) -> Result<Content, InjectError>;
/// Refuses what may not stand in any other field of a body, by its name.
type Other<'r> = &'r dyn Fn(&str, &[u8]) -> Result<(), InjectError>;

/// Reads what stands in fields.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r> {
    pub(super) declared: Declared<'r>,
    pub(super) other: Other<'r>,
}

/// Finds the declared places of tokens and refuses tokens and card numbers everywhere else.
pub(super) fn find(call: &AllowedCall, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Found>, InjectError> {
    let declared = |index: usize, text: &str| read(&call.inject[index], text);
    scan(call, headers, body, Reader { declared: &declared, other: &|_, text| clean::check(text) })
}

/// Finds the declared places and reads each, and every other field. No body has no places.
pub(super) fn scan(
    call: &AllowedCall,
    headers: &HeaderMap,
    body: &[u8],
    read: Reader<'_>,
) -> Result<Vec<Found>, InjectError> {
    let declared = call.inject.as_slice();
    let mut found = match call.body {
        _ if body.is_empty() => Vec::new(),
        BodyFormat::Json => find_in_json(declared, body, read)?,
        BodyFormat::Graphql => find_in_graphql(declared, body, read)?,
        BodyFormat::Form => find_in_form(declared, body, read)?,
        BodyFormat::Xml => find_in_xml(declared, call.namespace.as_deref(), body, read)?,
        BodyFormat::Multipart => find_in_multipart(declared, headers, body, read)?,
    };
    find_in_headers(declared, headers, read, &mut found)?;
    Ok(found)
}

/// The declared headers are places; every other one must be clean ([`super::check_clean`]).
fn find_in_headers(
    declared: &[Inject],
    headers: &HeaderMap,
    read: Reader<'_>,
    found: &mut Vec<Found>,
) -> Result<(), InjectError> {
    for (index, inject) in declared.iter().enumerate() {
        let Some(name) = inject.header() else { continue };
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(TWICE);
        }
        let text =
            value.to_str().map_err(|_| InjectError::Malformed("a declared header is not visible ASCII"))?;
        found.push(Found {
            declared: index,
            place: Place::Header(name.to_owned()),
            content: (read.declared)(index, text.trim())?,
        });
    }
    Ok(())
}

/// Whether a header is a declared place.
pub(super) fn is_declared(call: &AllowedCall, name: &HeaderName) -> bool {
    call.inject.iter().any(|inject| inject.at.strip_prefix(HEADER_PREFIX) == Some(name.as_str()))
}

/// Whether a form's field of this name is a declared place.
fn is_field(inject: &Inject, name: &[u8]) -> bool {
    inject.header().is_none() && inject.at.as_bytes() == name
}

const TWICE: InjectError = InjectError::Malformed("a declared field is given twice");

/// Nothing but variables carries card data, so a query with a literal is refused like any other field with a token.
fn find_in_graphql(declared: &[Inject], body: &[u8], read: Reader<'_>) -> Result<Vec<Found>, InjectError> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(InjectError::Malformed(
            "the body is not one GraphQL request: lists of them are not taken",
        ));
    }
    find_in_json(declared, body, read)
}

fn find_in_xml(
    declared: &[Inject],
    namespace: Option<&str>,
    body: &[u8],
    read: Reader<'_>,
) -> Result<Vec<Found>, InjectError> {
    let selectors: Vec<_> = declared
        .iter()
        .map(|inject| inject.header().is_none().then(|| xml::Selector::parse(&inject.at)))
        .collect();
    let mut found: Vec<Found> = Vec::new();
    xml::scan(body, namespace, Reading::Strict, |path, event| {
        let value = match event {
            xml::Event::Aside(text, _) => return clean::check(text.as_bytes()),
            xml::Event::Value(value) => value,
        };
        let text = Zeroizing::new(value.decoded().into_owned());
        let place =
            selectors.iter().position(|selector| selector.as_ref().is_some_and(|selector| selector.is(path)));
        let Some(index) = place else { return (read.other)(path.name(), text.as_bytes()) };
        if found.iter().any(|other| other.declared == index) {
            return Err(TWICE);
        }
        if value.is_mixed() {
            return Err(InjectError::Malformed("a declared field holds more than text"));
        }
        let content = if value.is_empty_tag { Content::Null } else { (read.declared)(index, &text)? };
        found.push(Found { declared: index, place: value.span.clone().into(), content });
        Ok(())
    })?;
    Ok(found)
}

fn find_in_multipart(
    declared: &[Inject],
    headers: &HeaderMap,
    body: &[u8],
    read: Reader<'_>,
) -> Result<Vec<Found>, InjectError> {
    let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type
        .and_then(multipart::boundary)
        .ok_or(InjectError::Malformed("the content type names no usable boundary"))?;
    let mut found: Vec<Found> = Vec::new();
    for part in multipart::parts(body, boundary)? {
        clean::check(&body[part.head])?;
        let name = &body[part.name];
        let content = &body[part.content.clone()];
        let Some(index) = declared.iter().position(|inject| is_field(inject, name)) else {
            (read.other)(&String::from_utf8_lossy(name), content)?;
            continue;
        };
        if found.iter().any(|other| other.declared == index) {
            return Err(TWICE);
        }
        let text = std::str::from_utf8(content).ok().filter(|_| part.is_field);
        let text = text.ok_or(InjectError::Malformed("a declared field is no plain text"))?;
        let content = (read.declared)(index, text)?;
        found.push(Found { declared: index, place: part.content.into(), content });
    }
    Ok(found)
}

fn find_in_json(declared: &[Inject], body: &[u8], read: Reader<'_>) -> Result<Vec<Found>, InjectError> {
    let pointers: Vec<_> = declared.iter().map(|inject| Pointer::parse(&inject.at)).collect();
    let mut found = Vec::new();
    json::scan(body, Reading::Strict, |path, event| {
        let name = path.name().unwrap_or_default();
        let place =
            || pointers.iter().position(|pointer| pointer.as_ref().is_some_and(|pointer| pointer.is(path)));
        let (span, content) = match event {
            Event::Key(key) => return clean::check(key.decoded().as_bytes()),
            Event::String(text) => {
                let decoded = Zeroizing::new(text.decoded().into_owned());
                let Some(index) = place() else { return (read.other)(name, decoded.as_bytes()) };
                (text.span(), (read.declared)(index, &decoded)?)
            }
            Event::Number(span) => {
                let digits = std::str::from_utf8(&body[span.clone()]).unwrap_or_default();
                // As a number a code has lost its leading zeros.
                let whole = Zeroizing::new(format!("{digits:0>3}"));
                let Some(index) = place() else { return (read.other)(name, whole.as_bytes()) };
                // 4.1e15 is a number too.
                let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
                (span, (read.declared)(index, mantissa)?)
            }
            Event::Null => (0..0, Content::Null),
            Event::Other => (0..0, Content::Other),
        };
        found.extend(place().map(|declared| Found { declared, place: span.into(), content }));
        Ok::<(), InjectError>(())
    })?;
    Ok(found)
}

fn find_in_form(declared: &[Inject], body: &[u8], read: Reader<'_>) -> Result<Vec<Found>, InjectError> {
    let mut found: Vec<Found> = Vec::new();
    for pair in form::pairs(body) {
        let name = form::decode(&body[pair.name]).into_bytes();
        clean::check(&name)?;
        let place = declared.iter().position(|inject| is_field(inject, &name));
        let value = pair.value.clone().unwrap_or_default();
        let decoded = Zeroizing::new(form::decode(&body[value]).into_bytes());
        let Some(index) = place else {
            (read.other)(&String::from_utf8_lossy(&name), &decoded)?;
            continue;
        };
        if found.iter().any(|other| other.declared == index) {
            return Err(TWICE);
        }
        let span = pair.value.ok_or(InjectError::Malformed("a declared field has no value"))?;
        let text = std::str::from_utf8(&decoded)
            .map_err(|_| InjectError::Malformed("a declared field is not UTF-8"))?;
        found.push(Found { declared: index, place: span.into(), content: (read.declared)(index, text)? });
    }
    Ok(found)
}

/// Reads what stands at a declared place.
fn read(inject: &Inject, text: &str) -> Result<Content, InjectError> {
    if let Some(asked) = expression::read(text)? {
        let fits = asked.attribute.is_none_or(|attribute| attribute == inject.attribute);
        return if fits { Ok(Content::Asked(asked)) } else { Err(InjectError::MisplacedToken) };
    }
    if let Some(asked) = expression::read_alias(inject, text) {
        return Ok(Content::Asked(asked));
    }
    if inject.attribute == Attribute::Number && inject.source == Source::Own {
        clean::check_number_place(text)?;
    }
    clean::check(text.as_bytes())?;
    Ok(Content::Plain)
}
