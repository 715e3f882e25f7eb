//! Every fault of a PSP, by every entry, in every mode: what the caller sees, how often the PSP is asked, what the audit log
//! says, and what becomes of the same request sent again. Real sockets, the real proxy, the real vault.
//!
//! The table in `proxy/docs/fault-matrix.md` is made here; a stale one fails. `STRONGROOM_BLESS=1` writes it.

mod log;
mod psp;
mod table;
mod way;

use std::path::Path;
use std::sync::Arc;

use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::pki::{MintOptions, Pki, Server, SignedBy};
use strongroom_sandbox::psp::cards;

use crate::house::tokenize;
use crate::support::SystemRandom;
use log::Log;
use psp::{Bystander, FaultyPsp};
use table::{Row, Seen};
use way::{Relayed, WAYS};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    None,
    Refused,
    Tls,
    ResetBeforeHeaders,
    ResetInBody,
    ServerError,
    TooMany,
    Stall,
    Garbage,
    Huge,
    Redirect,
    Bomb,
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::None,
        Self::Refused,
        Self::Tls,
        Self::ResetBeforeHeaders,
        Self::ResetInBody,
        Self::ServerError,
        Self::TooMany,
        Self::Stall,
        Self::Garbage,
        Self::Huge,
        Self::Redirect,
        Self::Bomb,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Refused => "connection refused",
            Self::Tls => "TLS failure: a certificate of a CA the route does not pin",
            Self::ResetBeforeHeaders => "reset before the headers of the answer",
            Self::ResetInBody => "reset in the middle of the body",
            Self::ServerError => "500 with a body that holds the card number",
            Self::TooMany => "429 with `Retry-After: 7`",
            Self::Stall => "no answer for 30 s",
            Self::Garbage => "an answer that is not HTTP",
            Self::Huge => "100 MB of answer",
            Self::Redirect => "307 to another server",
            Self::Bomb => "gzip: 100 kB that are 100 MB",
        }
    }

    /// The route whose upstream does it.
    const fn upstream(self) -> &'static str {
        match self {
            Self::Refused => "refusing",
            Self::Tls => "stranger",
            _ => "faulty",
        }
    }

    /// Whether the request reaches the PSP.
    const fn is_sent(self) -> bool {
        !matches!(self, Self::Refused | Self::Tls)
    }
}

/// Who tells a repeat from a new payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// The PSP, by its idempotency key.
    PassThrough,
    /// The vault, by the merchant's payment reference: for PSPs that charge a repeat again.
    AtMostOnce,
}

impl Mode {
    const ALL: [Self; 2] = [Self::PassThrough, Self::AtMostOnce];

    const fn words(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::AtMostOnce => "at-most-once",
        }
    }

    /// How routes of this mode are called.
    fn route(self, upstream: &str) -> String {
        match self {
            Self::PassThrough => upstream.to_owned(),
            Self::AtMostOnce => format!("{upstream}-once"),
        }
    }

    /// What makes a call of it, in the route file.
    const fn lines(self) -> &'static str {
        match self {
            Self::PassThrough => "",
            Self::AtMostOnce => "mode = \"at-most-once\"\nreference = \"/reference\"\n",
        }
    }
}

/// A house whose routes lead to PSPs that fail.
pub(crate) struct Site {
    _data: tempfile::TempDir,
    pub(crate) house: House,
    pub(crate) relayed: Relayed,
    faulty: FaultyPsp,
    stranger: FaultyPsp,
    refusing: tokio::net::TcpSocket,
    elsewhere: Bystander,
    number: String,
    token: String,
}

/// Longest wait for an answer in these routes. Shipped ones wait 25 s; what happens then is the same.
const UPSTREAM_TIMEOUT_MS: u32 = 1_500;

fn route(name: &str, port: u16, mode: Mode) -> Vec<(String, String)> {
    let (name, lines) = (mode.route(name), mode.lines());
    let text = format!(
        "[route.{name}]\nupstream = \"https://localhost:{port}\"\nhosts = [\"{name}.proxy.internal\"]\n\
         roots_file = {{roots_file}}\nprivate_addresses = [\"127.0.0.1\", \"::1\"]\ncredentials = \"account\"\n\
         credential = {{ header = \"Authorization\", scheme = \"Bearer\" }}\n\
         idempotency = {{ header = \"Idempotency-Key\" }}\nupstream_timeout_ms = {UPSTREAM_TIMEOUT_MS}\n\
         [[route.{name}.allow]]\nmethod = \"POST\"\npath = \"/charges\"\nbody = \"json\"\n{lines}\
         inject = [{{ at = \"/card/number\", value = \"number\" }}]\nids = [\"id\"]\n\
         [route.{name}.protect]\nbreaker = {{ failures = 1000000 }}\n"
    );
    let account = "tenants = [\"*\"]\ncredential_file = \"sandbox.key\"\n".to_owned();
    vec![(format!("routes/{name}.toml"), text), (format!("accounts/{name}/default.toml"), account)]
}

