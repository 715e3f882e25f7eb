//! The client, in a process of its own: this very test binary, started again with a job.
//!
//! It keeps [`TOKENIZERS`] requests that tokenize, [`BATCHERS`] that tokenize batches and [`FORWARDERS`] forwards under way over mTLS, writes what was
//! acknowledged into its [`Journal`], and checks at once what can be checked at once: a forward gives the number that was
//! tokenized, and a key that is sent again gives the token it gave before.
//! It reads `mark` from standard input, and its end as the sign to stop; it says on standard output how far it is.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use strongroom_domain::pan::luhn_holds;
use strongroom_perimeter::tls::{ClientTlsConfig, client_config};
use strongroom_sandbox::line::{Door, LineAnswer, LineError, Lines};
use strongroom_sandbox::pki::Pki;

use super::journal::{Acknowledged, Journal};
use crate::service::wanted;

/// Requests that tokenize at once. The rest above 64 covers those between two requests.
const TOKENIZERS: usize = 80;
/// Requests that tokenize a batch at once.
const BATCHERS: usize = 8;
/// Cards of a batch.
const BATCH: u64 = 10;
/// Forwards at once.
const FORWARDERS: usize = 8;
/// How long to wait before asking again what was not answered or not taken.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the client may take to end after it was told to.
const END_TIME_MAX: Duration = Duration::from_secs(75);
/// What tells the test binary that it is the client, and of which job.
const JOB: &str = "STRONGROOM_CRASH_CLIENT";

/// What the client is to do.
#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) address: SocketAddr,
    pub(super) journal: PathBuf,
    pub(super) certificates: PathBuf,
}

/// Lines as one workload of a throw-away infrastructure.
fn lines(pki: &std::path::Path, workload: &str, address: SocketAddr) -> Lines {
    let files = ClientTlsConfig {
        certificate_file: pki.join(format!("{workload}.pem")),
        key_file: pki.join(format!("{workload}.key")),
        ca_file: pki.join("workload-ca.pem"),
        crl_files: Vec::new(),
    };
    Lines::new(client_config(&files).unwrap(), address)
}

/// The `n`th number of the test range that this campaign uses.
pub(crate) fn number(n: u64) -> String {
    let body = format!("999999{:09}", 100_000 + n);
    let digits = (b'0'..=b'9').map(|check| format!("{body}{}", char::from(check)));
    digits.into_iter().find(|number| luhn_holds(number.as_bytes())).unwrap()
}

/// What is sent to have the `n`th number tokenized.
pub(crate) fn card(number: &str) -> String {
    json!({ "number": number, "exp_month": 12, "exp_year": 2034 }).to_string()
}

/// A door of one workload that counts for nobody.
pub(crate) fn door(pki: &std::path::Path, workload: &str, address: SocketAddr) -> Door {
    Door::new(lines(pki, workload, address), Arc::default())
}

/// What every worker of the client shares.
struct Work {
    job: Job,
    journal: Journal,
    next: AtomicU64,
    in_flight: Arc<AtomicU64>,
    lost: AtomicU64,
    turned_away: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn door(&self, workload: &str) -> Door {
        let lines = lines(&self.job.certificates, workload, self.job.address);
        Door::new(lines, Arc::clone(&self.in_flight))
    }

