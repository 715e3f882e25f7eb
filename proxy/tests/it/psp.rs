//! A PSP that does what it is told: answers, resets, stalls, redirects, talks nonsense. It keeps every byte it was sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::pki::Files;

/// What the PSP does with one request it has read.
pub(crate) enum Then {
    /// Answers with these bytes and keeps the connection.
    Answer(Vec<u8>),
    /// Answers with these bytes, then closes.
    AnswerAndClose(Vec<u8>),
    /// Answers in pieces, each written on its own.
    Pieces(Vec<Vec<u8>>),
    /// Answers after a while.
    After(Duration, Vec<u8>),
    /// Answers when it is told to.
    When(Arc<Notify>, Vec<u8>),
    /// Closes without an answer.
    Close,
    /// Never answers.
    Stall,
}

/// A request as its bytes came.
#[derive(Clone)]
pub(crate) struct Seen(pub(crate) Vec<u8>);

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    pub(crate) fn holds(&self, needle: &str) -> bool {
        self.text().contains(needle)
    }

    pub(crate) fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }
}

#[derive(Default)]
struct Memory {
    script: VecDeque<Then>,
    seen: Vec<Seen>,
    connections: usize,
    presented: Vec<Vec<u8>>,
}

#[derive(Clone)]
pub(crate) struct Psp {
    pub(crate) address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
}

/// A JSON answer with its length.
pub(crate) fn json(status: &str, body: &str) -> Vec<u8> {
    raw(status, "content-type: application/json\r\n", body.as_bytes())
}

pub(crate) fn raw(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Psp {
    /// Listens on loopback under this certificate, TLS 1.2 only if asked, and asks callers for one of `client_ca`.
    pub(crate) async fn start(
        files: &Files,
        versions: &[&'static rustls::SupportedProtocolVersion],
        client_ca: Option<&Path>,
    ) -> Self {
        let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = client_ca.map_or_else(WebPkiClientVerifier::no_client_auth, |file| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap()
        });
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(client)
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let psp = Self { address: listener.local_addr().unwrap(), memory: Arc::default() };
        let serving = psp.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let _ = tcp.set_nodelay(true); // answers in pieces would wait for the peer's acknowledgement
                serving.memory.lock().unwrap().connections += 1;
                tokio::spawn(serving.clone().connection(acceptor.clone(), tcp));
            }
        });
        psp
    }

    /// What to do with the next request not yet scripted for. Unscripted ones get a plain 200.
    pub(crate) fn then(&self, then: Then) {
        self.memory.lock().unwrap().script.push_back(then);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.memory.lock().unwrap().seen.clone()
    }

    /// Certificates that callers presented, in DER, one for each connection.
    pub(crate) fn presented(&self) -> Vec<Vec<u8>> {
        self.memory.lock().unwrap().presented.clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.memory.lock().unwrap().seen.len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.memory.lock().unwrap().connections
    }

    async fn connection(self, acceptor: TlsAcceptor, tcp: TcpStream) {
        let Ok(mut stream) = acceptor.accept(tcp).await else { return };
        let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        self.memory.lock().unwrap().presented.extend(presented.map(|one| one.to_vec()));
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            let then = {
                let mut memory = self.memory.lock().unwrap();
                memory.seen.push(Seen(request));
                memory.script.pop_front()
            };
            match then.unwrap_or_else(|| Then::Answer(json("200 OK", r#"{"id":"pm_1"}"#))) {
                Then::Answer(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
                Then::Pieces(pieces) => {
                    for piece in pieces {
                        stream.write_all(&piece).await.unwrap_or_default();
                        stream.flush().await.unwrap_or_default();
                    }
                }
                Then::After(pause, bytes) => {
                    tokio::time::sleep(pause).await;
                    stream.write_all(&bytes).await.unwrap_or_default();
                }
                Then::When(told, bytes) => {
                    told.notified().await;
                    stream.write_all(&bytes).await.unwrap_or_default();
                }
                Then::AnswerAndClose(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                Then::Close => return,
                Then::Stall => std::future::pending().await,
            }
        }
    }
}

/// One request with a `content-length` body, or none when the peer is done.
async fn read_request<S: AsyncReadExt + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
            if buffer.len() >= end + 4 + length {
                return Some(buffer.drain(..end + 4 + length).collect());
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => buffer.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}
