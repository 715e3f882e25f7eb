//! Settings of a Kafka destination.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::ServerName;
use serde::Deserialize;
use strongroom_domain::{Environment, TenantId};

use crate::store::DestinationName;

/// Most brokers that are named: any one of them tells of the others.
const BROKERS_MAX: usize = 16;
/// Longest name of a topic, as Kafka has it.
const TOPIC_LENGTH_MAX: usize = 249;
/// Longest name of a user.
const USERNAME_LENGTH_MAX: usize = 255;

/// One Kafka topic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Its name: what is pending for it is found by it.
    pub name: DestinationName,
    /// Brokers to ask first, as `HOST:PORT`, one to sixteen.
    pub brokers: Vec<String>,
    /// The topic. It has to exist.
    pub topic: String,
    /// PEM file of the only authorities brokers' certificates may lead to; the WebPKI's if absent.
    pub roots_file: Option<PathBuf>,
    /// PEM file of the certificate that is shown to brokers, with its intermediates.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// The user that signs in at brokers.
    pub sasl: Option<SaslConfig>,
    /// Without TLS: in `test`, to brokers on loopback.
    #[serde(default)]
    pub plaintext: bool,
    /// Tenants whose cards it is told of.
    #[serde(default)]
    pub tenants: Vec<TenantId>,
    /// Groups of such tenants. Every tenant's cards if neither is given.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How long connecting and being acknowledged may take together, in milliseconds, 1,500 to 15,000.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Most events under way to it at once, 1 to 64; never two of one card.
    #[serde(default = "default_at_once")]
    pub at_once: usize,
}

/// How a user signs in (RFC 4422).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaslConfig {
    /// The way.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// File holding the password in one line. Read anew every few seconds.
    pub password_file: PathBuf,
}

/// Ways to sign in. `plain` shows the broker the password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub enum Mechanism {
    /// RFC 7677.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// RFC 4616.
    #[serde(rename = "plain")]
    Plain,
}

const fn default_timeout_ms() -> u64 {
    10_000
}

const fn default_at_once() -> usize {
    64
}

impl KafkaConfig {
    pub(in crate::events) fn check(&self, environment: Environment) -> Result<(), String> {
        if !(1..=BROKERS_MAX).contains(&self.brokers.len()) {
            return Err(format!("brokers are one to {BROKERS_MAX}"));
        }
        for broker in &self.brokers {
            host(broker).ok_or("brokers are HOST:PORT")?;
        }
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let named = (1..=TOPIC_LENGTH_MAX).contains(&self.topic.len()) && self.topic.bytes().all(letter);
        if !named || self.topic == "." || self.topic == ".." {
            return Err("topic is 1 to 249 letters, digits, dots, underscores and hyphens".into());
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Err("certificate_file and key_file come together".into());
        }
        if let Some(sasl) = &self.sasl {
            let visible = sasl.username.bytes().all(|byte| byte.is_ascii_graphic());
            if !visible || !(1..=USERNAME_LENGTH_MAX).contains(&sasl.username.len()) {
                return Err("sasl.username is 1 to 255 visible ASCII characters".into());
            }
        }
        if !(1_500..=15_000).contains(&self.timeout_ms) {
            return Err("timeout_ms is 1500 to 15000".into());
        }
        if !(1..=64).contains(&self.at_once) {
            return Err("at_once is 1 to 64".into());
        }
        if self.plaintext { self.check_plaintext(environment) } else { Ok(()) }
    }

    /// Nobody else is on the way, and there is nothing to steal.
    fn check_plaintext(&self, environment: Environment) -> Result<(), String> {
        if environment != Environment::Test {
            return Err("plaintext is for environment = \"test\"".into());
        }
        if !self.brokers.iter().all(|broker| host(broker).is_some_and(is_loopback)) {
            return Err("plaintext is for brokers on loopback".into());
        }
        if self.sasl.is_some() || self.roots_file.is_some() || self.certificate_file.is_some() {
            return Err("plaintext goes with neither sasl nor certificates".into());
        }
        Ok(())
    }

