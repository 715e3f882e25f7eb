//! The other way round: card numbers that stand at declared places, taken out and replaced by tokens.
//!
//! Promises: what leaves differs from what came only at the declared places; a card number anywhere else refuses the
//! whole message, and so does a verification code in a field of a usual name; a declared one leaves as stars.
//! Does not promise: to look into fields the entry lists as references, or to know a code in a field that is named otherwise.
//! Upholds: C-53.

use std::collections::BTreeMap;

use http::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use strongroom_domain::route::{AllowedCall, Attribute, ExpiryFormat, Inbound, Inject, OtherPlace, Source};
use strongroom_domain::{Expiry, Token};
use zeroize::Zeroizing;

use super::places::{self, Content, Found, Place};
use super::{InjectError, InjectedCard, Injections, Notation, TOKENS_MAX, clean, find, write};
use crate::body::edit::{self, Edit};
use crate::scrub;

/// Stands where a verification code stood.
const STARS: &str = "***";
/// Longest name of a message. What senders use has 36 bytes; the vault takes 255 with what is added here.
const MESSAGE_ID_BYTES_MAX: usize = 128;

/// What a message held.
pub struct Taken {
    body: Zeroizing<Vec<u8>>,
    /// What makes two deliveries one message.
    pub message_id: String,
    /// The cards, in the order of their numbers' places.
    pub cards: Vec<TakenCard>,
}

/// One card of a message.
pub struct TakenCard {
    /// The number, as it was written.
    pub number: SecretString,
    /// The verification code.
    pub cvc: Option<SecretString>,
    /// The expiry.
    pub expiry: Option<Expiry>,
    /// The cardholder's name.
    pub holder: Option<SecretString>,
    number_at: (Place, Notation),
    cvc_at: Vec<(Place, Notation)>,
}

/// Reads a message and takes its cards out.
pub fn take(entry: &Inbound, headers: &HeaderMap, body: &[u8]) -> Result<Taken, InjectError> {
    let call = &entry.call;
    let declared = |index: usize, text: &str| read(entry, index, text);
    let found = find::scan(call, headers, body, find::Reader { declared: &declared, other: &other })?;
    let first_other = call.inject.len() - entry.others.len();
    let (mut cards, mut message_id) = (BTreeMap::new(), None);
    let (numbers, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| {
        found.declared < first_other && call.inject[found.declared].attribute == Attribute::Number
    });
    for found in numbers {
        let inject = &call.inject[found.declared];
        if let Some(card) = number(call, inject, found)? {
            cards.insert(inject.at.as_str(), card);
        }
    }
    for found in others {
        if found.declared >= first_other {
            let is_id = entry.others[found.declared - first_other] == OtherPlace::MessageId;
            if let (true, Content::Given(text)) = (is_id, found.content) {
                message_id = Some(id(&text)?);
            }
        } else {
            belonging(call, found, &mut cards)?;
        }
    }
    let cards = cards.into_values().map(Building::finish).collect::<Result<Vec<_>, _>>()?;
    match (cards.len(), message_id) {
        (0, _) => {
            Err(InjectError::Malformed("no card number stands at a declared place; nothing was passed on"))
        }
        (TOKENS_MAX.., _) if cards.len() > TOKENS_MAX => Err(InjectError::TooManyTokens),
        (_, None) => Err(InjectError::Malformed("what names the message is missing; nothing was passed on")),
        (_, Some(message_id)) => Ok(Taken { body: Zeroizing::new(body.to_vec()), message_id, cards }),
    }
}

impl Taken {
    /// The message with tokens, given in the order of [`Self::cards`], and what an answer to it must be searched for.
    pub fn write(self, tokens: &[Token]) -> Result<(Vec<u8>, Injections), InjectError> {
        if tokens.len() != self.cards.len() {
            return Err(InjectError::ReleaseMismatch);
        }
        let (mut edits, mut injections) = (Vec::new(), Vec::new());
        for (card, token) in self.cards.into_iter().zip(tokens) {
            let stars = card.cvc_at.into_iter().map(|at| (at, STARS));
            for ((place, notation), text) in std::iter::once((card.number_at, token.as_str())).chain(stars) {
                let span = place.span().ok_or(InjectError::ReleaseMismatch)?;
                edits.push(Edit { span, text: write::notate(notation, text) });
            }
            let digits = digits(&card.number);
            injections.push(InjectedCard { name: token.clone().into(), number: Some(digits), cvc: card.cvc });
        }
        Ok((edit::apply(&self.body, edits), Injections(injections)))
    }
}

