//! A second TLS connection inside the first: what `CONNECT` leads to, where a service has a use for it.
//!
//! Promises: a tunnel begins only where a handler says so, with a [`Tunnel`] in its answer; until then not a byte of it is
//! read. Inside, every bound of the connection goes on: it counts as the connection it is in, ages and drains with it, and
//! each request is served under the outer client certificate, checked anew.
//! Does not promise: where the tunnel seems to lead. Nothing is connected here; the service answers inside it itself.
//! Upholds: C-11, C-22, C-36.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Extensions, Method, Request, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, Watched};
use super::connection::{Ends, http1};
use super::refusal;
use super::service::ConnectionService;
use crate::limits::millis;

/// What a handler puts into the extensions of its 2xx answer to `CONNECT` (HTTP/1 only), to serve what follows itself.
#[derive(Clone)]
pub struct Tunnel {
    /// TLS as it is spoken inside. Whatever ALPN it offers, HTTP/1.1 is served.
    pub tls: Arc<ServerConfig>,
    /// What every request inside carries in its extensions.
    pub inside: Extensions,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel(..)")
    }
}

/// A tunnel a handler opened, and the bytes it will come from.
pub(crate) struct Opened {
    upgrade: OnUpgrade,
    tunnel: Tunnel,
}

/// Where a connection's service leaves a tunnel for the connection to run.
#[derive(Clone, Default)]
pub(crate) struct TunnelSlot(Arc<Mutex<Option<Opened>>>);

impl TunnelSlot {
    /// What a request's bytes may become: nothing unless it is a `CONNECT` on HTTP/1.
    pub(crate) fn upgrade_of(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
        let may = request.method() == Method::CONNECT && request.version() < Version::HTTP_2;
        may.then(|| hyper::upgrade::on(request))
    }

    pub(crate) fn put(&self, upgrade: OnUpgrade, tunnel: Tunnel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Opened { upgrade, tunnel });
    }

    pub(crate) fn take(&self) -> Option<Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves a tunnel until it ends.
pub(crate) async fn run(ends: &Ends<'_>, service: ConnectionService, opened: Opened) {
    let Opened { upgrade, tunnel: Tunnel { tls, inside } } = opened;
    let (shared, limits) = (ends.shared, &ends.shared.limits);
    let accepting = async {
        let stream = upgrade.await.map_err(io::Error::other)?;
        TlsAcceptor::from(tls).accept(TokioIo::new(stream)).await
    };
    let accepting = timeout(millis(limits.handshake_timeout_ms), accepting);
    let Some(accepted) = ends.ending.stop.run_until_cancelled(accepting).await else { return };
    let reason = match &accepted {
        Ok(Ok(_)) => "accepted",
        Ok(Err(error)) => refusal::of_handshake(error).unwrap_or("abandoned"),
        Err(_elapsed) => refusal::TIMEOUT,
    };
    metrics::counter!("strongroom_tunnel_handshakes_total", "service" => shared.service, "outcome" => reason)
        .increment(1);
    let Ok(Ok(stream)) = accepted else {
        // Most often a caller that does not trust the tunnel's certificate.
        tracing::info!(service = shared.service, peer = %service.peer, reason, "no tls inside a tunnel");
        return;
    };
    let activity = Activity::new();
    let io = TokioIo::new(Watched::new(stream, Some(Arc::clone(&activity))));
    let service = ConnectionService { activity: Arc::clone(&activity), inside: Some(inside), ..service };
    let gauge = metrics::gauge!("strongroom_tunnels", "service" => shared.service);
    gauge.increment(1);
    let served = http1(limits).serve_connection(io, service);
    ends.drive(&activity, served, |served| served.graceful_shutdown()).await;
    gauge.decrement(1);
}
