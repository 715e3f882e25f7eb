//! Finding the declared places of a body, and settling which card fills which.

use std::collections::BTreeMap;
use std::ops::Range;

use strongroom_domain::CardName;
use strongroom_domain::route::{
    AllowedCall, Attribute, AttributeSet, BodyFormat, ExpiryFormat, Inject, JsonForm, Source,
};
use zeroize::Zeroizing;

use super::expression::{self, Asked};
use super::{InjectError, Insertion, Notation, TOKENS_MAX, Wanted, clean};
use crate::body::form;
use crate::body::json::{self, Event, Pointer, Reading};

/// A declared place that is there.
pub(super) struct Found {
    /// Index in the call's `inject`.
    declared: usize,
    /// What a value would replace.
    span: Range<usize>,
    content: Content,
}

enum Content {
    /// Text that is no token.
    Plain,
    Asked(Asked),
    /// JSON `null`: the caller says there is no such value.
    Null,
    /// A JSON object, array, `true` or `false`.
    Other,
}

/// Finds the declared places and refuses tokens and card numbers everywhere else. No body has no places.
pub(super) fn find(call: &AllowedCall, body: &[u8]) -> Result<Vec<Found>, InjectError> {
    match call.body {
        _ if body.is_empty() => Ok(Vec::new()),
        BodyFormat::Json => find_in_json(&call.inject, body),
        BodyFormat::Form => find_in_form(&call.inject, body),
    }
}

fn find_in_json(declared: &[Inject], body: &[u8]) -> Result<Vec<Found>, InjectError> {
    let pointers: Vec<_> = declared.iter().map(|inject| Pointer::parse(&inject.at)).collect();
    let mut found = Vec::new();
    json::scan(body, Reading::Strict, |path, event| {
        let place =
            || pointers.iter().position(|pointer| pointer.as_ref().is_some_and(|pointer| pointer.is(path)));
        let (span, content) = match event {
            Event::Key(key) => return clean::check(key.decoded().as_bytes()),
            Event::String(text) => {
                let decoded = Zeroizing::new(text.decoded().into_owned());
                let Some(index) = place() else { return clean::check(decoded.as_bytes()) };
                (text.span(), read(&declared[index], &decoded)?)
            }
            Event::Number(span) => {
                let digits = std::str::from_utf8(&body[span.clone()]).unwrap_or_default();
                let Some(index) = place() else { return clean::check(digits.as_bytes()) };
                // 4.1e15 is a number too.
                let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
                (span, read(&declared[index], mantissa)?)
            }
            Event::Null => (0..0, Content::Null),
            Event::Other => (0..0, Content::Other),
        };
        found.extend(place().map(|declared| Found { declared, span, content }));
        Ok::<(), InjectError>(())
    })?;
    Ok(found)
}

fn find_in_form(declared: &[Inject], body: &[u8]) -> Result<Vec<Found>, InjectError> {
    let mut found: Vec<Found> = Vec::new();
    for pair in form::pairs(body) {
        let name = form::decode(&body[pair.name]).into_bytes();
        clean::check(&name)?;
        let place = declared.iter().position(|inject| inject.at.as_bytes() == name);
        let value = pair.value.clone().unwrap_or_default();
        let decoded = Zeroizing::new(form::decode(&body[value]).into_bytes());
        let Some(index) = place else {
            clean::check(&decoded)?;
            continue;
        };
        if found.iter().any(|other| other.declared == index) {
            return Err(InjectError::Malformed("a declared field is given twice"));
        }
        let span = pair.value.ok_or(InjectError::Malformed("a declared field has no value"))?;
        let text = std::str::from_utf8(&decoded)
            .map_err(|_| InjectError::Malformed("a declared field is not UTF-8"))?;
        found.push(Found { declared: index, span, content: read(&declared[index], text)? });
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

/// Settles which card fills which place.
pub(super) fn resolve(
    call: &AllowedCall,
    mut found: Vec<Found>,
) -> Result<(Vec<Wanted>, Vec<Insertion>), InjectError> {
    let carriers: BTreeMap<String, CardName> = found
        .iter()
        .filter_map(|found| match &found.content {
            Content::Asked(asked) => Some((call.inject[found.declared].at.clone(), asked.name.clone())),
            Content::Plain | Content::Null | Content::Other => None,
        })
        .collect();
    found.sort_by_key(|found| found.span.start);
    let (mut wanted, mut insertions) = (Vec::new(), Vec::new());
    for found in found {
        let inject = &call.inject[found.declared];
        let Some((name, format)) = filling(inject, found.content, &carriers)? else { continue };
        let format = format.or(inject.format);
        let notation = notation(call.body, inject, format)?;
        let card = want(&mut wanted, name, inject.attribute)?;
        insertions.push(Insertion { span: found.span, card, attribute: inject.attribute, format, notation });
    }
    Ok((wanted, insertions))
}

type Filling = (CardName, Option<ExpiryFormat>);

/// The token whose card fills a place, and the format the caller asked for. `None`: the place stays as it is.
fn filling(
    inject: &Inject,
    content: Content,
    carriers: &BTreeMap<String, CardName>,
) -> Result<Option<Filling>, InjectError> {
    let carrier = match &inject.source {
        Source::Own => {
            return Ok(match content {
                Content::Asked(asked) => Some((asked.name, asked.format)),
                Content::Plain | Content::Null | Content::Other => None,
            });
        }
        Source::Carried { from } => carriers.get(from),
    };
    match (carrier, content) {
        (Some(carrier), Content::Asked(asked)) if asked.name == *carrier => {
            Ok(Some((asked.name, asked.format)))
        }
        (_, Content::Asked(_)) => Err(InjectError::MisplacedToken),
        (Some(carrier), Content::Plain) => Ok(Some((carrier.clone(), None))),
        (Some(_), Content::Other) => {
            Err(InjectError::Malformed("a place to be filled holds neither text nor a number"))
        }
        (Some(_), Content::Null) | (None, Content::Plain | Content::Null | Content::Other) => Ok(None),
    }
}

fn notation(
    body: BodyFormat,
    inject: &Inject,
    format: Option<ExpiryFormat>,
) -> Result<Notation, InjectError> {
    match (body, inject.json_form, format) {
        (BodyFormat::Form, _, _) => Ok(Notation::Form),
        (BodyFormat::Json, JsonForm::String, _) => Ok(Notation::JsonString),
        (
            BodyFormat::Json,
            JsonForm::Integer,
            Some(
                ExpiryFormat::M
                | ExpiryFormat::MM
                | ExpiryFormat::YY
                | ExpiryFormat::YYYY
                | ExpiryFormat::MMYY,
            ),
        ) => Ok(Notation::JsonInteger),
        (BodyFormat::Json, JsonForm::Integer, _) => Err(InjectError::InvalidExpression(
            "this place takes an integer, which this format does not write",
        )),
    }
}

/// Notes that a card's attribute is needed; gives the card's index.
fn want(wanted: &mut Vec<Wanted>, name: CardName, attribute: Attribute) -> Result<usize, InjectError> {
    let known = wanted.iter().position(|wanted| wanted.name == name);
    if known.is_none() {
        if wanted.len() == TOKENS_MAX {
            return Err(InjectError::TooManyTokens);
        }
        wanted.push(Wanted { name, attributes: AttributeSet::default() });
    }
    let card = known.unwrap_or(wanted.len() - 1);
    wanted[card].attributes.insert(attribute);
    Ok(card)
}
