//! The mTLS listener: every request of both services comes in here.
//!
//! Promises: TLS 1.3 and a verified client certificate that names one workload, or the connection ends before a request is
//! read; only a listener bound as public asks nobody for one, and then no request has a caller; no resumption; a certificate that is revoked or ends while connected is refused at the next request; one slow
//! peer never holds up another; every queue and wait has a bound.
//! Does not promise: that a caller is allowed anything. Policy decides that.
//! Trusts: the client CAs and their revocation lists.
//! Upholds: C-11, C-22.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::response::{IntoResponse, Response};
use strongroom_domain::{Clock, Problem, Random, RequestId};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::MapRequestLayer;

mod access;
mod activity;
mod body;
mod config;
mod connection;
mod held;
mod identity;
mod peer;
mod refusal;
mod reload;
mod service;
mod trust;
mod tunnel;

pub use access::RouteLabel;
pub use config::{ListenerConfig, NamedCertificate, PublicListenerConfig};
pub use refusal::{HandshakeObserver, HandshakeRefusal, REASONS};
pub use reload::{Reloaded, Reloader};
pub use service::Unchanging;
pub use tunnel::Tunnel;

use crate::caller::TlsFacts;
use crate::limits::{Limits, millis, size};
use crate::problem::ProblemResponse;
use crate::tls::MaterialError;
use config::TlsFiles;
use connection::Ending;
use identity::DnsIdentities;
use trust::Trust;

/// How a service writes problems of the listener itself (overloaded, certificate no longer accepted, a panic).
pub type RenderProblem = fn(&Problem, RequestId) -> Response;

/// Why a listener did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A file of TLS material.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A name that is no host name.
    #[error(
        "dns_identities holds something that is no lower-case host name: write names such as batch.internal"
    )]
    DnsIdentity,
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: choose a free address of this host")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A bound listener that is not serving yet.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    files: TlsFiles,
    trust: Arc<ArcSwap<Trust>>,
    reloader: Reloader,
    shared: Shared,
}

