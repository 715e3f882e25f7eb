//! What the proxy serves at the moment: routes, accounts, callers and the connect authority, replaced as a whole.
//!
//! Promises: what was in use stays in use until something better has been read completely; every change and every refusal
//! is logged once and counted; connections and slots of what did not change are kept.
//! Does not promise: that the vault changes in the same moment. Until it has the same route file it opens no forward.
//! Trusts: the file system to move a file's change time when it changes.
//! Upholds: C-37.

mod watch;

pub use watch::{Stamps, watch};

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use strongroom_domain::{Clock, Environment};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::authority::{Authority, AuthorityError};
use crate::config::ProxyConfig;
use crate::measure;
use crate::protect::Guards;
use crate::route::{
    self, Callers, Destination, Entry, EntryError, Listed, ListedAccount, Registered, RouteBookError,
};
use crate::upstream::tls::{self, TlsSetupError};
use crate::upstream::{Admission, Dialer, InvalidHost, Pool, Resolve};

/// Why there is nothing to serve, or why what is served stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A route, account or workloads file.
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
    /// The connect authority.
    #[error("the connect authority cannot be used")]
    Authority(#[from] AuthorityError),
}

/// Everything a request is held against.
pub struct Registry {
    /// Routes and accounts by the names callers use.
    pub entry: Entry<Destination>,
    /// Who may reach them.
    pub callers: Callers,
    /// Answers inside tunnels.
    pub authority: Option<Authority>,
    pools: HashMap<Reach, Pool>,
    slots: HashMap<(String, usize), Arc<Semaphore>>,
    guards: Guards,
}

/// What makes two connections to an upstream alike.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Reach {
    host: String,
    port: u16,
    private_addresses: Vec<IpAddr>,
    roots_sha256: Option<[u8; 32]>,
    pins: BTreeSet<[u8; 32]>,
    /// SHA-256 of the client certificate's chain.
    presented: Option<[u8; 32]>,
    connect_timeout: Duration,
}

/// Where a registry is read from.
pub struct Sources {
    /// The settings that name files.
    pub config: ProxyConfig,
    /// Finds PSPs.
    pub resolver: Arc<dyn Resolve>,
    /// Judges the authority's certificate.
    pub clock: Arc<dyn Clock>,
}

impl Sources {
    /// Reads everything anew. What did not change keeps the connections and slots it has in `before`.
    pub fn read(&self, before: Option<&Registry>) -> Result<Registry, RegistryError> {
        let config = &self.config;
        let registered = route::read(
            &config.policies_folder,
            Some(&config.secrets_folder),
            config.environment,
            config.routes.as_ref(),
        )?;
        let callers = Callers::read(&config.policies_folder)?;
        let authority = config.connect.as_ref().map(|connect| {
            Authority::read(&connect.ca_certificate_file, &connect.ca_key_file, self.clock.now())
        });
        let authority = authority.transpose()?;
        let mut building = Building {
            resolver: &self.resolver,
            before,
            pools: HashMap::new(),
            slots: HashMap::new(),
            guards: Guards::default(),
            roots: HashMap::new(),
            tls: HashMap::new(),
        };
        let mut listed: Vec<Listed<Destination>> = Vec::new();
        for one in registered {
            building.list(one, &mut listed)?;
        }
        let Building { pools, slots, guards, .. } = building;
        let entry = Entry::new(listed, config.host_suffix.as_deref())?;
        Ok(Registry { entry, callers, authority, pools, slots, guards })
    }
}

/// Routes and accounts to explain requests with: no secret is read, nothing is ever connected to.
pub fn without_secrets(
    policies: &Path,
    environment: Environment,
    host_suffix: Option<&str>,
    resolver: &Arc<dyn Resolve>,
) -> Result<Entry<Destination>, RegistryError> {
    let (pools, slots, tls) = (HashMap::new(), HashMap::new(), HashMap::new());
    let (guards, roots) = (Guards::default(), HashMap::new());
    let mut building = Building { resolver, before: None, pools, slots, guards, roots, tls };
    let mut listed: Vec<Listed<Destination>> = Vec::new();
    for one in route::read(policies, None, environment, None)? {
        building.list(one, &mut listed)?;
    }
    Ok(Entry::new(listed, host_suffix)?)
}

