//! The relay's way to the proxy: mTLS with the certificate of one workload, for a call or a tunnel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_perimeter::tls::{self, ClientTlsConfig, MaterialError};
use tokio::time::{Instant, timeout, timeout_at};

use super::{RelayConfig, RelayError};
use crate::tunnel::ROUTE_HEADER;
use crate::upstream::{Admission, Answer, ConnectError, Dialer, InvalidHost, Pool, Resolve, SendError};

/// Largest refusal of a tunnel: a problem document.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// The proxy's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidForward {
    /// Not `https://host[:port]`.
    #[error("`forward.url` is not https://HOST or https://HOST:PORT without a path")]
    Form,
    /// A host that is neither name nor address.
    #[error("`forward.url` cannot be used")]
    Host(#[from] InvalidHost),
}

/// Connections to the proxy, of each workload.
pub(super) struct Forward {
    pools: BTreeMap<String, Pool>,
    authority: HeaderValue,
    answer_timeout: Duration,
}

/// Which workload asks for which route and account.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) workload: String,
    pub(super) route: RouteName,
    pub(super) account: Option<AccountName>,
}

/// What the proxy said to a `CONNECT`.
pub(super) enum Connected {
    Tunnel(Upgraded),
    Refused(StatusCode, HeaderMap, Bytes),
}

/// Why a call or tunnel came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayFailure {
    /// Nothing was sent.
    #[error("no connection to the proxy")]
    Connect(#[from] ConnectError),
    /// Sent, and no complete answer.
    #[error("the proxy did not answer")]
    Unanswered(#[source] SendError),
    /// A tunnel was asked for and not answered; a tunnel moves nothing by itself.
    #[error("the proxy did not answer to a connect")]
    NoTunnel,
}

impl Forward {
    pub(super) fn new(config: &RelayConfig, resolver: &Arc<dyn Resolve>) -> Result<Self, RelayError> {
        let forward = &config.forward;
        let authority = forward.url.strip_prefix("https://").ok_or(InvalidForward::Form)?;
        let authority = authority.trim_end_matches('/');
        let parsed: http::uri::Authority = authority.parse().map_err(|_| InvalidForward::Form)?;
        if authority.contains('@') {
            return Err(InvalidForward::Form.into());
        }
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
        let port = parsed.port_u16().unwrap_or(443);
        let mut pools = BTreeMap::new();
        for (name, files) in &config.workloads {
            let tls = client_tls(files)
                .map_err(|source| RelayError::Material { workload: name.clone(), source })?;
            let timeout = forward.connect_timeout();
            let dialer = Dialer::new(host, port, Admission::Any, resolver.clone(), tls, timeout)
                .map_err(InvalidForward::Host)?;
            pools.insert(name.clone(), Pool::new(dialer));
        }
        let authority = HeaderValue::try_from(authority).map_err(|_| InvalidForward::Form)?;
        Ok(Self { pools, authority, answer_timeout: forward.answer_timeout() })
    }

    /// Presents another certificate from the next connection on.
    pub(super) fn renew(&self, workload: &str, files: &ClientTlsConfig) -> Result<(), MaterialError> {
        let tls = client_tls(files)?;
        if let Some(pool) = self.pools.get(workload) {
            pool.dialer().renew(tls);
        }
        Ok(())
    }

    /// Whether the proxy takes a connection of every workload.
    pub(super) async fn is_reachable(&self) -> bool {
        for pool in self.pools.values() {
            match pool.ready().await {
                Ok(ready) => ready.give_back(),
                Err(_) => return false,
            }
        }
        true
    }

    fn pool(&self, way: &Way) -> &Pool {
        self.pools.get(&way.workload).expect("an entry's workload was checked to be in the settings")
    }

    /// Sends a call to the route and account, once, and reads the complete answer.
    pub(super) async fn call(
        &self,
        way: &Way,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Bytes,
        answer_bytes_max: usize,
    ) -> Result<Answer, RelayFailure> {
        headers.insert(HOST, self.authority.clone());
        let account = way.account.as_ref().map(|account| format!("/@{account}")).unwrap_or_default();
        let target = format!("/{}{account}{path_and_query}", way.route);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            Uri::try_from(target).expect("names of letters before what was parsed as a path");
        *request.headers_mut() = headers;
        let pool = self.pool(way);
        let ready = pool.ready().await?;
        let deadline = Instant::now() + self.answer_timeout;
        match ready.send(request, deadline, answer_bytes_max).await {
            // The idle connection took nothing: as good as a failed connect.
            Err(SendError::NotSent(request)) => {
                let fresh = pool.connect().await?;
                fresh.send(*request, deadline, answer_bytes_max).await.map_err(RelayFailure::Unanswered)
            }
            answer => answer.map_err(RelayFailure::Unanswered),
        }
    }

    /// Asks the proxy for a tunnel to an upstream, for the route and account.
    pub(super) async fn connect(&self, way: &Way, host: &str, port: u16) -> Result<Connected, RelayFailure> {
        let stream = self.pool(way).dialer().dial().await?;
        let deadline = Instant::now() + self.answer_timeout;
        let handshake = http1::Builder::new().handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(ConnectError::Http)?;
        // Ends when the tunnel does, or when the proxy refuses and closes.
        tokio::spawn(connection.with_upgrades());
        let request = connect_request(way, host, port);
        let answer = timeout_at(deadline, sender.send_request(request)).await;
        let Ok(Ok(answer)) = answer else { return Err(RelayFailure::NoTunnel) };
        if answer.status() == StatusCode::OK {
            let upgraded = hyper::upgrade::on(answer).await;
            return upgraded.map(Connected::Tunnel).map_err(|_| RelayFailure::NoTunnel);
        }
        refusal(answer, deadline.saturating_duration_since(Instant::now())).await
    }
}

fn connect_request(way: &Way, host: &str, port: u16) -> Request<Empty<Bytes>> {
    let authority = format!("{host}:{port}");
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = Uri::builder()
        .authority(authority.as_str())
        .build()
        .expect("host and port were checked with the settings");
    let headers = request.headers_mut();
    let host = HeaderValue::try_from(authority).expect("what is an authority is a header value");
    headers.insert(HOST, host);
    let route = HeaderValue::try_from(way.route.as_str()).expect("a name is letters, digits and hyphens");
    headers.insert(ROUTE_HEADER, route);
    if let Some(account) = &way.account {
        use base64::Engine as _;
        let user = base64::prelude::BASE64_STANDARD.encode(format!("{account}:"));
        let value = HeaderValue::try_from(format!("Basic {user}")).expect("base64 is visible ascii");
        headers.insert(PROXY_AUTHORIZATION, value);
    }
    request
}

/// What the proxy refused with, for the SDK to read.
async fn refusal(answer: Response<Incoming>, patience: Duration) -> Result<Connected, RelayFailure> {
    let (parts, body) = answer.into_parts();
    let read = timeout(patience, Limited::new(body, REFUSAL_BYTES_MAX).collect()).await;
    let Ok(Ok(body)) = read else { return Err(RelayFailure::NoTunnel) };
    Ok(Connected::Refused(parts.status, parts.headers, body.to_bytes()))
}

fn client_tls(files: &ClientTlsConfig) -> Result<Arc<ClientConfig>, MaterialError> {
    let mut tls = tls::client_config(files)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}
