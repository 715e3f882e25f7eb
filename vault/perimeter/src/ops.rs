//! The operators' listener: `/livez`, `/readyz`, `/metrics`, on an address of its own.
//!
//! Promises: nothing but names of checks, fixed words and numbers is shown.
//! Does not promise: who asks. Bind it to loopback or the cluster's own network.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::{BoxFuture, join_all};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Where the operators' listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsConfig {
    /// Loopback, or an address only the cluster reaches. It is plain HTTP and shows no card data.
    pub address: SocketAddr,
}

/// Named checks of everything the service depends on. A check answers `Err` with a few fixed words.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<Check>,
}

#[derive(Clone)]
struct Check {
    name: &'static str,
    run: Arc<dyn Fn() -> BoxFuture<'static, Result<(), &'static str>> + Send + Sync>,
}

/// A check that takes longer than this has failed: probes themselves give up after a second or two.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

impl Readiness {
    /// No checks: always ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check. It is run for every probe, together with the others.
    #[must_use]
    pub fn check<F, R>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), &'static str>> + Send + 'static,
    {
        self.checks.push(Check { name, run: Arc::new(move || Box::pin(check())) });
        self
    }

    /// Adds a check that fails from the stop signal on, so that no new work is sent here.
    #[must_use]
    pub fn until(self, stop: &CancellationToken) -> Self {
        let stop = stop.clone();
        self.check("drain", move || {
            let stopping = stop.is_cancelled();
            async move { if stopping { Err("stopping") } else { Ok(()) } }
        })
    }

    async fn run(&self) -> (bool, Map<String, Value>) {
        let results = join_all(self.checks.iter().map(|check| async {
            let result = timeout(CHECK_TIMEOUT, (check.run)()).await.unwrap_or(Err("no answer in time"));
            (check.name, result)
        }));
        let results = results.await;
        let ready = results.iter().all(|(_, result)| result.is_ok());
        let shown =
            results.into_iter().map(|(name, result)| (name.into(), result.err().unwrap_or("ok").into()));
        (ready, shown.collect())
    }
}

/// Shows the names.
impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| check.name)).finish()
    }
}

/// The operators' listener, bound but not yet serving.
#[derive(Debug)]
pub struct Ops {
    listener: std::net::TcpListener,
}

impl Ops {
    /// Binds the address.
    pub fn bind(config: &OpsConfig) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(config.address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`.
    pub async fn serve(
        self,
        readiness: Readiness,
        metrics: PrometheusHandle,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let upkeep = tokio::spawn(upkeep(metrics.clone(), stop.clone()));
        accept(&listener, router(readiness, metrics), &stop).await;
        upkeep.abort();
        Ok(())
    }
}

/// Binds and serves until `stop`.
pub async fn serve(
    config: &OpsConfig,
    readiness: Readiness,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> io::Result<()> {
    Ops::bind(config)?.serve(readiness, metrics, stop).await
}

/// The three pages, for a service that wires its own listener.
pub fn router(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(|| async { page("text/plain; charset=utf-8", "ok\n".into()) }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let (ready, checks) = readiness.run().await;
    let body = json!({ "status": if ready { "ready" } else { "not-ready" }, "checks": checks });
    let mut answer = page("application/json", body.to_string());
    if !ready {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

async fn render(State(metrics): State<PrometheusHandle>) -> Response {
    page("text/plain; version=0.0.4; charset=utf-8", metrics.render())
}

fn page(kind: &'static str, body: String) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}

/// Histograms keep every sample until somebody looks; without a scrape this is who looks.
async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut tick = interval(Duration::from_secs(5));
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        metrics.run_upkeep();
    }
}

/// Probes and one or two scrapers: more at once is a mistake.
const CONNECTIONS_MAX: usize = 64;
/// A probe's header comes in one packet.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of an operator's connection.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(120);
/// After a failed accept (no file descriptors left), a moment for others to close some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn accept(listener: &TcpListener, router: Router, stop: &CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(Ok(slot)) = stop.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { return };
        match accepted {
            Ok((stream, _)) => {
                let served = connection(stream, router.clone());
                let stop = stop.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    stop.run_until_cancelled(served).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the operators' listener cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A peer that goes away is not news.
    drop(timeout(CONNECTION_AGE_MAX, served).await);
}
