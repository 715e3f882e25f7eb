//! Putting card data into the declared places of one request, and nowhere else.
//!
//! Promises: a token outside a declared place, or a card number anywhere, refuses the whole request; what leaves
//! differs from what came only at the declared places.
//! Does not promise: to judge a verification code or an expiry the caller wrote in clear at its declared place: it
//! passes as it is, and nothing here logs it.
//! Upholds: design §6, steps 1, 2 and 4.

use http::HeaderMap;
use secrecy::SecretString;
use strongroom_domain::route::{AllowedCall, AttributeSet};
use strongroom_domain::{Expiry, Problem, ProblemKind, Token};
use zeroize::Zeroizing;

/// What to ask the vault for and where to put it. Holds no card data of the vault's.
pub struct Plan {
    wanted: Vec<Wanted>,
}

/// One token of a request and what the declared places need of its card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The token.
    pub token: Token,
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

/// A body with card data in it, wiped when dropped.
pub struct Injected {
    /// The bytes to send.
    pub body: Zeroizing<Vec<u8>>,
    /// What the answer must be searched for.
    pub secrets: Injections,
}

/// What was injected, for [`crate::scrub`]. The default is nothing: calls that pass without card data.
#[derive(Debug, Default)]
pub struct Injections {}

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

/// Reads a request body and finds the tokens at the call's declared places.
pub fn plan(_call: &AllowedCall, _body: &[u8]) -> Result<Plan, InjectError> {
    Err(InjectError::Malformed("no body can be read"))
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
        if cards.len() != self.wanted.len() {
            return Err(InjectError::ReleaseMismatch);
        }
        Err(InjectError::AttributeMissing)
    }
}

/// Refuses a token or a card number in what is not the body: path, query and headers.
pub fn check_clean(_path_and_query: &str, _headers: &HeaderMap) -> Result<(), InjectError> {
    Err(InjectError::MisplacedToken)
}

/// Refuses a token or a card number in the body of a call that passes without card data.
pub fn check_passed_body(_body: &[u8]) -> Result<(), InjectError> {
    Err(InjectError::MisplacedToken)
}
