//! The whole house in one process: vault, proxy and a sandbox PSP, talking over real mTLS.
//!
//! Everything lies in one data folder ([`Folder`]), in the files the services read when they run alone: the programs
//! `strongroom-vault` and `strongroom-proxy` take `vault.toml` and `proxy.toml` as they are.
//!
//! Promises: what is on disk is used again at the next start; nothing is overwritten that somebody changed; one process at
//! a time uses a data folder.
//! Does not promise: separation. One process holds data keys and PSP credentials, and one log has the lines of both
//! services.

mod bundle;
mod config;
mod connect;
mod error;
mod folder;

pub use bundle::{ROUTE_TEMPLATE, route};
pub use error::HouseError;
pub use folder::Folder;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use strongroom_domain::{Clock, Random};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::telemetry::{self, Level, TelemetryConfig};
use strongroom_proxy::app::{Ambient, Proxy};
use strongroom_proxy::config::ProxyConfig;
use strongroom_proxy::upstream::{Resolve, SystemResolver};
use strongroom_vault::app::{self, App};
use strongroom_vault::config::VaultConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::client::Client;
use crate::pki::{Pki, Server};
use crate::psp::{Psp, PspConfig};
use config::Addresses;

/// The tenant every house has.
pub const TENANT: &str = "acme";
/// The route of the sandbox PSP.
pub const ROUTE_NAME: &str = "sandbox";

/// Which ports a house takes on 127.0.0.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ports {
    /// Whatever is free, another at every start.
    Free,
    /// Five in a row: vault api, vault ops, proxy forward, proxy ops, PSP.
    From(u16),
}

impl Ports {
    fn addresses(self) -> Result<[SocketAddr; 5], HouseError> {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut addresses = [local(0); 5];
        if let Self::From(base) = self {
            for (address, offset) in addresses.iter_mut().zip(0..) {
                *address = local(base.checked_add(offset).ok_or(HouseError::Ports(base))?);
            }
        }
        Ok(addresses)
    }
}

/// How a house is set up.
#[derive(Clone)]
pub struct HouseOptions {
    /// The data folder; made if it is not there.
    pub data: PathBuf,
    /// Which ports.
    pub ports: Ports,
    /// How much is written to the log. The first house of a process decides, for all of them, as it does where.
    pub level: Level,
    /// What follows `[store]` in `vault.toml`; SQLite in the data folder if absent.
    pub store: Option<String>,
    /// More of `vault.toml`: whole tables.
    pub settings: String,
    /// Files of the policy bundle that differ from the shipped ones, or are added: path inside it, text. Routes may have
    /// the places to fill in of [`ROUTE_TEMPLATE`].
    pub policies: Vec<(String, String)>,
    /// How long the PSP thinks over its slow card.
    pub slow: Duration,
    /// How the proxy finds PSPs.
    pub resolver: Arc<dyn Resolve>,
}

