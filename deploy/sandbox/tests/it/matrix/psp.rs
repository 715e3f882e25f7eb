//! A PSP that fails as it is told to, once it has read a whole request, and counts every request it read.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use strongroom_sandbox::pki::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Fault;

#[derive(Default)]
struct Memory {
    script: VecDeque<Fault>,
    arrived: Vec<String>,
}

#[derive(Clone)]
pub(super) struct FaultyPsp {
    pub(super) address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    redirect: SocketAddr,
}

impl FaultyPsp {
    pub(super) async fn start(identity: &Identity, redirect: SocketAddr) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate().unwrap()], identity.key().unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let psp = Self { address: listener.local_addr().unwrap(), memory: Arc::default(), redirect };
        let serving = psp.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serving.clone().connection(acceptor.clone(), tcp));
            }
        });
        psp
    }

    /// What becomes of the next request; those after it are answered.
    pub(super) fn then(&self, fault: Fault) {
        let mut memory = self.memory.lock().unwrap();
        memory.script.clear();
        memory.script.push_back(fault);
    }

    pub(super) fn requests(&self) -> usize {
        self.memory.lock().unwrap().arrived.len()
    }

    pub(super) fn arrived(&self) -> Vec<String> {
        self.memory.lock().unwrap().arrived.clone()
    }

    async fn connection(self, acceptor: TlsAcceptor, tcp: TcpStream) {
        let Ok(mut stream) = acceptor.accept(tcp).await else { return };
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            let fault = {
                let mut memory = self.memory.lock().unwrap();
                memory.arrived.push(request.clone());
                memory.script.pop_front().unwrap_or(Fault::None)
            };
            if !self.act(fault, &request, &mut stream).await {
                return;
            }
        }
    }

    /// Whether the connection stays.
    async fn act(&self, fault: Fault, request: &str, stream: &mut TlsStream<TcpStream>) -> bool {
        let json = "content-type: application/json\r\n";
        let answer = match fault {
            Fault::None | Fault::Refused | Fault::Tls => raw("200 OK", json, br#"{"id":"ch_one"}"#),
            Fault::ServerError => {
                let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
                raw(
                    "500 Internal Server Error",
                    json,
                    format!("{{\"error\":{{\"echo\":{body}}}}}").as_bytes(),
                )
            }
            Fault::TooMany => {
                let headers = format!("{json}retry-after: 7\r\n");
                raw("429 Too Many Requests", &headers, br#"{"error":{"code":"rate_limit"}}"#)
            }
            Fault::Redirect => {
                let headers = format!("location: https://{}/collect\r\n", self.redirect);
                raw("307 Temporary Redirect", &headers, b"")
            }
            Fault::Bomb => {
                let headers = format!("{json}content-encoding: gzip\r\n");
                raw("200 OK", &headers, &bomb())
            }
            Fault::Garbage => b"220 mail.psp.test ESMTP ready\r\n250 ok\r\n\r\n".to_vec(),
            Fault::ResetBeforeHeaders => return reset(stream, b"").await,
            Fault::ResetInBody => {
                return reset(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n{\"id\":\"ch_").await;
            }
            Fault::Huge => return pour(stream).await,
            Fault::Stall => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                return false;
            }
        };
        let written = stream.write_all(&answer).await.is_ok() && stream.flush().await.is_ok();
        written && fault != Fault::Garbage
    }
}

fn raw(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A hundred gzip members of a megabyte of zeros each (RFC 1952 §2.2): one file to who decodes it.
fn bomb() -> Vec<u8> {
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    member.write_all(&vec![0; 1 << 20]).unwrap();
    member.finish().unwrap().repeat(100)
}

/// Writes what there is and resets the TCP connection under TLS.
async fn reset(stream: &mut TlsStream<TcpStream>, first: &[u8]) -> bool {
    let _ = stream.write_all(first).await;
    let _ = stream.flush().await;
    let _ = stream.get_ref().0.set_zero_linger();
    false
}

/// A hundred megabytes in chunks, for as long as anybody reads.
async fn pour(stream: &mut TlsStream<TcpStream>) -> bool {
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
    let mut alive = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.is_ok();
    for _ in 0..1_526 {
        alive = alive && stream.write_all(&chunk).await.is_ok();
    }
    false
}

/// One request with its body, or none when the peer is done.
async fn read_request(stream: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let whole = end + 4 + length.map_or(0, |text| text.trim().parse::<usize>().unwrap());
            if buffer.len() >= whole {
                return Some(
                    String::from_utf8_lossy(&buffer.drain(..whole).collect::<Vec<_>>()).into_owned(),
                );
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Where a redirect would lead: nobody should come.
pub(super) struct Bystander {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Bystander {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, connections }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
