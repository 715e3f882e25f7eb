//! A connection that carries one request after another: for load, where a handshake for each request would be the load.
//!
//! Promises: one connection, no retry, no redirect. What fails says whether the request can have been read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Beyond any answer of the sandbox's servers (1 MiB bodies).
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longer than any time limit of the servers, so that theirs are seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// No connection, or it ended before it took the request.
    #[error("the request was not sent: {0}")]
    NotSent(std::io::Error),
    /// The request went out and no whole answer came back: whether it was acted on is unknown.
    #[error("no answer came: {0}")]
    Lost(std::io::Error),
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct LineAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl LineAnswer {
    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Where lines lead: a server and how TLS is spoken to it.
#[derive(Clone)]
pub struct Lines {
    connector: TlsConnector,
    address: SocketAddr,
    authority: HeaderValue,
}

impl Lines {
    /// Lines to this address, whose certificate names `localhost`.
    #[must_use]
    pub fn new(mut tls: rustls::ClientConfig, address: SocketAddr) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let authority = HeaderValue::try_from(format!("localhost:{}", address.port()));
        let authority = authority.unwrap_or(HeaderValue::from_static("localhost"));
        Self { connector: TlsConnector::from(Arc::new(tls)), address, authority }
    }

    /// Opens a line.
    pub async fn connect(&self) -> Result<Line, LineError> {
        let opening = tokio::time::timeout(PATIENCE, self.open());
        opening.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(LineError::NotSent)
    }

    async fn open(&self) -> std::io::Result<Line> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let stream = self.connector.connect(name, tcp).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection); // ends with its sender; what fails is told to the request
        Ok(Line { sender, authority: self.authority.clone() })
    }
}

/// One connection.
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    authority: HeaderValue,
}

impl Line {
    /// Sends a request and reads its answer. After an error the line is of no more use.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<LineAnswer, LineError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.authority.clone());
        if !headers.iter().any(|(name, _)| CONTENT_TYPE == *name) {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()));
        let request = request.map_err(|error| LineError::NotSent(std::io::Error::other(error)))?;
        let talk = tokio::time::timeout(PATIENCE, self.talk(request));
        talk.await.unwrap_or_else(|_| Err(LineError::Lost(std::io::ErrorKind::TimedOut.into())))
    }

    async fn talk(&mut self, request: Request<Full<Bytes>>) -> Result<LineAnswer, LineError> {
        let failed = |error: hyper::Error| {
            let canceled = error.is_canceled();
            let error = std::io::Error::other(error);
            if canceled { LineError::NotSent(error) } else { LineError::Lost(error) }
        };
        self.sender.ready().await.map_err(|error| LineError::NotSent(std::io::Error::other(error)))?;
        let (head, body) = self.sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| LineError::Lost(std::io::Error::other(error)))?.to_bytes();
        Ok(LineAnswer { status: head.status, headers: head.headers, body })
    }
}

/// A line that is opened anew whenever it is gone, and a count of the requests under way that many doors share.
pub struct Door {
    lines: Lines,
    line: Option<Line>,
    in_flight: Arc<AtomicU64>,
}

impl Door {
    /// A door without a line yet.
    #[must_use]
    pub fn new(lines: Lines, in_flight: Arc<AtomicU64>) -> Self {
        Self { lines, line: None, in_flight }
    }

    /// Sends one request; `in_flight` counts it while it is on the line.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<LineAnswer, LineError> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => self.lines.connect().await?,
        };
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let answer = line.send(method, path, headers, body).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if answer.is_ok() {
            self.line = Some(line);
        }
        answer
    }
}
