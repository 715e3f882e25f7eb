//! The reckoning: what was acknowledged against what the vault opens, and against what the log says.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use strongroom_domain::{ForwardId, Token};
use strongroom_vault::app;
use strongroom_vault::config::{StoreConfig, VaultConfig};
use strongroom_vault::store::{ForwardState, Store};

use super::client::{Job, card, door};
use super::journal::{self, Acknowledged};
use super::process::Vault;
use crate::service::wanted;

/// Checks at once.
const AT_ONCE: usize = 32;

/// What was found, all of it right.
pub(super) struct Found {
    pub(super) cards: u64,
    pub(super) opened: usize,
    pub(super) repeated: usize,
    pub(super) forwards: usize,
    pub(super) outcomes: usize,
    pub(super) entries: u64,
}

/// One acknowledged card.
struct Kept {
    token: String,
    number: String,
    key: Option<String>,
}

/// Opens every acknowledged token, repeats every key, ends the vault, and reads the log.
pub(super) async fn everything(job: &Job, vault: &mut Vault, boots: u64) -> Found {
    let (mut cards, mut answered, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for acknowledged in journal::read(&job.journal) {
        match acknowledged {
            Acknowledged::Card { token, number, key } => cards.push(Kept { token, number, key }),
            Acknowledged::Forward { id, token } => answered.push((id, token)),
            Acknowledged::Outcome { id } => outcomes.push(id),
        }
    }
    let distinct: HashSet<&str> = cards.iter().map(|card| card.token.as_str()).collect();
    assert_eq!(distinct.len(), cards.len(), "one token was given twice");
    let cards = Arc::new(cards);
    let opened = open_all(job, &cards).await;
    let repeated = repeat_all(job, &cards).await;
    vault.stop();

    let log = sound_log(vault.config(), boots).await;
    let count = opened.len();
    answered.extend(opened);
    assert!(!answered.is_empty() && !outcomes.is_empty());
    for (id, token) in &answered {
        let token = Token::parse(token).unwrap().token_ref();
        assert_eq!(
            log.forwards.get(id).map(String::as_str),
            Some(token.as_str()),
            "an answered forward has no entry"
        );
    }
    for kept in cards.iter() {
        let token = Token::parse(&kept.token).unwrap().token_ref();
        assert!(log.cards.contains(token.as_str()), "an acknowledged card has no entry");
    }
    for id in &outcomes {
        let row = log.store.forward(ForwardId::parse(id).unwrap()).await.unwrap().unwrap();
        assert_eq!(row.state, ForwardState::Answered, "an acknowledged outcome is gone");
    }
    Found {
        cards: cards.len() as u64,
        opened: count,
        repeated,
        forwards: answered.len(),
        outcomes: outcomes.len(),
        entries: log.entries,
    }
}

/// Opens every card by a forward and compares the number. Gives the forwards' ids with their tokens.
async fn open_all(job: &Job, cards: &Arc<Vec<Kept>>) -> Vec<(String, String)> {
    let ids = each(job, "proxy", cards, |kept| {
        Some((("POST", "/v1/forwards"), None, wanted(&[&kept.token], &["number"]).to_string()))
    });
    let ids = ids.await;
    assert_eq!(ids.len(), cards.len());
    let opened = ids.into_iter().map(|(at, status, body)| {
        assert_eq!(status, 201, "an acknowledged card is not forwarded: {}", body["type"]);
        assert_eq!(body["cards"][0]["number"], cards[at].number.as_str(), "another number");
        (body["id"].as_str().unwrap().to_owned(), cards[at].token.clone())
    });
    opened.collect()
}

/// Sends every request that had a key again: the same token.
async fn repeat_all(job: &Job, cards: &Arc<Vec<Kept>>) -> usize {
    let repeated = each(job, "checkout", cards, |kept| {
        let key = kept.key.clone()?;
        Some((("POST", "/v1/tenants/acme/cards"), Some(key), card(&kept.number)))
    });
    let repeated = repeated.await;
    for (at, status, body) in &repeated {
        assert_eq!(
            (*status, body["token"].as_str()),
            (201, Some(cards[*at].token.as_str())),
            "another token"
        );
    }
    repeated.len()
}

type Request = ((&'static str, &'static str), Option<String>, String);

/// Sends what `request` makes of each card, [`AT_ONCE`] at once. Gives which card, the status and the body.
async fn each(
    job: &Job,
    workload: &str,
    cards: &Arc<Vec<Kept>>,
    request: fn(&Kept) -> Option<Request>,
) -> Vec<(usize, u16, Value)> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let mut door = door(&job.certificates, workload, job.address);
        let (cards, next) = (Arc::clone(cards), Arc::clone(&next));
        workers.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::SeqCst);
                let Some(kept) = cards.get(at) else { return answers };
                let Some(((method, path), key, body)) = request(kept) else { continue };
                let headers: Vec<_> = key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
                let answer = door.send(method, path, &headers, body).await.unwrap();
                answers.push((at, answer.status.as_u16(), answer.json()));
            }
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

/// A log that was checked, and what it says happened.
pub(crate) struct Log {
    pub(crate) entries: u64,
    /// References of tokens whose making is on it.
    pub(crate) cards: HashSet<String>,
    /// Opened forwards, with the reference of their token.
    forwards: HashMap<String, String>,
    store: Arc<dyn Store>,
}

/// Checks the log of a vault that has ended: no hole, no forgery, so many starts, and exactly what the tables hold.
pub(crate) async fn sound_log(config: &Path, boots: u64) -> Log {
    let config = VaultConfig::read(config).unwrap();
    let checked = app::check_audit(&config).await.unwrap();
    assert!(checked.is_sound(), "{checked:?}");
    assert_eq!(checked.boots, boots);
    let store = app::open_store(&config.store).await.unwrap();
    let mut log = Log { entries: checked.entries, cards: HashSet::new(), forwards: HashMap::new(), store };
    let mut after = None;
    loop {
        let page = log.store.entries(after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for entry in &page {
            log.read(&serde_json::from_slice(entry.leaf.as_bytes()).unwrap());
        }
    }
    assert_eq!(
        count(&config.store, "cards").await,
        log.cards.len() as u64,
        "no card without its entry, nor the reverse"
    );
    assert_eq!(count(&config.store, "forwards").await, log.forwards.len() as u64, "nor a forward");
    log
}

impl Log {
    fn read(&mut self, entry: &Value) {
        let token = || entry["obj"]["ref"].as_str().unwrap().to_owned();
        match (entry["evt"].as_str(), entry["out"].as_str()) {
            // A repeated key is an entry too, but no change.
            (Some("pan.tokenize"), Some("success")) if !entry["change"].is_null() => {
                assert!(self.cards.insert(token()), "one card, two entries");
            }
            (Some("pan.forward"), Some("success")) => {
                let id = entry["dst"]["forward_id"].as_str().unwrap().to_owned();
                assert!(self.forwards.insert(id, token()).is_none(), "one card's forward, two entries");
            }
            _ => {}
        }
    }
}

async fn count(store: &StoreConfig, table: &str) -> u64 {
    use sqlx::ConnectOptions as _;
    let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let counted = match store {
        StoreConfig::Sqlite { path } => {
            let mut connection =
                sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await
        }
        StoreConfig::Postgres(postgres) => {
            let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
                .host(&postgres.host)
                .socket(&postgres.host)
                .username(&postgres.user)
                .database(&postgres.database);
            let mut connection = options.connect().await.unwrap();
            sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await
        }
    };
    counted.unwrap().unsigned_abs()
}
