//! How commands that change something reach the vault: as clients of its API, over mTLS like everybody else.
//!
//! Promises: TLS 1.3 with a client certificate; no redirect, no proxy variable; what fails says whether the request can
//! have been read. Request bodies are wiped when the last copy is dropped.
//! Upholds: C-11.

mod persist;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HOST, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use strongroom_domain::ProblemKind;
use strongroom_perimeter::tls::{ClientTlsConfig, client_config};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::CliError;

pub use persist::{GaveUp, Patience};

/// Largest answer: the facts of a hundred cards with all the metadata a request of 256 KiB can hold.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longer than the vault's own time limits, so that theirs are seen.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the next piece of a file may take: at one card a second a piece takes minutes.
const PIECE_TIME_MAX: Duration = Duration::from_secs(600);
/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The vault, and who asks.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiArgs {
    /// The vault's API: https://HOST or https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub vault: String,
    /// The client certificate and its intermediates, PEM.
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The authorities the vault's certificate must lead to, PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// Revocation lists the vault's certificate is checked against, PEM.
    #[arg(long = "crl", value_name = "FILE")]
    pub crls: Vec<PathBuf>,
}

/// Where connections lead and how TLS is spoken there.
#[derive(Clone)]
pub struct Api {
    connector: TlsConnector,
    host: String,
    port: u16,
    authority: HeaderValue,
}

/// One call.
#[derive(Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: String,
    /// Headers beside the usual ones.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its JSON body; empty for none.
    pub body: Bytes,
}

/// An answer, whole.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
    headers: HeaderMap,
}

/// Why there is no answer. Both are safe to ask again under an idempotency key.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection, or it ended before it took the request.
    #[error("the vault cannot be reached: {0}")]
    NotSent(std::io::Error),
    /// The request went out and no whole answer came back: whether it was acted on is unknown.
    #[error("the vault did not answer: {0}")]
    Lost(std::io::Error),
}

impl Api {
    /// Reads the files; connects to nothing yet.
    pub fn new(args: &ApiArgs) -> Result<Self, CliError> {
        let wrong =
            || format!("--vault {} is not https://HOST or https://HOST:PORT without a path", args.vault);
        let authority = args.vault.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        if authority.contains('@') {
            return Err(wrong().into());
        }
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(host.as_str()).map_err(|_| wrong())?;
        let mut tls = client_config(&ClientTlsConfig {
            certificate_file: args.certificate.clone(),
            key_file: args.key.clone(),
            ca_file: args.ca.clone(),
            crl_files: args.crls.clone(),
        })?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(std::sync::Arc::new(tls)),
            port: parsed.port_u16().unwrap_or(443),
            authority: HeaderValue::try_from(authority).map_err(|_| wrong())?,
            host,
        })
    }

    /// A connection to be: opened with its first call, and anew whenever it is gone.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door_for(ANSWER_BYTES_MAX)
    }

    /// The same, for answers of another size.
    #[must_use]
    pub fn door_for(&self, answer_bytes_max: usize) -> Door {
        Door { api: self.clone(), line: None, answer_bytes_max }
    }

    async fn connect(&self) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
        let stream = self.connector.connect(name, tcp).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection); // ends with its sender; what fails is told to the call
        Ok(sender)
    }
}

/// One connection, one call after another.
pub struct Door {
    api: Api,
    line: Option<SendRequest<Full<Bytes>>>,
    answer_bytes_max: usize,
}

impl Door {
    /// Makes one call. Nothing is repeated here: see [`Patience`].
    pub async fn ask(&mut self, call: &Call) -> Result<Answer, CallError> {
        let line = match self.line.take().filter(|line| !line.is_closed()) {
            Some(line) => line,
            None => {
                let opening = tokio::time::timeout(CONNECT_TIME_MAX, self.api.connect()).await;
                opening
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                    .map_err(CallError::NotSent)?
            }
        };
        let request = call.request(&self.api.authority).map_err(CallError::NotSent)?;
        let talk = tokio::time::timeout(ANSWER_TIME_MAX, talk(line, request, self.answer_bytes_max)).await;
        let (answer, line) =
            talk.unwrap_or_else(|_| Err(CallError::Lost(std::io::ErrorKind::TimedOut.into())))?;
        self.line = Some(line);
        Ok(answer)
    }
}

