//! Why a message was not passed on, and what its sender is told. The match has no `_`: a new one is a decision.

use std::time::Duration;

use strongroom_domain::{Problem, ProblemKind};

use crate::inject::InjectError;
use crate::scrub::DecodeError;
use crate::sign::Unverified;
use crate::upstream::{ConnectError, SendError};
use crate::vault::OpenError;

/// Why a message was not passed on, or its answer not given back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// No entry has this path.
    #[error("no entry has this path")]
    UnknownPath,
    /// Not a `POST`.
    #[error("not a POST")]
    Method,
    /// A client certificate is needed, and this is none of the entry's.
    #[error("not a sender of this entry")]
    Stranger,
    /// The signature is missing or wrong, or the message too old.
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// More messages of this entry than its rate.
    #[error("more messages of this entry than it takes")]
    TooMany(Duration),
    /// The body did not arrive, or is over the limit.
    #[error("the body is too large or did not arrive")]
    Body(Problem),
    /// The content type is not the entry's, or the body is compressed.
    #[error("the content type is not what the entry takes")]
    MediaType,
    /// No card where one is declared, or one where none is.
    #[error(transparent)]
    Message(#[from] InjectError),
    /// The vault took a card not, or not now.
    #[error("the vault made no token")]
    Vault(#[from] OpenError),
    /// No connection to the platform.
    #[error("no connection to the platform")]
    PlatformUnreachable(#[source] ConnectError),
    /// The platform was sent the message and gave no complete answer.
    #[error("the platform gave no complete answer")]
    PlatformUnanswered(#[source] SendError),
    /// The platform's answer leads elsewhere.
    #[error("the platform answered with a redirect")]
    PlatformRedirects,
    /// The platform's answer cannot be searched.
    #[error("the platform's answer cannot be decoded")]
    PlatformUndecodable(#[from] DecodeError),
    /// A defect.
    #[error("the work on this message stopped")]
    Defect,
}

const AGAIN: &str = "the message cannot be taken at the moment; send it again, it stays one message";

impl Refused {
    /// What the sender may know.
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::UnknownPath => Problem::new(ProblemKind::NotFound),
            Self::Method => Problem::new(ProblemKind::MethodNotAllowed),
            Self::Stranger => Problem::because(
                ProblemKind::Forbidden,
                "the client certificate is none of a sender of this path; nothing was passed on",
            ),
            Self::Unverified(_) => Problem::because(
                ProblemKind::Forbidden,
                "the signature is missing or wrong, or the message is too old; nothing was passed on",
            ),
            Self::TooMany(again) => Problem::new(ProblemKind::RateLimited).again_after(*again),
            Self::Body(problem) => *problem,
            Self::MediaType => Problem::new(ProblemKind::UnsupportedMediaType),
            Self::Message(error) => error.problem(),
            Self::Vault(error) => vault(error),
            Self::PlatformUnreachable(_)
            | Self::PlatformUnanswered(_)
            | Self::PlatformRedirects
            | Self::PlatformUndecodable(_) => Problem::because(ProblemKind::Unavailable, AGAIN),
            Self::Defect => Problem::new(ProblemKind::Internal),
        }
    }

    /// Whether a person should look: not the sender's doing.
    pub(super) const fn is_ours(&self) -> bool {
        match self {
            Self::UnknownPath
            | Self::Method
            | Self::Stranger
            | Self::Unverified(_)
            | Self::TooMany(_)
            | Self::Body(_)
            | Self::MediaType
            | Self::Message(_) => false,
            Self::Vault(_)
            | Self::PlatformUnreachable(_)
            | Self::PlatformUnanswered(_)
            | Self::PlatformRedirects
            | Self::PlatformUndecodable(_)
            | Self::Defect => true,
        }
    }
}

/// A card the vault does not take is the sender's to mend; anything else is for later.
fn vault(error: &OpenError) -> Problem {
    match error {
        OpenError::Refused { kind: Some(kind), .. }
            if matches!(
                kind,
                ProblemKind::InvalidCard
                    | ProblemKind::NumberNotAccepted
                    | ProblemKind::InvalidRequest
                    | ProblemKind::IdempotencyKeyReused
            ) =>
        {
            Problem::new(*kind)
        }
        _ => Problem::because(ProblemKind::Unavailable, AGAIN),
    }
}
