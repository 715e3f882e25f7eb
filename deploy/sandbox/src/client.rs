//! A client that keeps every byte it wrote and read inside TLS: what a check searches is what really went over the line.
//!
//! Promises: one connection, one request, no retry, no redirect, no decoding; nothing is tidied before it is kept.
//! Does not promise: HTTP beyond what the sandbox's servers speak (HTTP/1.1, whole bodies).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pki::{Identity, Pki, PkiError, Server, provider};

/// Beyond any answer of the sandbox's servers (1 MiB bodies).
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longer than any time limit of the servers, so that theirs are seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer. The bytes exchanged so far are kept.
#[derive(Debug, thiserror::Error)]
#[error("no complete answer: {reason}")]
pub struct NoAnswer {
    /// What happened.
    pub reason: std::io::Error,
    /// What was exchanged.
    pub exchange: Exchange,
}

/// Every byte of one request and its answer, as they stood inside TLS.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// Written.
    pub sent: Vec<u8>,
    /// Read.
    pub received: Vec<u8>,
}

impl Exchange {
    /// Status of the answer; 0 if there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let line = self.head().lines().next().unwrap_or_default();
        line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head().lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.filter(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// Body of the answer, chunks joined, nothing decoded.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let rest = &self.received[self.head_length().unwrap_or(self.received.len())..];
        if self.is_chunked() { chunks(rest).0 } else { rest.to_vec() }
    }

    /// Body of the answer as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body()).unwrap_or_default()
    }

    fn head_length(&self) -> Option<usize> {
        self.received.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
    }

    fn head(&self) -> &str {
        let head = &self.received[..self.head_length().unwrap_or_default()];
        std::str::from_utf8(head).unwrap_or_default()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    /// Whether the answer is whole: `None` if only the end of the connection can tell.
    fn is_complete(&self) -> Option<bool> {
        let Some(head) = self.head_length() else { return Some(false) };
        let rest = &self.received[head..];
        if matches!(self.status(), 204 | 304) {
            return Some(true);
        }
        if self.is_chunked() {
            return Some(chunks(rest).1);
        }
        let length: usize = self.header("content-length")?.parse().ok()?;
        Some(rest.len() >= length)
    }
}

/// Joins chunks (RFC 9112 §7.1); whether the last one was there.
fn chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|line| line.split(';').next());
        let Some(size) = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok()) else {
            return (body, false);
        };
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, true);
        }
        let Some((chunk, after)) = rest.split_at_checked(size) else { return (body, false) };
        body.extend_from_slice(chunk);
        rest = after.strip_prefix(b"\r\n").unwrap_or_default();
    }
}

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    address: SocketAddr,
    host: String,
    tunnel: Option<Tunnel>,
}

/// Where a `CONNECT` leads, and whom TLS trusts inside.
#[derive(Clone)]
struct Tunnel {
    to: SocketAddr,
    connector: TlsConnector,
}

impl Client {
    /// A client that presents `identity`, if any, and trusts the root that signs `server`.
    pub fn new(
        pki: &Pki,
        identity: Option<&Identity>,
        server: Server,
        address: SocketAddr,
    ) -> Result<Self, PkiError> {
        let mut config = pki.client_config(identity, server)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { connector, address, host: "localhost".to_owned(), tunnel: None })
    }

    /// The same, asking for another host in SNI and `Host`.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// The same, through a `CONNECT` at that server to an address, at which only `trusted` may speak. What is kept is what
    /// went over the line inside the tunnel.
    pub fn through(self, to: SocketAddr, trusted: RootCertStore) -> Result<Self, PkiError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tunnel: Some(Tunnel { to, connector: TlsConnector::from(Arc::new(config)) }), ..self })
    }

    /// Sends one request on a connection of its own and reads the answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Exchange, NoAnswer> {
        let mut exchange = Exchange::default();
        let talk = self.talk(&mut exchange, method, path, headers, body);
        let talked = tokio::time::timeout(PATIENCE, talk).await;
        match talked.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(()) => Ok(exchange),
            Err(reason) => Err(NoAnswer { reason, exchange }),
        }
    }

    async fn talk(
        &self,
        exchange: &mut Exchange,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<()> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
        let mut stream = self.connector.connect(name, tcp).await?;
        let (host, port) = self.tunnel.as_ref().map_or_else(
            || (self.host.clone(), self.address.port()),
            |tunnel| (tunnel.to.ip().to_string(), tunnel.to.port()),
        );
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        exchange.sent = head.into_bytes();
        exchange.sent.extend_from_slice(body);
        let Some(tunnel) = &self.tunnel else { return write_and_read(&mut stream, exchange).await };
        let mut opening = Exchange {
            sent: format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", tunnel.to).into_bytes(),
            received: Vec::new(),
        };
        stream.write_all(&opening.sent).await?;
        stream.flush().await?;
        // Byte by byte: what follows the head is no longer for here.
        while opening.head_length().is_none() {
            opening.received.push(stream.read_u8().await?);
        }
        if opening.status() != 200 {
            exchange.received = opening.received;
            return Ok(());
        }
        let name = ServerName::from(tunnel.to.ip());
        let mut inside = tunnel.connector.connect(name, stream).await?;
        write_and_read(&mut inside, exchange).await
    }
}

async fn write_and_read<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    exchange: &mut Exchange,
) -> std::io::Result<()> {
    stream.write_all(&exchange.sent).await?;
    stream.flush().await?;
    read_answer(stream, exchange).await
}

async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S, exchange: &mut Exchange) -> std::io::Result<()> {
    loop {
        match exchange.is_complete() {
            Some(true) => return Ok(()),
            _ if exchange.received.len() > ANSWER_BYTES_MAX => {
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
            _ => {}
        }
        if stream.read_buf(&mut exchange.received).await? == 0 {
            return match exchange.is_complete() {
                None => Ok(()),
                Some(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}
