//! One log line and one set of numbers for every request.
//!
//! Promises: the route is the matched template, never the raw path; methods and statuses are from closed sets, so neither
//! a log line nor a label can hold what a caller wrote.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::MatchedPath;
use axum::response::Response;
use http::{Method, Request};
use strongroom_domain::WorkloadId;

use crate::request::RequestInfo;

/// A route's name, for routers that match by themselves: a handler puts it into its answer's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLabel(pub Arc<str>);

/// Where a matched request leaves its template for the log. Kept outside the answer, so that a panic does not lose it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RouteSlot(Arc<OnceLock<MatchedPath>>);

impl RouteSlot {
    /// Notes the template; runs as a layer inside the router.
    pub(crate) fn note<B>(request: Request<B>) -> Request<B> {
        let extensions = request.extensions();
        if let (Some(slot), Some(path)) = (extensions.get::<Self>(), extensions.get::<MatchedPath>()) {
            slot.0.get_or_init(|| path.clone());
        }
        request
    }
}

/// A request, from its header to its answer.
pub(crate) struct Record {
    pub(crate) service: &'static str,
    pub(crate) started: Instant,
    pub(crate) method: &'static str,
    /// `None`: the listener is public.
    pub(crate) caller: Option<WorkloadId>,
    pub(crate) peer: SocketAddr,
    pub(crate) info: RequestInfo,
    pub(crate) slot: RouteSlot,
}

impl Record {
    /// Writes the line and counts.
    pub(crate) fn finish(self, answer: &Response) {
        let elapsed = self.started.elapsed();
        let label = answer.extensions().get::<RouteLabel>().map(|label| Arc::clone(&label.0));
        let route = match (&label, self.slot.0.get()) {
            (Some(label), _) => label,
            (None, Some(path)) => path.as_str(),
            (None, None) => "-",
        };
        let status = answer.status();
        tracing::info!(
            service = self.service,
            method = self.method,
            route,
            status = status.as_u16(),
            ms = elapsed.as_micros() as f64 / 1_000.0,
            caller = self.caller.as_ref().map(tracing::field::display),
            peer = %self.peer,
            request_id = %self.info.id,
            trace_id = self.info.traceparent.trace_id(),
            "request"
        );
        let route = route.to_owned();
        metrics::counter!(
            "strongroom_http_requests_total",
            "service" => self.service, "route" => route.clone(), "method" => self.method,
            "status" => status.as_str().to_owned()
        )
        .increment(1);
        metrics::histogram!(
            "strongroom_http_request_seconds",
            "service" => self.service, "route" => route, "method" => self.method
        )
        .record(elapsed.as_secs_f64());
    }
}

/// A method's name from a closed set.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}
