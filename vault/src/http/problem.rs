//! Where errors meet HTTP: what a caller may know of each failure.

use axum::response::{IntoResponse, Response};
use strongroom_domain::{Problem, ProblemKind, RequestId};
use strongroom_perimeter::problem::ProblemResponse;
use strongroom_sealing::{KeyError, OpenError};
use uuid::Uuid;

use crate::audit::{Event, Object, Outcome};
use crate::authz::SUSPENDED;
use crate::operation::export::ExportRefusal;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::CommitError;

/// How a call hides or shows that policy refused it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// `403 forbidden`: the caller named what it may not do.
    Forbidden,
    /// The same 404 as an unknown token.
    TokenNotFound,
    /// The same 404 as an unknown forward.
    ForwardNotFound,
    /// The same 404 as an unknown receipt.
    ReceiptNotFound,
}

/// A refused request on its way out.
#[derive(Debug)]
pub struct Refused {
    problem: Problem,
    request: Option<RequestId>,
}

impl Refused {
    /// Writes the entry of the refusal, then says what the caller may know.
    pub async fn new(
        vault: &Vault,
        asking: &Asking,
        event: Event,
        object: Object,
        denial: Denial,
        error: OperationError,
    ) -> Self {
        let error = vault.refuse(asking, error.event(event), object, error).await;
        Self::telling(&error, denial, Some(asking.request.id))
    }

    /// For failures that have their entry, or come before there is a caller.
    #[must_use]
    pub fn without_entry(error: OperationError, request: Option<RequestId>) -> Self {
        Self::telling(&error, Denial::Forbidden, request)
    }

    /// The same, with the call's own way to hide a denial.
    #[must_use]
    pub fn telling(error: &OperationError, denial: Denial, request: Option<RequestId>) -> Self {
        let problem = problem_of(error, denial);
        if problem.kind.status() >= 500 {
            log(error, problem.kind, request);
        }
        Self { problem, request }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let id = self.request.unwrap_or_else(|| RequestId::from_uuid(Uuid::nil()));
        ProblemResponse(self.problem, id).into_response()
    }
}

/// A 5xx is logged once, here, with its sources.
fn log(error: &OperationError, kind: ProblemKind, request: Option<RequestId>) {
    let mut sources = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        sources.push(error.to_string());
        source = error.source();
    }
    let request = request.map(|id| id.to_string()).unwrap_or_default();
    tracing::error!(request_id = request, problem = kind.slug(), %error, sources = sources.join(": "), "the request failed");
}

