//! One request at the relay: a call or a tunnel for one entry of its port, or refused.
//!
//! Promises: an absolute `https` target is refused unread: whoever sends one over a plain connection has mistaken this for
//! a proxy that dials for it, and has its API key in clear. Nothing of it is echoed. An entry's account is its own: a path
//! that would name another is refused.
//! Upholds: C-38.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, EXPECT, HOST, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use strongroom_domain::{Problem, ProblemKind, RequestId};
use strongroom_perimeter::limits::read_body;
use tokio::io::copy_bidirectional;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::forward::{Connected, Forward, RelayFailure, Way};
use super::{ListenConfig, RelayLimits};
use crate::app::Ambient;
use crate::headers;
use crate::rescue;
use crate::route::host_of;
use crate::tunnel::{basic_user, only};

/// How an SDK says which entry it means.
#[derive(PartialEq, Eq, Hash)]
enum Sign {
    Tunnel { host: String, port: u16, user: Option<String> },
    Host(String),
    AnyHost,
}

/// What serves one port.
pub(super) struct Desk {
    ways: HashMap<Sign, Way>,
    forward: Arc<Forward>,
    limits: RelayLimits,
    ambient: Ambient,
    tunnels: TaskTracker,
    tunnel_slots: Arc<Semaphore>,
    /// Ends tunnels that outlast the drain.
    abort: CancellationToken,
}

/// Why a request is none of this port's. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    AbsoluteTarget,
    NotListed,
    Malformed,
}

impl Refused {
    fn problem(self) -> Problem {
        Problem::because(
            ProblemKind::RouteRefused,
            match self {
                Self::AbsoluteTarget => {
                    "an absolute target over a plain connection: make the client use connect, or a plain path; nothing was sent"
                }
                Self::NotListed => "this port of the relay has no entry for this target; nothing was sent",
                Self::Malformed => {
                    "the request names its target, its account or its user in two ways or none; nothing was sent"
                }
            },
        )
    }
}

impl Desk {
    pub(super) fn new(
        listen: &ListenConfig,
        forward: Arc<Forward>,
        limits: RelayLimits,
        ambient: Ambient,
    ) -> Arc<Self> {
        let ways = listen.entries.iter().map(|entry| {
            let sign = match (entry.upstream(), &entry.host) {
                (Some((host, port)), _) => Sign::Tunnel { host, port, user: entry.user.clone() },
                (None, Some(host)) => Sign::Host(host.clone()),
                (None, None) => Sign::AnyHost,
            };
            let (workload, route, account) =
                (entry.workload.clone(), entry.route.clone(), entry.account.clone());
            (sign, Way { workload, route, account })
        });
        let (tunnels, abort) = (TaskTracker::new(), CancellationToken::new());
        let tunnels_max = usize::try_from(limits.connections_max).unwrap_or(Semaphore::MAX_PERMITS);
        let tunnel_slots = Arc::new(Semaphore::new(tunnels_max));
        Arc::new(Self { ways: ways.collect(), forward, limits, ambient, tunnels, tunnel_slots, abort })
    }

    /// Waits for tunnels to end; ends what is left after a while.
    pub(super) async fn drain(&self, patience: Duration) {
        self.tunnels.close();
        if timeout(patience, self.tunnels.wait()).await.is_err() {
            tracing::warn!(tunnels = self.tunnels.len(), "the drain time is over; open tunnels are closed");
            self.abort.cancel();
            self.tunnels.wait().await;
        }
    }

    /// Answers one request.
    pub(super) async fn handle(self: Arc<Self>, mut request: Request<Incoming>) -> Response {
        let Ok(id) = RequestId::generate(&*self.ambient.clock, &*self.ambient.random) else {
            tracing::error!("no randomness for a request id");
            let nameless = RequestId::from_uuid(uuid::Uuid::nil());
            return closing(rescue::of_listener(&Problem::new(ProblemKind::Unavailable), nameless));
        };
        if request.method() == Method::CONNECT {
            let upgrade = hyper::upgrade::on(&mut request);
            let (parts, _) = request.into_parts();
            return self.tunnel(&parts, upgrade, id).await;
        }
        let (parts, body) = request.into_parts();
        match self.way_of(&parts) {
            Ok(way) => self.call(way, parts, body, id).await,
            Err(refused) => refuse(refused, "call", id),
        }
    }

