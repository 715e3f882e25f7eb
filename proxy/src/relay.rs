//! `strongroom-proxy relay`: beside an orchestrator, for SDKs that cannot present a client certificate.
//!
//! It takes plain `CONNECT` and plain HTTP on loopback, adds the certificate of one workload and speaks mTLS to the
//! proxy's `forward`. Each entry of its settings is one workload, route and account.
//!
//! Promises: it listens on loopback and refuses to start elsewhere; what no entry lists is refused before a byte of it is
//! read; a request is sent once; nothing a caller wrote is echoed or logged.
//! Does not promise: to tell the processes of its host apart. Who reaches its loopback speaks as its workloads.
//! Trusts: the proxy's certificate, which leads to the configured CA and names the configured host.
//! Upholds: C-19, C-22, C-38.

mod call;
mod config;
mod forward;
mod listen;

pub use config::{EntryConfig, ForwardConfig, ListenConfig, RelayConfig, RelayLimits};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use strongroom_perimeter::ops::{Ops, Readiness};
use strongroom_perimeter::tls::{ClientTlsConfig, MaterialError};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::app::Ambient;
use crate::config::ConfigError;
use call::Desk;
use forward::{Forward, InvalidForward};
use listen::PlainListener;

/// How often client certificates are read again.
const CERTIFICATE_RENEWAL: Duration = Duration::from_secs(30);

/// Why the relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The proxy's address.
    #[error(transparent)]
    Forward(#[from] InvalidForward),
    /// A client certificate.
    #[error("the client certificate of workload `{workload}` cannot be used")]
    Material {
        /// The workload, as the settings name it.
        workload: String,
        /// Why.
        #[source]
        source: MaterialError,
    },
    /// A listener.
    #[error("cannot listen on {address}: choose a free loopback address in `listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ops listener.
    #[error("the ops listener cannot bind; choose a free address in `ops.address`")]
    Ops(#[source] io::Error),
}

/// A relay that is bound and not yet serving.
pub struct Relay {
    listeners: Vec<PlainListener>,
    forward: Arc<Forward>,
    ops: Ops,
    workloads: Vec<(String, ClientTlsConfig)>,
}

impl Relay {
    /// Reads everything, then binds. Must be called inside a Tokio runtime.
    pub fn bind(config: RelayConfig, ambient: Ambient) -> Result<Self, RelayError> {
        config.check()?;
        let forward = Arc::new(Forward::new(&config, &ambient.resolver)?);
        let mut listeners = Vec::with_capacity(config.listen.len());
        for listen in &config.listen {
            let desk = Desk::new(listen, forward.clone(), config.limits, ambient.clone());
            let listener = PlainListener::bind(listen.address, desk, config.limits)
                .map_err(|source| RelayError::Listen { address: listen.address, source })?;
            listeners.push(listener);
        }
        let ops = Ops::bind(&config.ops).map_err(RelayError::Ops)?;
        Ok(Self { listeners, forward, ops, workloads: config.workloads.into_iter().collect() })
    }

    /// Where SDKs connect, in the order of the settings.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(PlainListener::local_addr).collect()
    }

    /// Where probes connect.
    pub fn ops_addr(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until `stop`, then drains.
    pub async fn serve(self, metrics: PrometheusHandle, stop: CancellationToken) {
        let Self { listeners, forward, ops, workloads } = self;
        let background = CancellationToken::new();
        tokio::spawn(renew(forward.clone(), workloads, background.clone()));
        let readiness = readiness(forward).until(&stop);
        let ops = tokio::spawn(ops.serve(readiness, metrics, background.clone()));
        join_all(listeners.into_iter().map(|listener| listener.serve(stop.clone()))).await;
        background.cancel();
        let _ = ops.await;
    }
}

fn readiness(forward: Arc<Forward>) -> Readiness {
    Readiness::new().check("proxy", move || {
        let forward = forward.clone();
        async move { if forward.is_reachable().await { Ok(()) } else { Err("the proxy takes no connection") } }
    })
}

/// Reads client certificates again and again; what cannot be used is said and the old one stays.
async fn renew(forward: Arc<Forward>, workloads: Vec<(String, ClientTlsConfig)>, stop: CancellationToken) {
    let mut ticks = interval(CERTIFICATE_RENEWAL);
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for (name, files) in &workloads {
            if let Err(error) = forward.renew(name, files) {
                tracing::warn!(workload = name, %error, "a client certificate cannot be renewed");
            }
        }
    }
}
