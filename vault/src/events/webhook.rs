//! A webhook as a destination: its place, its keys, and the connections there.
//!
//! Promises: TLS 1.3 to a host whose certificate names it, by the WebPKI or by pinned roots; addresses are judged at connect.
//! Upholds: C-17, C-32.

mod send;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use strongroom_perimeter::outbound::{Admission, Dialer, Pool, SystemResolver};
use strongroom_perimeter::tls::anonymous_client_config;
use strongroom_sealing::{WebhookKey, WebhookKeyError};

use super::config::WebhookConfig;
use super::destination::DestinationError;

/// A webhook that can be posted to.
pub(super) struct Webhook {
    pool: Pool,
    target: Uri,
    host: HeaderValue,
    keys: Arc<[WebhookKey]>,
    timeout: Duration,
    secret_files: Vec<PathBuf>,
}

impl Webhook {
    /// Reads keys and roots; connects to nothing.
    pub(super) fn open(config: &WebhookConfig) -> Result<Self, DestinationError> {
        let name = || config.name.clone();
        let place = config.place().map_err(|what| DestinationError::Url(name(), what))?;
        let wrong = || DestinationError::Url(name(), "url has no host".into());
        let authority = place.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let mut tls = anonymous_client_config(config.roots_file.as_deref())
            .map_err(|error| DestinationError::Roots(name(), error))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let admission = Admission::Public(config.private_addresses.clone());
        let timeout = Duration::from_millis(config.timeout_ms);
        let port = authority.port_u16().unwrap_or(443);
        let dialer = Dialer::new(host, port, admission, Arc::new(SystemResolver), Arc::new(tls), timeout)
            .map_err(|error| DestinationError::Host(name(), error))?;
        let target = place.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Ok(Self {
            pool: Pool::new(dialer),
            target: target.parse().map_err(|_| wrong())?,
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            keys: read(&config.secret_files).map_err(|error| DestinationError::Key(name(), error))?,
            timeout,
            secret_files: config.secret_files.clone(),
        })
    }

    /// Reads the keys anew. If they cannot be read, those in use stay.
    pub(super) async fn read_keys(&mut self) -> Result<(), String> {
        let files = self.secret_files.clone();
        let keys = tokio::task::spawn_blocking(move || read(&files)).await;
        self.keys = keys.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn read(files: &[PathBuf]) -> Result<Arc<[WebhookKey]>, WebhookKeyError> {
    files.iter().map(|file| WebhookKey::from_file(file)).collect()
}