async fn talk(
    mut line: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> Result<(Answer, SendRequest<Full<Bytes>>), CallError> {
    let failed = |error: hyper::Error| {
        let untouched = error.is_canceled();
        let error = std::io::Error::other(error);
        if untouched { CallError::NotSent(error) } else { CallError::Lost(error) }
    };
    line.ready().await.map_err(|error| CallError::NotSent(std::io::Error::other(error)))?;
    let (head, body) = line.send_request(request).await.map_err(failed)?.into_parts();
    let body = Limited::new(body, answer_bytes_max).collect().await;
    let body = body.map_err(|error| CallError::Lost(std::io::Error::other(error)))?.to_bytes();
    Ok((Answer { status: head.status, body, headers: head.headers }, line))
}

/// A file that comes piece by piece.
pub struct Download {
    /// The connection ends with it.
    _line: SendRequest<Full<Bytes>>,
    body: Incoming,
    headers: HeaderMap,
}

impl Api {
    /// One call whose answer is a file, on a connection of its own. A refusal comes back whole.
    pub async fn download(&self, call: &Call) -> Result<Result<Download, Answer>, CallError> {
        let opening = tokio::time::timeout(CONNECT_TIME_MAX, self.connect()).await;
        let mut line = opening
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(CallError::NotSent)?;
        let request = call.request(&self.authority).map_err(CallError::NotSent)?;
        let lost = |error: hyper::Error| CallError::Lost(std::io::Error::other(error));
        line.ready().await.map_err(|error| CallError::NotSent(std::io::Error::other(error)))?;
        let (head, body) = line.send_request(request).await.map_err(lost)?.into_parts();
        if head.status.is_success() {
            return Ok(Ok(Download { _line: line, body, headers: head.headers }));
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| CallError::Lost(std::io::Error::other(error)))?.to_bytes();
        Ok(Err(Answer { status: head.status, body, headers: head.headers }))
    }
}

impl Download {
    /// A number the answer's head tells.
    #[must_use]
    pub fn number(&self, header: &HeaderName) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }

    /// The next piece; none at the end of a whole file.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let lost = |error: std::io::Error| CallError::Lost(error);
        loop {
            let frame = tokio::time::timeout(PIECE_TIME_MAX, self.body.frame()).await;
            match frame.map_err(|_| lost(std::io::ErrorKind::TimedOut.into()))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(lost(std::io::Error::other(error))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl Call {
    fn request(&self, authority: &HeaderValue) -> std::io::Result<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = http::Uri::try_from(self.path.as_str()).map_err(std::io::Error::other)?;
        let headers = request.headers_mut();
        headers.insert(HOST, authority.clone());
        if !self.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

impl Answer {
    /// When to ask again, if the vault said (RFC 9110 §10.2.3, in seconds).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The version of what was answered, as `If-Match` takes it.
    #[must_use]
    pub fn etag(&self) -> Option<HeaderValue> {
        self.headers.get(ETAG).cloned()
    }

    /// Whether an earlier request made it.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
    }

    /// The problem's type, if the answer is a problem this version knows.
    #[must_use]
    pub fn problem(&self) -> Option<ProblemKind> {
        #[derive(serde::Deserialize)]
        struct Told {
            r#type: String,
        }
        let told: Told = serde_json::from_slice(&self.body).ok()?;
        ProblemKind::ALL.iter().copied().find(|kind| kind.type_uri() == told.r#type)
    }

    /// The refusal as a sentence: the status, and the problem's own words.
    #[must_use]
    pub fn refusal(&self) -> String {
        self.problem().map_or_else(
            || format!("the vault refused with status {}", self.status.as_u16()),
            |kind| {
                format!("the vault refused with {} {}: {}", self.status.as_u16(), kind.slug(), kind.title())
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_is_an_https_host_and_nothing_more() {
        for wrong in ["http://vault", "https://", "https://user@vault", "https://vault/v1", "vault:7400"] {
            let args = ApiArgs {
                vault: wrong.into(),
                certificate: "none".into(),
                key: "none".into(),
                ca: "none".into(),
                crls: Vec::new(),
            };
            let told = Api::new(&args).err().expect("refused").to_string();
            assert!(told.starts_with("--vault"), "{wrong}: {told}");
        }
    }
}
