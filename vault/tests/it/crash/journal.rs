//! What the client writes down, synced before it counts, and what the campaign reads of it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, RwLock};

/// One thing the vault acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Acknowledged {
    /// A card has a token.
    Card { token: String, number: String, key: Option<String> },
    /// A forward was answered with the number.
    Forward { id: String, token: String },
    /// An outcome was taken.
    Outcome { id: String },
}

impl Acknowledged {
    fn line(&self) -> String {
        match self {
            Self::Card { token, number, key } => {
                format!("card {token} {number} {}\n", key.as_deref().unwrap_or("-"))
            }
            Self::Forward { id, token } => format!("forward {id} {token}\n"),
            Self::Outcome { id } => format!("outcome {id}\n"),
        }
    }

    fn read(line: &str) -> Self {
        let own = |text: &str| text.to_owned();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["card", token, number, key] => {
                let key = (key != "-").then(|| own(key));
                Self::Card { token: own(token), number: own(number), key }
            }
            ["forward", id, token] => Self::Forward { id: own(id), token: own(token) },
            ["outcome", id] => Self::Outcome { id: own(id) },
            _ => panic!("not a line of the journal"),
        }
    }
}

/// Every whole line of a journal.
pub(crate) fn read(path: &Path) -> Vec<Acknowledged> {
    let lines = BufReader::new(File::open(path).unwrap()).lines();
    lines.map(|line| Acknowledged::read(&line.unwrap())).collect()
}

/// Cards whose line is on disk: token and number.
pub(crate) type Cards = Arc<RwLock<Vec<(String, String)>>>;

/// Writes from one thread: what waits while a sync runs joins the next one.
#[derive(Clone)]
pub(crate) struct Journal {
    lines: Sender<Acknowledged>,
    pub(crate) cards: Cards,
    pub(crate) synced: Arc<AtomicU64>,
}

impl Journal {
    /// A new file, and the thread to wait for once every clone is dropped.
    pub(crate) fn create(path: &Path) -> (Self, std::thread::JoinHandle<()>) {
        let file = File::create_new(path).unwrap();
        let (lines, waiting) = channel();
        let journal = Self { lines, cards: Cards::default(), synced: Arc::default() };
        let (cards, synced) = (Arc::clone(&journal.cards), Arc::clone(&journal.synced));
        (journal, std::thread::spawn(move || write(file, &waiting, &cards, &synced)))
    }

    pub(crate) fn note(&self, acknowledged: Acknowledged) {
        self.lines.send(acknowledged).unwrap();
    }
}

fn write(mut file: File, waiting: &Receiver<Acknowledged>, cards: &Cards, synced: &AtomicU64) {
    while let Ok(first) = waiting.recv() {
        let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let text: String = batch.iter().map(Acknowledged::line).collect();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
        let before = cards.read().unwrap().len();
        cards.write().unwrap().extend(batch.into_iter().filter_map(|acknowledged| match acknowledged {
            Acknowledged::Card { token, number, .. } => Some((token, number)),
            Acknowledged::Forward { .. } | Acknowledged::Outcome { .. } => None,
        }));
        let more = cards.read().unwrap().len() - before;
        synced.fetch_add(more as u64, Ordering::SeqCst);
    }
}
