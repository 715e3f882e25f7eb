//! One request of one connection: admitted, named, run, answered, logged.
//!
//! Promises: a handler sees a request only while its caller's certificate stands and there is room for it; what was begun
//! runs to its end even if the caller hangs up; a panic is a 500 that says nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue};
use http::{Extensions, HeaderName, Method, Request, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use strongroom_domain::{Problem, ProblemKind, RequestId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::Instrument;

use super::Shared;
use super::access::{Record, RouteSlot, method_name};
use super::activity::Activity;
use super::body::DeadlineBody;
use super::held::while_streaming;
use super::peer::Standing;
use super::refusal::HandshakeRefusal;
use super::tunnel::{Tunnel, TunnelSlot};
use crate::caller::Caller;
use crate::problem::REQUEST_ID;
use crate::request::RequestInfo;

/// Our request id, where the handler's own `request-id` (a PSP's) stays in place.
const STRONGROOM_REQUEST_ID: HeaderName = HeaderName::from_static("strongroom-request-id");

/// What a connection's requests share.
#[derive(Clone)]
pub(crate) struct ConnectionService {
    pub(crate) shared: Arc<Shared>,
    /// Where it connected from.
    pub(crate) peer: SocketAddr,
    /// Who it is, and how its certificate stands. `None`: the listener is public and asked nobody.
    pub(crate) verified: Option<(Caller, Arc<Standing>)>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) in_flight: Arc<Semaphore>,
    /// Cancelled when the caller's certificate no longer stands: the connection closes after its answers.
    pub(crate) fallen: CancellationToken,
    /// Where a tunnel is left for the connection to run.
    pub(crate) tunnel: TunnelSlot,
    /// Inside a tunnel: what each request carries.
    pub(crate) inside: Option<Extensions>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let begun = self.activity.begin();
        let (started, version) = (Instant::now(), request.version());
        let shared = &self.shared;
        let Ok(info) = RequestInfo::generate(request.headers(), &*shared.clock, &*shared.random) else {
            tracing::error!("no randomness for a request id");
            let nameless = RequestId::from_uuid(uuid::Uuid::nil());
            return answer_now((shared.render)(&Problem::new(ProblemKind::Unavailable), nameless));
        };
        let record = self.record(started, request.method(), info);
        let permits = match self.admit() {
            Ok(permits) => permits,
            Err(problem) => {
                let connects = request.method() == Method::CONNECT;
                let mut answer = self.refuse(&problem, info, version, connects);
                finish_headers(&mut answer, info.id);
                record.finish(&answer);
                return answer_now(answer);
            }
        };
        // A tunnel inside a tunnel leads nowhere.
        let upgrade = if self.inside.is_some() { None } else { TunnelSlot::upgrade_of(&mut request) };
        let (connects, tunnel) = (request.method() == Method::CONNECT, self.tunnel.clone());
        let request = self.dress(request, info, &record.slot);
        let (router, render) = (shared.router.clone(), shared.render);
        let span =
            tracing::info_span!("request", request_id = %info.id, trace_id = info.traceparent.trace_id());
        let task = shared.requests.spawn(
            async move {
                let mut answer =
                    run(router, request).await.unwrap_or_else(|Panicked| internal(render, info.id));
                finish_headers(&mut answer, info.id);
                if connects && !leave_tunnel(&tunnel, upgrade, &mut answer) {
                    refuse_tunnel(&mut answer, render, info.id, version);
                }
                (record, while_streaming(answer, permits))
            }
            .instrument(span)
            .map(|(record, answer)| {
                record.finish(&answer);
                answer
            }),
        );
        Box::pin(async move {
            let answer = task.await.unwrap_or_else(|_| internal(render, info.id));
            Ok(while_streaming(answer, begun))
        })
    }
}

impl ConnectionService {
    fn record(&self, started: Instant, method: &http::Method, info: RequestInfo) -> Record {
        Record {
            service: self.shared.service,
            started,
            method: method_name(method),
            caller: self.verified.as_ref().map(|(caller, _)| caller.workload.clone()),
            peer: self.peer,
            info,
            slot: RouteSlot::default(),
        }
    }

