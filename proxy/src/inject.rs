//! Putting card data into the declared places of one request, and nowhere else.
//!
//! Promises: a token outside a declared place, or a card number anywhere, refuses the whole request; what leaves
//! differs from what came only at the declared places, each filled exactly once.
//! Does not promise: to judge a verification code or an expiry the caller wrote in clear at its declared place: it
//! passes as it is, and nothing here logs it. Nor to find a number the caller hid: encrypted, compressed, in base64.
//! Trusts: the vault for what it releases; only its shape is checked.
//! Upholds: C-15.

mod clean;
mod explain;
mod expression;
mod find;
mod places;
mod take;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use strongroom_domain::route::{AllowedCall, Attribute, AttributeSet, ExpiryFormat};
use strongroom_domain::{CardName, Expiry, Problem, ProblemKind};
use zeroize::Zeroizing;

use crate::body::Malformed;
use crate::body::edit::Edit;
use places::Place;

pub use explain::{Explained, Field, Kept, Known};
pub use take::{Taken, TakenCard, take};

/// What to ask the vault for and where to put it. Holds no card data of the vault's.
pub struct Plan {
    /// The request's own body, which may hold a verification code in clear.
    body: Zeroizing<Vec<u8>>,
    wanted: Vec<Wanted>,
    insertions: Vec<Insertion>,
    /// Declared places that stay as the caller wrote them.
    kept: Vec<(usize, Place)>,
}

/// One place to fill.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Insertion {
    /// Index in the call's `inject`.
    declared: usize,
    place: Place,
    /// Index of the card in [`Plan::wanted`].
    card: usize,
    attribute: Attribute,
    /// Present exactly for [`Attribute::Exp`].
    format: Option<ExpiryFormat>,
    notation: Notation,
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notation {
    Form,
    JsonString,
    JsonInteger,
    /// With XML's five entities, the same in an element and in an attribute.
    Xml,
    /// As it is: a header, or a part of a multipart form.
    Plain,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("wanted", &self.wanted).field("insertions", &self.insertions).finish()
    }
}

/// One card a request names and what the declared places need of its card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its token, or another name of it.
    pub name: CardName,
    /// What the places it fills are declared to take.
    pub attributes: AttributeSet,
}

/// What the vault released for one [`Wanted`].
#[derive(Debug, Default)]
pub struct ReleasedCard {
    /// The number: digits only.
    pub number: Option<SecretString>,
    /// The verification code.
    pub cvc: Option<SecretString>,
    /// The expiry.
    pub expiry: Option<Expiry>,
    /// The cardholder's name.
    pub holder: Option<SecretString>,
}

/// A request with card data in it; the body is wiped when dropped, headers when freed.
pub struct Injected {
    /// The bytes to send.
    pub body: Zeroizing<Vec<u8>>,
    /// The declared headers, to replace those that came.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the answer must be searched for.
    pub secrets: Injections,
}

impl fmt::Debug for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injected").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// What was injected, for [`crate::scrub`]. The default is nothing: calls that pass without card data.
#[derive(Debug, Default)]
pub struct Injections(pub(crate) Vec<InjectedCard>);

/// What was injected of one card.
#[derive(Debug)]
pub(crate) struct InjectedCard {
    pub(crate) name: CardName,
    pub(crate) number: Option<SecretString>,
    pub(crate) cvc: Option<SecretString>,
}

