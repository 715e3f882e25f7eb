//! The load: one thread, keep-alive HTTP/1.1 over mTLS, each connection asking again as soon as it was answered.
//!
//! Written on the stream by hand, so that what it costs takes little from the two services measured beside it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use sha2::Digest as _;
use strongroom_sandbox::pki::{Pki, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::vault::{RunningVault, TENANT};
use super::{Failure, files};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Tokenize,
    OpenForward,
    /// One card's facts.
    Show,
    /// Facts of a hundred cards from all over the tenant.
    Lookup,
    /// Its newest twenty cards.
    List,
    /// Twenty cards that came in before this time, Unix seconds.
    ListBefore(i64),
    /// Twenty cards with the same last four digits.
    ListLast4,
}

/// Between two attempts to reach a replica.
const CONNECT_AGAIN: Duration = Duration::from_millis(50);
/// Tokens of one look-up.
const LOOKED_UP: usize = 100;

impl Call {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tokenize => "tokenize",
            Self::OpenForward => "open-forward",
            Self::Show => "show one card",
            Self::Lookup => "look up 100 cards",
            Self::List => "list, newest 20",
            Self::ListBefore(_) => "list, 20 from the middle",
            Self::ListLast4 => "list, 20 of one last4",
        }
    }

    /// The status of an answer that counts.
    const fn status(self) -> u16 {
        match self {
            Self::Tokenize | Self::OpenForward => 201,
            _ => 200,
        }
    }

    const fn workload(self) -> &'static str {
        match self {
            Self::Tokenize => "checkout",
            Self::OpenForward => "proxy",
            _ => "orchestrator",
        }
    }
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    For(Duration),
    Calls(u64),
}

/// Distinct numbers of the default test range.
#[derive(Default)]
pub(crate) struct Cards(AtomicU64);

impl Cards {
    pub(crate) fn made(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn number(&self) -> String {
        number(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The `n`th of them.
pub(crate) fn number(n: u64) -> String {
    let payload = format!("999999{n:09}");
    let check = check_digit(payload.as_bytes());
    format!("{payload}{check}")
}

/// Luhn (ISO/IEC 7812-1 annex B).
fn check_digit(payload: &[u8]) -> u32 {
    let worth = |(place, digit): (usize, &u8)| {
        let digit = u32::from(digit - b'0');
        let doubled = if place % 2 == 0 { digit * 2 } else { digit };
        doubled / 10 + doubled % 10
    };
    (10 - payload.iter().rev().enumerate().map(worth).sum::<u32>() % 10) % 10
}

/// Most tokens kept to forward later.
const WALLET_MAX: usize = 200_000;

/// Tokens that were given.
#[derive(Default)]
pub(crate) struct Wallet {
    tokens: Mutex<Vec<String>>,
    next: AtomicU64,
}

impl Wallet {
    fn put(&self, body: &[u8]) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() < WALLET_MAX
            && let Some(token) =
                std::str::from_utf8(body).ok().and_then(|body| body.split("\"token\":\"").nth(1))
        {
            tokens.push(token.split('"').next().unwrap_or_default().to_owned());
        }
    }

    /// Tokens from elsewhere, as many as fit.
    pub(crate) fn fill(&self, from: impl Iterator<Item = String>) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).extend(from.take(WALLET_MAX));
    }

    fn token(&self) -> Option<String> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        tokens.get(at % tokens.len().max(1)).cloned()
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Measured {
    /// Microseconds of each acknowledged call, sorted.
    micros: Vec<u32>,
    /// Calls answered otherwise, by status; 0 for none.
    pub(crate) others: Vec<u16>,
    pub(crate) took: Duration,
    pub(crate) vault_cpu: f64,
}

impl Measured {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.micros.len() as u64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds that this share of the calls needed at most.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let at = (self.micros.len() as f64 * share) as usize;
        self.micros
            .get(at.min(self.micros.len().saturating_sub(1)))
            .map_or(0.0, |micros| f64::from(*micros) / 1e3)
    }
}

struct Plan<'a> {
    connector: TlsConnector,
    /// The replicas.
    addresses: Vec<SocketAddr>,
    /// Whether a connection that breaks is followed by another, to the next replica that answers.
    survives: bool,
    call: Call,
    cards: &'a Cards,
    wallet: &'a Wallet,
    route_sha256: String,
    until: Option<Instant>,
    left: AtomicU64,
}

/// Loads the vault.
pub(crate) fn run(
    vault: &RunningVault,
    call: Call,
    connections: usize,
    load: Load,
    cards: &Cards,
    wallet: &Wallet,
) -> Result<Measured, Failure> {
    let target = Target { addresses: vec![vault.address], pki: &vault.pki, survives: false };
    run_at(target, call, connections, load, cards, wallet)
}

/// What is loaded.
pub(crate) struct Target<'a> {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) pki: &'a Pki,
    pub(crate) survives: bool,
}