impl HouseOptions {
    /// Free ports, logs at `info`, SQLite, the shipped policies.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            ports: Ports::Free,
            level: Level::Info,
            store: None,
            settings: String::new(),
            policies: Vec::new(),
            slow: Duration::from_secs(3),
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// A running house. Dropping it tells everything to stop and waits for nothing.
pub struct House {
    folder: Folder,
    pki: Arc<Pki>,
    psp: Psp,
    vault: Service,
    proxy: Service,
    at: Addresses,
    log: PathBuf,
    kept: Vec<PathBuf>,
    renewal: AbortOnDropHandle<()>,
    /// Dropped last: until then the folder is ours.
    lock: std::fs::File,
}

struct Service {
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Service {
    fn spawn(run: impl Future<Output = ()> + Send + 'static, stop: CancellationToken) -> Self {
        Self { stop, running: Some(tokio::spawn(run)) }
    }

    /// Returns when it ended, whoever ended it.
    async fn ended(&mut self) {
        match &mut self.running {
            Some(running) => drop(running.await),
            None => std::future::pending().await,
        }
        self.running = None;
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            let _ = running.await;
        }
    }
}

impl House {
    /// Makes what is missing in the data folder, starts everything, onboards the tenant.
    pub async fn start(options: HouseOptions) -> Result<Self, HouseError> {
        let folder = Folder::create(&options.data)?;
        let lock = folder.lock()?;
        let (log, metrics) = telemetry_once(&folder, options.level)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
        let pki = Arc::new(Pki::open_or_create(folder.pki(), Arc::clone(&clock))?);
        let [vault, vault_ops, proxy, proxy_ops, psp] = options.ports.addresses()?;
        let mut at = Addresses { vault, vault_ops, proxy, proxy_ops };
        let secret = secrets(&folder, &*random)?;
        let mut psp_config = PspConfig::new(pki.server(Server::Psp)?, folder.psp());
        (psp_config.address, psp_config.api_key, psp_config.slow) = (psp, Some(secret), options.slow);
        let psp = Psp::start(psp_config, Arc::clone(&clock), Arc::clone(&random)).await?;

        let files = bundle::files(psp.address(), &pki.psp_ca_file(), &options.policies);
        let kept = bundle::write_all(&folder.policies(), &folder.manifest(), &files)?;

        let (level, store) = (level_name(options.level), options.store);
        let store = store.unwrap_or_else(|| config::sqlite(&folder));
        let ground = config::Ground { store, settings: options.settings };
        let ambient = Ambient { clock, random, resolver: options.resolver };
        let vault = start_vault(&folder, &pki, &ground, level, &mut at, &ambient, &metrics).await?;
        let proxy = start_proxy(&folder, &pki, level, &mut at, ambient, metrics)?;
        let renewal = AbortOnDropHandle::new(tokio::spawn(renew(Arc::clone(&pki))));
        let house = Self { folder, pki, psp, vault, proxy, at, log, kept, renewal, lock };
        house.onboard().await?;
        Ok(house)
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its certificates.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The sandbox PSP.
    #[must_use]
    pub fn psp(&self) -> &Psp {
        &self.psp
    }

    /// The vault's api.
    #[must_use]
    pub fn vault(&self) -> SocketAddr {
        self.at.vault
    }

    /// The vault's probes and metrics.
    #[must_use]
    pub fn vault_ops(&self) -> SocketAddr {
        self.at.vault_ops
    }

    /// The proxy's forward listener.
    #[must_use]
    pub fn proxy(&self) -> SocketAddr {
        self.at.proxy
    }

    /// What callers trust in tunnels: the certificate of the proxy's connect authority.
    #[must_use]
    pub fn connect_ca_file(&self) -> PathBuf {
        connect::certificate(&self.folder)
    }

    /// The proxy's probes and metrics. One recorder serves the process: both ops ports show both services' numbers.
    #[must_use]
    pub fn proxy_ops(&self) -> SocketAddr {
        self.at.proxy_ops
    }

    /// The log of this process: in the folder of the house that was started first.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Policy files somebody changed, which therefore were left as they are though this program has others.
    #[must_use]
    pub fn kept(&self) -> &[PathBuf] {
        &self.kept
    }

    /// A client of the vault with the certificate of a workload.
    pub fn vault_client(&self, workload: &str) -> Result<Client, HouseError> {
        self.client(workload, Server::Vault, self.at.vault)
    }

    /// A client of the proxy with the certificate of a workload.
    pub fn proxy_client(&self, workload: &str) -> Result<Client, HouseError> {
        self.client(workload, Server::Proxy, self.at.proxy)
    }

    /// Stops the vault alone: what the proxy does without it can be seen.
    pub async fn stop_vault(&mut self) {
        self.vault.stop().await;
    }

    /// Returns when a service ended by itself: the vault does when it can write no audit entry any more.
    pub async fn ended(&mut self) {
        let Self { vault, proxy, .. } = self;
        tokio::select! {
            () = vault.ended() => {}
            () = proxy.ended() => {}
        }
    }

    /// Drains and stops everything: the proxy first, so that its last outcomes reach the vault.
    pub async fn stop(self) {
        let Self { psp, mut vault, mut proxy, renewal, lock, .. } = self;
        drop(renewal);
        proxy.stop().await;
        vault.stop().await;
        psp.stop().await;
        drop(lock);
    }

    fn client(&self, workload: &str, server: Server, address: SocketAddr) -> Result<Client, HouseError> {
        let identity = self.pki.client(workload)?;
        Ok(Client::new(&self.pki, Some(&identity), server, address)?)
    }

    async fn onboard(&self) -> Result<(), HouseError> {
        let (client, path) = (self.vault_client("platform")?, format!("/v1/tenants/{TENANT}"));
        if client.send("GET", &path, &[], b"").await?.status() == 200 {
            return Ok(());
        }
        let headers = [("Content-Type", "application/json")];
        let answer = client.send("PUT", &path, &headers, br#"{"groups":["merchants"]}"#).await?;
        match answer.status() {
            200 | 201 => Ok(()),
            status => Err(HouseError::Onboarding(status)),
        }
    }
}

async fn start_vault(
    folder: &Folder,
    pki: &Pki,
    ground: &config::Ground,
    level: &str,
    at: &mut Addresses,
    ambient: &Ambient,
    metrics: &PrometheusHandle,
) -> Result<Service, HouseError> {
    let (file, text) = (folder.vault_config(), config::vault(folder, pki, ground, level, at)?);
    let settings = VaultConfig::parse(&file, &text)?;
    app::migrate(&settings).await?;
    let (clock, random) = (Arc::clone(&ambient.clock), Arc::clone(&ambient.random));
    let vault = App::start(settings, clock, random, metrics.clone()).await?;
    at.vault = vault.api_address();
    at.vault_ops = vault.ops_address().map_err(HouseError::Address)?;
    folder::write(&file, &config::vault(folder, pki, ground, level, at)?)?;
    let stop = CancellationToken::new();
    let serving = vault.run(stop.clone());
    Ok(Service::spawn(
        async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the vault ended");
            }
        },
        stop,
    ))
}

fn start_proxy(
    folder: &Folder,
    pki: &Pki,
    level: &str,
    at: &mut Addresses,
    ambient: Ambient,
    metrics: PrometheusHandle,
) -> Result<Service, HouseError> {
    let file = folder.proxy_config();
    connect::ensure(folder, &config::usable_routes(folder)?, &*ambient.clock)?;
    folder::write(&file, &config::proxy(folder, pki, level, at)?)?;
    let proxy = Proxy::bind(ProxyConfig::read(&file)?, ambient)?;
    at.proxy = proxy.local_addr();
    at.proxy_ops = proxy.ops_addr().map_err(HouseError::Address)?;
    folder::write(&file, &config::proxy(folder, pki, level, at)?)?;
    let stop = CancellationToken::new();
    Ok(Service::spawn(proxy.serve(metrics, stop.clone()), stop))
}

/// Makes the KMS's key file and the proxy's credential, once. Gives the credential.
fn secrets(folder: &Folder, random: &dyn Random) -> Result<String, HouseError> {
    let (mut key, mut credential) = (zeroize::Zeroizing::new([0_u8; 32]), [0_u8; 16]);
    random.fill(&mut *key)?;
    random.fill(&mut credential)?;
    folder::write_secret_once(&folder.kms_key(), &*key)?;
    let file = folder.secrets().join("sandbox.key");
    folder::write_secret_once(&file, format!("sk_test_{}\n", letters(&credential)).as_bytes())?;
    let text = folder::read_if_there(&file)?.unwrap_or_default();
    Ok(text.trim_end().to_owned())
}

/// Two letters a byte: no digit run of a credential can look like a card number.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(b'a' + nibble)).collect()
}

/// Certificates live for months; a sandbox may too.
async fn renew(pki: Arc<Pki>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(6 * 60 * 60));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = pki.renew() {
            tracing::warn!(%error, "certificates cannot be renewed");
        }
    }
}

/// Logs and numbers belong to the process. The first house says where and how much. Panics are left to who runs the
/// process: a test wants to read them.
fn telemetry_once(folder: &Folder, level: Level) -> Result<(PathBuf, PrometheusHandle), HouseError> {
    static STARTED: Mutex<Option<(PathBuf, PrometheusHandle)>> = Mutex::new(None);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(started) = &*started {
        return Ok(started.clone());
    }
    let config = TelemetryConfig { level, file: Some(folder.log()) };
    let hook = std::panic::take_hook();
    let handle = telemetry::init(&config, Arc::new(SystemClock));
    std::panic::set_hook(hook);
    let handle = handle?;
    Ok(started.insert((folder.log(), handle)).clone())
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}