/// Why a request is refused. Nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InjectError {
    /// A token, or something shaped like one, where none is declared.
    #[error("a token stands where none is declared")]
    MisplacedToken,
    /// A card number.
    #[error("the request holds a card number")]
    PanInRequest,
    /// A token expression that cannot be read, or asks for something else than its place is declared for.
    #[error("a token expression cannot be used: {0}")]
    InvalidExpression(&'static str),
    /// Not the body format the call is declared with.
    #[error("the body cannot be read: {0}")]
    Malformed(&'static str),
    /// More than [`TOKENS_MAX`] different tokens.
    #[error("the request holds too many tokens")]
    TooManyTokens,
    /// The card does not hold what a declared place needs.
    #[error("the card does not hold what a place needs")]
    AttributeMissing,
    /// The released cards are not those asked for.
    #[error("the released cards are not those asked for")]
    ReleaseMismatch,
}

/// Most tokens in one request (design §5, `forwards`).
pub const TOKENS_MAX: usize = 8;

impl InjectError {
    /// What the caller may know.
    #[must_use]
    pub const fn problem(self) -> Problem {
        match self {
            Self::MisplacedToken => Problem::new(ProblemKind::MisplacedToken),
            Self::PanInRequest => Problem::new(ProblemKind::PanInRequest),
            Self::InvalidExpression(why) => Problem::because(ProblemKind::InvalidExpression, why),
            Self::Malformed(why) => Problem::because(ProblemKind::InvalidRequest, why),
            Self::TooManyTokens => {
                Problem::because(ProblemKind::InvalidRequest, "a request holds at most 8 different tokens")
            }
            Self::AttributeMissing => Problem::new(ProblemKind::AttributeUnavailable),
            Self::ReleaseMismatch => Problem::new(ProblemKind::Internal),
        }
    }
}

impl From<Malformed> for InjectError {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Malformed(why)
    }
}

/// Reads a request and finds the tokens at the call's declared places.
pub fn plan(call: &AllowedCall, headers: &HeaderMap, body: &[u8]) -> Result<Plan, InjectError> {
    let found = find::find(call, headers, body)?;
    let places::Resolved { wanted, insertions, kept } = places::resolve(call, found)?;
    Ok(Plan { body: Zeroizing::new(body.to_vec()), wanted, insertions, kept })
}

impl Plan {
    /// Each token once, in order of first appearance, with what is needed of its card.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        self.wanted.clone()
    }

    /// Whether the request holds no token: nothing to ask the vault for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Writes the released cards, given in the order of [`Self::wanted`], into their places.
    pub fn inject(self, cards: &[ReleasedCard]) -> Result<Injected, InjectError> {
        if cards.len() != self.wanted.len() || !cards.iter().all(write::is_well_formed) {
            return Err(InjectError::ReleaseMismatch);
        }
        let (mut edits, mut headers) = (Vec::new(), Vec::new());
        for insertion in &self.insertions {
            let written = write::write(insertion, &cards[insertion.card])?;
            match (insertion.place.span(), insertion.place.header()) {
                (Some(span), _) => edits.push(Edit { span, text: written }),
                (None, Some(name)) => headers.push((name, write::header(&written)?)),
                (None, None) => return Err(InjectError::ReleaseMismatch),
            }
        }
        let body = Zeroizing::new(crate::body::edit::apply(&self.body, edits));
        let secrets = self.wanted.into_iter().zip(cards).map(|(wanted, card)| InjectedCard {
            name: wanted.name,
            number: card.number.clone(),
            cvc: card.cvc.clone(),
        });
        Ok(Injected { body, headers, secrets: Injections(secrets.collect()) })
    }
}

/// Refuses a token or a card number in what is not the body: path, query and headers, less those that are the call's
/// declared places.
pub fn check_clean(
    call: Option<&AllowedCall>,
    path_and_query: &str,
    headers: &HeaderMap,
) -> Result<(), InjectError> {
    clean::check(path_and_query.as_bytes())?;
    headers.iter().try_for_each(|(name, value)| {
        clean::check(name.as_str().as_bytes())?;
        if call.is_some_and(|call| find::is_declared(call, name)) {
            return Ok(());
        }
        clean::check(value.as_bytes())
    })
}

/// Refuses a token or a card number in the body of a call that passes without card data, whatever its format: as it
/// stands, percent-decoded and with JSON escapes undone.
pub fn check_passed_body(body: &[u8]) -> Result<(), InjectError> {
    clean::check(body)
}
