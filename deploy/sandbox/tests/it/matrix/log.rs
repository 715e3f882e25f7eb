//! What the audit log says of each attempt, read from the vault's own store.

use std::time::Duration;

use serde_json::Value;
use strongroom_domain::Token;
use strongroom_sandbox::house::House;
use strongroom_vault::store::{BootRow, SqliteStore, Store};

/// Entries read at a time.
const PAGE: u32 = 200;
/// How often it is looked for an outcome, every 10 ms: outcomes are told after the answer.
const LOOKS_MAX: u32 = 6_000;

pub(super) struct Log {
    store: SqliteStore,
    boot: BootRow,
    next: u64,
}

/// What one attempt left in the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Audited {
    /// `event outcome reason`, in order.
    pub(super) entries: Vec<String>,
}

impl Log {
    pub(super) async fn open(house: &House) -> Self {
        let store = SqliteStore::open(&house.folder().database()).await.unwrap();
        let boot = store.boots().await.unwrap().pop().unwrap();
        let mut log = Self { store, boot, next: 0 };
        while !log.page().await.is_empty() {}
        log
    }

    async fn page(&mut self) -> Vec<Value> {
        let entries = self.store.entries_of(self.boot.boot, self.next, PAGE).await.unwrap();
        self.next += entries.len() as u64;
        entries.iter().map(|entry| serde_json::from_slice(entry.leaf.as_bytes()).unwrap()).collect()
    }

    /// What was written since the last time about forwards. An opened forward is waited for until it is closed.
    pub(super) async fn since(&mut self, token: &str) -> Audited {
        let card = Token::parse(token).unwrap().token_ref().to_string();
        let (mut audited, mut open) = (Audited::default(), None);
        for _ in 0..LOOKS_MAX {
            for entry in self.page().await {
                match entry["evt"].as_str().unwrap() {
                    "pan.forward" => {
                        assert_eq!(entry["obj"]["ref"], card.as_str(), "{entry}");
                        assert_eq!(entry["actor"]["id"], "spiffe://strongroom.test/orchestrator");
                        open = entry["dst"]["forward_id"]
                            .as_str()
                            .map(str::to_owned)
                            .filter(|_| entry["out"] == "success");
                        audited.entries.push(words(&entry));
                    }
                    "forward.outcome" => {
                        assert_eq!(Some(entry["obj"]["ref"].as_str().unwrap()), open.as_deref(), "{entry}");
                        open = None;
                        audited.entries.push(words(&entry));
                    }
                    "authz.deny" | "token.unknown" => audited.entries.push(words(&entry)),
                    _ => {}
                }
            }
            if open.is_none() {
                return audited;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("forward {open:?} was never closed");
    }
}

fn words(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let last = if text("rsn").is_empty() { text("out") } else { text("rsn") };
    format!("`{}` {last}", text("evt"))
}
