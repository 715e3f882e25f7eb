//! What every test of the store stands on: an empty store, a clock that is moved, and rows.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::Digest as _;
use strongroom_domain::route::{Attribute, RouteName};
use strongroom_domain::{
    BootId, CardFacts, Clock, DataKeyId, Digits, Environment, Expiry, ForwardId, Metadata, Random,
    RandomUnavailable, TenantId, Timestamp, Token, WorkloadId,
};
use strongroom_vault::audit::{
    Actor, CardChange, Draft, EntryMac, Event, InstanceId, MacKeys, Object, Outcome, Source,
};
use strongroom_vault::store::keys::{KeyScope, KeyState, Purpose, WrappedKey};
use strongroom_vault::store::{
    CardRow, Change, Committer, CommitterTask, ForwardRow, ForwardState, HiddenBy, IdempotencyRow,
    LogIdentity, Names, Outbox, PostgresStore, SqliteStore, Store, StoreError, TenantRow, TenantSettings,
    TenantStatus,
};
use tempfile::TempDir;

use crate::postgres::PostgresServer;

/// How long a hidden card waits.
pub(crate) const HOLD: Duration = Duration::from_secs(72 * 3600);

/// A store on an empty, migrated database.
pub(crate) struct Ground {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) database: Database,
    pub(crate) clock: Arc<MovedClock>,
    pub(crate) chance: Arc<CountedChance>,
}

/// What is below it.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(Mutex<PostgresServer>),
}