/// What stands at a place, by what the place is for.
fn read(entry: &Inbound, index: usize, text: &str) -> Result<Content, InjectError> {
    let first_other = entry.call.inject.len() - entry.others.len();
    let other = index.checked_sub(first_other).map(|other| entry.others[other]);
    match (other, entry.call.inject[index].attribute) {
        (Some(OtherPlace::Reference), _) if clean::holds_token(text.as_bytes()) => {
            Err(InjectError::MisplacedToken)
        }
        (Some(OtherPlace::Reference), _) => Ok(Content::Plain),
        (None, Attribute::Number) if clean::holds_token(text.as_bytes()) => Err(InjectError::MisplacedToken),
        (None, Attribute::Number) if text.trim().is_empty() => Ok(Content::Null),
        (None, Attribute::Number) => Ok(Content::Given(text.into())),
        (Some(OtherPlace::MessageId) | None, _) => {
            clean::check(text.as_bytes())?;
            Ok(if text.is_empty() { Content::Null } else { Content::Given(text.into()) })
        }
    }
}

/// A field nobody declared: no token, no card number, and no code where codes usually stand.
fn other(name: &str, text: &[u8]) -> Result<(), InjectError> {
    clean::check(text)?;
    let code = text.trim_ascii();
    let is_code = matches!(code.len(), 3 | 4) && code.iter().all(u8::is_ascii_digit);
    if is_code && scrub::names_a_code(name) {
        return Err(InjectError::Malformed(
            "a verification code stands in a field the entry does not declare; nothing was passed on",
        ));
    }
    Ok(())
}

/// A card while its parts are found.
struct Building {
    card: TakenCard,
    month: Option<u8>,
    year: Option<u16>,
}

fn number(call: &AllowedCall, inject: &Inject, found: Found) -> Result<Option<Building>, InjectError> {
    let notation = places::notation(call.body, inject, None)?;
    let number = match found.content {
        Content::Given(number) => number,
        Content::Null => return Ok(None),
        Content::Plain | Content::Asked(_) | Content::Other => {
            return Err(InjectError::Malformed("a place for a card number holds neither text nor a number"));
        }
    };
    let number_at = (found.place, notation);
    let card = TakenCard { number, cvc: None, expiry: None, holder: None, number_at, cvc_at: Vec::new() };
    Ok(Some(Building { card, month: None, year: None }))
}

/// What belongs to a number by the place it stands in.
fn belonging(
    call: &AllowedCall,
    found: Found,
    cards: &mut BTreeMap<&str, Building>,
) -> Result<(), InjectError> {
    let inject = &call.inject[found.declared];
    let text = match found.content {
        Content::Given(text) => text,
        Content::Null => return Ok(()),
        // Left where it is, a code in a list would travel on.
        Content::Plain | Content::Asked(_) | Content::Other => {
            return Err(InjectError::Malformed(
                "a place for a part of a card holds neither text nor a number",
            ));
        }
    };
    let Source::Carried { from } = &inject.source else { return Err(InjectError::ReleaseMismatch) };
    let building = cards
        .get_mut(from.as_str())
        .ok_or(InjectError::Malformed("a part of a card stands without its number; nothing was passed on"))?;
    match inject.attribute {
        Attribute::Cvc => {
            building.card.cvc_at.push((found.place, places::notation(call.body, inject, None)?));
            building.card.cvc = Some(text);
        }
        Attribute::Holder => building.card.holder = Some(text),
        Attribute::Exp => building.expires(inject.format, &text)?,
        Attribute::Number | Attribute::NetworkToken | Attribute::Cryptogram => {
            return Err(InjectError::ReleaseMismatch);
        }
    }
    Ok(())
}

impl Building {
    fn expires(&mut self, format: Option<ExpiryFormat>, text: &SecretString) -> Result<(), InjectError> {
        #[expect(clippy::disallowed_methods, reason = "an expiry is read; it is no secret by itself")]
        let read = format.and_then(|format| format.read(text.expose_secret()));
        let (month, year) = read.ok_or(InjectError::Malformed("an expiry is not written as declared"))?;
        self.month = month.or(self.month);
        self.year = year.or(self.year);
        Ok(())
    }

    fn finish(mut self) -> Result<TakenCard, InjectError> {
        const HALF: InjectError = InjectError::Malformed("an expiry has a month or a year only, or is none");
        self.card.expiry = match (self.month, self.year) {
            (None, None) => None,
            (Some(month), Some(year)) => Some(Expiry::new(month, year).map_err(|_| HALF)?),
            _ => return Err(HALF),
        };
        Ok(self.card)
    }
}

/// What names a message: visible ASCII, for it becomes part of a header.
fn id(text: &SecretString) -> Result<String, InjectError> {
    #[expect(clippy::disallowed_methods, reason = "was found to hold no card number; names the message")]
    let text = text.expose_secret();
    let right =
        (1..=MESSAGE_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if right {
        Ok(text.to_owned())
    } else {
        Err(InjectError::Malformed("what names the message is not 1 to 128 visible characters"))
    }
}

/// The digits alone: what an answer is searched for.
fn digits(number: &SecretString) -> SecretString {
    #[expect(clippy::disallowed_methods, reason = "the digits without what parts them; wiped when dropped")]
    let digits: String = number.expose_secret().chars().filter(char::is_ascii_digit).collect();
    digits.into()
}
