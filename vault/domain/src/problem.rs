//! What a caller may know of a failure: RFC 9457 problem types, stable across releases.
//!
//! Promises: nothing of the input is in a problem; every text is a constant of this program.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::ForwardId;

/// A failure as callers see it. Everything but the numbers is `&'static str`, so no input can be echoed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The stable type.
    pub kind: ProblemKind,
    /// What happened, for a person.
    pub detail: &'static str,
    /// The field of the request that is wrong, as a JSON Pointer of the documented schema (RFC 6901).
    pub pointer: Option<&'static str>,
    /// When a retry may help (RFC 9110 §10.2.3).
    pub retry_after: Option<Duration>,
    /// The forward this is about.
    pub forward: Option<ForwardId>,
    /// What the same request must bring to be done.
    pub confirm: Option<Confirm>,
    /// What is known of the forward this is about.
    pub state: Option<FirstState>,
}

/// What is known of the first forward under a payment reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FirstState {
    /// It is on its way, or its outcome was not told yet.
    InFlight,
    /// The PSP answered it.
    Answered,
    /// It was sent, or may have been, and no whole answer came.
    Unknown,
}

impl FirstState {
    /// As problems write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in-flight",
            Self::Answered => "answered",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::InFlight, Self::Answered, Self::Unknown].into_iter().find(|state| state.as_str() == text)
    }
}

/// How many things a request would end, as at a time: to be said back if that is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirm {
    /// How many.
    pub count: u64,
    /// As at when they were counted.
    pub as_of: Timestamp,
}

impl Problem {
    /// A problem with its type's own words.
    #[must_use]
    pub const fn new(kind: ProblemKind) -> Self {
        Self {
            kind,
            detail: kind.title(),
            pointer: None,
            retry_after: kind.retry_after(),
            forward: None,
            confirm: None,
            state: None,
        }
    }

    /// A problem with more particular words.
    #[must_use]
    pub const fn because(kind: ProblemKind, detail: &'static str) -> Self {
        Self { detail, ..Self::new(kind) }
    }

    /// The same, with the time after which a retry may help.
    #[must_use]
    pub const fn again_after(self, time: Duration) -> Self {
        Self { retry_after: Some(time), ..self }
    }

    /// The same, pointing at a field.
    #[must_use]
    pub const fn at(self, pointer: &'static str) -> Self {
        Self { pointer: Some(pointer), ..self }
    }

    /// The same, with what would have to be confirmed.
    #[must_use]
    pub const fn to_confirm(self, count: u64, as_of: Timestamp) -> Self {
        Self { confirm: Some(Confirm { count, as_of }), ..self }
    }

    /// The same, with what is known of the forward it is about.
    #[must_use]
    pub const fn in_state(self, state: FirstState) -> Self {
        Self { state: Some(state), ..self }
    }

    /// The same, about a forward.
    #[must_use]
    pub const fn of_forward(self, forward: ForwardId) -> Self {
        Self { forward: Some(forward), ..self }
    }
}

