//! The proxy put together: files become routes, routes become connections, connections become a service.
//!
//! Promises: everything is read and checked before anything is bound; what cannot be used stops the start with a
//! sentence that says what to do.
//! Upholds: C-17, C-18.

use std::io;
use std::net::SocketAddr;
use std::num::TryFromIntError;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use strongroom_domain::{Clock, Random};
use strongroom_perimeter::listener::{ListenError, Listener};
use strongroom_perimeter::ops::{Ops, Readiness};
use strongroom_perimeter::tls::{self, ClientTlsConfig, MaterialError};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{ConfigError, ProxyConfig};
use crate::forward::Engine;
use crate::listen::{self, Service};
use crate::outcome::{self, OutcomeRecorder};
use crate::rescue;
use crate::route::{self, Callers, Destination, Entry, EntryError, Registered, RouteBookError};
use crate::upstream::tls::TlsSetupError;
use crate::upstream::{Admission, Dialer, InvalidHost, Pool, Resolve};
use crate::vault::{InvalidVaultUrl, VaultClient};

/// How long calls whose callers hung up may take to end after the listener has drained.
const CALLS_DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long outcomes may take to be told after the last call.
const OUTCOMES_DRAIN_MAX: Duration = Duration::from_secs(10);
/// How often the client certificate for the vault is read again.
const CERTIFICATE_RENEWAL: Duration = Duration::from_secs(30);

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A route or account file.
    #[error("routes cannot be used")]
    Routes(#[from] RouteBookError),
    /// Two routes with one host name.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A route's host.
    #[error("route `{route}`: its upstream cannot be used")]
    Host {
        /// The route.
        route: String,
        /// Why.
        #[source]
        source: InvalidHost,
    },
    /// A route's pinned roots.
    #[error("route `{route}`: its tls cannot be set up")]
    Roots {
        /// The route.
        route: String,
        /// Why.
        #[source]
        source: TlsSetupError,
    },
    /// The vault's addresses.
    #[error(transparent)]
    Vault(#[from] InvalidVaultUrl),
    /// The client certificate.
    #[error("the client certificate for the vault cannot be used")]
    Material(#[from] MaterialError),
    /// The forward listener.
    #[error("the forward listener cannot start")]
    Listen(#[from] ListenError),
    /// The ops listener.
    #[error("the ops listener cannot bind; choose a free address in `ops.address`")]
    Ops(#[source] io::Error),
    /// A size this machine cannot hold.
    #[error("a limit is too large for this machine")]
    Limit(#[from] TryFromIntError),
}

/// What the proxy takes from outside: time, chance, names.
#[derive(Clone)]
pub struct Ambient {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The resolver.
    pub resolver: Arc<dyn Resolve>,
}

/// A proxy that is bound and not yet serving.
pub struct Proxy {
    listener: Listener,
    ops: Ops,
    service: Arc<Service>,
    recorder: OutcomeRecorder,
    vault: Arc<VaultClient>,
    vault_tls: ClientTlsConfig,
}

impl Proxy {
    /// Reads everything, then binds. Must be called inside a Tokio runtime.
    pub fn bind(config: ProxyConfig, ambient: Ambient) -> Result<Self, StartError> {
        config.check()?;
        let registered = route::read(
            &config.policies_folder,
            Some(&config.secrets_folder),
            config.environment,
            config.routes.as_ref(),
        )?;
        let entry = entry(registered, config.host_suffix.as_deref(), &ambient.resolver)?;
        let callers = Callers::read(&config.policies_folder)?;
        let vault = VaultClient::new(
            &config.vault.urls,
            tls::client_config(&config.vault.tls)?,
            &ambient.resolver,
            config.vault.open_timeout(),
        )?;
        let vault = Arc::new(vault);
        let (outcomes, recorder) = outcome::queue(vault.clone());
        let engine =
            Engine { vault: vault.clone(), outcomes, answer_bytes_max: config.limits.answer_bytes_max };
        let service = Arc::new(Service {
            entry,
            callers,
            engine: Arc::new(engine),
            calls: TaskTracker::new(),
            request_bytes_max: usize::try_from(config.listener.limits.body_bytes_max.get())?,
        });
        let ops = Ops::bind(&config.ops).map_err(StartError::Ops)?;
        let listener = Listener::bind(config.listener, ambient.clock, ambient.random)?
            .named("proxy")
            .problems_as(rescue::of_listener);
        Ok(Self { listener, ops, service, recorder, vault, vault_tls: config.vault.tls })
    }

    /// Where callers connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Where probes connect.
    pub fn ops_addr(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until `stop`, then drains: connections, calls whose callers are gone, outcomes.
    pub async fn serve(self, metrics: PrometheusHandle, stop: CancellationToken) {
        let Self { listener, ops, service, recorder, vault, vault_tls } = self;
        let give_up = CancellationToken::new();
        let recording = tokio::spawn(recorder.run(give_up.clone()));
        let background = CancellationToken::new();
        tokio::spawn(renew(vault.clone(), vault_tls, background.clone()));
        let readiness = readiness(vault).until(&stop);
        let ops = tokio::spawn(ops.serve(readiness, metrics, background.clone()));

        let calls = service.calls.clone();
        listener.serve(listen::router(service), stop).await;
        calls.close();
        if timeout(CALLS_DRAIN_MAX, calls.wait()).await.is_err() {
            tracing::error!(calls = calls.len(), "stopping with calls under way; their outcome is unknown");
        }
        drop(calls);
        if timeout(OUTCOMES_DRAIN_MAX, finished(recording)).await.is_err() {
            give_up.cancel();
        }
        background.cancel();
        let _ = ops.await;
    }
}

async fn finished(mut recording: tokio::task::JoinHandle<()>) {
    let _ = (&mut recording).await;
}

fn entry(
    registered: Vec<Registered>,
    suffix: Option<&str>,
    resolver: &Arc<dyn Resolve>,
) -> Result<Entry<Destination>, StartError> {
    let mut routes = Vec::with_capacity(registered.len());
    for one in registered {
        let (name, hosts) = (one.route.name.clone(), one.route.hosts.iter().cloned().collect());
        routes.push((name, hosts, Arc::new(destination(one, resolver)?)));
    }
    Ok(Entry::new(routes, suffix)?)
}

fn destination(registered: Registered, resolver: &Arc<dyn Resolve>) -> Result<Destination, StartError> {
    let route = &registered.route;
    let name = || route.name.as_str().to_owned();
    let tls = crate::upstream::tls::client_config(registered.roots_file.as_deref())
        .map_err(|source| StartError::Roots { route: name(), source })?;
    let dialer = Dialer::new(
        &route.upstream.host,
        route.upstream.port,
        Admission::Public(route.upstream.private_addresses.clone()),
        resolver.clone(),
        tls,
        route.connect_timeout,
    )
    .map_err(|source| StartError::Host { route: name(), source })?;
    Ok(Destination::new(registered, Pool::new(dialer)))
}

fn readiness(vault: Arc<VaultClient>) -> Readiness {
    Readiness::new().check("vault", move || {
        let vault = vault.clone();
        async move { if vault.is_reachable().await { Ok(()) } else { Err("no vault address takes a connection") } }
    })
}

/// Reads the client certificate again and again; what cannot be used is said and the old one stays.
async fn renew(vault: Arc<VaultClient>, files: ClientTlsConfig, stop: CancellationToken) {
    let mut ticks = interval(CERTIFICATE_RENEWAL);
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match tls::client_config(&files) {
            Ok(config) => vault.renew(config),
            Err(error) => tracing::warn!(%error, "the client certificate for the vault cannot be renewed"),
        }
    }
}
