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

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use strongroom_domain::{Clock, Random};
use strongroom_perimeter::listener::{ListenError, Listener, ListenerConfig};
use strongroom_perimeter::ops::{Ops, Readiness};
use strongroom_perimeter::tls::{self, ClientTlsConfig, MaterialError};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{ConfigError, ProxyConfig};
use crate::forward::Engine;
use crate::inbound::{InboundError, Receiver};
use crate::listen::{self, Service};
use crate::outcome::{self, OutcomeRecorder};
use crate::protect::CallerLimits;
use crate::registry::{self, Registry, RegistryError, Sources, Stamps};
use crate::rescue;
use crate::route::Bound;
use crate::upstream::{CachedResolver, NameServers, Resolve};
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
    /// Routes, accounts, callers or the connect authority.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A port of a route or account that is not there.
    #[error("`ports`: {address} is for route `{route}`, which is not there or has no such account")]
    Port {
        /// The port's address.
        address: SocketAddr,
        /// The route it names.
        route: String,
    },
    /// Inbound entries.
    #[error("inbound entries cannot be used")]
    Inbound(#[from] InboundError),
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
    ports: Vec<(Listener, Bound)>,
    inbound: Option<Receiver>,
    ops: Ops,
    service: Arc<Service>,
    sources: Arc<Sources>,
    seen: Stamps,
    recorder: OutcomeRecorder,
    vault: Arc<VaultClient>,
    vault_tls: ClientTlsConfig,
}

impl Proxy {
    /// Reads everything, then binds. Must be called inside a Tokio runtime.
    pub fn bind(config: ProxyConfig, ambient: Ambient) -> Result<Self, StartError> {
        config.check()?;
        let age_max = Duration::from_millis(config.limits.dns_age_max_ms.into());
        let resolver: Arc<dyn Resolve> = Arc::new(CachedResolver::new(names(&config, &ambient), age_max));
        let clock = ambient.clock.clone();
        let sources = Sources { config: config.clone(), resolver, clock };
        let seen = sources.stamp();
        let registry = sources.read(None)?;
        registry.tell("routes and accounts read");
        let vault = VaultClient::new(
            &config.vault.urls,
            tls::client_config(&config.vault.tls)?,
            &ambient.resolver,
            config.vault.open_timeout(),
        )?;
        let vault = Arc::new(vault);
        let (outcomes, recorder) = outcome::queue(vault.clone());
        let engine = Engine {
            vault: vault.clone(),
            outcomes,
            clock: ambient.clock.clone(),
            random: ambient.random.clone(),
            answer_bytes_max: config.limits.answer_bytes_max,
        };
        let service = Arc::new(Service {
            registry: Arc::new(ArcSwap::from_pointee(registry)),
            clock: ambient.clock.clone(),
            engine: Arc::new(engine),
            callers: CallerLimits::new(config.limits.caller_rate, config.limits.caller_in_flight_max.get()),
            calls: TaskTracker::new(),
            request_bytes_max: usize::try_from(config.listener.limits.body_bytes_max.get())?,
        });
        let ports = ports(&config, &service.registry.load(), &ambient)?;
        let inbound = Receiver::bind(&config, &ambient)?;
        let ops = Ops::bind(&config.ops).map_err(StartError::Ops)?;
        let listener = listen_on(config.listener, &ambient)?;
        let (sources, vault_tls) = (Arc::new(sources), config.vault.tls);
        Ok(Self { listener, ports, inbound, ops, service, sources, seen, recorder, vault, vault_tls })
    }

    /// Where callers connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Where callers connect for one route each, in the order of the settings.
    #[must_use]
    pub fn port_addrs(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|(listener, _)| listener.local_addr()).collect()
    }

    /// Where senders of inbound messages connect.
    #[must_use]
    pub fn inbound_addr(&self) -> Option<SocketAddr> {
        self.inbound.as_ref().map(Receiver::local_addr)
    }

    /// Where probes connect.
    pub fn ops_addr(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until `stop`, then drains: connections, calls whose callers are gone, outcomes.
    pub async fn serve(self, metrics: PrometheusHandle, stop: CancellationToken) {
        let Self { listener, ports, inbound, ops, service, sources, seen, recorder, vault, vault_tls } = self;
        let give_up = CancellationToken::new();
        let recording = tokio::spawn(recorder.run(give_up.clone()));
        let background = CancellationToken::new();
        tokio::spawn(renew(vault.clone(), vault_tls, background.clone()));
        let every = Duration::from_millis(sources.config.listener.limits.reload_interval_ms.get().into());
        tokio::spawn(registry::watch(service.registry.clone(), sources, seen, every, background.clone()));
        let readiness = readiness(vault).until(&stop);
        let ops = tokio::spawn(ops.serve(readiness, metrics, background.clone()));

        let calls = service.calls.clone();
        let ports = ports.into_iter().map(|(listener, bound)| {
            listener.serve(listen::router(service.clone(), Some(bound)), stop.clone())
        });
        let ports = join_all(ports.collect::<Vec<_>>());
        let receiving = join_all(inbound.map(|inbound| inbound.serve(stop.clone(), background.clone())));
        let main = listener.serve(listen::router(service.clone(), None), stop.clone());
        tokio::join!(main, ports, receiving);
        drop(service);
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

/// What tells where PSPs are.
fn names(config: &ProxyConfig, ambient: &Ambient) -> Arc<dyn Resolve> {
    match config.dns.servers.as_slice() {
        [] => ambient.resolver.clone(),
        servers => Arc::new(NameServers::new(servers.to_vec(), ambient.random.clone())),
    }
}

async fn finished(mut recording: tokio::task::JoinHandle<()>) {
    let _ = (&mut recording).await;
}

/// Ports that say by themselves what route and account they are for.
fn ports(
    config: &ProxyConfig,
    registry: &Registry,
    ambient: &Ambient,
) -> Result<Vec<(Listener, Bound)>, StartError> {
    let ports = config.ports.iter().map(|port| {
        let (route, account) = (port.route.clone(), port.account.clone());
        if registry.entry.account(&route, account.as_ref()).is_err() {
            return Err(StartError::Port { address: port.address, route: route.as_str().to_owned() });
        }
        let listener = ListenerConfig { address: port.address, ..config.listener.clone() };
        Ok((listen_on(listener, ambient)?, Bound { route, account, upstream: None }))
    });
    ports.collect()
}

fn listen_on(config: ListenerConfig, ambient: &Ambient) -> Result<Listener, ListenError> {
    let (clock, random) = (ambient.clock.clone(), ambient.random.clone());
    Ok(Listener::bind(config, clock, random)?.named("proxy").problems_as(rescue::of_listener))
}

fn readiness(vault: Arc<VaultClient>) -> Readiness {
    Readiness::new().check("vault", move || {
        let vault = vault.clone();
        async move { if vault.is_reachable().await { Ok(()) } else { Err("no vault address takes a connection") } }
    })
}

/// Reads the client certificate again and again; what cannot be used is said and the old one stays.
pub(crate) async fn renew(vault: Arc<VaultClient>, files: ClientTlsConfig, stop: CancellationToken) {
    let mut ticks = interval(CERTIFICATE_RENEWAL);
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match tls::client_config(&files) {
            Ok(config) => vault.renew(config),
            Err(error) => tracing::warn!(%error, "the client certificate for the vault cannot be renewed"),
        }
    }
}
