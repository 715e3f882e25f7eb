//! The proxy's half of the vault's door: opening a forward and telling how it ended.
//!
//! Promises: an open is sent once. The next vault address is tried only after a failed connect, or for a request the
//! HTTP layer never took; whatever fails later fails the forward.
//! Does not promise: that an open whose answer was lost left no trace: the vault closes it as `unknown`.
//! Trusts: the vault's certificate, which leads to the configured CA and names the configured host.
//! Upholds: C-08, C-19.

mod create;
mod lookup;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use rustls::ClientConfig;
use strongroom_domain::{ForwardId, ProblemKind};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroize;

use crate::upstream::{
    Admission, Answer, ConnectError, Dialer, InvalidHost, Pool, Ready, Resolve, SendError,
};

pub use create::NewCard;
pub use wire::{First, MalformedAnswer, OpenRequest, Opened, OutcomeReport, RECEIPTS, Timings, WantedCard};

/// Largest answer of the vault: 8 cards are under 4 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long recording an outcome may take; it is retried in the background.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// A vault address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidVaultUrl {
    /// Not `https://host[:port]`.
    #[error("vault url `{0}` is not https://HOST or https://HOST:PORT without a path")]
    Form(String),
    /// No address at all.
    #[error("`vault.urls` is empty: give at least one https:// address of the vault")]
    None,
    /// A host that is neither name nor address.
    #[error("a vault url cannot be used")]
    Host(#[from] InvalidHost),
}

/// Why no forward was opened. Nothing was sent to the PSP.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No vault address takes a connection.
    #[error("no vault address can be connected to")]
    Unreachable(#[source] ConnectError),
    /// The vault was asked and did not answer completely.
    #[error("the vault did not answer")]
    NoAnswer(#[source] SendError),
    /// It took longer than the open timeout.
    #[error("opening the forward took too long")]
    TimedOut,
    /// The vault answered with a problem.
    #[error("the vault refused with {status}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its type, if this version knows it.
        kind: Option<ProblemKind>,
        /// The first forward under the payment reference, if that is why.
        first: Option<First>,
    },
    /// What the vault answered cannot be read.
    #[error("the vault's answer cannot be read")]
    Malformed(#[from] MalformedAnswer),
}

/// Why an outcome was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The vault cannot be reached, or is not well: try again.
    #[error("the vault cannot be told at the moment")]
    Later,
    /// The vault will never take it.
    #[error("the vault refused the outcome with {0}")]
    Refused(StatusCode),
}

/// Connections to the vault's addresses.
pub struct VaultClient {
    addresses: Vec<Address>,
    preferred: AtomicUsize,
    open_timeout: Duration,
}

struct Address {
    pool: Pool,
    authority: HeaderValue,
}

