//! The main job, once, and the proof that nobody in between saw the number: a search of what each hop recorded.
//!
//! Promises: every boolean comes from searching bytes a hop really wrote, read or stored, after the searcher has shown on
//! the same card that it sees: a blind search is an error and never a clean one.
//! Does not promise: more than the three ways in that it takes (path, host name, `CONNECT`), once each. The tests take others.

mod entries;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::telemetry::{self, Level};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Exchange, NoAnswer};
use crate::house::{House, HouseError, HouseOptions, Ports, ROUTE_NAME, ROUTE_TEMPLATE, TENANT};
use crate::psp::cards;
use crate::search::{Needles, NeedlesUnusable, Report, SearchError, Searcher};

/// How the world around the product is broken, to see that the check notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// The route names another field as the place of the number: the PSP never gets it.
    SkipInject,
    /// A hop behind the proxy gives the orchestrator the number the PSP received.
    Echo,
}

/// What the check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Findings {
    /// What checkout got for the card.
    pub token: String,
    /// What the PSP answered; `null` if the payment never reached it.
    pub psp_status: Option<u16>,
    /// What the orchestrator got: the proxy's own refusal, where nothing reached the PSP.
    pub orchestrator_status: u16,
    /// The same for a second charge, by host name.
    pub by_host_status: u16,
    /// The same for a third charge, by `CONNECT` to the PSP's own address.
    pub by_connect_status: u16,
    /// The PSP's log holds the number.
    pub psp_saw_pan: bool,
    /// What the orchestrator sent or received holds it.
    pub orchestrator_saw_pan: bool,
    /// What checkout received holds it.
    pub checkout_answer_holds_pan: bool,
    /// The vault's database, its WAL or a file beside them holds it, live or after the stop.
    pub vault_at_rest_holds_pan: bool,
    /// The log of both services, at its most talkative, or a metric holds it.
    pub logs_hold_pan: bool,
    /// The verification code is anywhere but at the PSP.
    pub cvc_elsewhere: bool,
    /// Bytes searched for all of this.
    pub bytes_searched: u64,
    /// How long each step took.
    pub milliseconds: Steps,
}

