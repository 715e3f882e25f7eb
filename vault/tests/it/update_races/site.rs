//! What the races run on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::{TenantId, Token};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::line::Door;
use strongroom_sandbox::pki::Pki;
use strongroom_vault::app;
use strongroom_vault::config::VaultConfig;

use super::CARDS;
use crate::crash::{Vault, door, onboard, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::{configuration, sqlite};

/// One or two vaults on one store.
pub(super) struct Site {
    pub(super) vaults: Vec<Vault>,
    pki: PathBuf,
    _folder: tempfile::TempDir,
    _server: Option<PostgresServer>,
}

impl Site {
    pub(super) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path());
        Self::start(folder, None, &store, &["vault-1"]).await
    }

    /// Two replicas.
    pub(super) async fn on_postgres() -> Self {
        let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
        let store = store_of(&server);
        Self::start(tempfile::tempdir().unwrap(), Some(server), &store, &["vault-1", "vault-2"]).await
    }

    pub(super) async fn start(
        folder: tempfile::TempDir,
        server: Option<PostgresServer>,
        store: &str,
        names: &[&str],
    ) -> Self {
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let text = configuration(folder.path(), &pki, store)
            + "update_per_second = 100000\ndedupe_numbers_per_day = 10000\n";
        let mut vaults: Vec<_> =
            names.iter().map(|name| Vault::prepare(folder.path(), name, &text)).collect();
        vaults.iter_mut().for_each(Vault::start);
        vaults.iter_mut().for_each(Vault::wait);
        onboard(pki.folder(), &vaults[0]).await;
        Self { vaults, pki: pki.folder().to_owned(), _folder: folder, _server: server }
    }

    pub(super) fn address(&self, n: usize) -> SocketAddr {
        self.vaults[n % self.vaults.len()].address()
    }

    pub(super) fn door(&self, workload: &str, n: usize) -> Door {
        door(&self.pki, workload, self.address(n))
    }

    pub(super) async fn create(&self, card: &Value) -> String {
        let answer = self.door("checkout", 0).send("POST", CARDS, &[], card.to_string()).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub(super) async fn deduplicate(&self) {
        let body = json!({ "groups": ["merchants"], "dedupe": "return-existing" }).to_string();
        let answer = self.door("platform", 0).send("PUT", "/v1/tenants/acme", &[], body).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        tokio::time::sleep(Duration::from_millis(1_100)).await; // replicas believe a tenant's row for a second
    }

    /// Ends every vault and reads the log, which must be sound.
    pub(super) async fn end(&mut self, boots: u64) -> Vec<Value> {
        self.vaults.iter_mut().for_each(Vault::stop);
        sound_log(self.vaults[0].config(), boots).await;
        let config = VaultConfig::read(self.vaults[0].config()).unwrap();
        let store = app::open_store(&config.store).await.unwrap();
        let entries = strongroom_vault::audit::tail(&*store, 100_000).await.unwrap();
        entries.iter().map(|entry| serde_json::from_slice(entry.leaf.as_bytes()).unwrap()).collect()
    }

    /// The card's row: its version, and the hash of its record.
    pub(super) async fn row(&self, token: &str) -> (u64, String) {
        use sha2::Digest as _;
        let config = VaultConfig::read(self.vaults[0].config()).unwrap();
        let store = app::open_store(&config.store).await.unwrap();
        let (tenant, token) = (TenantId::parse("acme").unwrap(), Token::parse(token).unwrap());
        let row = store.card(&tenant, token.hash()).await.unwrap().unwrap();
        (row.row_version, hex::encode(sha2::Sha256::digest(&row.record)))
    }
}