impl Site {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = HouseOptions::new(data.path());
        let clock = Arc::new(strongroom_perimeter::clock::SystemClock);
        let pki = Pki::open_or_create(data.path().join("pki"), clock).unwrap();
        let elsewhere = Bystander::start().await;
        let faulty = FaultyPsp::start(&pki.server(Server::Psp).unwrap(), elsewhere.address).await;
        let foreign = MintOptions::server(&["localhost"]).signed_by(SignedBy::Stranger);
        let foreign = pki.mint("stranger", &foreign).unwrap();
        let stranger = FaultyPsp::start(&foreign, elsewhere.address).await;
        // Bound, so that the port is nobody else's, and never listening.
        let refusing = tokio::net::TcpSocket::new_v4().unwrap();
        refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let upstreams = [
            ("faulty", faulty.address.port()),
            ("stranger", stranger.address.port()),
            ("refusing", refusing.local_addr().unwrap().port()),
        ];
        let policies = upstreams.iter().flat_map(|(name, port)| {
            Mode::ALL.iter().flat_map(|mode| route(name, *port, *mode)).collect::<Vec<_>>()
        });
        let house = House::start(HouseOptions { policies: policies.collect(), ..options }).await.unwrap();
        let names = Mode::ALL.iter().flat_map(|mode| upstreams.map(|(name, port)| (mode.route(name), port)));
        let relayed = Relayed::start(&house, &names.collect::<Vec<_>>());
        let number = cards::random_number(&SystemRandom).unwrap();
        let token = tokenize(&house, &number).await;
        Self { _data: data, house, relayed, faulty, stranger, refusing, elsewhere, number, token }
    }

    pub(crate) fn port(&self, upstream: &str) -> u16 {
        match upstream {
            "stranger" => self.stranger.address.port(),
            "refusing" => self.refusing.local_addr().unwrap().port(),
            _ => self.faulty.address.port(),
        }
    }

    /// One attempt: what each of the three saw.
    async fn attempt(&self, log: &mut Log, way: way::Way, to: &way::To, attempt: &str) -> Seen {
        let before = self.faulty.requests() + self.stranger.requests();
        let body = format!(
            "{{\"card\":{{\"number\":\"{}\"}},\"amount\":1099,\"reference\":\"{attempt}\"}}",
            self.token
        );
        let reply = way.send(self, to, attempt, &body).await;
        let text = String::from_utf8_lossy(&reply.received).into_owned();
        assert!(!text.contains(&self.number), "{way:?} {to:?}: {text}");
        let audited = log.since(&self.token).await;
        let asked = self.faulty.requests() + self.stranger.requests() - before;
        Seen::new(&reply, asked, audited)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_every_entry_is_one_attempt_and_one_answer() {
    let site = Site::start().await;
    let mut log = Log::open(&site.house).await;
    let mut rows = Vec::new();
    for mode in Mode::ALL {
        for fault in Fault::ALL {
            for way in WAYS {
                let to = way::To { route: mode.route(fault.upstream()), port: site.port(fault.upstream()) };
                let attempt = format!("{}-{fault:?}-{way:?}", mode.words()).to_lowercase();
                site.faulty.then(fault);
                let first = site.attempt(&mut log, way, &to, &attempt).await;
                // Whatever went wrong, it has passed when the caller asks again.
                site.faulty.then(Fault::None);
                let again = site.attempt(&mut log, way, &to, &attempt).await;
                first.hold_to(mode, fault, &again);
                rows.push(Row { mode, fault, way, first, again });
            }
        }
    }
    let arrived = site.faulty.arrived();
    assert!(arrived.iter().all(|request| request.contains(&site.number) && !request.contains(&site.token)));
    assert_eq!((site.stranger.requests(), site.elsewhere.connections()), (0, 0));
    site.house.stop().await;
    held(&table::written(&rows));
}

/// The committed table is the one these runs make.
fn held(made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proxy/docs/fault-matrix.md");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "stale: run this test with STRONGROOM_BLESS=1 and look at the difference\n{made}"
    );
}
