//! One TLS connection to one place: resolve, judge every address, dial exactly the one judged, then TLS.
//!
//! Promises: one connector for names and IP literals alike, so no spelling of an address goes round the guard.
//! Trusts: the resolver for availability only.
//! Upholds: C-17.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::guard;

/// Turns a host into addresses. Production asks the operating system; tests answer from a table.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Every address of the host, in the order to try.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// The same, with how long the answer may be used, where who answers tells.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Found> {
        Ok(Found { addresses: self.resolve(host, port).await?, good_for: None })
    }
}

/// What a look-up found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Every address of the host, in the order to try.
    pub addresses: Vec<SocketAddr>,
    /// How long it may be used. `None`: nobody told.
    pub good_for: Option<Duration>,
}

/// The operating system's resolver.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Which addresses a dialer may connect to.
#[derive(Clone, Debug)]
pub enum Admission {
    /// Public ones, and these.
    Public(Vec<IpAddr>),
    /// Any: for the vault, whose address is the operator's own setting.
    Any,
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name cannot be resolved")]
    Unresolved(#[source] io::Error),
    /// The name, or literal, leads to an address nothing may be sent to.
    #[error("the host has an address that is {0}")]
    ForbiddenAddress(&'static str),
    /// Nobody listens, or no way there.
    #[error("no tcp connection")]
    Tcp(#[source] io::Error),
    /// Wrong certificate, no common version, or closed during the handshake.
    #[error("no tls connection")]
    Tls(#[source] io::Error),
    /// It took too long.
    #[error("connecting took too long")]
    TimedOut,
    /// The HTTP layer would not start.
    #[error("no http connection")]
    Http(#[source] hyper::Error),
}

/// Where to connect, and how.
pub struct Dialer {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    admission: Admission,
    resolver: Arc<dyn Resolve>,
    tls: ArcSwap<ClientConfig>,
    timeout: Duration,
}

/// The host is neither a DNS name nor an address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither a dns name nor an address")]
pub struct InvalidHost(String);

impl Dialer {
    /// A dialer for one host and port.
    pub fn new(
        host: &str,
        port: u16,
        admission: Admission,
        resolver: Arc<dyn Resolve>,
        tls: Arc<ClientConfig>,
        timeout: Duration,
    ) -> Result<Self, InvalidHost> {
        let server_name = ServerName::try_from(host.to_owned()).map_err(|_| InvalidHost(host.to_owned()))?;
        let tls = ArcSwap::new(tls);
        Ok(Self { host: host.to_owned(), port, server_name, admission, resolver, tls, timeout })
    }

    /// Uses other TLS material from the next connection on.
    pub fn renew(&self, tls: Arc<ClientConfig>) {
        self.tls.store(tls);
    }

    /// Connects: TCP and TLS, within the timeout.
    pub async fn dial(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let deadline = Instant::now() + self.timeout;
        timeout_at(deadline, self.dial_until(deadline)).await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn dial_until(&self, deadline: Instant) -> Result<TlsStream<TcpStream>, ConnectError> {
        let addresses = self.admitted().await?;
        let tcp = connect_any(&addresses, deadline).await?;
        // A lost Nagle option costs latency, not correctness.
        let _ = tcp.set_nodelay(true);
        let connector = TlsConnector::from(self.tls.load_full());
        connector.connect(self.server_name.clone(), tcp).await.map_err(ConnectError::Tls)
    }

    /// One bad address condemns the name: a mixed answer is somebody steering us.
    async fn admitted(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let resolved = match self.host.parse::<IpAddr>() {
            Ok(literal) => Ok(vec![SocketAddr::new(literal, self.port)]),
            Err(_) => self.resolver.resolve(&self.host, self.port).await,
        };
        let addresses = resolved.map_err(ConnectError::Unresolved)?;
        if addresses.is_empty() {
            return Err(ConnectError::Unresolved(io::ErrorKind::NotFound.into()));
        }
        let Admission::Public(listed) = &self.admission else { return Ok(addresses) };
        let bad = addresses.iter().filter(|address| !guard::is_listed(address.ip(), listed));
        match bad.filter_map(|address| guard::refusal(address.ip())).next() {
            Some(why) => Err(ConnectError::ForbiddenAddress(why)),
            None => Ok(addresses),
        }
    }
}

/// Tries one after the other; each gets its share of the time left, so that one dead address does not take it all.
async fn connect_any(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::TimedOut;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = ConnectError::Tcp(error),
            Err(_) => last = ConnectError::TimedOut,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<&'static str>);

    #[async_trait]
    impl Resolve for Table {
        async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(self.0.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect())
        }
    }

    fn dialer(host: &str, answers: &[&'static str], private: &[&str]) -> Dialer {
        let private = private.iter().map(|ip| ip.parse().unwrap()).collect();
        let tls = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let resolver = Arc::new(Table(answers.to_vec()));
        let second = Duration::from_secs(1);
        Dialer::new(host, 443, Admission::Public(private), resolver, Arc::new(tls), second).unwrap()
    }

    #[tokio::test]
    async fn names_and_literals_pass_one_guard() {
        for (host, answers) in [
            ("psp.example", &["169.254.169.254"][..]),
            ("psp.example", &["::ffff:127.0.0.1"]),
            ("psp.example", &["8.8.8.8", "10.0.0.1"]),
            ("127.0.0.1", &[]),
            ("169.254.169.254", &["8.8.8.8"]),
        ] {
            let refused = dialer(host, answers, &[]).admitted().await;
            assert!(matches!(refused, Err(ConnectError::ForbiddenAddress(_))), "{host} {answers:?}");
        }
        assert!(matches!(dialer("psp.example", &[], &[]).admitted().await, Err(ConnectError::Unresolved(_))));
        assert_eq!(dialer("psp.example", &["8.8.8.8"], &[]).admitted().await.unwrap().len(), 1);
        assert_eq!(dialer("127.0.0.1", &[], &["127.0.0.1"]).admitted().await.unwrap().len(), 1);
    }
}
