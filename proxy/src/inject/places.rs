//! Settling which card fills which declared place.

use std::collections::BTreeMap;
use std::ops::Range;

use http::HeaderName;
use secrecy::SecretString;
use strongroom_domain::CardName;
use strongroom_domain::route::{
    AllowedCall, Attribute, AttributeSet, BodyFormat, ExpiryFormat, Inject, JsonForm, Source,
};

use super::expression::Asked;
use super::{InjectError, Insertion, Notation, TOKENS_MAX, Wanted};

/// A declared place that is there.
pub(super) struct Found {
    /// Index in the call's `inject`.
    pub(super) declared: usize,
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a value replaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    /// Start and end in the body; of a JSON string with its quotes.
    Body(usize, usize),
    /// The whole value of a header.
    Header(String),
}

impl From<Range<usize>> for Place {
    fn from(span: Range<usize>) -> Self {
        Self::Body(span.start, span.end)
    }
}

impl Place {
    pub(super) fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Body(start, end) => Some(*start..*end),
            Self::Header(_) => None,
        }
    }

    pub(super) fn header(&self) -> Option<HeaderName> {
        match self {
            Self::Body(..) => None,
            Self::Header(name) => HeaderName::try_from(name.as_str()).ok(),
        }
    }
}

pub(super) enum Content {
    /// Text that is no token.
    Plain,
    /// Text that is taken out ([`super::take`]), never where tokens go in.
    Given(SecretString),
    Asked(Asked),
    /// JSON `null`, or `<a/>`: the caller says there is no such value.
    Null,
    /// A JSON object, array, `true` or `false`.
    Other,
}

/// What becomes of the declared places that are there.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) wanted: Vec<Wanted>,
    pub(super) insertions: Vec<Insertion>,
    /// Places that stay as the caller wrote them, each with its index in the call's `inject`.
    pub(super) kept: Vec<(usize, Place)>,
}

/// Settles which card fills which place.
pub(super) fn resolve(call: &AllowedCall, mut found: Vec<Found>) -> Result<Resolved, InjectError> {
    let carriers: BTreeMap<String, CardName> = found
        .iter()
        .filter_map(|found| match &found.content {
            Content::Asked(asked) => Some((call.inject[found.declared].at.clone(), asked.name.clone())),
            Content::Plain | Content::Given(_) | Content::Null | Content::Other => None,
        })
        .collect();
    found.sort_by(|one, other| one.place.cmp(&other.place));
    let mut resolved = Resolved::default();
    for found in found {
        let inject = &call.inject[found.declared];
        let Some((name, format)) = filling(inject, found.content, &carriers)? else {
            resolved.kept.push((found.declared, found.place));
            continue;
        };
        let format = format.or(inject.format);
        let notation = notation(call.body, inject, format)?;
        let card = want(&mut resolved.wanted, name, inject.attribute)?;
        resolved.insertions.push(Insertion {
            declared: found.declared,
            place: found.place,
            card,
            attribute: inject.attribute,
            format,
            notation,
        });
    }
    Ok(resolved)
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
                Content::Plain | Content::Given(_) | Content::Null | Content::Other => None,
            });
        }
        Source::Carried { from } => carriers.get(from),
    };
    match (carrier, content) {
        (Some(carrier), Content::Asked(asked)) if asked.name == *carrier => {
            Ok(Some((asked.name, asked.format)))
        }
        (_, Content::Asked(_)) => Err(InjectError::MisplacedToken),
        (Some(carrier), Content::Plain | Content::Given(_)) => Ok(Some((carrier.clone(), None))),
        (Some(_), Content::Other) => {
            Err(InjectError::Malformed("a place to be filled holds neither text nor a number"))
        }
        (Some(_), Content::Null)
        | (None, Content::Plain | Content::Given(_) | Content::Null | Content::Other) => Ok(None),
    }
}

pub(super) fn notation(
    body: BodyFormat,
    inject: &Inject,
    format: Option<ExpiryFormat>,
) -> Result<Notation, InjectError> {
    if inject.header().is_some() {
        return Ok(Notation::Plain);
    }
    match (body, inject.json_form, format) {
        (BodyFormat::Form, _, _) => Ok(Notation::Form),
        (BodyFormat::Multipart, _, _) => Ok(Notation::Plain),
        (BodyFormat::Xml, _, _) => Ok(Notation::Xml),
        (BodyFormat::Json | BodyFormat::Graphql, JsonForm::String, _) => Ok(Notation::JsonString),
        (
            BodyFormat::Json | BodyFormat::Graphql,
            JsonForm::Integer,
            Some(
                ExpiryFormat::M
                | ExpiryFormat::MM
                | ExpiryFormat::YY
                | ExpiryFormat::YYYY
                | ExpiryFormat::MMYY,
            ),
        ) => Ok(Notation::JsonInteger),
        (BodyFormat::Json | BodyFormat::Graphql, JsonForm::Integer, _) => Err(
            InjectError::InvalidExpression("this place takes an integer, which this format does not write"),
        ),
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
