//! Asking name servers ourselves, because only they tell how long an answer is good for.
//!
//! Promises: a server is believed only from its own address, under an identifier and a port drawn for the question; what
//! does not fit a datagram is asked for over TCP; a server that is silent or fails is followed by the next; every wait and
//! every size is bounded; nothing is remembered here.
//! Does not promise: the operating system's search list, its hosts file or DNSSEC.
//! Trusts: the servers for availability only: who dials judges every address, and TLS says who is there.
//! Upholds: C-70.

pub mod message;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::counter;
use strongroom_domain::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::dial::{Found, Resolve};
use message::{Family, Question, Said};

/// How long a server has for one answer. One in the same network takes under a millisecond.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How often each server is asked: a datagram may be lost.
const ROUNDS: usize = 2;
/// Largest answer in a datagram: we ask for no more (RFC 1035 §4.2.1).
const DATAGRAM_BYTES_MAX: usize = 512;

/// Name servers, asked in their order.
pub struct NameServers {
    servers: Vec<SocketAddr>,
    random: Arc<dyn Random>,
}

/// What was found of one family.
struct OfFamily {
    addresses: Vec<IpAddr>,
    ttl: u32,
}

impl NameServers {
    /// Recursive servers, the preferred one first.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, random: Arc<dyn Random>) -> Self {
        Self { servers, random }
    }

    /// Asks one server after the other until one says something.
    async fn find(&self, host: &str, family: Family) -> io::Result<OfFamily> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            match timeout(ANSWER_TIME, self.ask(*server, host, family)).await {
                Ok(Ok(Said::Addresses(addresses, ttl))) => return Ok(OfFamily { addresses, ttl }),
                Ok(Ok(Said::NoSuchName)) => return Err(io::ErrorKind::NotFound.into()),
                Ok(Ok(Said::Failed | Said::Truncated)) => {
                    last = io::Error::other("a name server refuses to answer");
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn ask(&self, server: SocketAddr, host: &str, family: Family) -> io::Result<Said> {
        let mut id = [0; 2];
        self.random.fill(&mut id).map_err(io::Error::other)?;
        let question = Question::new(u16::from_be_bytes(id), host, family);
        let question = question.ok_or(io::ErrorKind::InvalidInput)?;
        match by_datagram(server, &question).await? {
            Said::Truncated => by_stream(server, &question).await,
            said => Ok(said),
        }
    }
}

#[async_trait]
impl Resolve for NameServers {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.look_up(host, port).await?.addresses)
    }

    /// The addresses of both families. One of them is enough; the time is the shorter.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Found> {
        let (v4, v6) = tokio::join!(self.find(host, Family::V4), self.find(host, Family::V6));
        let mut found = Found { addresses: Vec::new(), good_for: None };
        let mut failed = None;
        for of_family in [v4, v6] {
            match of_family {
                Ok(OfFamily { addresses, ttl }) if !addresses.is_empty() => {
                    let ttl = Duration::from_secs(ttl.into());
                    found.good_for = Some(found.good_for.map_or(ttl, |least: Duration| least.min(ttl)));
                    found.addresses.extend(addresses.into_iter().map(|one| SocketAddr::new(one, port)));
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        let result = if found.addresses.is_empty() { "none" } else { "found" };
        counter!("strongroom_dns_lookups_total", "result" => result).increment(1);
        match failed {
            Some(error) if found.addresses.is_empty() => Err(error),
            _ => Ok(found),
        }
    }
}

/// Asks by a datagram from a port of its own; what comes and is no answer is not listened to.
async fn by_datagram(server: SocketAddr, question: &Question) -> io::Result<Said> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question.encode()).await?;
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut datagram).await?;
        if let Ok(said) = question.read(&datagram[..length]) {
            return Ok(said);
        }
    }
}

/// Asks over TCP (RFC 7766), where each message follows its length.
async fn by_stream(server: SocketAddr, question: &Question) -> io::Result<Said> {
    let mut stream = TcpStream::connect(server).await?;
    let asked = question.encode();
    let length = u16::try_from(asked.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), asked.as_slice()].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    match question.read(&answer) {
        Ok(Said::Truncated) | Err(_) => Err(io::ErrorKind::InvalidData.into()),
        Ok(said) => Ok(said),
    }
}
