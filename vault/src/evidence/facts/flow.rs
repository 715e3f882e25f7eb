//! Where data flows, by the running configuration: what is bound, what is connected to, what each carries.

use serde::Serialize;
use strongroom_domain::route::{Roots, TenantScope};

use crate::authz::{PlannedRoute, Routes};
use crate::config::{KmsConfig, LockConfig, StoreConfig, StoreTls, VaultConfig};

/// One flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Flow {
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// The other end's address or host, as configured.
    pub endpoint: String,
    /// What of cards is in it.
    pub data: &'static str,
    /// How it is protected, as configured.
    pub protection: String,
}

/// A PSP that card data can go to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Psp {
    /// The route.
    pub route: String,
    /// Hosts of its accounts.
    pub hosts: Vec<String>,
    /// How many accounts.
    pub accounts: usize,
    /// Accounts that serve every tenant.
    pub accounts_of_every_tenant: usize,
    /// Calls that card data is put into.
    pub calls: usize,
    /// What of cards those take.
    pub attributes: Vec<String>,
    /// Whose certificates are trusted.
    pub trust: &'static str,
    /// Hash of the route file.
    pub route_sha256: String,
}

const MTLS: &str = "TLS 1.3, client certificate required";

pub(super) fn flows(config: &VaultConfig, routes: &Routes) -> Vec<Flow> {
    let mut flows = vec![
        flow("callers", "vault api", config.api.address.to_string(), "card data in, tokens out", MTLS.into()),
        flow(
            "vault api",
            "proxy",
            config.api.address.to_string(),
            "card data of one permitted forward",
            MTLS.into(),
        ),
        flow("probes", "vault ops", config.ops.address.to_string(), "none", "own port; no card data".into()),
    ];
    let (endpoint, protection) = store(&config.store);
    flows.push(flow("vault", "database", endpoint, "card data, sealed", protection));
    let (endpoint, protection) = kms(&config.kms);
    flows.push(flow("vault", "KMS", endpoint, "data keys, no card data", protection));
    if let Some(folder) = &config.audit.folder {
        let folder = folder.display().to_string();
        flows.push(flow("vault", "log folder", folder, "none: references of tokens", "signed tree".into()));
    }
    flows.extend(of_findings_and_exports(config));
    for webhook in &config.events.webhooks {
        let (host, to) = (host_of(&webhook.url), format!("webhook {}", webhook.name));
        flows.push(flow("vault", &to, host, "facts of cards, no number", "TLS, signed".into()));
    }
    for kafka in &config.events.kafka {
        let to = format!("kafka {}", kafka.name);
        let protection = if kafka.plaintext { "none: this machine only" } else { "TLS" };
        let endpoint = kafka.brokers.join(" ");
        flows.push(flow("vault", &to, endpoint, "facts of cards, no number", protection.into()));
    }
    for psp in psps(routes) {
        for host in psp.hosts {
            let to = format!("PSP {}", psp.route);
            flows.push(flow("proxy", &to, host, "card data of one permitted forward", psp.trust.into()));
        }
    }
    flows
}

fn flow(from: &str, to: &str, endpoint: String, data: &'static str, protection: String) -> Flow {
    Flow { from: from.to_owned(), to: to.to_owned(), endpoint, data, protection }
}

/// Where the log's copies and findings go, and cards in bulk where that is on.
fn of_findings_and_exports(config: &VaultConfig) -> Vec<Flow> {
    let mut flows = Vec::new();
    if let Some(bucket) = &config.audit.bucket {
        let endpoint = format!("{} {}/{}", host_of(&bucket.endpoint), bucket.name, bucket.prefix);
        let LockConfig { mode, days } = bucket.retention;
        let protection = format!(
            "TLS, signed tree, object lock {} of {days} days (the newest 255 entries at most: of one)",
            mode.as_str()
        );
        flows.push(flow("vault", "log bucket", endpoint, "none: references of tokens", protection));
    }
    if let Some(file) = &config.watch.findings_file {
        let (endpoint, data) = (format!("file {}", file.display()), "none: references of tokens, callers");
        flows.push(flow("vault", "findings file", endpoint, data, "made readable by its owner alone".into()));
    }
    if let Some(syslog) = &config.watch.syslog {
        let protection = if syslog.tls.is_some() {
            "TLS 1.3, both certificates verified"
        } else {
            "none: this machine only"
        };
        let data = "none: references of tokens, callers";
        flows.push(flow("vault", "syslog server", syslog.server.clone(), data, protection.into()));
    }
    if config.export.enabled {
        flows.push(flow(
            "vault api",
            "recipients of exports",
            "whoever two people agreed on, by age key".into(),
            "card data in bulk",
            "encrypted to the recipient (age), in TLS 1.3 to the person who runs it".into(),
        ));
    }
    flows
}