    /// Room and standing, or the problem to answer with.
    fn admit(&self) -> Result<[OwnedSemaphorePermit; 2], Problem> {
        let now = self.shared.clock.now();
        if let Some((caller, standing)) = &self.verified
            && let Err(reason) = standing.check(&self.shared.trust.load(), now)
        {
            self.shared.tell_refusal(HandshakeRefusal {
                peer: self.peer,
                reason,
                certificate_sha256: Some(caller.certificate_sha256),
            });
            self.fallen.cancel();
            return Err(Problem::because(
                ProblemKind::Forbidden,
                "the client certificate is no longer accepted",
            ));
        }
        let room = |slots: &Arc<Semaphore>| {
            Arc::clone(slots).try_acquire_owned().map_err(|_| Problem::new(ProblemKind::Overloaded))
        };
        Ok([room(&self.in_flight)?, room(&self.shared.in_flight)?])
    }

    fn refuse(&self, problem: &Problem, info: RequestInfo, version: Version, connects: bool) -> Response {
        let mut answer = (self.shared.render)(problem, info.id);
        if (self.fallen.is_cancelled() || connects) && version < Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// The request as handlers see it: bounded, named, with its caller, without what must not travel on.
    fn dress(&self, request: Request<Incoming>, info: RequestInfo, slot: &RouteSlot) -> Request<Body> {
        let limits = &self.shared.limits;
        let mut request = request.map(|body| DeadlineBody::bound(body, limits));
        let headers = request.headers_mut();
        headers.remove("baggage");
        headers.remove("tracestate");
        let extensions = request.extensions_mut();
        if let Some((caller, _)) = &self.verified {
            extensions.insert(caller.clone());
        }
        extensions.insert(info);
        extensions.insert(slot.clone());
        if let Some(inside) = &self.inside {
            extensions.extend(inside.clone());
        }
        request
    }
}

/// The handler panicked. The hook has logged where; the payload is dropped unseen.
struct Panicked;

async fn run(router: Router, request: Request<Body>) -> Result<Response, Panicked> {
    match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(never)) => match never {},
        Err(_payload) => Err(Panicked),
    }
}

/// Whether the answer opens a tunnel; if so it is left for the connection to run once the answer is out.
fn leave_tunnel(slot: &TunnelSlot, upgrade: Option<OnUpgrade>, answer: &mut Response) -> bool {
    let opened = answer.extensions_mut().remove::<Tunnel>();
    let (Some(tunnel), Some(upgrade)) = (opened, upgrade) else { return false };
    slot.put(upgrade, tunnel);
    true
}

/// A caller that was refused may have sent the tunnel's first bytes already: they are never read as a request.
fn refuse_tunnel(answer: &mut Response, render: super::RenderProblem, id: RequestId, version: Version) {
    if answer.status().is_success() {
        *answer = internal(render, id);
        finish_headers(answer, id);
    }
    if version < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn internal(render: super::RenderProblem, id: RequestId) -> Response {
    render(&Problem::new(ProblemKind::Internal), id)
}

/// An answer that never changes: a handler puts it into its answer's extensions. Whoever asked may keep it, nobody between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchanging;

fn finish_headers(answer: &mut Response, id: RequestId) {
    let is_unchanging =
        answer.extensions_mut().remove::<Unchanging>().is_some() && answer.status().is_success();
    let caching = if is_unchanging { "private, max-age=31536000, immutable" } else { "no-store" };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    let Ok(id) = HeaderValue::try_from(id.to_string()) else { return };
    match headers.get(REQUEST_ID) {
        Some(own) if *own == id => {}
        Some(_) => drop(headers.insert(STRONGROOM_REQUEST_ID, id)),
        None => drop(headers.insert(REQUEST_ID, id)),
    }
}

fn answer_now(answer: Response) -> BoxFuture<'static, Result<Response, Infallible>> {
    Box::pin(ready(Ok(answer)))
}