    fn way_of(&self, parts: &Parts) -> Result<&Way, Refused> {
        if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
            return Err(Refused::AbsoluteTarget);
        }
        let path = parts.uri.path();
        // The account is the entry's to say: behind the route, `/@<account>` would be read as one.
        if !path.starts_with('/') || path.trim_start_matches('/').starts_with('@') {
            return Err(Refused::Malformed);
        }
        let host = only(&parts.headers, &HOST).map_err(|_| Refused::Malformed)?.map(host_of);
        let named = host.and_then(|host| self.ways.get(&Sign::Host(host)));
        named.or_else(|| self.ways.get(&Sign::AnyHost)).ok_or(Refused::NotListed)
    }

    async fn call(&self, way: &Way, parts: Parts, body: Incoming, id: RequestId) -> Response {
        let bytes_max = usize::try_from(self.limits.body_bytes_max).unwrap_or(usize::MAX);
        let patience = Duration::from_millis(self.limits.body_timeout_ms.into());
        let body = match timeout(patience, read_body(Body::new(body), bytes_max)).await {
            Ok(Ok(body)) => body,
            Ok(Err(problem)) => return problem_of(&problem, way, "call", id),
            Err(_elapsed) => {
                let problem = Problem::because(
                    ProblemKind::InvalidRequest,
                    "the body did not arrive in time; nothing was sent",
                );
                return problem_of(&problem, way, "call", id);
            }
        };
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let headers = outgoing(&parts.headers);
        let answers_max = usize::try_from(self.limits.answer_bytes_max).unwrap_or(usize::MAX);
        let answer = self.forward.call(way, parts.method, target, headers, body, answers_max).await;
        match answer {
            Ok(answer) => {
                count(way.route.as_str(), "call", "answered");
                let mut response = Response::new(Body::from(answer.body));
                *response.status_mut() = answer.status;
                *response.headers_mut() = headers::incoming(&answer.headers);
                response
            }
            Err(failure) => failed(&failure, way, "call", id),
        }
    }

    async fn tunnel(&self, parts: &Parts, upgrade: OnUpgrade, id: RequestId) -> Response {
        let (way, host, port) = match self.way_of_tunnel(parts) {
            Ok(found) => found,
            Err(refused) => return refuse(refused, "tunnel", id),
        };
        let Ok(slot) = self.tunnel_slots.clone().try_acquire_owned() else {
            return closing(problem_of(&Problem::new(ProblemKind::Overloaded), way, "tunnel", id));
        };
        match self.forward.connect(way, &host, port).await {
            Err(failure) => closing(failed(&failure, way, "tunnel", id)),
            Ok(Connected::Refused(status, from_proxy, body)) => {
                count(way.route.as_str(), "tunnel", "refused");
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = status;
                *response.headers_mut() = headers::incoming(&from_proxy);
                closing(response)
            }
            Ok(Connected::Tunnel(there)) => {
                count(way.route.as_str(), "tunnel", "opened");
                let abort = self.abort.clone();
                self.tunnels.spawn(async move {
                    let Ok(here) = upgrade.await else { return };
                    let gauge = metrics::gauge!("strongroom_relay_tunnels");
                    gauge.increment(1);
                    let (mut here, mut there) = (TokioIo::new(here), TokioIo::new(there));
                    // How a tunnel ends is between the SDK and the proxy.
                    let _ = abort.run_until_cancelled(copy_bidirectional(&mut here, &mut there)).await;
                    gauge.decrement(1);
                    drop(slot);
                });
                Response::new(Body::empty())
            }
        }
    }

    fn way_of_tunnel(&self, parts: &Parts) -> Result<(&Way, String, u16), Refused> {
        let authority = parts.uri.authority().ok_or(Refused::Malformed)?;
        let port = authority.port_u16().ok_or(Refused::Malformed)?;
        let host = host_of(authority.as_str());
        let credentials = only(&parts.headers, &PROXY_AUTHORIZATION).map_err(|_| Refused::Malformed)?;
        let user = credentials.map(basic_user).transpose().map_err(|_| Refused::Malformed)?;
        let user = user.filter(|user| !user.is_empty());
        let sign = Sign::Tunnel { host: host.clone(), port, user };
        let way = self.ways.get(&sign).ok_or(Refused::NotListed)?;
        Ok((way, host, port))
    }
}

/// What travels on: nothing of this hop, nothing that only a proxy reads.
fn outgoing(from_sdk: &HeaderMap) -> HeaderMap {
    let mut headers = headers::without_hop(from_sdk);
    headers.remove(EXPECT);
    headers.remove(http::header::CONTENT_LENGTH);
    headers.remove(PROXY_AUTHORIZATION);
    headers
}

fn refuse(refused: Refused, kind: &'static str, id: RequestId) -> Response {
    count("none", kind, "refused");
    tracing::warn!(kind, reason = ?refused, request_id = %id, "a request no entry takes was refused");
    closing(rescue::of_listener(&refused.problem(), id))
}

fn failed(failure: &RelayFailure, way: &Way, kind: &'static str, id: RequestId) -> Response {
    tracing::error!(
        kind,
        route = way.route.as_str(),
        error = failure as &dyn std::error::Error,
        request_id = %id,
        "the proxy could not be used"
    );
    match failure {
        RelayFailure::Connect(_) | RelayFailure::NoTunnel => {
            let problem = Problem::because(
                ProblemKind::PspUnreachable,
                "the proxy cannot be reached from the relay; nothing was sent, a retry is safe",
            );
            problem_of(&problem, way, kind, id)
        }
        RelayFailure::Unanswered(_) => {
            count(way.route.as_str(), kind, "unanswered");
            rescue::unanswered(id)
        }
    }
}

fn problem_of(problem: &Problem, way: &Way, kind: &'static str, id: RequestId) -> Response {
    count(way.route.as_str(), kind, problem.kind.slug());
    rescue::of_listener(problem, id)
}

/// Whatever follows on this connection is not read.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn count(route: &str, kind: &'static str, result: &'static str) {
    metrics::counter!(
        "strongroom_relay_requests_total", "route" => route.to_owned(), "kind" => kind, "result" => result
    )
    .increment(1);
}