fn store(config: &StoreConfig) -> (String, String) {
    match config {
        StoreConfig::Sqlite { path } => (format!("file {}", path.display()), "records sealed".into()),
        StoreConfig::Postgres(postgres) => {
            let tls = match postgres.tls {
                StoreTls::VerifyFull => "TLS, server certificate and name verified; records sealed",
                StoreTls::Off => "no TLS: this machine only; records sealed",
            };
            (format!("{}:{}", postgres.host, postgres.port), tls.into())
        }
    }
}

fn kms(config: &KmsConfig) -> (String, String) {
    match config {
        KmsConfig::File { .. } => ("key file on this machine".into(), "test only".into()),
        KmsConfig::Aws { region, endpoint, .. } => {
            let endpoint = endpoint.as_deref().map_or_else(|| format!("AWS KMS in {region}"), host_of);
            (endpoint, "TLS, as the provider's client does it".into())
        }
    }
}

/// Scheme and authority of a URL: paths may hold what is nobody's business.
fn host_of(url: &str) -> String {
    url.parse::<http::Uri>()
        .ok()
        .and_then(|uri| uri.authority().map(|authority| authority.host().to_owned()))
        .unwrap_or_else(|| "as configured".to_owned())
}

pub(super) fn psps(routes: &Routes) -> Vec<Psp> {
    routes.iter().map(psp).collect()
}

fn psp(planned: &PlannedRoute) -> Psp {
    let route = &planned.route;
    let mut hosts: Vec<String> =
        planned.accounts.iter().map(|account| account.upstream(route).0.to_owned()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut attributes: Vec<String> = route
        .allow
        .iter()
        .flat_map(|call| call.attributes().iter().map(|attribute| attribute.as_str().to_owned()))
        .collect();
    attributes.sort_unstable();
    attributes.dedup();
    let of_every = |account: &&std::sync::Arc<strongroom_domain::route::Account>| {
        account.tenants.contains(&TenantScope::Any)
    };
    Psp {
        route: route.name.to_string(),
        hosts,
        accounts: planned.accounts.len(),
        accounts_of_every_tenant: planned.accounts.iter().filter(of_every).count(),
        calls: route.allow.len(),
        attributes,
        trust: match route.upstream.roots {
            Roots::WebPki => "TLS, WebPKI roots",
            _ => "TLS, pinned roots",
        },
        route_sha256: hex::encode(route.sha256),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::missing::not_recorded;
    use super::*;

    const FULL: &str = include_str!("../../../../deploy/config/vault.full.toml");

    #[test]
    fn copies_of_the_log_findings_and_exports_are_on_the_map_where_they_are_on() {
        let mut config = VaultConfig::parse(Path::new("vault.toml"), FULL).unwrap();
        config.export.enabled = true;
        let found = |config: &VaultConfig| -> Vec<(String, String)> {
            let flows = flows(config, &Routes::default());
            flows.into_iter().map(|flow| (flow.to, flow.endpoint)).collect()
        };
        let names = ["log bucket", "findings file", "recipients of exports"];
        let all = found(&config);
        for name in names {
            assert_eq!(all.iter().filter(|(to, _)| to == name).count(), 1, "{name}: {all:?}");
        }
        let bucket = config.audit.bucket.clone().unwrap();
        assert!(all.iter().any(|(_, endpoint)| endpoint.contains(&bucket.name)));
        let unsaid =
            |config: &VaultConfig| !not_recorded(config).iter().any(|row| row.requirement == "10.3.3");
        config.audit.folder = None;
        assert!(unsaid(&config), "the bucket is a copy");
        config.audit.bucket = None;
        assert!(!unsaid(&config));
        config.audit.folder = Some(PathBuf::from("log"));
        assert!(unsaid(&config));
        config.watch.findings_file = None;
        config.export.enabled = false;
        let none = found(&config);
        assert!(!none.iter().any(|(to, _)| names.contains(&to.as_str())), "{none:?}");
    }
}
