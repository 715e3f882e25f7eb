//! Configuration: one TOML file, read whole before anything is bound.
//!
//! Promises: unknown settings are refused; secrets are file names, never values; every default is the secure one.

mod bucket;

pub use bucket::{BucketConfig, LockConfig, LockMode};

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use strongroom_domain::Environment;
use strongroom_domain::test_numbers::{AcceptedNumbers, DEFAULT_TEST_RANGE, TestRange};
use strongroom_perimeter::listener::ListenerConfig;
use strongroom_perimeter::ops::OpsConfig;
use strongroom_perimeter::telemetry::TelemetryConfig;
use strongroom_sealing::KeyRingConfig;

use crate::audit::{InstanceId, Origin};
use crate::events::EventsConfig;
use crate::operation::export::ExportConfig;
use crate::operation::limits::LimitsConfig;
use crate::review::ReviewsConfig;
use crate::sad::{CVC_TTL_DEFAULT, CVC_TTL_MAX};
use crate::store::Retention;
use crate::watch::WatchConfig;

/// The vault's configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// `live` or `test`. Tokens, keys and records of one never work in the other.
    pub environment: Environment,
    /// Name of this replica in the audit log: 1 to 63 lower-case letters, digits and hyphens. Unique among replicas.
    pub instance: String,
    /// The `api` listener.
    pub api: ListenerConfig,
    /// The `ops` listener: probes and metrics.
    pub ops: OpsConfig,
    /// Where cards are kept.
    pub store: StoreConfig,
    /// What wraps data keys.
    pub kms: KmsConfig,
    /// Data keys in memory.
    #[serde(default)]
    pub keys: KeysConfig,
    /// Policies, workloads and routes.
    pub policies: PoliciesConfig,
    /// Limits per principal.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Cards.
    #[serde(default)]
    pub cards: CardsConfig,
    /// The audit log.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Who is told what becomes of cards.
    #[serde(default)]
    pub events: EventsConfig,
    /// Whether and how much may be exported.
    #[serde(default)]
    pub export: ExportConfig,
    /// What the log is watched for.
    #[serde(default)]
    pub watch: WatchConfig,
    /// How often access and the log are reviewed.
    #[serde(default)]
    pub reviews: ReviewsConfig,
    /// What evidence is made of besides.
    #[serde(default)]
    pub evidence: EvidenceConfig,
    /// Logs.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// SHA-256 of the file, as it was read.
    #[serde(skip)]
    pub sha256: [u8; 32],
}

/// The audit log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Name of the log in its checkpoints, the same for every replica: 1 to 200 visible characters without `+`, like
    /// `vault.example.com/live`. It cannot change once a checkpoint is signed. `strongroom/live` or `strongroom/test` if absent.
    pub origin: Option<String>,
    /// Folder the signed log is exported to: storage that the database's administrators cannot write to. Required in `live`.
    pub folder: Option<PathBuf>,
    /// Object storage the signed log is exported to besides: a bucket with object lock, the same for every replica.
    pub bucket: Option<BucketConfig>,
}

/// What evidence is made of besides the log, the store and this configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceConfig {
    /// File of the PSPs' attestations: who they are, what attests to them and of which day (vault/docs/evidence.md). Read whenever
    /// evidence is made.
    pub psp_register_file: Option<PathBuf>,
}

/// Where cards are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "driver", rename_all = "lowercase")]
pub enum StoreConfig {
    /// One file on this machine.
    Sqlite {
        /// The database file.
        path: PathBuf,
    },
    /// A PostgreSQL server, or one that speaks its protocol.
    Postgres(PostgresConfig),
}

/// Where the PostgreSQL server is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Host name or address, or the folder of a Unix socket.
    pub host: String,
    /// Port.
    #[serde(default = "default_postgres_port")]
    pub port: u16,
    /// Role.
    pub user: String,
    /// File holding the role's password, if it needs one.
    pub password_file: Option<PathBuf>,
    /// Database.
    pub database: String,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: StoreTls,
    /// PEM file of the authorities that may have issued the server's certificate; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// Connections for reads of requests. A replica opens seven more at most: the one that writes, and six for the log and what follows it.
    #[serde(default = "default_read_connections")]
    pub read_connections: u32,
}

/// How the connection to the database is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreTls {
    /// TLS; the certificate is verified, name and all.
    #[default]
    VerifyFull,
    /// None: for Unix sockets and loopback addresses, and refused elsewhere.
    Off,
}

/// What wraps data keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "provider", rename_all = "lowercase")]
pub enum KmsConfig {
    /// A key file: refused when `environment = "live"`.
    File {
        /// 32 bytes, raw or as 64 hex digits, readable by the owner only.
        key_file: PathBuf,
    },
    /// AWS KMS, or a server that speaks its API.
    Aws {
        /// Key id, ARN or `alias/…`.
        key: String,
        /// ARNs of keys that wrapped data keys before `key` did: still unwrapped with.
        #[serde(default)]
        former_keys: Vec<String>,
        /// Region.
        region: String,
        /// Another endpoint: a VPC or FIPS endpoint, or an emulator in `test`.
        endpoint: Option<String>,
    },
}