/// No `_`: a new failure is a decision.
fn problem_of(error: &OperationError, denial: Denial) -> Problem {
    match error {
        OperationError::Request(problem) | OperationError::InvalidCard(problem) => *problem,
        // Not hidden, however this call hides a denial: whoever is suspended learns nothing but that.
        OperationError::Denied(denied) if denied.reason == SUSPENDED => {
            Problem::new(ProblemKind::WorkloadSuspended)
        }
        OperationError::Denied(_) => Problem::new(match denial {
            Denial::Forbidden => ProblemKind::Forbidden,
            Denial::TokenNotFound => ProblemKind::TokenNotFound,
            Denial::ForwardNotFound => ProblemKind::ForwardNotFound,
            Denial::ReceiptNotFound => ProblemKind::ReceiptNotFound,
        }),
        OperationError::UnknownToken => Problem::new(ProblemKind::TokenNotFound),
        OperationError::UnknownTenant => Problem::new(ProblemKind::TenantNotFound),
        OperationError::UnknownForward => Problem::new(ProblemKind::ForwardNotFound),
        OperationError::UnknownExport => Problem::new(ProblemKind::ExportNotFound),
        OperationError::UnknownLogFile => Problem::new(ProblemKind::NotFound),
        OperationError::UnknownReceipt => Problem::new(ProblemKind::ReceiptNotFound),
        OperationError::Export(refusal) => Problem::because(export_problem(*refusal), refusal.detail()),
        OperationError::NumberNotAccepted => Problem::new(ProblemKind::NumberNotAccepted).at("/number"),
        OperationError::BrandNotAccepted => {
            Problem::because(ProblemKind::InvalidCard, "this tenant does not take cards of this brand")
                .at("/number")
        }
        OperationError::FormatNotAllowed => {
            Problem::because(ProblemKind::InvalidCard, "this tenant does not take cards in this format")
                .at("/format")
        }
        OperationError::AliasTaken => Problem::new(ProblemKind::AliasTaken).at("/alias"),
        OperationError::AliasSpaceThin => Problem::new(ProblemKind::AliasSpaceThin).at("/format"),
        OperationError::AttributeUnavailable => Problem::new(ProblemKind::AttributeUnavailable),
        OperationError::RouteRefused(_) => Problem::new(ProblemKind::RouteRefused),
        OperationError::IdempotencyInFlight => Problem::new(ProblemKind::IdempotencyInFlight),
        OperationError::IdempotencyKeyReused => Problem::new(ProblemKind::IdempotencyKeyReused),
        OperationError::RateLimited | OperationError::GuessLimited => Problem::new(ProblemKind::RateLimited),
        OperationError::EraseBreaker { again } => {
            Problem { retry_after: Some(*again), ..Problem::new(ProblemKind::EraseBreaker) }
        }
        OperationError::Conflict => Problem::new(ProblemKind::Conflict),
        OperationError::LastOfRole => Problem::because(
            ProblemKind::Conflict,
            "no other workload of its role, security or custodian, would be left that is not suspended",
        ),
        OperationError::ReferenceTaken { forward, first } => {
            Problem::new(ProblemKind::ReferenceTaken).of_forward(*forward).in_state(*first)
        }
        OperationError::TooEarly => Problem::because(
            ProblemKind::Conflict,
            "the psp may still get this payment: that it never arrived can be said 15 minutes after it was opened",
        )
        .at("/says"),
        OperationError::Stale => Problem::new(ProblemKind::PreconditionFailed),
        OperationError::VersionRequired => Problem::new(ProblemKind::PreconditionRequired),
        OperationError::RetentionShortened(due) => {
            Problem::new(ProblemKind::RetentionShortened).to_confirm(due.count, due.as_of)
        }
        OperationError::ShelfFull => {
            Problem::because(ProblemKind::Overloaded, "no room for another verification code")
        }
        OperationError::Keys(KeyError::Unavailable | KeyError::Denied | KeyError::Store) => Problem::because(
            ProblemKind::Unavailable,
            "keys are not available at the moment; a retry is safe",
        ),
        OperationError::Keys(KeyError::Unknown | KeyError::Tampered)
        | OperationError::Commit(CommitError::Refused)
        | OperationError::Seal(_)
        | OperationError::Unsealed(_)
        | OperationError::LogDamaged
        | OperationError::Defect(_) => Problem::new(ProblemKind::Internal),
        OperationError::Commit(CommitError::Full) => Problem::new(ProblemKind::Overloaded),
        OperationError::Commit(CommitError::Unavailable)
        | OperationError::Store(_)
        | OperationError::Random(_) => Problem::new(ProblemKind::Unavailable),
    }
}

const fn export_problem(refusal: ExportRefusal) -> ProblemKind {
    match refusal {
        ExportRefusal::Off
        | ExportRefusal::Live
        | ExportRefusal::SamePerson
        | ExportRefusal::NotTheirs
        | ExportRefusal::NoLongerTheirs => ProblemKind::ExportRefused,
        ExportRefusal::NotApproved
        | ExportRefusal::Approved
        | ExportRefusal::Expired
        | ExportRefusal::OtherRequest
        | ExportRefusal::RunsUsedUp
        | ExportRefusal::TooManyCards => ProblemKind::ExportConflict,
        ExportRefusal::Busy | ExportRefusal::DayUsedUp => ProblemKind::RateLimited,
    }
}

