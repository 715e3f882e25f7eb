//! What callers reach: every request is a call at some route, a tunnel to one, or refused.
//!
//! Promises: only a caller the bundle names for a route reaches it; a call that began runs to its end, whoever hangs up;
//! its body is bounded in size and time.
//! Upholds: C-17, C-18, C-47.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use strongroom_domain::route::{Call, Route};
use strongroom_domain::{Clock, ForwardId, ProblemKind, RequestId};
use strongroom_perimeter::limits::read_body;
use strongroom_perimeter::listener::RouteLabel;
use strongroom_perimeter::{Caller, RequestInfo};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::explain;
use crate::forward::{Answered, Ended, Engine, Order};
use crate::measure::{self, Stage, Stages};
use crate::protect::{self, Admitted, Budget, CallerLimits, CallerPlace, Limited, Scope};
use crate::registry::Registry;
use crate::rescue::{self, Failure};
use crate::route::{Bound, Destination};
use crate::tunnel;
use crate::vault::RECEIPTS;

/// Status for an unknown outcome where no route says otherwise.
const UNKNOWN_OUTCOME_STATUS: u16 = 502;
/// Names the forward on every answer that has one.
const FORWARD_ID: HeaderName = HeaderName::from_static("strongroom-forward-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What the forward listeners serve.
pub struct Service {
    /// The routes and who may reach them, as they are at the moment.
    pub registry: Arc<ArcSwap<Registry>>,
    /// Judges certificates of tunnels.
    pub clock: Arc<dyn Clock>,
    /// What runs a call.
    pub engine: Arc<Engine>,
    /// What each caller may do at all routes together.
    pub callers: CallerLimits,
    /// Calls under way, so that a drain can wait for them.
    pub calls: TaskTracker,
    /// Largest body of a request.
    pub request_bytes_max: usize,
}

/// One listener: the service, and the route of its port if it is bound to one.
#[derive(Clone)]
struct Port {
    service: Arc<Service>,
    bound: Option<Bound>,
}

/// The router of a forward listener: one handler for every method and path.
pub fn router(service: Arc<Service>, bound: Option<Bound>) -> Router {
    Router::new().fallback(handle).with_state(Port { service, bound })
}

async fn handle(State(Port { service, bound }): State<Port>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let id = RequestInfo::id_of(&parts);
    let (arrived, mut stages) = (Instant::now(), Stages::default());
    if parts.method == Method::CONNECT {
        if let Err(limited) = service.count(&parts, arrived) {
            measure::tunnel("none", "refused");
            return refuse(&limited.into(), None, id, &stages);
        }
        let opened = tunnel::open(&service.registry.load(), &mut parts, bound.as_ref(), service.clock.now());
        return opened.unwrap_or_else(|(failure, found)| {
            measure::tunnel(found.as_deref().map_or("none", |found| found.route.name.as_str()), "refused");
            refuse(&failure, found.as_deref(), id, &stages)
        });
    }
    if service.explains(&parts, bound.as_ref()) {
        let _place = match service.count(&parts, arrived) {
            Ok(place) => place,
            Err(limited) => return refuse(&limited.into(), None, id, &stages),
        };
        return explain::answer(&service, parts, body).await;
    }
    let order = match service.order((parts, body), arrived, bound, &mut stages).await {
        Ok(order) => order,
        Err((failure, found)) => return refuse(&failure, found.as_deref(), id, &stages),
    };
    let destination = order.target.destination.clone();
    let route = &destination.route;
    let label = label(route, order.method.as_str(), order.target.path());
    let running = service.calls.spawn(service.engine.clone().run(order, stages));
    let ended = running.await.unwrap_or_else(|_| Ended::abandoned(stages));
    let mut response = match ended.result {
        Ok(answered) => {
            measure::request(route.name.as_str(), ended.kind, "answered", &ended.stages);
            respond(answered, ended.forward)
        }
        Err(failure) => {
            told(&failure, route.name.as_str(), ended.kind, ended.forward, &ended.stages);
            rescue::answer(&failure, ended.forward, route.unknown_outcome_status, id)
        }
    };
    response.extensions_mut().insert(label);
    response.headers_mut().remove(RECEIPTS); // never a psp's word
    if let Some(receipts) = ended.receipts {
        response.headers_mut().insert(RECEIPTS, receipts);
    }
    if let Some(timing) = ended.stages.header() {
        response.headers_mut().append(SERVER_TIMING, timing);
    }
    response
}

/// Answers a call that came to nothing before it was one.
fn refuse(failure: &Failure, found: Option<&Destination>, id: RequestId, stages: &Stages) -> Response {
    let (route, status) = found.map_or(("none", UNKNOWN_OUTCOME_STATUS), |found| {
        (found.route.name.as_str(), found.route.unknown_outcome_status)
    });
    told(failure, route, "none", None, stages);
    rescue::answer(failure, None, status, id)
}

impl Service {
    /// Whether a request asks to explain another: at a place where a path alone would name its route.
    fn explains(&self, parts: &Parts, port: Option<&Bound>) -> bool {
        parts.uri.path() == explain::PATH
            && port.is_none()
            && parts.extensions.get::<Bound>().is_none()
            && self.registry.load().entry.is_by_path(parts)
    }

    /// Reads a request completely and finds its destination: by the tunnel it is in, its port, or what it says.
    async fn order(
        &self,
        (mut parts, body): (Parts, Body),
        arrived: Instant,
        port: Option<Bound>,
        stages: &mut Stages,
    ) -> Result<Order, (Failure, Option<Arc<Destination>>)> {
        let found = parts.extensions.remove::<Caller>().zip(parts.extensions.remove::<RequestInfo>());
        let (caller, info) = found.ok_or((Failure::NoCaller, None))?;
        let bound = parts.extensions.remove::<Bound>().or(port);
        let registry = self.registry.load_full();
        let target = registry.entry.find(&parts, bound.as_ref());
        let target = target.map_err(|refused| (Failure::Entry(refused), None))?;
        let destination = target.destination.clone();
        if !registry.callers.may(&caller.workload, &destination.route.name, &destination.account.name) {
            return Err((Failure::CallerRefused, Some(destination)));
        }
        let admitted = self.admit(&caller, &destination, &mut parts.headers, arrived);
        let admitted = admitted.map_err(|failure| (failure, Some(destination.clone())))?;
        if destination.route.call(parts.method.as_str(), target.path()).is_none() {
            return Err((Failure::NotListed, Some(destination)));
        }
        let reading = read(&parts, body, self.request_bytes_max);
        let body = stages.time(Stage::Receive, reading).await;
        let body = body.map_err(|failure| (failure, Some(destination)))?;
        Ok(Order { target, method: parts.method, headers: parts.headers, body, caller, info, admitted })
    }

    /// Counts what is no call, a `CONNECT` or a question, among its caller's calls. A question keeps its place until it is
    /// answered; a tunnel keeps none, because what is inside is counted call by call.
    fn count(&self, parts: &Parts, arrived: Instant) -> Result<Option<CallerPlace>, Limited> {
        // Without a caller there is a defect, which is said further on.
        let Some(caller) = parts.extensions.get::<Caller>() else { return Ok(None) };
        let entered = self.callers.enter(&caller.workload, Scope::Caller, arrived).map(Some);
        entered.inspect_err(|limited| protect::refused("none", *limited))
    }

    /// Counts a call before its body is read, and gives it its places and its time.
    fn admit(
        &self,
        caller: &Caller,
        destination: &Destination,
        headers: &mut HeaderMap,
        arrived: Instant,
    ) -> Result<Admitted, Failure> {
        let (guard, route) = (&destination.guard, &destination.route);
        let entered = || -> Result<[CallerPlace; 2], Limited> {
            let anywhere = self.callers.enter(&caller.workload, Scope::Caller, arrived)?;
            let here = guard.gate.enter(&caller.workload, arrived)?;
            match destination.is_full() {
                true => Err(Limited::Places { scope: Scope::Route }),
                false => Ok([anywhere, here]),
            }
        };
        let places = entered().inspect_err(|limited| protect::refused(route.name.as_str(), *limited))?;
        if let Some(again) = guard.breaker.refuses(arrived) {
            return Err(Failure::CircuitOpen(again));
        }
        let parts = route.connect_timeout + self.engine.vault.open_timeout() + route.upstream_timeout;
        let budget = Budget::of(headers, arrived, route.protect.total_timeout.unwrap_or(parts))?;
        Ok(Admitted { budget, places: Some(places) })
    }
}

impl Ended {
    fn abandoned(stages: Stages) -> Self {
        Self { result: Err(Failure::Abandoned), forward: None, receipts: None, kind: "none", stages }
    }
}

/// The template of a call, for the access log: never the path itself.
fn label(route: &Route, method: &str, path: &str) -> RouteLabel {
    let pattern = match route.call(method, path) {
        Some(Call::Allowed(call)) => call.path.as_str(),
        Some(Call::Passed(call)) => call.path.as_str(),
        None => "",
    };
    RouteLabel(format!("/{}{pattern}", route.name).into())
}

/// Reads a body completely, within its bounds.
pub(crate) async fn read(parts: &Parts, body: Body, bytes_max: usize) -> Result<Bytes, Failure> {
    let announced =
        parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > bytes_max as u64) {
        return Err(Failure::BodyTooLarge);
    }
    read_body(body, bytes_max).await.map_err(|problem| match problem.kind {
        ProblemKind::BodyTooLarge => Failure::BodyTooLarge,
        _ => Failure::BodyIncomplete,
    })
}

fn respond(answered: Answered, forward: Option<ForwardId>) -> Response {
    let Answered { status, headers, body } = answered;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(Ok(id)) = forward.map(|id| HeaderValue::try_from(id.to_string())) {
        response.headers_mut().insert(FORWARD_ID, id);
    }
    response
}

/// Counts a failure, and logs it once if it is not the caller's doing.
fn told(failure: &Failure, route: &str, kind: &'static str, forward: Option<ForwardId>, stages: &Stages) {
    let result = failure.problem().kind.slug();
    measure::request(route, kind, result, stages);
    if failure.is_ours() {
        let because = sources(failure);
        let forward = forward.map(tracing::field::display);
        tracing::error!(route, result, forward, because, "a call failed");
    } else {
        tracing::info!(route, result, "a call was refused");
    }
}

/// The failure and its sources, outermost first. None holds input of the caller or the PSP.
fn sources(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
