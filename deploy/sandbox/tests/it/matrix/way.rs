//! The entries: how an SDK reaches a route.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use strongroom_perimeter::chance;
use strongroom_perimeter::clock::SystemClock;
use strongroom_proxy::app::Ambient;
use strongroom_proxy::relay::Relay;
use strongroom_proxy::upstream::SystemResolver;
use strongroom_sandbox::client::Exchange;
use strongroom_sandbox::house::House;
use strongroom_sandbox::pki::Server;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Site;

/// An entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Path,
    Host,
    Connect,
    Relay,
    RelayedConnect,
}

pub(super) const WAYS: [Way; 5] = [Way::Path, Way::Host, Way::Connect, Way::Relay, Way::RelayedConnect];

/// Which route, and the port of its upstream.
#[derive(Debug)]
pub(crate) struct To {
    pub(super) route: String,
    pub(super) port: u16,
}

/// A relay beside the orchestrator: a port for plain HTTP for each route, one for tunnels.
pub(crate) struct Relayed {
    routes: Vec<String>,
    addresses: Vec<std::net::SocketAddr>,
    stop: CancellationToken,
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Relayed {
    /// Of several routes with one upstream, a tunnel's user names the one that is meant.
    pub(super) fn start(house: &House, routes: &[(String, u16)]) -> Self {
        let orchestrator = house.pki().client("orchestrator").unwrap();
        let mut text = format!(
            "forward = {{ url = \"https://localhost:{}\" }}\nops = {{ address = \"127.0.0.1:0\" }}\n\
             [workloads.orchestrator]\ncertificate_file = {:?}\nkey_file = {:?}\nca_file = {:?}\n",
            house.proxy().port(),
            orchestrator.certificate_pem_path,
            orchestrator.key_pem_path,
            house.pki().ca_file(),
        );
        let listen =
            |entries: String| format!("[[listen]]\naddress = \"127.0.0.1:0\"\nentries = [{entries}]\n");
        let tunnels = routes.iter().map(|(name, port)| {
            format!(
                "{{ connect = \"localhost:{port}\", user = \"{name}\", workload = \"orchestrator\", route = \"{name}\" }}, "
            )
        });
        text.push_str(&listen(tunnels.collect()));
        for (name, _) in routes {
            text.push_str(&listen(format!("{{ workload = \"orchestrator\", route = \"{name}\" }}")));
        }
        let ambient = Ambient {
            clock: Arc::new(SystemClock),
            random: Arc::new(chance::SystemRandom::new()),
            resolver: Arc::new(SystemResolver),
        };
        let relay = Relay::bind(toml::from_str(&text).unwrap(), ambient).unwrap();
        let (addresses, stop) = (relay.local_addrs(), CancellationToken::new());
        tokio::spawn(relay.serve(PrometheusBuilder::new().build_recorder().handle(), stop.clone()));
        Self { routes: routes.iter().map(|(name, _)| name.clone()).collect(), addresses, stop }
    }

    async fn tunnels(&self) -> TcpStream {
        TcpStream::connect(self.addresses[0]).await.unwrap()
    }

    async fn plain(&self, route: &str) -> TcpStream {
        let at = self.routes.iter().position(|name| name == route).unwrap();
        TcpStream::connect(self.addresses[at + 1]).await.unwrap()
    }
}

impl Way {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Host => "host",
            Self::Connect => "CONNECT",
            Self::Relay => "relay",
            Self::RelayedConnect => "CONNECT at the relay",
        }
    }

    /// Sends one charge on a connection of its own and reads the whole answer.
    pub(super) async fn send(self, site: &Site, to: &To, key: &str, body: &str) -> Exchange {
        let upstream = format!("localhost:{}", to.port);
        match self {
            Self::Path => {
                let path = format!("/{}/charges", to.route);
                exchange(proxy(site).await, &charge(&path, "localhost", key, body)).await
            }
            Self::Host => {
                let host = format!("{}.proxy.internal", to.route);
                exchange(proxy(site).await, &charge("/charges", &host, key, body)).await
            }
            Self::Connect => {
                let named = format!("strongroom-route: {}\r\n", to.route);
                let tunnel = tunnel(site, proxy(site).await, &upstream, &named).await;
                exchange(tunnel, &charge("/charges", &upstream, key, body)).await
            }
            Self::Relay => {
                let plain = site.relayed.plain(&to.route).await;
                exchange(plain, &charge("/charges", "127.0.0.1", key, body)).await
            }
            Self::RelayedConnect => {
                use base64::Engine as _;
                let user = base64::prelude::BASE64_STANDARD.encode(format!("{}:x", to.route));
                let named = format!("proxy-authorization: Basic {user}\r\n");
                let tunnel = tunnel(site, site.relayed.tunnels().await, &upstream, &named).await;
                exchange(tunnel, &charge("/charges", &upstream, key, body)).await
            }
        }
    }
}

fn charge(path: &str, host: &str, key: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nidempotency-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// mTLS to the proxy as the orchestrator.
async fn proxy(site: &Site) -> TlsStream<TcpStream> {
    let pki = site.house.pki();
    let orchestrator = pki.client("orchestrator").unwrap();
    let mut tls = pki.client_config(Some(&orchestrator), Server::Proxy).unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(site.house.proxy()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap()
}

/// A `CONNECT`, and TLS inside it that trusts the proxy's own authority alone.
async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    site: &Site,
    mut stream: S,
    upstream: &str,
    headers: &str,
) -> TlsStream<S> {
    let head = format!("CONNECT {upstream} HTTP/1.1\r\nhost: {upstream}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut told = Vec::new();
    while !told.ends_with(b"\r\n\r\n") {
        told.push(stream.read_u8().await.unwrap());
    }
    assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.house.connect_ca_file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap()
}

/// Writes a request and reads until the answer is whole.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> Exchange {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut exchange = Exchange { sent: request.as_bytes().to_vec(), received: Vec::new() };
    loop {
        let length = exchange.header("content-length").and_then(|text| text.parse::<usize>().ok());
        if length.is_some_and(|length| exchange.body().len() >= length) {
            return exchange;
        }
        // What ends without `close_notify` ends here too: whether the answer is whole is seen from its length.
        let read = stream.read_buf(&mut exchange.received).await.unwrap_or_default();
        assert!(read > 0, "no whole answer: {}", String::from_utf8_lossy(&exchange.received));
    }
}