/// Data keys in memory.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysConfig {
    /// Seconds an unwrapped key may be used before the KMS is asked again, 5 to 3,600: the time a key disabled at the
    /// KMS stays in use.
    pub max_age_seconds: u64,
    /// Most unwrapped keys in memory.
    pub keys_max: NonZeroUsize,
}

/// Policies, workloads and routes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoliciesConfig {
    /// The folder: `*.cedar`, the schema, `workloads.json`, `routes/`, `accounts/`.
    pub folder: PathBuf,
}

/// Cards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CardsConfig {
    /// Ranges of test numbers, `FROM-TO`: accepted in `test`, refused in `live`, besides published test numbers.
    pub test_ranges: Vec<String>,
    /// Seconds a verification code waits in memory for its forward, at most 3,600.
    pub cvc_seconds: u64,
    /// Hours a hidden card stays before it is destroyed, 24 to 2,160: within them it can be shown again, and answers stored
    /// under idempotency keys (24 hours) do not outlive it.
    pub erase_hold_hours: u64,
    /// Days a new tenant keeps cards after their last change unless it says otherwise, 1 to 3,650.
    pub retention_days: u32,
}

const fn default_postgres_port() -> u16 {
    5432
}

const fn default_read_connections() -> u32 {
    8
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { max_age_seconds: 300, keys_max: NonZeroUsize::new(10_000).expect("not zero") }
    }
}

impl KeysConfig {
    /// The same, as the key ring takes it.
    pub fn ring(&self) -> Result<KeyRingConfig, String> {
        KeyRingConfig::new(Duration::from_secs(self.max_age_seconds), self.keys_max)
            .map_err(|error| format!("keys.max_age_seconds: {error}"))
    }
}

impl PostgresConfig {
    fn check(&self) -> Result<(), String> {
        let local = self.host.starts_with('/')
            || self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.tls == StoreTls::Off && !local {
            return Err("store.tls = \"off\" is for Unix sockets and loopback addresses".into());
        }
        Ok(())
    }
}

impl Default for CardsConfig {
    fn default() -> Self {
        Self {
            test_ranges: vec![DEFAULT_TEST_RANGE.to_owned()],
            cvc_seconds: CVC_TTL_DEFAULT.as_secs(),
            erase_hold_hours: 72,
            retention_days: 1_095,
        }
    }
}

/// Why the configuration is refused: a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; give another with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, or an unknown or missing setting.
    #[error("the configuration {path} is not valid: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value is out of bounds.
    #[error("the configuration {path} is not valid: {what}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which and why.
        what: String,
    },
}