    /// Asks until it is answered. `None`: it is over, or the answer was lost and asking again would make a second card.
    async fn ask(
        &self,
        door: &mut Door,
        (method, path): (&str, &str),
        key: Option<&str>,
        body: &str,
    ) -> Option<LineAnswer> {
        let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        while !self.is_over() {
            match door.send(method, path, &headers, body.to_owned()).await {
                Ok(answer) => match answer.status.as_u16() {
                    503 => drop(self.turned_away.fetch_add(1, Ordering::SeqCst)),
                    409 if key.is_some() => {} // the same key is still being worked on
                    _ => return Some(answer),
                },
                Err(LineError::NotSent(_)) => {}
                Err(LineError::Lost(_)) => {
                    self.lost.fetch_add(1, Ordering::SeqCst);
                    key?;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    async fn tokenize(self: Arc<Self>) {
        let mut door = self.door("checkout");
        while !self.is_over() {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            let (number, key) = (number(n), n.is_multiple_of(3).then(|| format!("order-{n}")));
            let Some(token) = self.token(&mut door, key.as_deref(), &number).await else { continue };
            self.journal.note(Acknowledged::Card {
                token: token.clone(),
                number: number.clone(),
                key: key.clone(),
            });
            if key.is_some() && n.is_multiple_of(2) {
                let again = self.token(&mut door, key.as_deref(), &number).await;
                assert!(again.is_none_or(|again| again == token), "another token under the same key");
            }
        }
    }

    /// Ten cards at a time under one key, which is sent again until it is answered: the first answer is the only one.
    async fn tokenize_batches(self: Arc<Self>) {
        let mut door = self.door("checkout");
        while !self.is_over() {
            let first = self.next.fetch_add(BATCH, Ordering::SeqCst);
            let numbers: Vec<_> = (first..first + BATCH).map(number).collect();
            let cards: Vec<_> = numbers.iter().map(|number| json!({ "number": number })).collect();
            let (key, body) = (format!("batch-{first}"), json!({ "cards": cards }).to_string());
            let path = ("POST", "/v1/tenants/acme/cards/batch");
            let Some(answer) = self.ask(&mut door, path, Some(&key), &body).await else { continue };
            assert_eq!(answer.status, 200, "batch: {}", answer.json());
            for (number, result) in numbers.into_iter().zip(answer.json()["results"].as_array().unwrap()) {
                let token = result["card"]["token"].as_str().unwrap().to_owned();
                self.journal.note(Acknowledged::Card { token, number, key: None });
            }
            if let Some(again) = self.ask(&mut door, path, Some(&key), &body).await {
                assert_eq!(again.body, answer.body, "another answer under the same key");
            }
        }
    }

    async fn token(&self, door: &mut Door, key: Option<&str>, number: &str) -> Option<String> {
        let answer = self.ask(door, ("POST", "/v1/tenants/acme/cards"), key, &card(number)).await?;
        assert_eq!(answer.status, 201, "tokenize: {}", answer.json());
        Some(answer.json()["token"].as_str().unwrap().to_owned())
    }

    async fn forward(self: Arc<Self>) {
        let mut door = self.door("proxy");
        let mut at = 0;
        while !self.is_over() {
            let picked = {
                let cards = self.journal.cards.read().unwrap();
                at += 7_919; // a prime: everywhere in time
                (!cards.is_empty()).then(|| cards[at % cards.len()].clone())
            };
            let Some((token, number)) = picked else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Some(id) = self.open(&mut door, &token, &number).await else { continue };
            self.journal.note(Acknowledged::Forward { id: id.clone(), token });
            let to = format!("/v1/forwards/{id}/outcome");
            let outcome = json!({ "outcome": "answered", "status": 200, "upstream_ms": 1 }).to_string();
            if let Some(taken) = self.ask(&mut door, ("PUT", &to), None, &outcome).await {
                assert_eq!(taken.status, 204, "outcome: {}", taken.json());
                self.journal.note(Acknowledged::Outcome { id });
            }
        }
    }

    async fn open(&self, door: &mut Door, token: &str, number: &str) -> Option<String> {
        let body = wanted(&[token], &["number"]).to_string();
        let answer = self.ask(door, ("POST", "/v1/forwards"), None, &body).await?;
        let body = answer.json();
        assert_eq!(answer.status, 201, "an acknowledged card is not forwarded: {}", body["type"]);
        assert_eq!(body["cards"][0]["number"], number, "another number");
        Some(body["id"].as_str().unwrap().to_owned())
    }
}

/// The client itself. Without a job it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_process_of_its_own() {
    let Some(job) = crate::crash::setting(JOB) else { return };
    let job: Job = serde_json::from_slice(&std::fs::read(job).unwrap()).unwrap();
    let (journal, written) = Journal::create(&job.journal);
    let (stop, in_flight) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    listen(Arc::clone(&stop), Arc::clone(&in_flight));
    let work = Arc::new(Work {
        job,
        journal,
        next: AtomicU64::new(0),
        in_flight,
        lost: AtomicU64::new(0),
        turned_away: AtomicU64::new(0),
        stop,
    });
    let mut workers = tokio::task::JoinSet::new();
    (0..TOKENIZERS).for_each(|_| drop(workers.spawn(Arc::clone(&work).tokenize())));
    (0..BATCHERS).for_each(|_| drop(workers.spawn(Arc::clone(&work).tokenize_batches())));
    (0..FORWARDERS).for_each(|_| drop(workers.spawn(Arc::clone(&work).forward())));
    let mut ticks = tokio::time::interval(PAUSE);
    while !workers.is_empty() {
        tokio::select! {
            Some(ended) = workers.join_next() => ended.unwrap(), // what a worker found wrong ends everything
            _ = ticks.tick() => println!("acknowledged {}", work.journal.synced.load(Ordering::SeqCst)),
        }
    }
    let work = Arc::into_inner(work).unwrap();
    let (lost, turned_away) = (work.lost.into_inner(), work.turned_away.into_inner());
    drop(work.journal);
    written.join().unwrap();
    println!("lost {lost}\nturned-away {turned_away}");
}

/// Standard input, from a thread: reading it blocks.
fn listen(stop: Arc<AtomicBool>, in_flight: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        for _mark in std::io::stdin().lock().lines().map_while(Result::ok) {
            println!("in-flight {}", in_flight.load(Ordering::SeqCst));
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// The client as the campaign sees it. Killed when dropped.
pub(super) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<Said>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// What it said last.
#[derive(Default)]
struct Said {
    acknowledged: AtomicU64,
    in_flight: Mutex<Option<u64>>,
    lost: AtomicU64,
    turned_away: AtomicU64,
}

impl Client {
    pub(super) fn start(job: &Job, pki: &Pki) -> Self {
        let file = job.journal.with_extension("job");
        std::fs::write(&file, serde_json::to_vec(job).unwrap()).unwrap();
        assert!(pki.folder().join("checkout.pem").exists());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::client::in_a_process_of_its_own", "--nocapture"])
            .env(JOB, file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let said = Arc::<Said>::default();
        let heard = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in std::io::BufReader::new(output).lines().map_while(Result::ok) {
                heard.line(&line);
            }
        });
        Self { child, input, said, reader: Some(reader) }
    }

    /// How many cards are acknowledged and on disk.
    pub(super) fn acknowledged(&self) -> u64 {
        self.said.acknowledged.load(Ordering::SeqCst)
    }

    /// How many requests are under way now.
    pub(super) fn in_flight(&mut self) -> u64 {
        use std::io::Write as _;
        *self.said.in_flight.lock().unwrap() = None;
        writeln!(self.input.as_mut().unwrap(), "mark").expect("the client is there");
        let asked = Instant::now();
        loop {
            if let Some(count) = *self.said.in_flight.lock().unwrap() {
                return count;
            }
            self.assert_running();
            assert!(asked.elapsed() < END_TIME_MAX, "the client says nothing");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    pub(super) fn assert_running(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the client found something wrong: see its output");
    }

    /// Lets it finish. Gives how many answers were lost and how many requests were turned away.
    pub(super) fn finish(mut self) -> (u64, u64) {
        drop(self.input.take());
        let asked = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(asked.elapsed() < END_TIME_MAX, "the client does not end");
            std::thread::sleep(PAUSE);
        }
        assert!(self.child.wait().unwrap().success(), "the client found something wrong: see its output");
        self.reader.take().unwrap().join().unwrap();
        (self.said.lost.load(Ordering::SeqCst), self.said.turned_away.load(Ordering::SeqCst))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Said {
    fn line(&self, line: &str) {
        let Some((word, count)) = line.split_once(' ') else { return };
        let Ok(count) = count.parse() else { return };
        match word {
            "acknowledged" => self.acknowledged.store(count, Ordering::SeqCst),
            "in-flight" => *self.in_flight.lock().unwrap() = Some(count),
            "lost" => self.lost.store(count, Ordering::SeqCst),
            "turned-away" => self.turned_away.store(count, Ordering::SeqCst),
            _ => {} // the test harness speaks too
        }
    }
}
