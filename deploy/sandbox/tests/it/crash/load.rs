//! Many payments at once while one service is killed again and again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use strongroom_domain::Random as _;
use strongroom_domain::pan::luhn_holds;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_sandbox::line::{Door, LineError};
use tokio::task::JoinSet;

use super::site::{Site, tokenize};
use super::{charge, setting};

/// Payments at once. The rest above [`IN_FLIGHT_MIN`] covers those between two requests.
const PAYERS: usize = 80;
/// Requests that must be in flight when the blow falls.
const IN_FLIGHT_MIN: u64 = 64;
/// How long work may take to go on after a restart, or to reach a number.
const PROGRESS_TIME_MAX: Duration = Duration::from_secs(120);
/// How long to wait before asking again what was not answered or not taken.
const PAUSE: Duration = Duration::from_millis(20);

/// What is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Victim {
    Vault,
    Proxy,
}

/// One card, paid with once.
struct Order {
    number: String,
    token: String,
}

impl Order {
    fn key(at: usize) -> String {
        format!("order-{at}")
    }
}

/// What the payers share.
struct Market {
    orders: Vec<Order>,
    next: AtomicUsize,
    lost: AtomicU64,
    turned_away: AtomicU64,
}

/// Payments that were answered, as they are written down.
type Answers = Sender<(usize, String)>;

/// Gives one line of figures.
pub(super) async fn kill(victim: Victim) -> String {
    let began = Instant::now();
    let number = |name, usually| setting(name).map_or(usually, |text| text.parse().unwrap());
    let (rounds, count) = (number("STRONGROOM_CRASH_ROUNDS", 3), number("STRONGROOM_CRASH_ACKS", 600));
    let mut site = Site::open().await;
    let orders = order(&site, usize::try_from(count).unwrap()).await;
    let market =
        Market { orders, next: AtomicUsize::new(0), lost: AtomicU64::new(0), turned_away: AtomicU64::new(0) };
    let market = Arc::new(market);
    let journal = tempfile::NamedTempFile::new().unwrap();
    let (answers, waiting) = channel();
    let (file, answered) = (journal.reopen().unwrap(), Arc::<AtomicU64>::default());
    let counted = Arc::clone(&answered);
    let writer = std::thread::spawn(move || write(file, &waiting, &counted));
    let mut payers = JoinSet::new();
    (0..PAYERS)
        .for_each(|_| drop(payers.spawn(pay(Arc::clone(&market), site.proxy_door(), answers.clone()))));
    drop(answers);

    let mut in_flight_min = u64::MAX;
    for round in 0..rounds {
        // By what was paid, not by time: however fast it goes, orders are left to be in flight.
        let enough = count * round / rounds + 1 + chance(count / rounds / 3);
        until(&mut payers, || answered.load(Ordering::SeqCst) >= enough).await;
        until(&mut payers, || site.in_flight.load(Ordering::SeqCst) >= IN_FLIGHT_MIN).await;
        in_flight_min = in_flight_min.min(site.in_flight.load(Ordering::SeqCst));
        let service = if victim == Victim::Vault { &mut site.vault } else { &mut site.proxy };
        service.kill();
        service.start();
    }
    until(&mut payers, || answered.load(Ordering::SeqCst) == count).await;
    payers.join_all().await;
    writer.join().unwrap();
    reckon(&site, journal.path(), &market.orders).await;
    site.close().await;
    format!(
        "killed {victim:?} under payments: {rounds} rounds, at least {in_flight_min} requests in flight, {} answers lost, \
         {} turned away; {count} tokens paid with, each with its entry and the PSP's number matched; {:.1} s",
        market.lost.load(Ordering::SeqCst),
        market.turned_away.load(Ordering::SeqCst),
        began.elapsed().as_secs_f64()
    )
}