impl Ground {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.db");
        SqliteStore::migrate(&path).await.unwrap();
        let store = Arc::new(SqliteStore::open(&path).await.unwrap());
        Self::on(store, Database::Sqlite(folder))
    }

    pub(crate) async fn postgres() -> Self {
        let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
        PostgresStore::migrate(&server.options()).await.unwrap();
        let store = Arc::new(PostgresStore::open(&server.options()).await.unwrap());
        Self::on(store, Database::Postgres(Mutex::new(server)))
    }

    fn on(store: Arc<dyn Store>, database: Database) -> Self {
        let clock = Arc::new(MovedClock(AtomicI64::new(1_795_000_000_000_000)));
        Self { store, database, clock, chance: Arc::default() }
    }

    /// A committer that began a new boot.
    pub(crate) async fn committer(&self) -> (Committer, CommitterTask, BootId) {
        let boot = BootId::generate(self.clock.as_ref(), self.chance.as_ref()).unwrap();
        self.clock.go_on(Duration::from_millis(2));
        let (committer, task) = self.committer_of(boot).await;
        (committer, task, boot)
    }

    /// A committer that began a new boot and tells these destinations.
    pub(crate) async fn telling(&self, outbox: Outbox) -> (Committer, CommitterTask, BootId) {
        let boot = BootId::generate(self.clock.as_ref(), self.chance.as_ref()).unwrap();
        self.clock.go_on(Duration::from_millis(2));
        let identity = LogIdentity { instance: instance(), boot, mac: mac(boot), mac_key: mac_key() };
        let store = Arc::clone(&self.store);
        let (committer, task) =
            Committer::start_telling(store, self.clock.clone(), identity, outbox).await.unwrap();
        (committer, task, boot)
    }

    pub(crate) async fn committer_of(&self, boot: BootId) -> (Committer, CommitterTask) {
        let identity = LogIdentity { instance: instance(), boot, mac: mac(boot), mac_key: mac_key() };
        Committer::start(Arc::clone(&self.store), self.clock.clone(), identity).await.unwrap()
    }

    /// A tenant's active key, stored.
    pub(crate) async fn key(&self, tenant: &str) -> DataKeyId {
        self.store.insert_key_if_first(self.key_row(tenant)).await.unwrap().id
    }

    pub(crate) fn key_row(&self, tenant: &str) -> WrappedKey {
        WrappedKey {
            id: DataKeyId::generate(self.clock.as_ref(), self.chance.as_ref()).unwrap(),
            scope: KeyScope::Tenant(tenant_id(tenant)),
            purpose: Purpose::Card,
            wrapped: vec![1, 2, 3],
            provider: "file".into(),
            kms_key: "local".into(),
            state: KeyState::Active,
            created_at: self.clock.now(),
            seals_until: self.clock.now().plus(Duration::from_secs(90 * 24 * 3600)),
        }
    }

    pub(crate) fn card(&self, tenant: &str, key: DataKeyId) -> CardRow {
        let token = Token::generate(Environment::Test, self.chance.as_ref()).unwrap();
        let now = self.clock.now();
        CardRow {
            record: token.hash().as_bytes().repeat(5),
            token,
            tenant: tenant_id(tenant),
            data_key: key,
            facts: CardFacts {
                bin: Digits::parse("42424242").unwrap(),
                last4: Digits::parse("4242").unwrap(),
                expiry: Some(Expiry::new(12, 2030).unwrap()),
            },
            brand: Some(strongroom_domain::Brand::Visa),
            length: Some(16),
            row_version: 1,
            number_version: 1,
            expires_at: None,
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
            deleted_at: None,
            destroy_after: None,
            closed_at: None,
            fingerprint: None,
        }
    }

    pub(crate) fn insert(&self, card: CardRow, idempotency: Option<IdempotencyRow>) -> Change {
        let token = card.token.token_ref();
        let entry = self
            .entry(Event::PanTokenize, Object::Token { token, tenant: Some(card.tenant.clone()) })
            .changing(CardChange::of(card.row_version, &card.record));
        Change::InsertCards {
            cards: vec![card],
            names: Names::default(),
            idempotency: idempotency.map(Box::new),
            entries: vec![entry],
        }
    }

    /// Many cards as one change.
    pub(crate) fn insert_all(&self, cards: &[CardRow], idempotency: Option<IdempotencyRow>) -> Change {
        let mut all = (Vec::new(), Vec::new());
        for card in cards {
            if let Change::InsertCards { cards, entries, .. } = self.insert(card.clone(), None) {
                all.0.extend(cards);
                all.1.extend(entries);
            }
        }
        Change::InsertCards {
            cards: all.0,
            names: Names::default(),
            idempotency: idempotency.map(Box::new),
            entries: all.1,
        }
    }

    pub(crate) fn answer(&self, scope: u64, digest: u8, answer: &str) -> IdempotencyRow {
        IdempotencyRow {
            scope: sha2::Sha256::digest(scope.to_be_bytes()).into(),
            digest: [digest; 32],
            status: 201,
            answer: answer.as_bytes().to_vec(),
            expires_at: self.clock.now().plus(Duration::from_secs(24 * 3600)),
        }
    }

    pub(crate) fn forward(&self, cards: &[&CardRow]) -> ForwardRow {
        ForwardRow {
            id: ForwardId::generate(self.clock.as_ref(), self.chance.as_ref()).unwrap(),
            tenant: cards[0].tenant.clone(),
            proxy: workload("proxy"),
            caller: workload("orchestrator"),
            route: RouteName::parse("stripe").unwrap(),
            account: RouteName::parse("default").unwrap(),
            method: "POST".into(),
            path: "/v1/payment_methods".into(),
            host: "api.stripe.com".into(),
            cards: cards.iter().map(|card| card.token.token_ref()).collect(),
            attributes: [Attribute::Number, Attribute::Cvc].into_iter().collect(),
            state: ForwardState::Open,
            opened_at: self.clock.now(),
            closed_at: None,
            outcome: None,
            grounds: None,
            reconciled: None,
        }
    }

    pub(crate) fn open(&self, forward: &ForwardRow) -> Change {
        let entries = forward
            .cards
            .iter()
            .map(|token| {
                let object = Object::Token { token: token.clone(), tenant: Some(forward.tenant.clone()) };
                self.entry(Event::PanForward, object)
            })
            .collect();
        Change::OpenForward { forward: Box::new(forward.clone()), reference: None, entries }
    }

    pub(crate) fn tell(
        &self,
        forward: &ForwardRow,
        state: ForwardState,
        outcome: serde_json::Value,
    ) -> Change {
        let object = Object::Forward { id: forward.id, tenant: Some(forward.tenant.clone()) };
        Change::RecordOutcome {
            id: forward.id,
            proxy: forward.proxy.clone(),
            state,
            outcome,
            at: self.clock.now(),
            entry: self.entry(Event::ForwardOutcome, object),
        }
    }

    pub(crate) fn erase(&self, card: &CardRow, idempotency: Option<IdempotencyRow>) -> Change {
        let object = Object::Token { token: card.token.token_ref(), tenant: Some(card.tenant.clone()) };
        Change::EraseCard {
            tenant: card.tenant.clone(),
            token: card.token.hash(),
            at: self.clock.now(),
            destroy_after: self.clock.now().plus(HOLD),
            by: HiddenBy::Caller(workload("orchestrator")),
            expected_version: None,
            idempotency: idempotency.map(Box::new),
            entry: self.entry(Event::RecordShred, object),
        }
    }

    pub(crate) fn restore(&self, card: &CardRow, kept_since: Option<Timestamp>) -> Change {
        let object = Object::Token { token: card.token.token_ref(), tenant: Some(card.tenant.clone()) };
        Change::RestoreCard {
            tenant: card.tenant.clone(),
            token: card.token.hash(),
            at: self.clock.now(),
            kept_since,
            entry: self.entry(Event::RecordRestore, object),
        }
    }

    pub(crate) fn destroy(&self, card: &CardRow) -> Change {
        let object = Object::Token { token: card.token.token_ref(), tenant: Some(card.tenant.clone()) };
        Change::DestroyCard {
            tenant: card.tenant.clone(),
            token: card.token.hash(),
            expected_version: card.row_version,
            at: self.clock.now(),
            entry: self.entry(Event::RecordShred, object).because("destroyed"),
        }
    }

    /// Every entry of one event: its token reference and its reason.
    pub(crate) async fn told_of(&self, event: &str) -> Vec<(String, String)> {
        let entries = self.store.entries(None, 100_000).await.unwrap();
        let read = entries.iter().map(|entry| entry.leaf.read().unwrap().fields);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        read.filter(|fields| fields["evt"] == event)
            .map(|fields| {
                (text(&fields["obj"]["ref"]), text(fields.get("rsn").unwrap_or(&serde_json::Value::Null)))
            })
            .collect()
    }

    pub(crate) fn tenant(&self, name: &str, version: u64) -> TenantRow {
        TenantRow {
            id: tenant_id(name),
            settings: TenantSettings::default(),
            status: TenantStatus::Active,
            version,
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
        }
    }

    pub(crate) fn put(&self, tenant: &TenantRow, expected_version: Option<u64>) -> Change {
        let entry = self.entry(Event::TenantChange, Object::Tenant(tenant.id.clone()));
        Change::PutTenant { tenant: Box::new(tenant.clone()), expected_version, entry }
    }

    pub(crate) fn entry(&self, event: Event, object: Object) -> Draft {
        let actor = Actor::Workload { id: workload("checkout"), cert_sha256: Some([7; 32]) };
        let source = Source { peer: "127.0.0.1:5000".parse().unwrap(), tls: None };
        Draft::by_peer(self.clock.now(), event, Outcome::Success, actor, source, object)
    }

    pub(crate) fn note(&self) -> Change {
        Change::Entry { entry: self.entry(Event::AuthzDeny, Object::Operation("test")) }
    }

    /// Runs SQL below the store's back.
    pub(crate) async fn tamper(&self, sql: &str) {
        let done = self.run(sql).await;
        assert!(done > 0, "{sql} changed nothing");
    }

    pub(crate) async fn run(&self, sql: &str) -> u64 {
        use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
        match &self.database {
            Database::Sqlite(folder) => {
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("vault.db"));
                let mut connection = options.connect().await.unwrap();
                let done = connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            }
            Database::Postgres(_) => {
                let mut connection = self.postgres_connection().await;
                let done = connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
                done.rows_affected()
            }
        }
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        match &self.database {
            Database::Sqlite(folder) => {
                use sqlx::ConnectOptions as _;
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("vault.db"));
                let mut connection = options.connect().await.unwrap();
                sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await
            }
            Database::Postgres(_) => {
                let mut connection = self.postgres_connection().await;
                sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await
            }
        }
        .unwrap()
        .unsigned_abs()
    }

    /// One column of texts.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.database {
            Database::Sqlite(folder) => {
                use sqlx::ConnectOptions as _;
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("vault.db"));
                let mut connection = options.connect().await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }
            Database::Postgres(_) => {
                let mut connection = self.postgres_connection().await;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }
        }
        .unwrap()
    }

    /// The SQLSTATE Postgres refuses a statement of this role with.
    pub(crate) async fn refusal_of(&self, role: &str, sql: &str) -> Option<String> {
        use sqlx::Executor as _;
        let mut connection = self.postgres_connection().await;
        connection.execute(sqlx::AssertSqlSafe(format!("SET ROLE {role}"))).await.unwrap();
        let error = connection.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.err()?;
        error.as_database_error()?.code().map(|code| code.into_owned())
    }

    async fn postgres_connection(&self) -> sqlx::postgres::PgConnection {
        use sqlx::ConnectOptions as _;
        let Database::Postgres(server) = &self.database else { unreachable!() };
        let folder = server.lock().unwrap().options().host;
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host(&folder)
            .socket(&folder)
            .username("strongroom")
            .database("postgres");
        options.connect().await.unwrap()
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &self.database {
            Database::Sqlite(folder) => Some(folder.path().join("vault.db")),
            Database::Postgres(_) => None,
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }
}