impl Findings {
    /// Every question, its answer and the answer it must have.
    #[must_use]
    pub fn questions(&self) -> [(&'static str, bool, bool); 6] {
        [
            ("the PSP received the number", self.psp_saw_pan, true),
            ("what the orchestrator sent or received holds it", self.orchestrator_saw_pan, false),
            ("what checkout received holds it", self.checkout_answer_holds_pan, false),
            ("the vault's files hold it", self.vault_at_rest_holds_pan, false),
            ("logs or metrics hold it", self.logs_hold_pan, false),
            ("the verification code is anywhere but at the PSP", self.cvc_elsewhere, false),
        ]
    }

    /// Whether the PSP, and nobody else, saw the card.
    #[must_use]
    pub fn hold(&self) -> bool {
        let paid = [self.psp_status, Some(self.by_host_status), Some(self.by_connect_status)];
        paid == [Some(200); 3] && self.questions().iter().all(|(_, answer, must_be)| answer == must_be)
    }
}

/// How long each step took, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Steps {
    /// Certificates, database, keys, all listeners, the first tenant.
    pub start: u64,
    /// Connecting to the vault and tokenizing.
    pub tokenize: u64,
    /// Connecting to the proxy and charging through it, by each entry.
    pub charge: u64,
    /// Draining and stopping.
    pub stop: u64,
    /// Searching.
    pub search: u64,
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The house does not stand.
    #[error(transparent)]
    House(#[from] HouseError),
    /// No answer.
    #[error(transparent)]
    NoAnswer(#[from] Box<NoAnswer>),
    /// The vault made no token.
    #[error("the vault answered {0} to a card")]
    NoToken(u16),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] strongroom_domain::RandomUnavailable),
    /// Nothing to search with.
    #[error(transparent)]
    Needles(#[from] NeedlesUnusable),
    /// Something cannot be searched.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The searcher does not see the number where it must be.
    #[error("the search is blind: it does not find the number in what checkout sent")]
    Blind,
    /// A record cannot be written.
    #[error("cannot use {}: {source}", path.display())]
    Record {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

const PAN: &str = "pan";
const CVC: &str = "cvc";
const NUMBER_FIELD: &str = "payment_method_data[card][number]";

/// Makes a house in `data` and takes one random test card through it.
pub async fn run(data: PathBuf, ports: Ports, broken: Option<Break>) -> Result<Findings, CheckError> {
    let mut options = HouseOptions { ports, level: Level::Trace, ..HouseOptions::new(data) };
    if broken == Some(Break::SkipInject) {
        options.policies.push((format!("routes/{ROUTE_NAME}.toml"), misplaced()));
    }
    let card = Card::draw()?;
    let mut steps = Steps::default();
    let (house, took) = timed(House::start(options)).await;
    let house = house?;
    steps.start = took;
    telemetry::install_panic_hook();
    let (tokenized, took) = timed(tokenize(&house, &card)).await;
    let (tokenized, token) = tokenized?;
    steps.tokenize = took;
    let (charged, took) = timed(charge(&house, &token)).await;
    let mut charged = charged?;
    let (others, again) = timed(entries::charge(&house, &token)).await;
    let others = others?;
    steps.charge = took + again;
    if broken == Some(Break::Echo) {
        charged.received.extend(arrived_number(house.psp().log_file())?.into_bytes());
    }
    let (status, reached) = (charged.status(), house.psp().counts().values().any(|count| *count > 0));

    let statuses = Statuses {
        by_path: status,
        by_host: others.by_host.status(),
        by_connect: others.by_connect.status(),
    };
    let orchestrator = [&charged, &others.by_host, &others.by_connect];
    let records = Records::write(&house, &tokenized, &orchestrator).await?;
    let searcher = card.searcher()?;
    let begun = Instant::now();
    let live = searcher.path(&house.folder().vault())?;
    let live_search = millis(begun);
    let ((), took) = timed(house.stop()).await;
    steps.stop = took;
    let begun = Instant::now();
    let found = records.search(&searcher, live)?;
    steps.search = live_search + millis(begun);
    Ok(found.findings(token, &statuses, reached, steps))
}

/// A route that puts the number where the PSP does not look for it.
fn misplaced() -> String {
    ROUTE_TEMPLATE.replace(NUMBER_FIELD, "payment_method_data[card][nickname]")
}

struct Card {
    number: String,
    cvc: String,
}

impl Card {
    fn draw() -> Result<Self, CheckError> {
        let random = SystemRandom::new();
        let mut bytes = [0_u8; 2];
        strongroom_domain::Random::fill(&random, &mut bytes)?;
        // Never 000: the orchestrator writes that in its place.
        let cvc = format!("{:03}", 1 + u16::from_be_bytes(bytes) % 999);
        Ok(Self { number: cards::random_number(&random)?, cvc })
    }

    fn searcher(&self) -> Result<Searcher, CheckError> {
        let mut needles = Needles::new();
        needles.number(PAN, &self.number).cvc(CVC, &self.cvc);
        Ok(needles.compile()?)
    }
}

async fn tokenize(house: &House, card: &Card) -> Result<(Exchange, String), CheckError> {
    let body = serde_json::json!({
        "number": card.number, "exp_month": 12, "exp_year": 2034, "cvc": card.cvc,
    });
    let path = format!("/v1/tenants/{TENANT}/cards");
    let (client, body) = (house.vault_client("checkout")?, body.to_string());
    let headers = [("Content-Type", "application/json")];
    let exchange = client.send("POST", &path, &headers, body.as_bytes()).await.map_err(Box::new)?;
    let token = exchange.json()["token"].as_str().map(str::to_owned);
    let token = token.ok_or(CheckError::NoToken(exchange.status()))?;
    Ok((exchange, token))
}

async fn charge(house: &House, token: &str) -> Result<Exchange, CheckError> {
    let body = format!(
        "amount=1099&currency=eur&confirm=true&payment_method_data[type]=card&{NUMBER_FIELD}={token}\
         &payment_method_data[card][exp_month]=1&payment_method_data[card][exp_year]=2000\
         &payment_method_data[card][cvc]=000"
    );
    let path = format!("/{ROUTE_NAME}/v1/payment_intents");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let client = house.proxy_client("orchestrator")?;
    Ok(client.send("POST", &path, &headers, body.as_bytes()).await.map_err(Box::new)?)
}

/// The number as it stands in the last request the PSP logged; nothing if there is none.
fn arrived_number(log: &Path) -> Result<String, CheckError> {
    let text = std::fs::read_to_string(log).map_err(|source| record(log, source))?;
    let last: serde_json::Value =
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let body = last["body"].as_str().unwrap_or_default().to_owned();
    let body = percent_encoding::percent_decode_str(&body).decode_utf8_lossy().into_owned();
    let fields = body.split('&').filter_map(|pair| pair.split_once('='));
    Ok(fields.filter(|(name, _)| *name == NUMBER_FIELD).map(|(_, value)| value).collect())
}

/// What the hops recorded, as files.
struct Records {
    checkout_sent: PathBuf,
    checkout_received: PathBuf,
    orchestrator: PathBuf,
    metrics: PathBuf,
    psp: PathBuf,
    vault: PathBuf,
    log: PathBuf,
}

impl Records {
    async fn write(
        house: &House,
        checkout: &Exchange,
        orchestrator: &[&Exchange],
    ) -> Result<Self, CheckError> {
        let hops = house.folder().path().join("hops");
        std::fs::create_dir_all(&hops).map_err(|source| record(&hops, source))?;
        let mut metrics = scrape(house.vault_ops()).await.map_err(|source| record(&hops, source))?;
        metrics.extend(scrape(house.proxy_ops()).await.map_err(|source| record(&hops, source))?);
        let keep = |name: &str, bytes: &[u8]| {
            let path = hops.join(name);
            std::fs::write(&path, bytes).map_err(|source| record(&path, source)).map(|()| path)
        };
        Ok(Self {
            checkout_sent: keep("checkout-sent", &checkout.sent)?,
            checkout_received: keep("checkout-received", &checkout.received)?,
            orchestrator: keep("orchestrator", &{
                let bytes = orchestrator.iter().flat_map(|one| [&*one.sent, &*one.received]);
                bytes.collect::<Vec<_>>().concat()
            })?,
            metrics: keep("metrics", &metrics)?,
            psp: house.psp().log_file().to_owned(),
            vault: house.folder().vault(),
            log: house.log_file().to_owned(),
        })
    }

    fn search(&self, searcher: &Searcher, live: Report) -> Result<Found, CheckError> {
        let control = searcher.path(&self.checkout_sent)?;
        if !(control.found(PAN) && control.found(CVC)) {
            return Err(CheckError::Blind);
        }
        let mut vault = searcher.path(&self.vault)?;
        vault.merge(live);
        let mut logs = searcher.path(&self.log)?;
        logs.merge(searcher.path(&self.metrics)?);
        Ok(Found {
            psp: searcher.path(&self.psp)?,
            orchestrator: searcher.path(&self.orchestrator)?,
            checkout: searcher.path(&self.checkout_received)?,
            vault,
            logs,
        })
    }
}

/// What the orchestrator got by each entry.
struct Statuses {
    by_path: u16,
    by_host: u16,
    by_connect: u16,
}

struct Found {
    psp: Report,
    orchestrator: Report,
    checkout: Report,
    vault: Report,
    logs: Report,
}

impl Found {
    fn findings(self, token: String, got: &Statuses, reached: bool, milliseconds: Steps) -> Findings {
        let elsewhere = [&self.orchestrator, &self.checkout, &self.vault, &self.logs];
        let searched = elsewhere.iter().map(|report| report.bytes).sum::<u64>() + self.psp.bytes;
        Findings {
            token,
            psp_status: reached.then_some(got.by_path),
            orchestrator_status: got.by_path,
            by_host_status: got.by_host,
            by_connect_status: got.by_connect,
            psp_saw_pan: self.psp.found(PAN),
            orchestrator_saw_pan: self.orchestrator.found(PAN),
            checkout_answer_holds_pan: self.checkout.found(PAN),
            vault_at_rest_holds_pan: self.vault.found(PAN),
            logs_hold_pan: self.logs.found(PAN),
            cvc_elsewhere: elsewhere.iter().any(|report| report.found(CVC)),
            bytes_searched: searched,
            milliseconds,
        }
    }
}

async fn scrape(ops: std::net::SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = tokio::net::TcpStream::connect(ops).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn record(path: &Path, source: std::io::Error) -> CheckError {
    CheckError::Record { path: path.to_path_buf(), source }
}

async fn timed<T>(step: impl Future<Output = T>) -> (T, u64) {
    let begun = Instant::now();
    let done = step.await;
    (done, millis(begun))
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
