//! Every failure of the proxy, and what the caller is told: the one place where a failure becomes HTTP.
//!
//! Promises: the answer says whether bytes reached the PSP. Before the first one: a status no SDK retries blindly, safe to
//! retry by hand. After: `psp-outcome-unknown` with the forward's id. The match has no `_`: a new failure is a decision.
//! Every document carries what SDKs look for (`error`, `errorCode`, `errorType`, `message`): some read any other JSON
//! as success.
//! Upholds: C-03, C-19.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use strongroom_domain::{ForwardId, Problem, ProblemKind, RequestId};
use strongroom_perimeter::problem::{document, render};

use crate::authority::LeafError;
use crate::credential::CredentialRefused;
use crate::inject::InjectError;
use crate::protect::{InvalidTimeout, Limited, Scope, Spent};
use crate::reference::ReferenceError;
use crate::route::EntryRefused;
use crate::scrub::DecodeError;
use crate::sign::SignError;
use crate::upstream::pins;
use crate::upstream::{ConnectError, SendError};
use crate::vault::OpenError;

/// Tells Stripe's SDKs, against their own table, not to send the request again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The listener gave no caller: a defect, never a request's fault.
    #[error("the request has no verified caller")]
    NoCaller,
    /// No route by host or path.
    #[error(transparent)]
    Entry(#[from] EntryRefused),
    /// A tunnel would be right, but no certificate can be made for it.
    #[error("no certificate for a tunnel")]
    TunnelCertificate(#[source] LeafError),
    /// The bundle does not let this caller use the route.
    #[error("the caller may not use the route")]
    CallerRefused,
    /// The route does not list this method and path.
    #[error("the route does not list this method and path")]
    NotListed,
    /// The body is over the limit.
    #[error("the body is larger than allowed")]
    BodyTooLarge,
    /// The body did not arrive.
    #[error("the body did not arrive")]
    BodyIncomplete,
    /// The content type is not the route's, or the body is compressed.
    #[error("the content type is not what the route takes")]
    MediaType,
    /// A token or a number where it may not stand, or a body that cannot be read.
    #[error(transparent)]
    Inject(#[from] InjectError),
    /// A call that is let through once for each payment reference, and no usable one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A credential that may not travel.
    #[error(transparent)]
    Credential(#[from] CredentialRefused),
    /// A request that cannot be signed or encrypted as the PSP wants it.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A rate is used up, or all places of a caller or a route are taken.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The breaker of this PSP is open; when to ask again.
    #[error("the breaker of this psp is open")]
    CircuitOpen(Duration),
    /// The caller's timeout cannot be read.
    #[error(transparent)]
    Timeout(#[from] InvalidTimeout),
    /// The call's time was used up before a byte left.
    #[error(transparent)]
    Spent(#[from] Spent),
    /// No connection to the PSP.
    #[error("no connection to the psp")]
    Connect(#[source] ConnectError),
    /// No forward.
    #[error("no forward was opened")]
    Open(#[from] OpenError),
    /// Sent, and no complete answer.
    #[error("the request was sent and no complete answer came")]
    Unanswered(#[source] SendError),
    /// Answered with an encoding that cannot be undone, so that it cannot be scrubbed.
    #[error("the psp's answer cannot be decoded")]
    Undecodable(#[source] DecodeError),
    /// Answered with a redirect.
    #[error("the psp answered with a redirect")]
    Redirected,
    /// The work on this call stopped in its middle: a defect.
    #[error("the work on this call stopped")]
    Abandoned,
}

impl Failure {
    /// What the caller may know.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoCaller => Problem::new(ProblemKind::Internal),
            Self::Entry(refused @ (EntryRefused::UnknownKeyId | EntryRefused::OtherKeyId)) => {
                Problem::because(ProblemKind::CredentialRefused, no_entry(*refused))
            }
            Self::Entry(refused) => Problem::because(ProblemKind::RouteRefused, no_entry(*refused)),
            Self::TunnelCertificate(_) => Problem::because(
                ProblemKind::PspUnreachable,
                "the proxy has no certificate for a tunnel; nothing was sent",
            ),
            Self::CallerRefused => Problem::because(
                ProblemKind::Forbidden,
                "policy does not let this caller use this route; nothing was sent",
            ),
            Self::NotListed => Problem::new(ProblemKind::RouteRefused),
            Self::BodyTooLarge => Problem::new(ProblemKind::BodyTooLarge),
            Self::BodyIncomplete => {
                Problem::because(ProblemKind::InvalidRequest, "the body did not arrive; nothing was sent")
            }
            Self::MediaType => Problem::new(ProblemKind::UnsupportedMediaType),
            Self::Inject(error) => error.problem(),
            Self::Reference(error) => error.problem(),
            Self::Credential(_) => Problem::new(ProblemKind::CredentialRefused),
            Self::Sign(error) => error.problem(),
            Self::Limited(limited) => over(*limited),
            Self::CircuitOpen(again) => Problem::new(ProblemKind::PspCircuitOpen).again_after(*again),
            Self::Timeout(_) => Problem::because(
                ProblemKind::InvalidRequest,
                "strongroom-timeout-ms is one whole number of milliseconds, 1 to 99999999; nothing was sent",
            ),
            Self::Spent(_) => Problem::new(ProblemKind::DeadlineSpent),
            Self::Connect(error) => Problem::because(ProblemKind::PspUnreachable, unreachable(error)),
            Self::Open(error) => opening(error),
            Self::Unanswered(_) | Self::Undecodable(_) | Self::Abandoned => {
                Problem::new(ProblemKind::PspOutcomeUnknown)
            }
            Self::Redirected => Problem::new(ProblemKind::PspRedirected),
        }
    }

    /// Whether a person should look: not the caller's doing.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        match self {
            Self::Entry(_)
            | Self::CallerRefused
            | Self::NotListed
            | Self::BodyTooLarge
            | Self::BodyIncomplete
            | Self::MediaType
            | Self::Inject(_)
            | Self::Reference(_)
            | Self::Open(OpenError::Refused { kind: Some(ProblemKind::ReferenceTaken), .. })
            | Self::Limited(
                Limited::Rate { .. } | Limited::Places { scope: Scope::Caller | Scope::CallerAtRoute },
            )
            // Said once, by the breaker, when it opened.
            | Self::CircuitOpen(_)
            | Self::Timeout(_)
            | Self::Spent(_)
            | Self::Credential(_) => false,
            Self::Sign(error) => matches!(error, SignError::Failed),
            Self::NoCaller
            | Self::TunnelCertificate(_)
            | Self::Limited(Limited::Places { scope: Scope::Route })
            | Self::Connect(_)
            | Self::Open(_)
            | Self::Unanswered(_)
            | Self::Undecodable(_)
            | Self::Redirected
            | Self::Abandoned => true,
        }
    }
}

const fn no_entry(refused: EntryRefused) -> &'static str {
    match refused {
        EntryRefused::NotAPath => {
            "the target is no path below a route: no general proxy is here; nothing was sent"
        }
        EntryRefused::AmbiguousHost => "the request does not name one host; nothing was sent",
        EntryRefused::NoRoute => "no route has this host name or first path segment; nothing was sent",
        EntryRefused::NoAccount => {
            "the route has no such account, or several and the request names none; nothing was sent"
        }
        EntryRefused::UnknownKeyId => {
            "the request names a key that is no account's of this route, or several; nothing was sent"
        }
        EntryRefused::OtherKeyId => {
            "the request names the key of another account than its path, host, port or tunnel; nothing was sent"
        }
        EntryRefused::SeveralRoutes => {
            "several routes have this upstream: name one in strongroom-route; nothing was sent"
        }
        EntryRefused::NoTunnel => {
            "this proxy opens no tunnel to this host: its connect authority is not for it; nothing was sent"
        }
    }
}

/// What is over its limit, with the time after which there is room.
const fn over(limited: Limited) -> Problem {
    let (detail, again) = match limited {
        Limited::Rate { scope, again } => (
            match scope {
                Scope::Caller => "this caller calls faster than it may; nothing was sent",
                Scope::CallerAtRoute => "this caller calls this psp faster than it may; nothing was sent",
                Scope::Route => "this psp is called faster than its route allows; nothing was sent",
            },
            Some(again),
        ),
        Limited::Places { scope } => (
            match scope {
                Scope::Caller => "this caller has too many calls under way; nothing was sent",
                Scope::CallerAtRoute => {
                    "this caller has too many calls at this psp under way; nothing was sent"
                }
                Scope::Route => "too many calls at this psp at once; this one was shed, nothing was sent",
            },
            None,
        ),
    };
    let problem = Problem::because(ProblemKind::RateLimited, detail);
    match again {
        Some(again) => problem.again_after(again),
        None => problem,
    }
}

fn unreachable(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Unresolved(_) => "the psp's name has no address; nothing was sent, a retry is safe",
        ConnectError::ForbiddenAddress(_) => {
            "the psp's name leads to an address nothing may be sent to; nothing was sent"
        }
        ConnectError::Tcp(_) | ConnectError::TimedOut | ConnectError::Http(_) => {
            ProblemKind::PspUnreachable.title()
        }
        ConnectError::Tls(error) if pins::is_unpinned(error) => {
            "the psp shows none of the pinned keys; nothing was sent"
        }
        ConnectError::Tls(_) => {
            "no tls connection to the psp, perhaps a wrong certificate; nothing was sent, a retry is safe"
        }
    }
}

/// Short word for metrics.
#[must_use]
pub fn connect_reason(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Unresolved(_) => "unresolved",
        ConnectError::ForbiddenAddress(_) => "forbidden-address",
        ConnectError::Tcp(_) => "tcp",
        ConnectError::Tls(error) if pins::is_unpinned(error) => "unpinned",
        ConnectError::Tls(_) => "tls",
        ConnectError::TimedOut => "timeout",
        ConnectError::Http(_) => "http",
    }
}

/// What the vault's refusal means here. What it would not say of a tenant, the proxy does not say either: `forbidden` is
/// an unknown token.
fn opening(error: &OpenError) -> Problem {
    let OpenError::Refused { kind, first, .. } = error else {
        return Problem::new(ProblemKind::VaultUnreachable);
    };
    let Some(kind) = kind else { return Problem::new(ProblemKind::VaultUnreachable) };
    match kind {
        ProblemKind::TokenNotFound
        | ProblemKind::AttributeUnavailable
        | ProblemKind::RateLimited
        | ProblemKind::RouteRefused => Problem::new(*kind),
        // Said to whoever is suspended, not hidden: a person has to lift it, and no retry helps before.
        ProblemKind::WorkloadSuspended => Problem::because(
            ProblemKind::WorkloadSuspended,
            "the workload that asks, or the proxy it asks through, is suspended; nothing was sent",
        ),
        ProblemKind::Forbidden | ProblemKind::TenantNotFound => Problem::new(ProblemKind::TokenNotFound),
        ProblemKind::ReferenceTaken => {
            let taken = Problem::new(ProblemKind::ReferenceTaken);
            first.map_or(taken, |first| taken.of_forward(first.forward).in_state(first.state))
        }
        ProblemKind::Unavailable
        | ProblemKind::Overloaded
        | ProblemKind::IdempotencyInFlight
        | ProblemKind::Conflict
        | ProblemKind::Internal
        // A request of ours the vault cannot read: a defect, or versions too far apart. Nothing was sent.
        | ProblemKind::InvalidRequest
        | ProblemKind::ReferenceMissing
        | ProblemKind::MisplacedToken
        | ProblemKind::InvalidExpression
        | ProblemKind::PanInRequest
        | ProblemKind::CredentialRefused
        | ProblemKind::NotFound
        | ProblemKind::ForwardNotFound
        | ProblemKind::MethodNotAllowed
        | ProblemKind::AliasTaken
        | ProblemKind::AliasSpaceThin
        | ProblemKind::BodyTooLarge
        | ProblemKind::UnsupportedMediaType
        | ProblemKind::InvalidCard
        | ProblemKind::NumberNotAccepted
        | ProblemKind::IdempotencyKeyReused
        | ProblemKind::EraseBreaker
        | ProblemKind::RetentionShortened
        | ProblemKind::PreconditionFailed
        | ProblemKind::PreconditionRequired
        | ProblemKind::PspUnreachable
        | ProblemKind::PspCircuitOpen
        | ProblemKind::DeadlineSpent
        | ProblemKind::VaultUnreachable
        | ProblemKind::HeaderTooLarge
        | ProblemKind::PspOutcomeUnknown
        | ProblemKind::ExportRefused
        | ProblemKind::ExportNotFound
        | ProblemKind::ReceiptNotFound
        | ProblemKind::ExportConflict
        | ProblemKind::PspRedirected => Problem::new(ProblemKind::VaultUnreachable),
    }
}

/// A problem of the listener itself (overloaded, a certificate that ended), with what SDKs look for.
#[must_use]
pub fn of_listener(problem: &Problem, id: RequestId) -> Response {
    let document = envelope(problem, problem.kind.status(), document(problem, id));
    render(problem, id, &Value::Object(document))
}

/// The relay's answer where the proxy was asked and did not answer completely.
#[must_use]
pub fn unanswered(id: RequestId) -> Response {
    answer(&Failure::Unanswered(SendError::TimedOut), None, 502, id)
}

/// The answer for a failure. `unknown_outcome_status` is the route's, 502 where there is none.
#[must_use]
pub fn answer(
    failure: &Failure,
    forward: Option<ForwardId>,
    unknown_outcome_status: u16,
    id: RequestId,
) -> Response {
    let problem = failure.problem();
    let problem = forward.map_or(problem, |forward| problem.of_forward(forward));
    let after_sending = matches!(problem.kind, ProblemKind::PspOutcomeUnknown | ProblemKind::PspRedirected);
    let status = if after_sending { unknown_outcome_status } else { status_for_sdks(problem.kind) };
    let document = envelope(&problem, status, document(&problem, id));
    let mut response = render(&problem, id, &Value::Object(document));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    if after_sending {
        response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// The document [`answer`] answers with, for whoever asks what would be refused.
#[must_use]
pub fn told(failure: &Failure, id: RequestId) -> Value {
    let problem = failure.problem();
    Value::Object(envelope(&problem, problem.kind.status(), document(&problem, id)))
}

/// Of what was not sent. Some SDKs send a 409 again.
const fn status_for_sdks(kind: ProblemKind) -> u16 {
    match kind {
        ProblemKind::ReferenceTaken => 403,
        kind => kind.status(),
    }
}

/// Adds what made every SDK tried raise its own error (`docs/sdk`).
fn envelope(problem: &Problem, status: u16, mut members: Map<String, Value>) -> Map<String, Value> {
    let kind = if matches!(status, 424 | 500..) { "api_error" } else { "invalid_request_error" };
    let code = problem.kind.slug();
    members.insert("status".into(), status.into());
    members.insert("error".into(), json!({ "type": kind, "code": code, "message": problem.detail }));
    members.insert("errorCode".into(), code.into());
    members.insert("errorType".into(), kind.into());
    members.insert("message".into(), problem.detail.into());
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn status_of(failure: &Failure) -> u16 {
        let id = RequestId::from_uuid(Uuid::nil());
        answer(failure, None, 502, id).status().as_u16()
    }

    fn refused(kind: ProblemKind) -> Failure {
        Failure::Open(OpenError::Refused { status: StatusCode::BAD_REQUEST, kind: Some(kind), first: None })
    }

    #[test]
    fn the_failure_table_of_the_design() {
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (failure, status) in [
            (Failure::Inject(InjectError::MisplacedToken), 400),
            (Failure::Inject(InjectError::PanInRequest), 400),
            (Failure::Entry(EntryRefused::NoRoute), 403),
            (Failure::Entry(EntryRefused::NoAccount), 403),
            (Failure::Entry(EntryRefused::NoTunnel), 403),
            (Failure::TunnelCertificate(LeafError::Ended), 424),
            (Failure::CallerRefused, 403),
            (Failure::NotListed, 403),
            (Failure::Credential(CredentialRefused), 403),
            (Failure::Sign(SignError::Missing), 400),
            (Failure::Sign(SignError::Unreadable("no")), 400),
            (Failure::Sign(SignError::NothingToEncrypt), 400),
            (Failure::Sign(SignError::Foreign), 403),
            (refused(ProblemKind::TokenNotFound), 404),
            (refused(ProblemKind::Forbidden), 404),
            (refused(ProblemKind::WorkloadSuspended), 403),
            (refused(ProblemKind::AttributeUnavailable), 404),
            (Failure::Connect(ConnectError::Tcp(io())), 424),
            (Failure::Open(OpenError::TimedOut), 424),
            (refused(ProblemKind::Unavailable), 424),
            (refused(ProblemKind::Internal), 424),
            (refused(ProblemKind::ReferenceTaken), 403),
            (Failure::Reference(ReferenceError::Missing), 400),
            (Failure::Reference(ReferenceError::Twice), 400),
            (Failure::Limited(Limited::Places { scope: Scope::Route }), 429),
            (Failure::Limited(Limited::Rate { scope: Scope::Caller, again: Duration::from_millis(1) }), 429),
            (Failure::Limited(Limited::Places { scope: Scope::CallerAtRoute }), 429),
            (Failure::CircuitOpen(Duration::from_secs(5)), 424),
            (Failure::Timeout(InvalidTimeout), 400),
            (Failure::Spent(Spent), 424),
            (Failure::Unanswered(SendError::TimedOut), 502),
            (Failure::Undecodable(DecodeError::Unsupported), 502),
            (Failure::Redirected, 502),
            (Failure::Abandoned, 502),
        ] {
            assert_eq!(status_of(&failure), status, "{failure:?}");
        }
    }

    #[test]
    fn nothing_sent_is_never_a_status_sdks_retry_or_cannot_parse() {
        for kind in ProblemKind::ALL {
            let status = status_of(&refused(*kind));
            assert!(matches!(status, 403 | 404 | 424 | 429), "{kind:?} {status}");
        }
    }

    #[test]
    fn an_unknown_outcome_is_not_to_be_retried_and_names_its_forward() {
        let forward = ForwardId::from_uuid(Uuid::from_u128(7));
        let id = RequestId::from_uuid(Uuid::nil());
        let response = answer(&Failure::Unanswered(SendError::TimedOut), Some(forward), 424, id);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[SHOULD_RETRY]),
            (424, &"false".parse().unwrap())
        );
        assert!(!response.headers().contains_key("retry-after"));
        let response = answer(&Failure::Connect(ConnectError::TimedOut), None, 424, id);
        assert!(
            response.headers().contains_key("retry-after") && !response.headers().contains_key(SHOULD_RETRY)
        );
    }

    #[test]
    fn every_document_can_be_read_by_sdks() {
        for kind in ProblemKind::ALL {
            let problem = Problem::new(*kind);
            let members =
                envelope(&problem, kind.status(), document(&problem, RequestId::from_uuid(Uuid::nil())));
            assert_eq!(members["error"]["code"], kind.slug());
            for name in ["error", "errorCode", "errorType", "message", "status", "type", "title", "detail"] {
                assert!(members.contains_key(name), "{kind:?} {name}");
            }
        }
    }
}