impl OperationError {
    /// The word the audit entry gives as reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.reason,
            Self::RouteRefused(reason) => reason,
            Self::Unsealed(OpenError::ContextMismatch) => "context_mismatch",
            Self::Unsealed(OpenError::Tampered) => "tampered",
            Self::Unsealed(OpenError::Malformed) => "malformed",
            Self::Unsealed(OpenError::UnknownKey) => "unknown_key",
            Self::Unsealed(OpenError::UnsupportedFormat) => "unsupported_format",
            Self::Defect(_) => "defect",
            Self::LogDamaged => "log-damaged",
            Self::GuessLimited => "too-many-numbers",
            Self::Export(refusal) => refusal.reason(),
            Self::TooEarly => "too-early",
            Self::LastOfRole => "last-of-role",
            other => problem_of(other, Denial::Forbidden).kind.slug(),
        }
    }

    /// The event its refusal is on the log as, where the call's own is `usual`.
    #[must_use]
    pub const fn event(&self, usual: Event) -> Event {
        match self {
            Self::GuessLimited => Event::RateLimited,
            Self::LogDamaged => Event::Tamper,
            _ => usual,
        }
    }

    /// Whether the caller was refused or we failed.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Denied(_)
            | Self::UnknownToken
            | Self::UnknownForward
            | Self::UnknownTenant
            | Self::UnknownExport
            | Self::UnknownReceipt
            | Self::Export(_)
            | Self::RouteRefused(_)
            | Self::ReferenceTaken { .. }
            | Self::RateLimited
            | Self::GuessLimited
            | Self::LastOfRole
            | Self::EraseBreaker { .. } => Outcome::Denied,
            _ => Outcome::Failure,
        }
    }
}

/// What is wrong with one item of a request that was taken as a whole.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct ItemProblem {
    /// Stable type: `urn:strongroom:problem:` and a word of `vault/docs/problems.md`.
    #[schema(example = "urn:strongroom:problem:invalid-card")]
    r#type: &'static str,
    /// Short summary, the same for every occurrence of the type.
    title: &'static str,
    /// HTTP status.
    #[schema(minimum = 400, maximum = 503)]
    status: u16,
    /// What happened, for a person. Holds nothing of the request.
    detail: &'static str,
    /// The field that is wrong (JSON Pointer, RFC 6901), from the top of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
}

impl ItemProblem {
    /// What may be known of an item's failure. `item` is the item's own pointer.
    #[must_use]
    pub fn new(error: &OperationError, item: &str) -> Self {
        let problem = problem_of(error, Denial::Forbidden);
        Self {
            r#type: problem.kind.type_uri(),
            title: problem.kind.title(),
            status: problem.kind.status(),
            detail: problem.detail,
            pointer: problem.pointer.map(|field| format!("{item}{field}")),
        }
    }

    /// Its HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }
}

/// A problem document (RFC 9457).
#[derive(utoipa::ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes what `ProblemResponse` writes; a test holds them together")]
pub struct ProblemBody {
    /// Stable type: `urn:strongroom:problem:` and a word of `vault/docs/problems.md`.
    #[schema(rename = "type", example = "urn:strongroom:problem:token-not-found")]
    r#type: String,
    /// Short summary, the same for every occurrence of the type.
    title: String,
    /// HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened, for a person. Holds nothing of the request.
    detail: String,
    /// Names the request in logs and audit entries.
    request_id: String,
    /// The field that is wrong (JSON Pointer, RFC 6901).
    pointer: Option<String>,
    /// What the same request must bring to be done: how many cards it ends, as at when.
    confirm: Option<ConfirmBody>,
    /// The forward this is about.
    forward_id: Option<String>,
    /// What is known of that forward: `in-flight`, `answered` or `unknown`.
    state: Option<String>,
}

/// How many cards a request ends.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Confirm)]
pub struct ConfirmBody {
    /// How many.
    pub count: u64,
    /// As at when they were counted.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: strongroom_domain::Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_problem_with_its_status_and_no_other() {
        let page = include_str!("../../docs/problems.md");
        let sections: Vec<_> = page.split("\n## ").skip(1).collect();
        assert_eq!(sections.len(), ProblemKind::ALL.len());
        for (section, kind) in sections.iter().zip(ProblemKind::ALL) {
            assert_eq!(section.lines().next(), Some(kind.slug()));
            assert!(
                section.contains(&format!("**{}** — {}.", kind.status(), kind.title())),
                "{}",
                kind.slug()
            );
        }
    }
}
