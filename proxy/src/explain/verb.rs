//! `POST /-/explain`: the same question, asked of a running proxy by a caller of its own.
//!
//! The request to explain is the body, as `message/http`. So no header, query or path of a real call can turn it into an
//! explanation, and no typing error in this verb's path can turn an explanation into a call: `-` is no route's name, and
//! the verb is answered only where a path alone names the route, never on a port, a route's own host or in a tunnel.
//!
//! Promises: the answer is for callers the bundle lets use the route; everybody else gets the refusal a real call gets.
//! Does not promise: facts of cards. The proxy has no read verb at the vault, and lends none to its callers.
//! Upholds: C-18, C-50.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method};
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_domain::{Problem, ProblemKind};
use strongroom_perimeter::listener::RouteLabel;
use strongroom_perimeter::{Caller, RequestInfo};

use super::{Explanation, explain, message, order};
use crate::fields;
use crate::listen::{Service, read};
use crate::measure;
use crate::rescue::{self, Failure};
use crate::route::Bound;

/// Where it is asked.
pub const PATH: &str = "/-/explain";

/// Why there is no explanation.
enum Refused {
    /// This request itself is wrong.
    Here(Problem),
    /// The caller is not told more than a real call would tell it.
    There(Failure),
}

/// Answers a request to explain another.
pub async fn answer(service: &Service, parts: Parts, body: Body) -> Response {
    let id = RequestInfo::id_of(&parts);
    let mut response = match explained(service, parts, body).await {
        Ok(explanation) => {
            measure::explained(&explanation.route, explanation.verdict);
            let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (no_store, axum::Json(explanation)).into_response()
        }
        Err(Refused::Here(problem)) => {
            measure::explained("none", problem.kind.slug());
            rescue::of_listener(&problem, id)
        }
        Err(Refused::There(failure)) => {
            measure::explained("none", failure.problem().kind.slug());
            rescue::answer(&failure, None, 502, id)
        }
    };
    response.extensions_mut().insert(RouteLabel(PATH.into()));
    response
}

async fn explained(service: &Service, mut parts: Parts, body: Body) -> Result<Explanation, Refused> {
    let found = parts.extensions.remove::<Caller>().zip(parts.extensions.remove::<RequestInfo>());
    let (caller, info) = found.ok_or(Refused::There(Failure::NoCaller))?;
    if parts.method != Method::POST {
        return Err(Refused::Here(Problem::new(ProblemKind::MethodNotAllowed)));
    }
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(fields::essence);
    if kind.as_deref() != Some("message/http") {
        return Err(Refused::Here(Problem::because(
            ProblemKind::UnsupportedMediaType,
            "the request to explain is the body, as message/http",
        )));
    }
    let bound = bound(parts.uri.query().unwrap_or_default())?;
    let body = read(&parts, body, service.request_bytes_max).await.map_err(Refused::There)?;
    let (inner, inner_body) = message::read(&body).await.map_err(|_| {
        Refused::Here(Problem::because(
            ProblemKind::InvalidRequest,
            "the body is not one complete HTTP/1.1 request",
        ))
    })?;
    let registry = service.registry.load_full();
    let target = registry.entry.find(&inner, bound.as_ref());
    let target = target.map_err(|refused| Refused::There(Failure::Entry(refused)))?;
    let destination = &target.destination;
    if !registry.callers.may(&caller.workload, &destination.route.name, &destination.account.name) {
        return Err(Refused::There(Failure::CallerRefused));
    }
    let order = order(target, inner, inner_body, caller, info);
    Ok(explain(order, &|_| None, service.clock.now()))
}

/// `route=` and `account=`: as if the request had come in at a port or through a tunnel of theirs.
fn bound(query: &str) -> Result<Option<Bound>, Refused> {
    let wrong = || {
        let why = "the query names a route and an account: ?route=NAME&account=NAME, or nothing";
        Refused::Here(Problem::because(ProblemKind::InvalidRequest, why))
    };
    let (mut route, mut account) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        let before = match name {
            "route" => route.replace(RouteName::parse(value).ok_or_else(wrong)?),
            "account" => account.replace(AccountName::parse(value).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        if before.is_some() {
            return Err(wrong());
        }
    }
    match (route, account) {
        (Some(route), account) => Ok(Some(Bound { route, account, upstream: None })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(wrong()),
    }
}