/// Has this many cards tokenized: every token of them is acknowledged.
async fn order(site: &Site, count: usize) -> Vec<Order> {
    let mut workers = JoinSet::new();
    for first in 0..PAYERS {
        let mut door = site.vault_door();
        workers.spawn(async move {
            let mut orders = Vec::new();
            for n in (first..count).step_by(PAYERS) {
                let number = number(n);
                let token = tokenize(&mut door, &number).await;
                orders.push(Order { number, token });
            }
            orders
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

/// The `n`th number of the test range used here.
fn number(n: usize) -> String {
    let body = format!("999999{:09}", 100_000 + n);
    let digits = (b'0'..=b'9').map(|check| format!("{body}{}", char::from(check)));
    digits.into_iter().find(|number| luhn_holds(number.as_bytes())).unwrap()
}

/// Waits until it is so, and that no payer found anything wrong.
async fn until(payers: &mut JoinSet<()>, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        while let Some(ended) = payers.try_join_next() {
            ended.unwrap();
        }
        assert!(began.elapsed() < PROGRESS_TIME_MAX, "no progress");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Pays order after order. An answer that was lost is asked for again under the same key.
async fn pay(market: Arc<Market>, mut door: Door, answers: Answers) {
    loop {
        let at = market.next.fetch_add(1, Ordering::SeqCst);
        let Some(order) = market.orders.get(at) else { return };
        let (key, body) = (Order::key(at), charge(&order.token));
        loop {
            let headers = [("idempotency-key", key.as_str())];
            match door.send("POST", "/sandbox/json/payments", &headers, body.clone()).await {
                Ok(answer) => match answer.status.as_u16() {
                    201 => {
                        answers.send((at, answer.json()["id"].as_str().unwrap().to_owned())).unwrap();
                        break;
                    }
                    // The vault is away or slow, or the payers too fast, and nothing was sent to the PSP.
                    424 | 429 | 503 => drop(market.turned_away.fetch_add(1, Ordering::SeqCst)),
                    status => panic!("{status}: {}", answer.json()),
                },
                Err(LineError::NotSent(_)) => {}
                Err(LineError::Lost(_)) => drop(market.lost.fetch_add(1, Ordering::SeqCst)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Writes answers down, synced before they count: what waits while a sync runs joins the next one.
fn write(mut file: File, waiting: &Receiver<(usize, String)>, answered: &AtomicU64) {
    while let Ok(first) = waiting.recv() {
        let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let text: String = batch.iter().map(|(at, payment)| format!("{at} {payment}\n")).collect();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
        answered.fetch_add(batch.len() as u64, Ordering::SeqCst);
    }
}

/// Compares what was answered with what the log says and with what the PSP read.
async fn reckon(site: &Site, journal: &Path, orders: &[Order]) {
    let log = site.log().await;
    let read = psp_numbers(site.psp.log_file());
    let (mut answered, mut payments) = (HashSet::new(), HashSet::new());
    for line in std::fs::read_to_string(journal).unwrap().lines() {
        let (at, payment) = line.split_once(' ').unwrap();
        let at: usize = at.parse().unwrap();
        assert!(answered.insert(at) && payments.insert(payment.to_owned()), "one payment is one order's");
        let order = &orders[at];
        assert!(!log.forwards_of(&order.token).is_empty(), "an answered payment has no entry");
        let numbers = &read[&Order::key(at)];
        assert!(numbers.iter().all(|number| *number == order.number), "the PSP read another number");
    }
    assert_eq!(answered.len(), orders.len());
}

/// What numbers the PSP read under each key.
fn psp_numbers(log: &Path) -> HashMap<String, Vec<String>> {
    let mut numbers: HashMap<String, Vec<String>> = HashMap::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        let headers = request["headers"].as_array().unwrap();
        let key = headers.iter().find(|header| header[0] == "idempotency-key");
        let key = key.unwrap()[1].as_str().unwrap().to_owned();
        let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
        numbers.entry(key).or_default().push(body["card"]["number"].as_str().unwrap().to_owned());
    }
    numbers
}

/// A number below `bound`.
fn chance(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes) % bound
}
