//! The proxy's settings: one TOML file, every unknown name refused, every default the secure one.
//!
//! Promises: a secret is never a setting, only the name of a file.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use strongroom_domain::Environment;
use strongroom_domain::route::{AccountName, Rate, RouteName};
use strongroom_perimeter::listener::ListenerConfig;
use strongroom_perimeter::ops::OpsConfig;
use strongroom_perimeter::telemetry::TelemetryConfig;
use strongroom_perimeter::tls::ClientTlsConfig;

use crate::inbound::InboundConfig;

/// Everything the proxy is told. Paths are relative to the folder it is started in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// `live` or `test`. Private addresses and unpinned credentials exist in `test` only.
    pub environment: Environment,
    /// Holds `routes/*.toml`, `accounts/<route>/*.toml` and `workloads.json` (who may call, and where): the same files the
    /// vault reads. Read again while serving.
    pub policies_folder: PathBuf,
    /// Holds the credential files accounts name.
    pub secrets_folder: PathBuf,
    /// Only these routes, if given; else every one in the folder.
    pub routes: Option<BTreeSet<String>>,
    /// With `proxy.internal`, route `stripe` is also reached as `stripe.proxy.internal`.
    pub host_suffix: Option<String>,
    /// Where callers connect.
    pub listener: ListenerConfig,
    /// Further ports, each of one route, with the listener's certificates and limits.
    #[serde(default)]
    pub ports: Vec<PortConfig>,
    /// Answers `CONNECT`. Without it every tunnel is refused.
    pub connect: Option<ConnectConfig>,
    /// Receives messages that hold card numbers. Without it none is received.
    pub inbound: Option<InboundConfig>,
    /// Where probes and Prometheus connect.
    pub ops: OpsConfig,
    /// Where forwards are opened.
    pub vault: VaultConfig,
    /// How PSPs are found.
    #[serde(default)]
    pub dns: DnsConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Logs.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

/// A port of one route: for SDKs that can change host and port only, and where a host name is no choice.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// Address and port.
    pub address: SocketAddr,
    /// The route.
    pub route: RouteName,
    /// The account; without it the only one, or `default`.
    pub account: Option<AccountName>,
}

/// The connect authority, made by `strongroom-proxy ca create`. Read again when it changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectConfig {
    /// Its certificate, which callers trust.
    pub ca_certificate_file: PathBuf,
    /// Its key, mode 0600.
    pub ca_key_file: PathBuf,
}

/// How the names of PSPs are looked up. The vault's, an operator's own, is always the operating system's to find.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Recursive name servers, the preferred one first: their answers are used no longer than their time to live. None: the
    /// operating system is asked, which tells no time to live.
    pub servers: Vec<SocketAddr>,
}

/// How the vault is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// `https://host[:port]`, in order of preference. The next is tried only after a failed connect.
    pub urls: Vec<String>,
    /// The certificate the proxy presents, its key, and the CA it trusts there.
    pub tls: ClientTlsConfig,
    /// How long opening a forward may take, connecting included.
    #[serde(default = "default_open_timeout_ms")]
    pub open_timeout_ms: u64,
}

/// The design's budget: the rest belongs to the PSP.
const fn default_open_timeout_ms() -> u64 {
    1_000
}

impl VaultConfig {
    /// How long opening a forward may take.
    #[must_use]
    pub const fn open_timeout(&self) -> Duration {
        Duration::from_millis(self.open_timeout_ms)
    }
}

/// Bounds besides those of the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest answer of a PSP, encoded and decoded. A list of a hundred payments is under 1 MiB.
    pub answer_bytes_max: usize,
    /// Calls one caller may make at all routes together. Routes have their own rates besides.
    pub caller_rate: Rate,
    /// Calls of one caller at all routes at once. Three quarters of what the listener takes, so that others find room.
    pub caller_in_flight_max: NonZeroUsize,
    /// How old an answer of the resolver for a PSP may be when it is used.
    pub dns_age_max_ms: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            answer_bytes_max: 4 * 1024 * 1024,
            caller_rate: Rate::new(1_000, 2_000),
            caller_in_flight_max: NonZeroUsize::MIN.saturating_add(767),
            dns_age_max_ms: 5_000,
        }
    }
}

/// Above this an answer would hold a worker for too long while it is scrubbed.
const ANSWER_BYTES_CAP: usize = 64 * 1024 * 1024;

/// Above this a PSP that moves is looked for where it was: balancers give their addresses a minute.
const DNS_AGE_MS_CAP: u32 = 60_000;

/// With more a name nobody has would take longer than a connection may.
const NAME_SERVERS_MAX: usize = 3;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file.
    #[error("config file {}: cannot be read; give the right path with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not TOML, an unknown setting, or a missing one.
    #[error("config file {}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value out of its range.
    #[error("{0}")]
    Value(&'static str),
}

/// Reads a file of settings; what types cannot check is left to the caller.
pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })
}

impl ProxyConfig {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = read_toml(path)?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(50..=5_000).contains(&self.vault.open_timeout_ms) {
            return Err(ConfigError::Value("`vault.open_timeout_ms` is from 50 to 5000"));
        }
        if !(1024..=ANSWER_BYTES_CAP).contains(&self.limits.answer_bytes_max) {
            return Err(ConfigError::Value("`limits.answer_bytes_max` is from 1024 to 67108864"));
        }
        if !(1..=DNS_AGE_MS_CAP).contains(&self.limits.dns_age_max_ms) {
            return Err(ConfigError::Value("`limits.dns_age_max_ms` is from 1 to 60000"));
        }
        if self.dns.servers.len() > NAME_SERVERS_MAX || self.dns.servers.iter().any(|one| one.port() == 0) {
            return Err(ConfigError::Value("`dns.servers` are three at most, each an address with its port"));
        }
        let is_name = |suffix: &String| {
            let right =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            !suffix.is_empty() && !suffix.starts_with('.') && suffix.bytes().all(right)
        };
        if !self.host_suffix.iter().all(is_name) {
            return Err(ConfigError::Value("`host_suffix` is a lower-case host name without a leading dot"));
        }
        Ok(())
    }
}