impl Listener {
    /// Reads and verifies all files, then binds. Must be called inside a Tokio runtime.
    pub fn bind(
        config: ListenerConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ListenError> {
        let files = config.files();
        Self::bind_with(config.address, files, &config.dns_identities, config.limits, clock, random)
    }

    /// The same for callers outside the house, who have no certificate of it. What they may do is up to the service: no
    /// request of theirs has a [`crate::Caller`].
    pub fn bind_public(
        config: PublicListenerConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ListenError> {
        let files = config.files();
        Self::bind_with(config.address, files, &config.dns_identities, config.limits, clock, random)
    }

    fn bind_with(
        address: SocketAddr,
        files: TlsFiles,
        dns_identities: &[String],
        limits: Limits,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ListenError> {
        let dns_identities = DnsIdentities::parse(dns_identities).ok_or(ListenError::DnsIdentity)?;
        let trust = Arc::new(ArcSwap::from_pointee(Trust::load(&files, &clock)?));
        let failed = |source| ListenError::Bind { address, source };
        let tcp = std::net::TcpListener::bind(address).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        let tcp = TcpListener::from_std(tcp).map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let service = "strongroom";
        let shared = Shared {
            service,
            clock,
            random,
            limits,
            trust: Arc::clone(&trust),
            dns_identities: Arc::new(dns_identities),
            observer: None,
            render: |problem, id| ProblemResponse(*problem, id).into_response(),
            in_flight: Arc::new(Semaphore::new(size(limits.in_flight_max))),
            router: Router::new(),
            requests: TaskTracker::new(),
        };
        let reloader = Reloader::new(service, files.clone(), Arc::clone(&trust));
        Ok(Self { tcp, address, files, trust, reloader, shared })
    }

    /// Names the listener in logs and metrics. Call it before [`Self::reloader`].
    #[must_use]
    pub fn named(mut self, service: &'static str) -> Self {
        self.shared.service = service;
        self.reloader = Reloader::new(service, self.files.clone(), Arc::clone(&self.trust));
        self
    }

    /// Tells an observer of every refusal.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn HandshakeObserver>) -> Self {
        self.shared.observer = Some(observer);
        self
    }

    /// Writes the listener's own problems as `render` does (the proxy adds an `error` object that SDKs read).
    #[must_use]
    pub fn problems_as(mut self, render: RenderProblem) -> Self {
        self.shared.render = render;
        self
    }

    /// The address it is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle that reads certificates, keys, CAs and revocation lists anew on demand.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `stop`, then lets requests in flight end within the drain time, then closes what is left.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let Self { tcp, address, trust, reloader, mut shared, .. } = self;
        shared.router = router.layer(MapRequestLayer::new(access::RouteSlot::note));
        let shared = Arc::new(shared);
        reload::tell_ends(shared.service, &trust.load());
        tracing::info!(service = shared.service, %address, "listening");
        let polling = tokio::spawn(reloader.poll(millis(shared.limits.reload_interval_ms), stop.clone()));
        let (connections, abort) = (TaskTracker::new(), CancellationToken::new());
        accept(tcp, &shared, &connections, Ending { stop, abort: abort.clone() }).await;
        polling.abort();
        drain(&shared, &connections).await;
        abort.cancel();
        tracing::info!(service = shared.service, "stopped");
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What every connection needs.
pub(crate) struct Shared {
    service: &'static str,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    limits: Limits,
    trust: Arc<ArcSwap<Trust>>,
    dns_identities: Arc<DnsIdentities>,
    observer: Option<Arc<dyn HandshakeObserver>>,
    render: RenderProblem,
    in_flight: Arc<Semaphore>,
    router: Router,
    requests: TaskTracker,
}

/// After a failed accept (no file descriptors left), a moment for connections to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn accept(tcp: TcpListener, shared: &Arc<Shared>, connections: &TaskTracker, ending: Ending) {
    let slots = Arc::new(Semaphore::new(size(shared.limits.connections_max)));
    let stop = ending.stop.clone();
    while let Some(Ok(slot)) = stop.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(tcp.accept()).await else { return };
        match accepted {
            Ok((stream, peer)) => {
                let (shared, ending) = (Arc::clone(shared), ending.clone());
                connections.spawn(async move {
                    connection::run(shared, stream, peer, ending).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(service = shared.service, %error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for connections and for requests whose caller has hung up.
async fn drain(shared: &Shared, connections: &TaskTracker) {
    connections.close();
    shared.requests.close();
    let ended = async {
        connections.wait().await;
        shared.requests.wait().await;
    };
    if timeout(millis(shared.limits.drain_timeout_ms), ended).await.is_err() {
        tracing::warn!(
            service = shared.service,
            connections = connections.len(),
            requests = shared.requests.len(),
            "the drain time is over; what is still open is closed"
        );
    }
}

impl Shared {
    fn tell_accepted(&self, tls: &TlsFacts) {
        metrics::counter!(
            "strongroom_tls_handshakes_total",
            "service" => self.service, "outcome" => "accepted", "suite" => tls.suite, "group" => tls.group
        )
        .increment(1);
    }

    fn tell_abandoned(&self) {
        metrics::counter!("strongroom_tls_handshakes_total", "service" => self.service, "outcome" => "abandoned")
            .increment(1);
    }

    fn tell_refusal(&self, refusal: HandshakeRefusal) {
        metrics::counter!(
            "strongroom_tls_refusals_total", "service" => self.service, "reason" => refusal.reason
        )
        .increment(1);
        tracing::warn!(
            service = self.service,
            peer = %refusal.peer,
            reason = refusal.reason,
            certificate_sha256 = refusal.certificate_sha256.map(hex::encode),
            "peer refused"
        );
        if let Some(observer) = &self.observer {
            observer.refused(refusal);
        }
    }

    /// How old this connection may become: up to a tenth less than the limit, so that peers do not all return at once.
    fn age(&self) -> Duration {
        let age = millis(self.limits.connection_age_max_ms);
        let mut drawn = [0_u8];
        if self.random.fill(&mut drawn).is_err() {
            return age; // the spread is lost, nothing else
        }
        age - (age / 10).mul_f64(f64::from(drawn[0]) / 256.0)
    }
}
