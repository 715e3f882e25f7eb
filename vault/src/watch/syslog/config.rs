//! Where findings go by syslog.

use std::net::IpAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;
use serde::Deserialize;
use strongroom_domain::Environment;
use strongroom_perimeter::tls::ClientTlsConfig;

/// A syslog server (RFC 5424 over TLS, RFC 5425).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// Its name and port, as `HOST:PORT`. The certificate must be for that name.
    pub server: String,
    /// What TLS is spoken with. Read anew for each session, so that certificates are renewed without a restart.
    pub tls: Option<ClientTlsConfig>,
    /// Without TLS: in `test`, to a server on loopback.
    #[serde(default)]
    pub plaintext: bool,
    /// Whether the server must answer the end of a session with TLS's own (RFC 5425 §4.4): only that says that it, and nobody on
    /// the way, has read everything.
    #[serde(default)]
    pub close_notify: CloseNotify,
    /// Private enterprise number of the structured data; the one for examples (RFC 5612) unless given.
    #[serde(default = "default_enterprise")]
    pub enterprise_number: u32,
    /// How long connecting, sending and the server's end of the session may take together, in milliseconds, 3,000 to 60,000.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

/// Whether `close_notify` is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloseNotify {
    /// What is not answered so is sent again.
    #[default]
    Required,
    /// The end of the TCP connection will do: for servers that never send one (rsyslog with GnuTLS). Whoever is on the way can
    /// then make findings vanish.
    Optional,
}

const fn default_enterprise() -> u32 {
    32_473
}

const fn default_timeout_ms() -> u64 {
    10_000
}

impl SyslogConfig {
    pub(in crate::watch) fn check(&self, environment: Environment) -> Result<(), String> {
        let (host, _) = self.place().ok_or("server is HOST:PORT")?;
        if !(3_000..=60_000).contains(&self.timeout_ms) {
            return Err("timeout_ms is 3000 to 60000".into());
        }
        match (&self.tls, self.plaintext) {
            (Some(_), true) => Err("tls and plaintext exclude each other".into()),
            (None, false) => Err("tls is missing: name certificate_file, key_file and ca_file".into()),
            (Some(_), false) => Ok(()),
            (None, true) => {
                let on_loopback =
                    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
                if environment == Environment::Test && on_loopback {
                    Ok(())
                } else {
                    Err("plaintext is for environment = \"test\" and a server on loopback; use tls".into())
                }
            }
        }
    }

    /// Host and port, if that is what `server` is.
    pub(crate) fn place(&self) -> Option<(&str, u16)> {
        let (host, port) = self.server.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host).ok()?;
        Some((host, port.parse().ok().filter(|port| *port > 0)?))
    }

    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, environment: Environment) -> Result<(), String> {
        toml::from_str::<SyslogConfig>(text).unwrap().check(environment)
    }

    #[test]
    fn nothing_goes_in_the_clear_but_on_loopback_in_test() {
        let test = Environment::Test;
        let tls = "\n[tls]\ncertificate_file = \"c\"\nkey_file = \"k\"\nca_file = \"a\"";
        told(&format!("server = \"logs.example.com:6514\"{tls}"), Environment::Live).unwrap();
        told("server = \"127.0.0.1:514\"\nplaintext = true", test).unwrap();
        for (text, environment, word) in [
            ("server = \"logs.example.com:6514\"".to_owned(), test, "tls is missing"),
            ("server = \"logs.example.com:514\"\nplaintext = true".into(), test, "loopback"),
            ("server = \"127.0.0.1:514\"\nplaintext = true".into(), Environment::Live, "loopback"),
            (format!("server = \"127.0.0.1:514\"\nplaintext = true{tls}"), test, "exclude"),
            (format!("server = \"logs.example.com\"{tls}"), test, "HOST:PORT"),
            (format!("server = \"logs.example.com:0\"{tls}"), test, "HOST:PORT"),
            (format!("server = \"logs.example.com:6514\"\ntimeout_ms = 1{tls}"), test, "timeout_ms"),
        ] {
            let refused = told(&text, environment).unwrap_err();
            assert!(refused.contains(word), "{text}: {refused}");
        }
    }
}
