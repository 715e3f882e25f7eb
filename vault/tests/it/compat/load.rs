//! Requests without a pause, at one release or at both: cards in, and any of them forwarded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use strongroom_sandbox::line::{Door, LineAnswer, LineError};
use tokio::task::JoinSet;

use crate::crash::{card, door, number};
use crate::service::wanted;

/// Who asks at once at each release.
const TOKENIZERS: usize = 4;
const FORWARDERS: usize = 4;
/// How long work may take on a busy machine.
const WORK_TIME_MAX: Duration = Duration::from_secs(120);
/// How often progress is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// A card, and at which release it came in.
#[derive(Clone)]
struct Made {
    token: String,
    number: String,
    by: &'static str,
}

/// The sign to stop, and who must see it.
type Crew = (Arc<AtomicBool>, JoinSet<()>);

/// What is under way and what came of it.
pub(super) struct Load {
    pki: PathBuf,
    next: AtomicU64,
    done: AtomicU64,
    cards: RwLock<Vec<Made>>,
    /// Forwards by where the card came in and where it was opened.
    opened: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    faults: Mutex<Vec<String>>,
    /// Who asks at each release.
    crews: Mutex<BTreeMap<&'static str, Crew>>,
}

impl Load {
    pub(super) fn new(pki: &Path) -> Self {
        Self {
            pki: pki.to_owned(),
            next: AtomicU64::default(),
            done: AtomicU64::default(),
            cards: RwLock::default(),
            opened: Mutex::default(),
            faults: Mutex::default(),
            crews: Mutex::default(),
        }
    }

    /// Begins at one release.
    pub(super) fn begin(self: &Arc<Self>, at: &'static str, address: SocketAddr) {
        let (stop, mut crew) = (Arc::<AtomicBool>::default(), JoinSet::new());
        for _ in 0..TOKENIZERS {
            crew.spawn(Arc::clone(self).tokenize(at, address, Arc::clone(&stop)));
        }
        for _ in 0..FORWARDERS {
            crew.spawn(Arc::clone(self).forward(at, address, Arc::clone(&stop)));
        }
        self.crews.lock().unwrap().insert(at, (stop, crew));
    }

    /// Ends at one release: what is under way is answered first.
    pub(super) async fn end(&self, at: &'static str) {
        let (stop, crew) = self.crews.lock().unwrap().remove(at).unwrap();
        stop.store(true, Ordering::SeqCst);
        crew.join_all().await;
    }

    /// Requests that were answered as they should be.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until so many more are.
    pub(super) async fn work(&self, more: u64) {
        let before = self.done();
        self.until(|| self.done() >= before + more).await;
    }

    /// Waits until each release opened so many of the other's cards.
    pub(super) async fn until_each_opened_the_others(&self, times: u64) {
        let pairs = [("old", "new"), ("new", "old")];
        self.until(|| {
            let opened = self.opened.lock().unwrap();
            pairs.iter().all(|pair| opened.get(pair).is_some_and(|count| *count >= times))
        })
        .await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(self.faults().is_empty(), "{:?}", self.faults());
            assert!(began.elapsed() < WORK_TIME_MAX, "the work does not go on: {}", self.story());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What was answered otherwise.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    /// In one line.
    pub(super) fn story(&self) -> String {
        format!("{} requests answered, {:?}", self.done(), self.opened.lock().unwrap())
    }

    /// Opens every card; gives how many there are.
    pub(super) async fn open_all(self: &Arc<Self>, address: SocketAddr) -> usize {
        let (cards, mut door) = (self.cards.read().unwrap().clone(), door(&self.pki, "proxy", address));
        for card in &cards {
            self.open(&mut door, card, "new").await;
        }
        cards.len()
    }

    async fn tokenize(self: Arc<Self>, at: &'static str, address: SocketAddr, stop: Arc<AtomicBool>) {
        let mut door = door(&self.pki, "checkout", address);
        while !stop.load(Ordering::SeqCst) {
            let number = number(self.next.fetch_add(1, Ordering::SeqCst));
            let sent = ask(&mut door, "/v1/tenants/acme/cards", card(&number)).await;
            let Some(answer) = self.expect(at, "a card", sent) else { return };
            let token = answer.json()["token"].as_str().unwrap().to_owned();
            self.cards.write().unwrap().push(Made { token, number, by: at });
        }
    }

    async fn forward(self: Arc<Self>, at: &'static str, address: SocketAddr, stop: Arc<AtomicBool>) {
        let mut door = door(&self.pki, "proxy", address);
        let mut from = 0;
        while !stop.load(Ordering::SeqCst) {
            let card = {
                let cards = self.cards.read().unwrap();
                from += 7_919; // a prime: everywhere in time
                (!cards.is_empty()).then(|| cards[from % cards.len()].clone())
            };
            match card {
                Some(card) => self.open(&mut door, &card, at).await,
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn open(&self, door: &mut Door, card: &Made, at: &'static str) {
        let body = wanted(&[&card.token], &["number"]).to_string();
        let sent = ask(door, "/v1/forwards", body).await;
        let Some(answer) = self.expect(at, "a forward", sent) else { return };
        if answer.json()["cards"][0]["number"] != card.number {
            self.faults.lock().unwrap().push(format!("{at} gave another number"));
        }
        *self.opened.lock().unwrap().entry((card.by, at)).or_default() += 1;
    }

    fn expect(&self, at: &str, what: &str, sent: Result<LineAnswer, LineError>) -> Option<LineAnswer> {
        match sent {
            Ok(answer) if answer.status == 201 => {
                self.done.fetch_add(1, Ordering::SeqCst);
                return Some(answer);
            }
            Ok(answer) => {
                let told = format!("{at}, {what}: {} {}", answer.status, answer.json()["type"]);
                self.faults.lock().unwrap().push(told);
            }
            Err(error) => self.faults.lock().unwrap().push(format!("{at}, {what}: {error}")),
        }
        None
    }
}

/// Asks once more where the connection was over before it took the request, as any client does: connections end with age.
async fn ask(door: &mut Door, path: &str, body: String) -> Result<LineAnswer, LineError> {
    match door.send("POST", path, &[], body.clone()).await {
        Err(LineError::NotSent(_)) => door.send("POST", path, &[], body).await,
        answer => answer,
    }
}