/// A clock that goes when told.
pub(crate) struct MovedClock(AtomicI64);

impl MovedClock {
    pub(crate) fn go_on(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    /// The time of this machine, for what another program judges.
    pub(crate) fn go_on_to_now(&self) {
        let now = strongroom_perimeter::clock::SystemClock.now().unix_micros();
        self.0.store(now, Ordering::SeqCst);
    }

    pub(crate) fn now_plus(&self, seconds: u64) -> Timestamp {
        self.now().plus(Duration::from_secs(seconds))
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Different bytes each time, the same in each run.
#[derive(Default)]
pub(crate) struct CountedChance(AtomicU64);

impl Random for CountedChance {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        for chunk in out.chunks_mut(32) {
            let drawn = sha2::Sha256::digest(self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes());
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        Ok(())
    }
}

pub(crate) fn tenant_id(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

pub(crate) fn workload(name: &str) -> WorkloadId {
    WorkloadId::parse(&format!("spiffe://strongroom.test/{name}")).unwrap()
}

pub(crate) fn instance() -> InstanceId {
    InstanceId::parse("vault-1").unwrap()
}

pub(crate) fn mac_key() -> DataKeyId {
    DataKeyId::parse("0190a0b0-c0d0-7e0f-8f00-112233445566").unwrap()
}

/// A keyed digest good enough to tell boots apart.
pub(crate) fn mac(boot: BootId) -> EntryMac {
    EntryMac::new(move |bytes| {
        let mut hash = sha2::Sha256::new();
        hash.update(b"key of the tests");
        hash.update(boot.as_uuid().as_bytes());
        hash.update(bytes);
        hash.finalize().into()
    })
}

/// Knows the one key of the tests.
pub(crate) struct TestKeys;

#[async_trait::async_trait]
impl MacKeys for TestKeys {
    async fn mac_of(
        &self,
        _: &InstanceId,
        boot: BootId,
        key: DataKeyId,
    ) -> Result<Option<EntryMac>, StoreError> {
        Ok((key == mac_key()).then(|| mac(boot)))
    }
}