    pub(in crate::events) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The host of `HOST:PORT`, if it is that.
fn host(broker: &str) -> Option<&str> {
    let (host, port) = broker.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|port| *port != 0)?;
    let bare = host.strip_prefix('[').map_or(Some(host), |rest| rest.strip_suffix(']'))?;
    let bracketed = bare.len() != host.len();
    let name = ServerName::try_from(bare).ok()?;
    let is_v6 = matches!(name, ServerName::IpAddress(rustls_pki_types::IpAddr::V6(_)));
    (bracketed == is_v6).then_some(bare)
}

/// By its name alone: nothing is resolved.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "name = \"bus\"\nbrokers = [\"kafka.example:9093\"]\ntopic = \"cards\"\n";

    fn parse(text: &str, environment: Environment) -> Result<KafkaConfig, String> {
        let config: KafkaConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check(environment)?;
        Ok(config)
    }

    #[test]
    fn a_topic_is_reached_over_tls_by_brokers_with_a_name_and_a_port() {
        let config = parse(TOPIC, Environment::Live).unwrap();
        assert!(!config.plaintext && config.at_once == 64 && config.timeout() == Duration::from_secs(10));
        for brokers in ["\"[::1]:9093\"", "\"192.0.2.1:9093\", \"kafka-2.example:9093\""] {
            parse(&TOPIC.replace("\"kafka.example:9093\"", brokers), Environment::Live).unwrap();
        }
        for (from, to, word) in [
            ("[\"kafka.example:9093\"]", "[]", "brokers"),
            ("kafka.example:9093", "kafka.example", "brokers"),
            ("kafka.example:9093", "kafka.example:0", "brokers"),
            ("kafka.example:9093", "kafka.example:9093,other.example:9093", "brokers"),
            ("kafka.example:9093", "user@kafka.example:9093", "brokers"),
            ("kafka.example:9093", "::1:9093", "brokers"),
            ("\"cards\"", "\"\"", "topic"),
            ("\"cards\"", "\"..\"", "topic"),
            ("\"cards\"", "\"cards of all\"", "topic"),
            ("topic", "key_file = \"k\"\ntopic", "certificate_file"),
            ("topic", "password = \"x\"\ntopic", "password"),
            ("topic", "timeout_ms = 100\ntopic", "timeout_ms"),
            ("topic", "at_once = 65\ntopic", "at_once"),
            ("name = \"bus\"", "name = \"Bus\"", "name"),
        ] {
            let told = parse(&TOPIC.replacen(from, to, 1), Environment::Live).unwrap_err();
            assert!(told.contains(word), "{word}: {told}");
        }
        let sasl = |mechanism: &str, user: &str| {
            format!(
                "{TOPIC}sasl = {{ mechanism = {mechanism:?}, username = {user:?}, password_file = \"p\" }}\n"
            )
        };
        for mechanism in ["scram-sha-256", "scram-sha-512", "plain"] {
            parse(&sasl(mechanism, "strongroom"), Environment::Live).unwrap();
        }
        assert!(parse(&sasl("gssapi", "strongroom"), Environment::Live).unwrap_err().contains("gssapi"));
        assert!(parse(&sasl("plain", ""), Environment::Live).unwrap_err().contains("username"));
    }

    #[test]
    fn plaintext_stays_on_loopback_and_in_test() {
        let local = TOPIC.replace("kafka.example", "localhost") + "plaintext = true\n";
        parse(&local, Environment::Test).unwrap();
        parse(&local.replace("localhost", "[::1]"), Environment::Test).unwrap();
        assert!(parse(&local, Environment::Live).unwrap_err().contains("test"));
        for elsewhere in ["kafka.example", "192.0.2.1", "localhost.example"] {
            let told = parse(&local.replace("localhost", elsewhere), Environment::Test).unwrap_err();
            assert!(told.contains("loopback"), "{elsewhere}: {told}");
        }
        let told = parse(&format!("{local}roots_file = \"r\"\n"), Environment::Test).unwrap_err();
        assert!(told.contains("neither"), "{told}");
    }
}
