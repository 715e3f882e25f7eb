//! What an operation's failure means. `http/problem.rs` decides what the caller may know of it.

use strongroom_domain::{FirstState, ForwardId, Problem};
use strongroom_sealing::{KeyError, OpenError, SealError};

use crate::authz::Denied;
use crate::store::{CommitError, StoreError};

/// Why an operation did nothing.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The request is not what the call takes; the problem says where.
    #[error("the request is not what this call takes")]
    Request(Problem),
    /// Policy does not allow it.
    #[error("policy does not allow it")]
    Denied(Denied),
    /// Unknown, expired, erased, or another tenant's token.
    #[error("unknown token")]
    UnknownToken,
    /// No such tenant.
    #[error("unknown tenant")]
    UnknownTenant,
    /// No such forward of this proxy.
    #[error("unknown forward")]
    UnknownForward,
    /// A field of the card is wrong; the problem says which.
    #[error("a field of the card is not valid")]
    InvalidCard(Problem),
    /// The number belongs to the other environment.
    #[error("the number belongs to the other environment")]
    NumberNotAccepted,
    /// The brand is not one this tenant takes.
    #[error("the tenant does not take this brand")]
    BrandNotAccepted,
    /// The tenant may not ask for this format.
    #[error("the tenant may not ask for this format")]
    FormatNotAllowed,
    /// The alias leads to another card.
    #[error("the alias leads to another card")]
    AliasTaken,
    /// No free alias was found in the draws one request has.
    #[error("the space of aliases runs thin")]
    AliasSpaceThin,
    /// One caller brought too many numbers that differ only in the middle to a tenant that deduplicates.
    #[error("too many numbers of one BIN and last four by one caller")]
    GuessLimited,
    /// A route needs a value the card does not hold.
    #[error("the card does not hold a value the route needs")]
    AttributeUnavailable,
    /// The route, its hash or the call on it is not one this vault knows.
    #[error("the vault knows no such route or call: {0}")]
    RouteRefused(&'static str),
    /// A request with this idempotency key is being worked on.
    #[error("idempotency key in flight")]
    IdempotencyInFlight,
    /// The idempotency key was used with another request.
    #[error("idempotency key reused")]
    IdempotencyKeyReused,
    /// Too many requests of this principal.
    #[error("a limit of this principal is reached")]
    RateLimited,
    /// Too many cards were erased within the hour.
    #[error("the breaker against mass erasure is open")]
    EraseBreaker {
        /// Until it closes.
        again: std::time::Duration,
    },
    /// No such export of this tenant.
    #[error("unknown export")]
    UnknownExport,
    /// No such receipt, or one of entries that are not for this caller.
    #[error("unknown receipt")]
    UnknownReceipt,
    /// The log has no such file.
    #[error("no such file of the log")]
    UnknownLogFile,
    /// The signed log in the database does not hold together: it was altered.
    #[error("the signed log in the database does not hold together: it was altered")]
    LogDamaged,
    /// The export does not go on.
    #[error("the export does not go on: {0}")]
    Export(super::export::ExportRefusal),
    /// The payment reference is another forward's.
    #[error("the payment reference is another forward's")]
    ReferenceTaken {
        /// The first forward under it.
        forward: ForwardId,
        /// What is known of that.
        first: FirstState,
    },
    /// The PSP may still get it: that it never did is not to be said yet.
    #[error("the psp may still get it")]
    TooEarly,
    /// Somebody else changed it first, or it is not in a state for this.
    #[error("the present state does not allow this")]
    Conflict,
    /// It is the last workload that could help and is not suspended.
    #[error("the last workload of a role that must stay")]
    LastOfRole,
    /// It is not at the version the change was made for.
    #[error("not at this version any more")]
    Stale,
    /// The change does not say of which version it is.
    #[error("the change does not say of which version it is")]
    VersionRequired,
    /// A shorter retention ends cards, and this many were not confirmed.
    #[error("a shorter retention ends cards that were not confirmed")]
    RetentionShortened(super::retention::CardsDue),
    /// No room for another verification code.
    #[error("no room for another verification code")]
    ShelfFull,
    /// Keys are not available.
    #[error("keys are not available")]
    Keys(#[from] KeyError),
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[from] SealError),
    /// A record did not open: tampering or a lost key.
    #[error("a record did not open")]
    Unsealed(#[from] OpenError),
    /// The commit did not happen.
    #[error("the commit did not happen")]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] strongroom_domain::RandomUnavailable),
    /// A defect of ours: what should always be possible was not.
    #[error("defect: {0}")]
    Defect(&'static str),
}

impl From<Denied> for OperationError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}
