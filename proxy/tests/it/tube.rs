//! What an SDK does by itself: a `CONNECT`, TLS inside it, and requests as their bytes.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{HOST, Reply, World};

/// How TLS is spoken inside.
pub(crate) struct Inner {
    pub(crate) alpn: &'static [&'static [u8]],
    pub(crate) sni: bool,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { alpn: &[b"http/1.1"], sni: true, versions: vec![&rustls::version::TLS13] }
    }
}

/// Writes a head and reads the head of the answer, not a byte more.
pub(crate) async fn head<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, head: &str) -> String {
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    read_head(stream).await
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(answer).unwrap()
}

/// TLS for the PSP's host, trusting the authority in `folder` alone.
pub(crate) async fn enter<S: AsyncRead + AsyncWrite + Unpin>(
    folder: &Path,
    stream: S,
    inner: &Inner,
) -> std::io::Result<TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("connect-ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&inner.versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = inner.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    tls.enable_sni = inner.sni;
    TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(HOST).unwrap(), stream).await
}

/// Sends one request and reads its whole answer; the connection stays.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &str) -> Reply {
    let told = head(stream, request).await;
    let mut lines = told.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let status = status.parse().unwrap_or_else(|_| panic!("no answer: {told:?}"));
    let mut headers = http::HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let length = headers.get("content-length").map_or("0", |value| value.to_str().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Reply { status, headers, body: body.into() }
}

/// The usual form as bytes for a target, with further header lines.
pub(crate) fn post(target: &str, headers: &str, form: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\n{headers}content-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    )
}

impl World {
    /// A tunnel to the PSP as the orchestrator, with further header lines in the `CONNECT`.
    pub(crate) async fn tunnel(&self, headers: &str) -> TlsStream<TlsStream<tokio::net::TcpStream>> {
        self.tunnel_with(headers, &Inner::default()).await
    }

    pub(crate) async fn tunnel_with(
        &self,
        headers: &str,
        inner: &Inner,
    ) -> TlsStream<TlsStream<tokio::net::TcpStream>> {
        let mut stream = self.raw().await;
        let upstream = self.upstream();
        let connect = format!("CONNECT {upstream} HTTP/1.1\r\nhost: {upstream}\r\n{headers}\r\n");
        let answer = head(&mut stream, &connect).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        enter(self.folder.path(), stream, inner).await.unwrap()
    }
}
