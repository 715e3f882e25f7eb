//! What a plan would do, shown without card data.
//!
//! Promises: each place gets a word for what would stand there, by the code that writes the real value; a verification
//! code the caller wrote in clear at its declared place is not shown.
//! Does not promise: the length of the real body; a word is longer or shorter than what it stands for.
//! Upholds: C-50.

use http::{HeaderName, HeaderValue};
use strongroom_domain::Brand;
use strongroom_domain::route::{AllowedCall, Attribute, ExpiryFormat};
use zeroize::Zeroizing;

use super::places::{self, Place};
use super::{InjectError, Insertion, Notation, Plan, Wanted, write};
use crate::body::edit::{self, Edit};

/// Stands where a caller's own verification code would leave as it came.
const CVC_IN_CLEAR: &str = "CVC_IN_CLEAR";

/// What is known of a card: facts the vault shows to whoever may read them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its brand, if the tenant keeps facts.
    pub brand: Option<Brand>,
    /// Number of its digits, if the tenant keeps facts.
    pub length: Option<u8>,
}

/// A request with words in the places of card data.
#[derive(Debug)]
pub struct Explained {
    /// The body.
    pub body: Vec<u8>,
    /// The declared headers, to replace those that came.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The places that are filled, in the order of the message.
    pub fields: Vec<Field>,
    /// The declared places that stay as the caller wrote them.
    pub kept: Vec<Kept>,
    /// The cards, as [`Plan::wanted`] lists them.
    pub wanted: Vec<Wanted>,
}

/// One place that is filled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its selector.
    pub at: String,
    /// What it gets.
    pub attribute: Attribute,
    /// Of which card: an index in [`Explained::wanted`].
    pub card: usize,
    /// How an expiry is written.
    pub format: Option<ExpiryFormat>,
    /// The word that stands there.
    pub word: String,
    /// How many characters the real value has, where that is known.
    pub length: Option<u8>,
}

/// One declared place that stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its selector.
    pub at: String,
    /// What it is declared for.
    pub attribute: Attribute,
}

impl Plan {
    /// Writes words where [`Self::inject`] writes values. `known` is in the order of [`Self::wanted`]; a card it does not
    /// reach, or has nothing of, is unknown.
    pub fn explain(self, call: &AllowedCall, known: &[Option<Known>]) -> Result<Explained, InjectError> {
        let Self { body, wanted, insertions, kept } = self;
        let (mut edits, mut headers, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        for insertion in insertions {
            let field = field(&insertion, call, known.get(insertion.card).copied().flatten());
            // An integer has to stay one: what encrypts reads the body again.
            let word = if insertion.notation == Notation::JsonInteger { "0" } else { field.word.as_str() };
            put(insertion.place, write::notate(insertion.notation, word), &mut edits, &mut headers)?;
            fields.push(field);
        }
        let mut stay = Vec::new();
        for (declared, place) in kept {
            let inject = &call.inject[declared];
            let is_there = place.span().is_none_or(|span| !span.is_empty());
            if inject.attribute == Attribute::Cvc && is_there {
                let word = write::notate(places::notation(call.body, inject, None)?, CVC_IN_CLEAR);
                put(place, word, &mut edits, &mut headers)?;
            }
            stay.push(Kept { at: inject.at.clone(), attribute: inject.attribute });
        }
        Ok(Explained { body: edit::apply(&body, edits), headers, fields, kept: stay, wanted })
    }
}

fn put(
    place: Place,
    text: Zeroizing<String>,
    edits: &mut Vec<Edit>,
    headers: &mut Vec<(HeaderName, HeaderValue)>,
) -> Result<(), InjectError> {
    match (place.span(), place.header()) {
        (Some(span), _) => edits.push(Edit { span, text }),
        (None, Some(name)) => {
            headers.push((name, HeaderValue::try_from(&*text).map_err(|_| InjectError::ReleaseMismatch)?));
        }
        (None, None) => return Err(InjectError::ReleaseMismatch),
    }
    Ok(())
}

fn field(insertion: &Insertion, call: &AllowedCall, known: Option<Known>) -> Field {
    let brand = known.and_then(|known| known.brand);
    let length = match insertion.attribute {
        Attribute::Number => known.and_then(|known| known.length),
        Attribute::Cvc => brand.map(|brand| if brand == Brand::Amex { 4 } else { 3 }),
        Attribute::Exp => insertion.format.and_then(exp_length),
        Attribute::Holder | Attribute::NetworkToken | Attribute::Cryptogram => None,
    };
    let mut word = insertion.attribute.as_str().to_ascii_uppercase();
    let brand = brand.filter(|_| insertion.attribute == Attribute::Number).map(|brand| brand.as_str().into());
    let format = insertion.format.map(|format| format.as_str().to_owned());
    let length_of_secret = length.filter(|_| insertion.format.is_none()).map(|length| length.to_string());
    for part in [brand, length_of_secret, format].into_iter().flatten() {
        word.push('_');
        word.push_str(&part);
    }
    Field {
        at: call.inject[insertion.declared].at.clone(),
        attribute: insertion.attribute,
        card: insertion.card,
        format: insertion.format,
        word,
        length,
    }
}

/// How long an expiry is in this format; a month without its zero may be either.
fn exp_length(format: ExpiryFormat) -> Option<u8> {
    match format {
        ExpiryFormat::M => None,
        _ => u8::try_from(format.as_str().len()).ok(),
    }
}