/// Loads replicas.
pub(crate) fn run_at(
    target: Target<'_>,
    call: Call,
    connections: usize,
    load: Load,
    cards: &Cards,
    wallet: &Wallet,
) -> Result<Measured, Failure> {
    let route = std::fs::read(files::policies().join("routes/stripe.toml"))?;
    let started = Instant::now();
    let plan = Plan {
        connector: connector(target.pki, call.workload())?,
        addresses: target.addresses,
        survives: target.survives,
        call,
        cards,
        wallet,
        route_sha256: hex::encode(sha2::Sha256::digest(&route)),
        until: match load {
            Load::For(time) => Some(started + time),
            Load::Calls(_) => None,
        },
        left: AtomicU64::new(match load {
            Load::For(_) => u64::MAX,
            Load::Calls(calls) => calls,
        }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lines =
        runtime.block_on(futures_util::future::join_all((0..connections).map(|number| plan.line(number))));
    let mut all = Measured { took: started.elapsed(), ..Measured::default() };
    for line in lines {
        let line = line?;
        all.micros.extend(line.micros);
        all.others.extend(line.others);
    }
    all.micros.sort_unstable();
    Ok(all)
}

fn connector(pki: &Pki, workload: &str) -> Result<TlsConnector, Failure> {
    let identity = pki.client(workload)?;
    let mut config = pki.client_config(Some(&identity), Server::Vault)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Plan<'_> {
    fn goes_on(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }

    /// One connection until the end.
    async fn line(&self, number: usize) -> io::Result<Measured> {
        let (mut measured, mut at) = (Measured::default(), number);
        let mut line = self.connect(&mut at).await?;
        while self.goes_on() {
            let request = self.request()?;
            let asked = Instant::now();
            let answer = match line.ask(request.as_bytes()).await {
                Ok(answer) => answer,
                Err(_) if self.survives => {
                    measured.others.push(0);
                    at += 1;
                    line = self.connect(&mut at).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if answer.status == self.call.status() {
                measured.micros.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                if self.call == Call::Tokenize {
                    self.wallet.put(line.body(&answer));
                }
            } else {
                measured.others.push(answer.status);
            }
            if answer.closes {
                line = self.connect(&mut at).await?;
            }
        }
        Ok(measured)
    }

    /// To this replica, or the next one that answers.
    async fn connect(&self, at: &mut usize) -> io::Result<Line> {
        loop {
            match self.try_connect(self.addresses[*at % self.addresses.len()]).await {
                Err(_) if self.survives => {
                    *at += 1;
                    tokio::time::sleep(CONNECT_AGAIN).await;
                }
                connected => return connected,
            }
        }
    }

    async fn try_connect(&self, address: SocketAddr) -> io::Result<Line> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        Ok(Line { stream: self.connector.connect(name, tcp).await?, read: Vec::with_capacity(8 * 1024) })
    }

    fn request(&self) -> io::Result<String> {
        let cards = format!("/v1/tenants/{TENANT}/cards");
        let (path, body) = match self.call {
            Call::Tokenize => {
                (cards, format!(r#"{{"number":"{}","exp_month":12,"exp_year":2030}}"#, self.cards.number()))
            }
            Call::OpenForward => ("/v1/forwards".to_owned(), self.forward()?),
            Call::Lookup => (format!("{cards}/lookup"), self.lookup()?),
            Call::Show => return Ok(get(&format!("{cards}/{}", self.any_token()?))),
            Call::List => return Ok(get(&format!("{cards}?limit=20"))),
            Call::ListBefore(at) => {
                let at = strongroom_domain::Timestamp::from_unix_seconds(at);
                return Ok(get(&format!("{cards}?limit=20&created_before={at}")));
            }
            Call::ListLast4 => {
                let last4 = self.left.load(Ordering::Relaxed) % 10_000;
                return Ok(get(&format!("{cards}?limit=20&last4={last4:04}")));
            }
        };
        Ok(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn any_token(&self) -> io::Result<String> {
        self.wallet.token().ok_or_else(|| io::Error::other("no token to ask for"))
    }

    fn lookup(&self) -> io::Result<String> {
        let tokens: io::Result<Vec<_>> = (0..LOOKED_UP).map(|_| self.any_token()).collect();
        Ok(format!(r#"{{"tokens":["{}"]}}"#, tokens?.join("\",\"")))
    }

    fn forward(&self) -> io::Result<String> {
        let token = self.any_token()?;
        Ok(format!(
            r#"{{"caller":"spiffe://strongroom.test/orchestrator","caller_cert_sha256":"{}","route":"stripe","route_sha256":"{}","account":"default","method":"POST","path":"/v1/payment_methods","host":"api.stripe.com","cards":[{{"token":"{token}","attributes":["number","exp"]}}]}}"#,
            "00".repeat(32),
            self.route_sha256,
        ))
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// One connection.
struct Line {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

struct Answer {
    status: u16,
    head: usize,
    closes: bool,
}

impl Line {
    async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = self.whole()? {
                return Ok(answer);
            }
        }
    }

    fn whole(&self) -> io::Result<Option<Answer>> {
        let Some(head) = self.read.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
        else {
            return Ok(None);
        };
        let wrong = || io::Error::other("an answer this client does not read");
        let text = std::str::from_utf8(&self.read[..head]).map_err(|_| wrong())?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
        let field = |name: &str| text.split("\r\n").find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize =
            field("content-length:").and_then(|length| length.parse().ok()).ok_or_else(wrong)?;
        let closes = field("connection:") == Some("close");
        Ok((self.read.len() >= head + length).then_some(Answer { status, head, closes }))
    }

    fn body(&self, answer: &Answer) -> &[u8] {
        &self.read[answer.head..]
    }
}