impl VaultConfig {
    /// Reads and checks a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a configuration file; relative paths in it are relative to the working directory.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        config.sha256 = <sha2::Sha256 as sha2::Digest>::digest(text).into();
        config.check().map_err(|what| ConfigError::Value { path: path.to_owned(), what })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        InstanceId::parse(&self.instance).map_err(|error| format!("instance: {error}"))?;
        self.keys.ring()?;
        if let StoreConfig::Postgres(postgres) = &self.store {
            postgres.check()?;
        }
        if !(1..=CVC_TTL_MAX.as_secs()).contains(&self.cards.cvc_seconds) {
            return Err("cards.cvc_seconds is 1 to 3600".into());
        }
        self.retention()?;
        self.events.check(self.environment)?;
        self.export.check(self.environment)?;
        self.watch.check(self.environment)?;
        self.reviews.check()?;
        if !(24..=2_160).contains(&self.cards.erase_hold_hours) {
            return Err("cards.erase_hold_hours is 24 to 2160".into());
        }
        self.origin()?;
        if let Some(bucket) = &self.audit.bucket {
            bucket.check().map_err(|error| format!("audit.bucket.{error}"))?;
        }
        if self.environment == Environment::Live && matches!(self.kms, KmsConfig::File { .. }) {
            return Err(
                "kms.provider = \"file\" is for environment = \"test\"; use \"aws\" for live cards".into()
            );
        }
        if self.environment == Environment::Live && self.audit.folder.is_none() {
            return Err("audit.folder is missing: without an exported log an administrator of the database can change \
                 the past; name a folder the log is exported to"
                .into());
        }
        self.accepted_numbers().map(|_| ())
    }

    /// Which numbers may enter.
    pub fn accepted_numbers(&self) -> Result<AcceptedNumbers, String> {
        let parse =
            |text: &String| TestRange::parse(text).map_err(|error| format!("cards.test_ranges: {error}"));
        let ranges = self.cards.test_ranges.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(AcceptedNumbers::new(self.environment, ranges))
    }

    /// How long a new tenant keeps cards, unless it says otherwise.
    pub fn retention(&self) -> Result<Retention, String> {
        Retention::new(self.cards.retention_days, "the service's default")
            .map_err(|error| format!("cards.retention_days: {error}"))
    }

    /// The log's name in its checkpoints.
    pub fn origin(&self) -> Result<Origin, String> {
        let default = || format!("strongroom/{}", self.environment.as_str());
        let name = self.audit.origin.clone().unwrap_or_else(default);
        Origin::parse(&name).map_err(|error| format!("audit.origin: {error}"))
    }

    /// How long an erased card stays.
    #[must_use]
    pub const fn erase_hold(&self) -> Duration {
        Duration::from_secs(self.cards.erase_hold_hours.saturating_mul(3_600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<VaultConfig, ConfigError> {
        VaultConfig::parse(Path::new("vault.toml"), text)
    }

    const MINIMAL: &str = include_str!("../../deploy/config/vault.minimal.toml");
    const FULL: &str = include_str!("../../deploy/config/vault.full.toml");

    #[test]
    fn what_we_ship_we_parse() {
        parse(MINIMAL).unwrap();
        parse(FULL).unwrap();
    }

    #[test]
    fn the_full_file_shows_the_defaults() {
        let (full, minimal) = (parse(FULL).unwrap(), parse(MINIMAL).unwrap());
        assert_eq!(full.keys.max_age_seconds, minimal.keys.max_age_seconds);
        assert_eq!(full.keys.keys_max, minimal.keys.keys_max);
        assert_eq!(format!("{:?}", full.limits), format!("{:?}", minimal.limits));
        assert_eq!(format!("{:?}", full.cards), format!("{:?}", minimal.cards));
        assert_eq!((full.events.webhooks.len(), full.events.kafka.len()), (1, 1));
        let events = EventsConfig { webhooks: Vec::new(), kafka: Vec::new(), ..full.events };
        assert_eq!(format!("{events:?}"), format!("{:?}", minimal.events));
        assert_eq!(format!("{:?}", full.export), format!("{:?}", minimal.export));
        let watch = WatchConfig { findings_file: None, syslog: None, ..full.watch };
        assert_eq!(format!("{watch:?}"), format!("{:?}", minimal.watch));
        assert_eq!(full.reviews, minimal.reviews);
        assert_eq!(format!("{:?}", full.api.limits), format!("{:?}", minimal.api.limits));
        assert_eq!(format!("{:?}", full.telemetry), format!("{:?}", minimal.telemetry));
    }

    #[test]
    fn guesses_are_refused_with_a_sentence() {
        for (from, to, word) in [
            ("environment = \"test\"", "environment = \"live\"", "aws"),
            ("environment = \"test\"", "environment = \"prod\"", "environment"),
            ("instance = \"vault-1\"", "instance = \"Vault 1\"", "instance"),
            ("[ops]", "surprise = 1\n[ops]", "surprise"),
            ("[policies]", "[keys]\nmax_age_seconds = 7200\n[policies]", "3600"),
            ("[policies]", "[cards]\ncvc_seconds = 86400\n[policies]", "cvc_seconds"),
            ("[policies]", "[cards]\nretention_days = 0\n[policies]", "retention_days"),
            ("[policies]", "[cards]\nerase_hold_hours = 1\n[policies]", "erase_hold_hours"),
            ("[policies]", "[export]\nenabled = true\ncards_max = 1000000\n[policies]", "cards_max"),
            ("[policies]", "[watch]\ndenied_percent = 0\n[policies]", "denied_percent"),
            ("[policies]", "[watch.suspend]\nrules = [\"log-stalled\"]\n[policies]", "log-stalled"),
            ("[policies]", "[watch.syslog]\nserver = \"logs:6514\"\n[policies]", "watch.syslog: tls"),
            ("[policies]", "[watch]\noff = [\"everything\"]\n[policies]", "everything"),
            ("[policies]", "[reviews]\naccess_days = 365\n[policies]", "access_days"),
            ("[policies]", "[cards]\ntest_ranges = [\"1-2\"]\n[policies]", "test_ranges"),
        ] {
            assert!(MINIMAL.contains(from), "{from}");
            let error = parse(&MINIMAL.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let folderless = FULL.replace("folder = \"/var/lib/strongroom/log\"", "");
        assert!(parse(&folderless).unwrap_err().to_string().contains("audit.folder"));
        let unnamed = FULL.replace("origin = \"strongroom/live\"", "origin = \"my log\"");
        assert!(parse(&unnamed).unwrap_err().to_string().contains("audit.origin"));
        let live = FULL.replace("enabled = false", "enabled = true");
        assert!(parse(&live).unwrap_err().to_string().contains("second factor"), "nobody exports live cards");
        let plain = FULL.replace("tls = \"verify-full\"", "tls = \"off\"");
        assert!(parse(&plain).unwrap_err().to_string().contains("loopback"));
    }
}