impl Registry {
    /// Hosts of upstreams the authority may not speak for: tunnels to them are refused.
    fn without_tunnel(&self) -> Vec<&str> {
        let Some(authority) = &self.authority else { return Vec::new() };
        let hosts = self.entry.destinations().map(|destination| destination.upstream.host.as_str());
        let mut hosts: Vec<_> = hosts.filter(|host| !authority.permits(host)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Says what is served now.
    pub fn tell(&self, what: &'static str) {
        let accounts = self.entry.destinations().count();
        tracing::info!(accounts, tunnels = self.authority.is_some(), "{what}");
        for host in self.without_tunnel() {
            tracing::warn!(
                host,
                "the connect authority is not for this host; make a new one with `ca create`"
            );
        }
    }
}

/// One file of roots, or the WebPKI's, and a digest of the file.
type Trust = (Option<[u8; 32]>, Arc<RootCertStore>);
/// What makes TLS alike: roots, pins, and the certificate presented.
type TlsKey = (Option<PathBuf>, BTreeSet<[u8; 32]>, Option<[u8; 32]>);

struct Building<'a> {
    resolver: &'a Arc<dyn Resolve>,
    before: Option<&'a Registry>,
    pools: HashMap<Reach, Pool>,
    slots: HashMap<(String, usize), Arc<Semaphore>>,
    guards: Guards,
    roots: HashMap<Option<PathBuf>, Trust>,
    tls: HashMap<TlsKey, Arc<ClientConfig>>,
}

impl Building<'_> {
    fn list(&mut self, one: Registered, listed: &mut Vec<Listed<Destination>>) -> Result<(), RegistryError> {
        let (name, account) = (one.route.name.clone(), one.account.name.clone());
        let (upstream, key_id) = (one.upstream(), one.account.key_id().map(str::to_owned));
        if listed.last().is_none_or(|last| last.name != name) {
            let hosts = one.route.hosts.iter().cloned().collect();
            let key_ids = one.route.key_ids.clone();
            listed.push(Listed { name: name.clone(), hosts, key_ids, accounts: Vec::new() });
        }
        if let Some(presented) = &one.keys.presented {
            measure::client_certificate(name.as_str(), account.as_str(), presented.ends);
        }
        let pool = self.pool(&one)?;
        let slots = self.slots(&one);
        let before = self.before.map(|before| &before.guards);
        let guard = self.guards.of(&one.route, &upstream, before, Instant::now());
        let destination = Arc::new(Destination::new(one, pool, guard, slots));
        if let Some(route) = listed.last_mut() {
            let upstream = (upstream.host, upstream.port);
            route.accounts.push(ListedAccount { name: account, upstream, key_id, destination });
        }
        Ok(())
    }

    /// One semaphore for a route, the same after a reload that left its size.
    fn slots(&mut self, one: &Registered) -> Arc<Semaphore> {
        let key = (one.route.name.as_str().to_owned(), one.route.in_flight_max);
        let old = self.before.and_then(|before| before.slots.get(&key));
        let make = || old.cloned().unwrap_or_else(|| Destination::slots_of(&one.route));
        self.slots.entry(key).or_insert_with(make).clone()
    }

    /// One pool for all accounts with one upstream, the same after a reload that left it.
    fn pool(&mut self, one: &Registered) -> Result<Pool, RegistryError> {
        let (route, upstream) = (&one.route, one.upstream());
        let (roots_sha256, tls) = self.tls(one)?;
        let reach = Reach {
            host: upstream.host,
            port: upstream.port,
            private_addresses: upstream.private_addresses,
            roots_sha256,
            pins: route.protect.pins.clone(),
            presented: one.keys.presented.as_ref().map(|presented| presented.sha256),
            connect_timeout: route.connect_timeout,
        };
        let known = self.pools.get(&reach).or_else(|| self.before?.pools.get(&reach));
        if let Some(pool) = known.cloned() {
            self.pools.insert(reach, pool.clone());
            return Ok(pool);
        }
        let dialer = Dialer::new(
            &reach.host,
            reach.port,
            Admission::Public(reach.private_addresses.clone()),
            self.resolver.clone(),
            tls,
            route.connect_timeout,
        )
        .map_err(|source| RegistryError::Host { route: route.name.as_str().to_owned(), source })?;
        let pool = Pool::new(dialer);
        self.pools.insert(reach, pool.clone());
        Ok(pool)
    }

    /// TLS for a route and what its account presents, with a digest of the roots: made once, however many accounts.
    fn tls(&mut self, one: &Registered) -> Result<(Option<[u8; 32]>, Arc<ClientConfig>), RegistryError> {
        let failed = |source| RegistryError::Roots { route: one.route.name.as_str().to_owned(), source };
        let (digest, roots) = match self.roots.get(&one.roots_file) {
            Some(found) => found.clone(),
            None => {
                let file = one.roots_file.as_deref();
                // A file that cannot be read has no digest; reading the roots says so.
                let digest = file.and_then(|file| std::fs::read(file).ok());
                let digest = digest.map(|bytes| Sha256::digest(bytes).into());
                let roots = tls::roots(file).map_err(failed)?;
                self.roots.insert(one.roots_file.clone(), (digest, roots.clone()));
                (digest, roots)
            }
        };
        let (pins, presented) = (&one.route.protect.pins, one.keys.presented.as_ref());
        let key = (one.roots_file.clone(), pins.clone(), presented.map(|presented| presented.sha256));
        if let Some(found) = self.tls.get(&key) {
            return Ok((digest, found.clone()));
        }
        let certified = presented.map(|presented| presented.certified.clone());
        let tls = tls::client_config(roots, pins, certified).map_err(failed)?;
        self.tls.insert(key, tls.clone());
        Ok((digest, tls))
    }
}
