//! Problems as answers: RFC 9457 documents with a request id.
//!
//! Promises: the body holds nothing of the request; every answer forbids caching.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use serde_json::{Map, Value};
use strongroom_domain::{Problem, ProblemKind, RequestId};

use crate::request::RequestInfo;

/// Header that names the request on every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// A problem, ready to answer with.
///
/// ```
/// use axum::response::IntoResponse;
/// use strongroom_domain::{Problem, ProblemKind, RequestId};
/// use strongroom_perimeter::problem::ProblemResponse;
/// # let id = RequestId::from_uuid(uuid::Uuid::nil());
/// let answer = ProblemResponse(Problem::new(ProblemKind::TokenNotFound), id).into_response();
/// assert_eq!(answer.status(), 404);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemResponse(pub Problem, pub RequestId);

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let Self(problem, id) = self;
        render(&problem, id, &Value::Object(document(&problem, id)))
    }
}

/// The members of the document, for a service that adds its own (the proxy's `error` object).
#[must_use]
pub fn document(problem: &Problem, id: RequestId) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("type".into(), problem.kind.type_uri().into());
    members.insert("title".into(), problem.kind.title().into());
    members.insert("status".into(), problem.kind.status().into());
    members.insert("detail".into(), problem.detail.into());
    members.insert("request_id".into(), id.to_string().into());
    if let Some(pointer) = problem.pointer {
        members.insert("pointer".into(), pointer.into());
    }
    if let Some(confirm) = problem.confirm {
        let as_of = confirm.as_of.to_string();
        members.insert("confirm".into(), serde_json::json!({ "count": confirm.count, "as_of": as_of }));
    }
    if let Some(forward) = problem.forward {
        members.insert("forward_id".into(), forward.to_string().into());
    }
    if let Some(state) = problem.state {
        members.insert("state".into(), state.as_str().into());
    }
    members
}

/// An answer with a problem's status and headers around `document`.
#[must_use]
pub fn render(problem: &Problem, id: RequestId, document: &Value) -> Response {
    let mut answer = Response::new(Body::from(document.to_string()));
    *answer.status_mut() =
        StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(after) = problem.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(after)));
    }
    answer
}

/// Answers unknown paths and methods with problems. For routers that have no fallback of their own.
pub fn with_fallbacks(router: Router) -> Router {
    router.fallback(nothing_here).method_not_allowed_fallback(not_this_method)
}

async fn nothing_here(info: RequestInfo) -> ProblemResponse {
    ProblemResponse(Problem::new(ProblemKind::NotFound), info.id)
}

async fn not_this_method(info: RequestInfo) -> ProblemResponse {
    ProblemResponse(Problem::new(ProblemKind::MethodNotAllowed), info.id)
}

/// Whole seconds, rounded up: an early retry is a wasted one (RFC 9110 §10.2.3).
fn seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use strongroom_domain::ForwardId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_problem_says_all_it_knows_and_no_more() {
        let id = RequestId::from_uuid(Uuid::from_u128(1));
        let plain = document(&Problem::new(ProblemKind::NotFound), id);
        let mut names: Vec<_> = plain.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["detail", "request_id", "status", "title", "type"]);
        let full = Problem::because(ProblemKind::InvalidCard, "the year is missing")
            .at("/exp_year")
            .of_forward(ForwardId::from_uuid(Uuid::from_u128(2)))
            .in_state(strongroom_domain::FirstState::InFlight)
            .to_confirm(7, strongroom_domain::Timestamp::from_unix_seconds(1));
        let full = document(&full, id);
        assert_eq!(full["detail"], "the year is missing");
        assert_eq!(full["pointer"], "/exp_year");
        assert_eq!(
            full["confirm"],
            serde_json::json!({ "count": 7, "as_of": "1970-01-01T00:00:01.000000Z" })
        );
        assert_eq!(full["forward_id"], "00000000-0000-0000-0000-000000000002");
        assert_eq!(full["state"], "in-flight");
    }

    #[test]
    fn every_kind_renders_with_its_status_and_retry_after() {
        let id = RequestId::from_uuid(Uuid::from_u128(1));
        for kind in ProblemKind::ALL {
            let answer = ProblemResponse(Problem::new(*kind), id).into_response();
            assert_eq!(answer.status().as_u16(), kind.status());
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), kind.retry_after().is_some());
        }
    }

    #[test]
    fn retry_after_rounds_up() {
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
    }
}