impl VaultClient {
    /// A client for these addresses, in order of preference. ALPN is set here.
    pub fn new(
        urls: &[String],
        tls: ClientConfig,
        resolver: &Arc<dyn Resolve>,
        open_timeout: Duration,
    ) -> Result<Self, InvalidVaultUrl> {
        let tls = with_alpn(tls);
        // Every address gets its share, so that one dead address leaves time for the next.
        let share = open_timeout / u32::try_from(urls.len().max(1)).unwrap_or(u32::MAX);
        let addresses = urls.iter().map(|url| Address::new(url, &tls, resolver, share));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(InvalidVaultUrl::None);
        }
        Ok(Self { addresses, preferred: AtomicUsize::new(0), open_timeout })
    }

    /// Presents another certificate, or trusts other CAs, from the next connection on.
    pub fn renew(&self, tls: ClientConfig) {
        let tls = with_alpn(tls);
        for address in &self.addresses {
            address.pool.dialer().renew(tls.clone());
        }
    }

    /// Whether some address takes a connection.
    pub async fn is_reachable(&self) -> bool {
        match timeout_at(Instant::now() + self.open_timeout, self.ready()).await {
            Ok(Ok((_, ready))) => {
                ready.give_back();
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// How long an open may take.
    #[must_use]
    pub const fn open_timeout(&self) -> Duration {
        self.open_timeout
    }

    /// Opens a forward, before `until`: the vault decides, audits durably, then answers with the card data asked for.
    pub async fn open(
        &self,
        asked: &OpenRequest<'_>,
        traceparent: &str,
        until: Instant,
    ) -> Result<Opened, OpenError> {
        let deadline = until.min(Instant::now() + self.open_timeout);
        let body = Bytes::from(asked.to_json());
        let exchange = self.exchange(Method::POST, "/v1/forwards", body, Some(traceparent), deadline);
        let answer = match timeout_at(deadline, exchange).await {
            Ok(answer) => answer?,
            Err(_) => return Err(OpenError::TimedOut),
        };
        if answer.status == StatusCode::CREATED {
            let opened = Opened::parse(&answer.body);
            wipe(answer.body);
            return Ok(Opened { receipts: wire::receipts(&answer.headers), ..opened? });
        }
        let (kind, first) = wire::problem(&answer.body);
        Err(OpenError::Refused { status: answer.status, kind, first })
    }

    /// Records how a forward ended.
    pub async fn record(&self, id: ForwardId, report: &OutcomeReport) -> Result<(), RecordError> {
        let deadline = Instant::now() + RECORD_TIMEOUT;
        let path = format!("/v1/forwards/{id}/outcome");
        let exchange = self.exchange(Method::PUT, &path, Bytes::from(report.to_json()), None, deadline);
        let answer = timeout_at(deadline, exchange).await.map_err(|_| RecordError::Later)?;
        let status = answer.map_err(|_| RecordError::Later)?.status;
        match status.as_u16() {
            200..300 => Ok(()),
            408 | 425 | 429 | 500.. => Err(RecordError::Later),
            _ => Err(RecordError::Refused(status)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        traceparent: Option<&str>,
        deadline: Instant,
    ) -> Result<Answer, OpenError> {
        let (at, ready) = self.ready().await?;
        let request = request(method, path, &self.addresses[at].authority, body, traceparent);
        match ready.send(request, deadline, ANSWER_BYTES_MAX).await {
            // The idle connection closed under our hands and took nothing: as good as a failed connect.
            Err(SendError::NotSent(request)) => {
                let fresh = self.addresses[at].pool.connect().await.map_err(OpenError::Unreachable)?;
                fresh.send(*request, deadline, ANSWER_BYTES_MAX).await.map_err(OpenError::NoAnswer)
            }
            answer => answer.map_err(OpenError::NoAnswer),
        }
    }

    /// A connection to the first address that takes one, beginning with the last that did.
    async fn ready(&self) -> Result<(usize, Ready), OpenError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = ConnectError::TimedOut;
        for offset in 0..self.addresses.len() {
            let at = (first + offset) % self.addresses.len();
            match self.addresses[at].pool.ready().await {
                Ok(ready) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok((at, ready));
                }
                Err(error) => {
                    tracing::warn!(address = at, error = %error, "a vault address takes no connection");
                    last = error;
                }
            }
        }
        Err(OpenError::Unreachable(last))
    }
}

impl Address {
    fn new(
        url: &str,
        tls: &Arc<ClientConfig>,
        resolver: &Arc<dyn Resolve>,
        connect_timeout: Duration,
    ) -> Result<Self, InvalidVaultUrl> {
        let wrong = || InvalidVaultUrl::Form(url.to_owned());
        let authority = url.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        if authority.contains('@') {
            return Err(wrong());
        }
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
        let port = parsed.port_u16().unwrap_or(443);
        let dialer = Dialer::new(host, port, Admission::Any, resolver.clone(), tls.clone(), connect_timeout)?;
        let authority = HeaderValue::try_from(authority).map_err(|_| wrong())?;
        Ok(Self { pool: Pool::new(dialer), authority })
    }
}

fn with_alpn(mut tls: ClientConfig) -> Arc<ClientConfig> {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

fn request(
    method: Method,
    path: &str,
    authority: &HeaderValue,
    body: Bytes,
    traceparent: Option<&str>,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::try_from(path).expect("paths here are constants and ids");
    let headers = request.headers_mut();
    headers.insert(HOST, authority.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(Ok(traceparent)) = traceparent.map(HeaderValue::try_from) {
        headers.insert("traceparent", traceparent);
    }
    request
}

/// The vault's answer holds card numbers in clear; the parts have their own wiped copies.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::upstream::{SystemResolver, tls};

    #[test]
    fn vault_urls_are_https_hosts() {
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
        let tls = tls::client_config(tls::roots(None).unwrap(), &BTreeSet::new(), None).unwrap();
        for (url, right) in [
            ("https://vault.internal", true),
            ("https://vault.internal:8443/", true),
            ("https://127.0.0.1:7400", true),
            ("https://[::1]:7400", true),
            ("http://vault.internal", false),
            ("https://user@vault.internal", false),
            ("https://vault.internal/v1", false),
            ("https://", false),
        ] {
            assert_eq!(Address::new(url, &tls, &resolver, Duration::from_secs(1)).is_ok(), right, "{url}");
        }
    }
}