macro_rules! problem_kinds {
    ($($(#[$doc:meta])* $variant:ident = ($status:literal, $slug:literal, $title:literal),)*) => {
        /// The types of problem. A new one is an addition to `vault/docs/problems.md`; a test holds the page to this list.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ProblemKind { $($(#[$doc])* $variant,)* }

        impl ProblemKind {
            /// Every type, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$variant => $status,)* } }

            /// Last part of the type URI.
            #[must_use]
            pub const fn slug(self) -> &'static str { match self { $(Self::$variant => $slug,)* } }

            /// Short summary, the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$variant => $title,)* } }

            /// The type URI.
            #[must_use]
            pub const fn type_uri(self) -> &'static str {
                match self { $(Self::$variant => concat!("urn:strongroom:problem:", $slug),)* }
            }
        }
    };
}

problem_kinds! {
    /// Not JSON, an unknown or duplicate field, a wrong type.
    InvalidRequest = (400, "invalid-request", "the request is not what this call takes"),
    /// A token where the route declares none.
    MisplacedToken = (400, "misplaced-token", "a token stands where the route declares none"),
    /// A token expression that cannot be read.
    InvalidExpression = (400, "invalid-expression", "a token expression cannot be read"),
    /// A call of an at-most-once route without the merchant's payment reference.
    ReferenceMissing = (400, "payment-reference-missing", "this call needs the merchant's payment reference; nothing was sent"),
    /// A card number where only tokens belong.
    PanInRequest = (400, "pan-in-request", "the request holds a card number; nothing was sent"),
    /// This caller may not do this.
    Forbidden = (403, "forbidden", "policy does not allow this"),
    /// The workload, or the one it asks for, was suspended: by the security team or by a rule.
    WorkloadSuspended = (403, "workload-suspended", "this workload is suspended; nothing was done"),
    /// The proxy has no such route, or the route does not list this method and path.
    RouteRefused = (403, "route-refused", "no route allows this method and path; nothing was sent"),
    /// Exports are off, or this one is not for this person to take further.
    ExportRefused = (403, "export-refused", "this export is refused; no card left"),
    /// The caller's PSP credential is not one this account is pinned to.
    CredentialRefused = (403, "credential-refused", "the request carries a credential this account does not allow; nothing was sent"),
    /// No such path.
    NotFound = (404, "not-found", "there is nothing here"),
    /// Unknown, expired, deleted, another tenant's, or not permitted: one answer.
    TokenNotFound = (404, "token-not-found", "no such token"),
    /// No such tenant.
    TenantNotFound = (404, "tenant-not-found", "no such tenant"),
    /// No such forward of this proxy.
    ForwardNotFound = (404, "forward-not-found", "no such forward"),
    /// No such export of this tenant.
    ExportNotFound = (404, "export-not-found", "no such export"),
    /// Unknown, another's, or not permitted: one answer.
    ReceiptNotFound = (404, "receipt-not-found", "no such receipt"),
    /// The card has no verification code left, or no such value at all.
    AttributeUnavailable = (404, "attribute-unavailable", "the card does not hold a value the route needs; nothing was sent"),
    /// The path exists for other methods.
    MethodNotAllowed = (405, "method-not-allowed", "this path does not take this method"),
    /// A request with this idempotency key is being worked on.
    IdempotencyInFlight = (409, "idempotency-in-flight", "a request with this idempotency key is being worked on"),
    /// Another forward was opened under this payment reference; `state` and `forward_id` are the first's.
    ReferenceTaken = (409, "payment-reference-taken", "a payment with this reference was sent already; nothing was sent now"),
    /// Somebody else changed it first, or it is not in a state for this.
    Conflict = (409, "conflict", "the present state does not allow this"),
    /// The alias leads to another card.
    AliasTaken = (409, "alias-taken", "the alias leads to another card already; nothing was stored"),
    /// A shorter retention ends cards, and nobody said that this many are meant.
    RetentionShortened = (409, "retention-shortened", "a shorter retention ends cards; confirm how many"),
    /// The export is not approved, is over, or is another one than was said.
    ExportConflict = (409, "export-conflict", "the export is not in a state for this; no card left"),
    /// The card is not at the version that `If-Match` names (RFC 9110 §13.1.1).
    PreconditionFailed = (412, "precondition-failed", "the card is not at this version any more; read it again"),
    /// The body is larger than the call takes.
    BodyTooLarge = (413, "body-too-large", "the body is larger than this call takes"),
    /// The content type is not one the call takes.
    UnsupportedMediaType = (415, "unsupported-media-type", "the content type is not one this call takes"),
    /// A field of a card is wrong.
    InvalidCard = (422, "invalid-card", "a field of the card is not valid"),
    /// A live number in test, a test number in live.
    NumberNotAccepted = (422, "number-not-accepted", "this environment does not accept this card number; nothing was stored"),
    /// The idempotency key was used with another request.
    IdempotencyKeyReused = (422, "idempotency-key-reused", "the idempotency key was used with another request"),
    /// Nothing was sent: the PSP cannot be reached. Safe to retry.
    PspUnreachable = (424, "psp-unreachable", "the psp cannot be reached; nothing was sent, a retry is safe"),
    /// Nothing was sent: calls to this PSP failed so often that none is made for now.
    PspCircuitOpen = (424, "psp-circuit-open", "calls to this psp fail; nothing was sent, a retry is safe after the time given"),
    /// Nothing was sent: the call's time, or its caller's, was used up before a byte could leave.
    DeadlineSpent = (424, "deadline-spent", "the time for this call was used up; nothing was sent, a retry is safe"),
    /// Nothing was sent: the vault cannot be reached. Safe to retry.
    VaultUnreachable = (424, "vault-unreachable", "the vault cannot be reached; nothing was sent, a retry is safe"),
    /// The change does not say of which version it is (RFC 6585 §3).
    PreconditionRequired = (428, "precondition-required", "this change needs If-Match with the card's version"),
    /// Too many requests, or a limit on card data.
    RateLimited = (429, "rate-limited", "too many requests; nothing was sent"),
    /// More cards were erased in an hour than this caller, or this tenant, may lose.
    EraseBreaker = (429, "erase-breaker", "too many cards were erased within the hour; nothing more is erased"),
    /// The route's or the service's own capacity is used up.
    Overloaded = (503, "overloaded", "too much work at the moment; nothing was done"),
    /// The request header is too large.
    HeaderTooLarge = (431, "header-too-large", "the request header is too large"),
    /// A defect or tampering. A person is told.
    Internal = (500, "internal", "something is wrong here; nothing more can be said"),
    /// Bytes were sent and no complete answer came: the charge may or may not have happened.
    PspOutcomeUnknown = (502, "psp-outcome-unknown", "the request was sent and no complete answer came; look the payment up before trying again"),
    /// The PSP answered with a redirect, which is never followed.
    PspRedirected = (502, "psp-redirected", "the psp answered with a redirect, which is never followed"),
    /// No free alias was found in the draws one request has.
    AliasSpaceThin = (503, "alias-space-thin", "no free alias with these last four digits was found; nothing was stored"),
    /// Store, keys or audit log are not available. Safe to retry.
    Unavailable = (503, "unavailable", "the service cannot do this at the moment; a retry is safe"),
}

impl ProblemKind {
    /// When a retry may help, for the types it may help with.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable
            | Self::AliasSpaceThin
            | Self::Overloaded
            | Self::RateLimited
            | Self::PspUnreachable
            | Self::PspCircuitOpen
            | Self::DeadlineSpent
            | Self::VaultUnreachable
            | Self::IdempotencyInFlight => Some(Duration::from_secs(1)),
            Self::EraseBreaker => Some(Duration::from_secs(3_600)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique_and_statuses_are_errors() {
        let mut slugs: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), ProblemKind::ALL.len());
        assert!(ProblemKind::ALL.iter().all(|kind| (400..600).contains(&kind.status())));
    }
}
