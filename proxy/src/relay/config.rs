//! The relay's settings: one TOML file, every unknown name refused.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_perimeter::ops::OpsConfig;
use strongroom_perimeter::telemetry::TelemetryConfig;
use strongroom_perimeter::tls::ClientTlsConfig;

use crate::config::{self, ConfigError};

/// Everything the relay is told. Paths are relative to the folder it is started in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayConfig {
    /// The proxy.
    pub forward: ForwardConfig,
    /// The certificates it may present, by a name of the file's own choice. Read again every 30 s.
    pub workloads: BTreeMap<String, ClientTlsConfig>,
    /// Where SDKs connect: loopback only.
    pub listen: Vec<ListenConfig>,
    /// Where probes and Prometheus connect.
    pub ops: OpsConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: RelayLimits,
    /// Logs.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

/// How the proxy is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// `https://host[:port]` of its `forward` listener.
    pub url: String,
    /// How long connecting may take.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u32,
    /// How long an answer may take: longer than the proxy's own budget, so that its answers are seen.
    #[serde(default = "default_answer_timeout_ms")]
    pub answer_timeout_ms: u32,
}

const fn default_connect_timeout_ms() -> u32 {
    3_000
}

const fn default_answer_timeout_ms() -> u32 {
    60_000
}

impl ForwardConfig {
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    pub(super) fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms.into())
    }
}

/// One port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// A loopback address and a port.
    pub address: SocketAddr,
    /// What is taken there.
    pub entries: Vec<EntryConfig>,
}

/// One workload, route and account, and how an SDK says that it means them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryConfig {
    /// A tunnel to this `host:port`, the upstream of the route. Without it, plain HTTP.
    pub connect: Option<String>,
    /// With `connect`: the user of the proxy credentials. Without it, only tunnels without credentials.
    pub user: Option<String>,
    /// Plain HTTP that asks for this host. Without it and `connect`, plain HTTP for any host.
    pub host: Option<String>,
    /// The name of a certificate in `workloads`.
    pub workload: String,
    /// The route.
    pub route: RouteName,
    /// The account; without it the only one, or `default`.
    pub account: Option<AccountName>,
}

/// Bounds of every port. Every default is the secure one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayLimits {
    /// Connections open at once on one port, and as many tunnels.
    pub connections_max: u32,
    /// Largest header.
    pub header_bytes_max: u32,
    /// Largest request body of plain HTTP.
    pub body_bytes_max: u32,
    /// Largest answer of plain HTTP.
    pub answer_bytes_max: u32,
    /// How long a body may take to arrive.
    pub body_timeout_ms: u32,
    /// How long a connection may wait for the end of a request's header, silence before it included.
    pub idle_timeout_ms: u32,
    /// How long calls and tunnels may take to end after the stop signal.
    pub drain_timeout_ms: u32,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            header_bytes_max: 32 * 1024,
            body_bytes_max: 1024 * 1024,
            answer_bytes_max: 4 * 1024 * 1024,
            body_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            drain_timeout_ms: 30_000,
        }
    }
}

/// hyper's smallest buffer.
const HEADER_BYTES_MIN: u32 = 8 * 1024;

impl RelayConfig {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read: Self = config::read_toml(path)?;
        read.check()?;
        Ok(read)
    }

    /// Checks what types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let bounds = [
            limits.connections_max,
            limits.body_bytes_max,
            limits.answer_bytes_max,
            limits.body_timeout_ms,
            limits.idle_timeout_ms,
            limits.drain_timeout_ms,
            self.forward.connect_timeout_ms,
            self.forward.answer_timeout_ms,
        ];
        if bounds.contains(&0) || limits.header_bytes_max < HEADER_BYTES_MIN {
            return Err(ConfigError::Value("limits and timeouts are above 0, `header_bytes_max` from 8192"));
        }
        if self.listen.is_empty() {
            return Err(ConfigError::Value("`listen` needs at least one port"));
        }
        for listen in &self.listen {
            if !listen.address.ip().to_canonical().is_loopback() {
                return Err(ConfigError::Value(
                    "`listen.address` is loopback only: what is spoken there is not encrypted and not authenticated",
                ));
            }
            let mut seen = HashSet::new();
            for entry in &listen.entries {
                entry.check(&self.workloads)?;
                if !seen.insert((&entry.connect, &entry.user, &entry.host)) {
                    return Err(ConfigError::Value("two entries of one port take the same thing"));
                }
            }
        }
        Ok(())
    }
}

impl EntryConfig {
    fn check(&self, workloads: &BTreeMap<String, ClientTlsConfig>) -> Result<(), ConfigError> {
        if !workloads.contains_key(&self.workload) {
            return Err(ConfigError::Value("an entry's `workload` is not in `workloads`"));
        }
        let plain = |text: &String| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if self.connect.is_none() && self.user.is_some() {
            return Err(ConfigError::Value("an entry's `user` belongs to `connect`"));
        }
        if self.connect.is_some() && self.host.is_some() {
            return Err(ConfigError::Value("an entry has `connect` or `host`, not both"));
        }
        if !self.user.iter().all(plain) {
            return Err(ConfigError::Value(
                "an entry's `user` is letters, digits, and -_. : SDKs encode others",
            ));
        }
        let lower = |text: &String| plain(text) && *text == text.to_ascii_lowercase();
        if !self.host.iter().all(lower) {
            return Err(ConfigError::Value("an entry's `host` is a lower-case name without port"));
        }
        if self.connect.is_some() && self.upstream().is_none() {
            return Err(ConfigError::Value("an entry's `connect` is HOST:PORT, lower case"));
        }
        Ok(())
    }

    /// Host and port of `connect`.
    pub(super) fn upstream(&self) -> Option<(String, u16)> {
        let text = self.connect.as_deref()?;
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let right = !host.is_empty() && host == host.to_ascii_lowercase() && !host.contains(['/', '@', ' ']);
        right.then(|| (host.to_owned(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Environment;

    const SMALL: &str = r#"
        ops = { address = "127.0.0.1:0" }
        [forward]
        url = "https://proxy.internal:8443"
        [workloads.orchestrator]
        certificate_file = "o.pem"
        key_file = "o.key"
        ca_file = "ca.pem"
        [[listen]]
        address = "127.0.0.1:7410"
        entries = [
            { connect = "api.psp.example:443", workload = "orchestrator", route = "psp" },
            { connect = "api.psp.example:443", user = "m501", workload = "orchestrator", route = "psp", account = "m-501" },
            { host = "psp.localhost", workload = "orchestrator", route = "psp" },
            { workload = "orchestrator", route = "other" },
        ]
    "#;

    fn check(text: &str) -> Result<(), String> {
        let config: RelayConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_relay_listens_on_loopback_alone() {
        check(SMALL).unwrap();
        for (address, right) in [
            ("[::1]:7410", true),
            ("127.9.9.9:7410", true),
            ("[::ffff:127.0.0.1]:7410", true),
            ("0.0.0.0:7410", false),
            ("[::]:7410", false),
            ("10.0.0.1:7410", false),
            ("[::ffff:10.0.0.1]:7410", false),
            ("169.254.1.1:7410", false),
        ] {
            let checked = check(&SMALL.replace("127.0.0.1:7410", address));
            assert_eq!(checked.is_ok(), right, "{address}");
            assert!(right || checked.unwrap_err().contains("loopback only"), "{address}");
        }
    }

    #[test]
    fn an_answer_is_waited_for_longer_than_any_shipped_route_takes() {
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
        let routes = crate::route::read(&policies, None, Environment::Test, None).unwrap();
        assert!(routes.len() >= 13);
        let full = include_str!("../../../deploy/config/relay.full.toml");
        for text in [SMALL, full] {
            let config: RelayConfig = toml::from_str(text).unwrap();
            for route in routes.iter().map(|registered| &registered.route) {
                let to_open = Duration::from_secs(1);
                let budget = route.connect_timeout + to_open + route.upstream_timeout;
                assert!(config.forward.answer_timeout() > budget, "{}", route.name);
            }
        }
    }

    #[test]
    fn entries_that_mean_two_things_or_none_are_refused() {
        for (from, to) in [
            ("workload = \"orchestrator\", route = \"other\"", "workload = \"nobody\", route = \"other\""),
            (
                "workload = \"orchestrator\", route = \"other\"",
                "workload = \"orchestrator\", route = \"Other\"",
            ),
            ("host = \"psp.localhost\", ", ""),
            ("user = \"m501\", ", ""),
            ("host = \"psp.localhost\"", "host = \"psp.localhost\", user = \"x\""),
            ("host = \"psp.localhost\"", "host = \"psp.localhost\", connect = \"a:1\""),
            ("host = \"psp.localhost\"", "host = \"PSP.localhost:1\""),
            ("user = \"m501\"", "user = \"m:501\""),
            ("connect = \"api.psp.example:443\", workload", "connect = \"api.psp.example\", workload"),
            (
                "connect = \"api.psp.example:443\", workload",
                "connect = \"https://api.psp.example:443\", workload",
            ),
        ] {
            assert!(SMALL.contains(from), "{from}");
            assert!(check(&SMALL.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
