//! The Postgres driver: a pool that reads, one connection that writes.
//!
//! Speaks what Aurora, CockroachDB and YugabyteDB also speak: no advisory locks, no sequences. The planner's settings are
//! PostgreSQL's own; an engine that knows none of that name refuses the connection.
//!
//! Promises: `synchronous_commit` is never turned off here; TLS, where asked for, verifies the whole name; no write of a request
//! costs more because a table is large.
//! Trusts: the server's own durability settings (`fsync`, synchronous replicas): whoever turns them off loses entries.
//! Upholds: C-22.

mod ends;
mod events;
mod find;
mod keys;
mod list;
mod log;
mod migrate;
mod names;
mod reading;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_domain::{AliasHash, BootId, ExportId, ForwardId, TenantId, Timestamp, TokenHash};
use strongroom_sealing::Fingerprint;

use super::decode::{boot_columns, card_columns, forward_columns, postgres as read, tenant_columns};
use super::encode::signed;
use super::ends::{Due, DueCard, Kept};
use super::error::StoreError;
use super::events::EventStore;
use super::exports::postgres as exports;
use super::find::FindStore;
use super::list::{CardFilter, CardPage, CardPlace};
use super::rows::{
    AliasRow, BootRow, CardRow, ExportRow, ExportRunRow, ForwardRow, Holder, StoredEntry, TenantRow,
};
use super::schema::{self, SchemaError};
use super::suspensions::SuspensionRow;
use super::suspensions::postgres as suspensions;
use super::writer::Writer;
use super::{Reading, Store};
use crate::audit::{EntryId, InstanceId, Leaf};

/// How long connecting, or waiting for a pooled connection, may take: a request waits on it.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// How long connecting may take where no request waits on it: at a start, and to migrate.
const FIRST_CONNECT_TIME_MAX: Duration = Duration::from_secs(20);
/// How long after its last answer a pooled connection is taken to be alive. Asking each time would cost every read one more
/// answer of the server; a connection that died since is told to one caller, as the server's death is to all who wait on it.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A statement of ours that takes longer will not be waited for; milliseconds, as the server takes it.
const STATEMENT_TIME_MAX: &str = "5000";
/// A lock of ours is held by a commit in progress or by nobody; milliseconds.
const LOCK_TIME_MAX: &str = "4000";
/// When the server ends a transaction whose client is gone; milliseconds.
const IDLE_IN_TRANSACTION_TIME_MAX: &str = "10000";

/// Rows are found by key, whatever a table's statistics say: a table that grew since they were made is not read whole, once for
/// each request.
const BY_KEY: [(&str, &str); 1] = [("enable_seqscan", "off")];
/// Besides, for the few statements of the writing connection: a batch's keys lead to rows, one by one, by one plan for each
/// statement. What the planner would choose by a table's size reads all of it where a batch is large or the statistics old, and
/// costs as much to choose as to run.
const BY_KEYS_OF_A_BATCH: [(&str, &str); 3] =
    [("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("plan_cache_mode", "force_generic_plan")];

/// Where the database is.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Host name or address, or the folder of a Unix socket (beginning with `/`).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// The role's password, if it needs one.
    pub password: Option<SecretString>,
    /// Database.
    pub database: String,
    /// Whether and how the connection is encrypted.
    pub tls: PostgresTls,
    /// Most connections that read.
    pub readers_max: u32,
}

/// Whether and how the connection is encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PostgresTls {
    /// Not at all: Unix sockets and loopback.
    Off,
    /// TLS to a server whose certificate one of these authorities issued for this host name.
    VerifyFull {
        /// PEM file of authorities; none means the system's.
        ca_file: Option<PathBuf>,
    },
}

/// A Postgres store.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pub(super) readers: PgPool,
    connect: PgConnectOptions,
}

impl PostgresStore {
    /// Connects to a database whose schema is the one this program knows.
    pub async fn open(options: &PostgresOptions) -> Result<Self, SchemaError> {
        let store = Self::connect(options);
        store.check_schema().await?;
        Ok(store)
    }

    /// Creates or updates the schema. Gives the versions that were added.
    pub async fn migrate(options: &PostgresOptions) -> Result<Vec<u32>, SchemaError> {
        let store = Self::connect(options);
        let mut connection = store.connection(FIRST_CONNECT_TIME_MAX).await.map_err(StoreError::from)?;
        migrate::up(&mut connection).await
    }

    fn connect(options: &PostgresOptions) -> Self {
        let connect = connect_options(options);
        let readers = PgPoolOptions::new()
            .max_connections(options.readers_max.max(1))
            .acquire_timeout(CONNECT_TIME_MAX)
            .test_before_acquire(false)
            .before_acquire(|connection, used| {
                Box::pin(async move {
                    if used.idle_for > TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(connect.clone());
        Self { readers, connect }
    }

    /// Refuses every schema but the one this program knows.
    async fn check_schema(&self) -> Result<(), SchemaError> {
        let mut connection = self.connection(FIRST_CONNECT_TIME_MAX).await.map_err(StoreError::from)?;
        let applied = migrate::versions(&mut connection).await?;
        schema::refuse_unless_current(applied.as_deref(), |migration| migration.postgres)
    }

    async fn connection(&self, time: Duration) -> Result<PgConnection, sqlx::Error> {
        connected(&self.connect, time).await
    }
}

async fn connected(options: &PgConnectOptions, time: Duration) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(time, PgConnection::connect_with(options))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn connect_options(options: &PostgresOptions) -> PgConnectOptions {
    let mut connect = PgConnectOptions::new_without_pgpass()
        .host(&options.host)
        .port(options.port)
        .username(&options.user)
        .database(&options.database)
        .application_name("strongroom-vault")
        .options([
            ("statement_timeout", STATEMENT_TIME_MAX),
            ("lock_timeout", LOCK_TIME_MAX),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIME_MAX),
        ])
        .options(BY_KEY)
        .disable_statement_logging();
    if options.host.starts_with('/') {
        connect = connect.socket(&options.host);
    }
    if let Some(password) = &options.password {
        connect = connect.password(exposed(password));
    }
    match &options.tls {
        PostgresTls::Off => connect.ssl_mode(PgSslMode::Disable),
        PostgresTls::VerifyFull { ca_file: None } => connect.ssl_mode(PgSslMode::VerifyFull),
        PostgresTls::VerifyFull { ca_file: Some(file) } => {
            connect.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(file)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the database's password goes into the connection's settings")]
fn exposed(password: &SecretString) -> &str {
    secrecy::ExposeSecret::expose_secret(password)
}

#[async_trait]
impl Store for PostgresStore {
    async fn card(&self, tenant: &TenantId, token: TokenHash) -> Result<Option<CardRow>, StoreError> {
        sqlx::query(concat!("SELECT ", card_columns!(), " FROM cards WHERE token_hash = $1 AND tenant = $2"))
            .bind(token.as_bytes())
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await?
            .map(|row| read::card(&row))
            .transpose()
    }

    async fn list(
        &self,
        tenant: &TenantId,
        filter: &CardFilter,
        after: Option<CardPlace>,
        limit: u32,
        now: Timestamp,
    ) -> Result<CardPage, StoreError> {
        list::page(&self.readers, tenant, filter, after, limit, now).await
    }

    async fn alike(
        &self,
        tenant: &TenantId,
        fingerprint: Fingerprint,
        limit: u32,
    ) -> Result<Vec<CardRow>, StoreError> {
        self.cards_alike(tenant, fingerprint, limit).await
    }

    async fn aliases(&self, aliases: &[AliasHash]) -> Result<Vec<AliasRow>, StoreError> {
        self.aliases_named(aliases).await
    }

    async fn aliases_of(&self, tokens: &[TokenHash]) -> Result<Vec<AliasRow>, StoreError> {
        self.aliases_leading_to(tokens).await
    }

    async fn cards_due(&self, which: Due<'_>, limit: u32) -> Result<Vec<DueCard>, StoreError> {
        ends::due(&self.readers, which, limit).await
    }

    async fn wipe_destroyed(&self) -> Result<(), StoreError> {
        Ok(()) // vacuum, the log's recycling and the replicas are the server's own
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Option<TenantRow>, StoreError> {
        sqlx::query(concat!("SELECT ", tenant_columns!(), " FROM tenants WHERE id = $1"))
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await?
            .map(|row| read::tenant(&row))
            .transpose()
    }

    async fn kept(
        &self,
        tenant: &TenantId,
        since: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Kept, StoreError> {
        ends::kept(&self.readers, tenant, since, at).await
    }

    async fn tenants_after(
        &self,
        after: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<TenantRow>, StoreError> {
        sqlx::query(concat!("SELECT ", tenant_columns!(), " FROM tenants WHERE id > $1 ORDER BY id LIMIT $2"))
            .bind(after.map_or("", TenantId::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(read::tenant)
            .collect()
    }

    async fn tenants(&self) -> Result<Vec<TenantRow>, StoreError> {
        let sql = concat!("SELECT ", tenant_columns!(), " FROM tenants ORDER BY id");
        sqlx::query(sql).fetch_all(&self.readers).await?.iter().map(read::tenant).collect()
    }

    async fn forget_idempotent(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM idempotency_keys WHERE scope IN \
             (SELECT scope FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
        )
        .bind(before.unix_micros())
        .bind(i64::from(limit))
        .execute(&self.readers)
        .await?;
        Ok(done.rows_affected())
    }

    async fn forward(&self, id: ForwardId) -> Result<Option<ForwardRow>, StoreError> {
        sqlx::query(concat!("SELECT ", forward_columns!(), " FROM forwards WHERE id = $1"))
            .bind(id.as_uuid())
            .fetch_optional(&self.readers)
            .await?
            .map(|row| read::forward(&row))
            .transpose()
    }

    async fn holder(
        &self,
        tenant: &TenantId,
        route: &RouteName,
        account: &AccountName,
        reference: &[u8; 32],
    ) -> Result<Option<Holder>, StoreError> {
        sqlx::query(
            "SELECT held.forward, forwards.state FROM payment_references AS held \
             LEFT JOIN forwards ON forwards.id = held.forward WHERE held.tenant = $1 AND held.route = $2 \
             AND held.account = $3 AND held.reference = $4",
        )
        .bind(tenant.as_str())
        .bind(route.as_str())
        .bind(account.as_str())
        .bind(reference.as_slice())
        .fetch_optional(&self.readers)
        .await?
        .map(|row| read::holder(&row))
        .transpose()
    }

    async fn silent_forwards(&self, before: Timestamp, limit: u32) -> Result<Vec<ForwardRow>, StoreError> {
        sqlx::query(concat!(
            "SELECT ",
            forward_columns!(),
            " FROM forwards WHERE state = 'open' AND opened_at < $1 ORDER BY opened_at LIMIT $2"
        ))
        .bind(before.unix_micros())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(read::forward)
        .collect()
    }

    async fn count(&self, tenant: &TenantId, filter: &CardFilter, now: Timestamp) -> Result<u64, StoreError> {
        list::count(&self.readers, tenant, filter, now).await
    }

    async fn export(&self, tenant: &TenantId, id: ExportId) -> Result<Option<ExportRow>, StoreError> {
        exports::one(&self.readers, tenant, id).await
    }

    async fn exports(&self, tenant: &TenantId, limit: u32) -> Result<Vec<ExportRow>, StoreError> {
        exports::all(&self.readers, tenant, limit).await
    }

    async fn export_runs(&self, id: ExportId) -> Result<Vec<ExportRunRow>, StoreError> {
        exports::runs(&self.readers, id).await
    }

    async fn suspensions(&self) -> Result<Vec<SuspensionRow>, StoreError> {
        suspensions::in_force(&self.readers).await
    }

    async fn entries(&self, after: Option<EntryId>, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let (boot, seq) =
            after.map_or((uuid::Uuid::nil(), -1), |after| (after.boot.as_uuid(), signed(after.seq)));
        sqlx::query(
            "SELECT boot_id, instance_seq, leaf FROM audit_entries WHERE (boot_id, instance_seq) > ($1, $2) \
             ORDER BY boot_id, instance_seq LIMIT $3",
        )
        .bind(boot)
        .bind(seq)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(read::entry)
        .collect()
    }

    async fn entries_of(&self, boot: BootId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        sqlx::query(
            "SELECT boot_id, instance_seq, leaf FROM audit_entries WHERE boot_id = $1 AND instance_seq >= $2 \
             ORDER BY instance_seq LIMIT $3",
        )
        .bind(boot.as_uuid())
        .bind(signed(from))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(read::entry)
        .collect()
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Leaf>, StoreError> {
        let leaf: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT leaf FROM audit_entries WHERE boot_id = $1 AND instance_seq = $2")
                .bind(id.boot.as_uuid())
                .bind(signed(id.seq))
                .fetch_optional(&self.readers)
                .await?;
        Ok(leaf.map(Leaf::from_bytes))
    }

    async fn boots(&self) -> Result<Vec<BootRow>, StoreError> {
        let sql = concat!("SELECT ", boot_columns!(), " FROM audit_boots ORDER BY boot_id");
        sqlx::query(sql).fetch_all(&self.readers).await?.iter().map(read::boot).collect()
    }

    async fn last_boot(&self, instance: &InstanceId) -> Result<Option<BootRow>, StoreError> {
        sqlx::query(concat!(
            "SELECT ",
            boot_columns!(),
            " FROM audit_boots WHERE instance = $1 ORDER BY boot_id DESC LIMIT 1"
        ))
        .bind(instance.as_str())
        .fetch_optional(&self.readers)
        .await?
        .map(|row| read::boot(&row))
        .transpose()
    }

    fn events(&self) -> &dyn EventStore {
        self
    }

    fn index(&self) -> &dyn FindStore {
        self
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn reading(&self) -> Result<Box<dyn Reading>, StoreError> {
        Ok(Box::new(reading::PostgresReading::new(self.connection(CONNECT_TIME_MAX).await?)))
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, StoreError> {
        let options = self.connect.clone().options(BY_KEYS_OF_A_BATCH);
        Ok(Box::new(writer::PostgresWriter::new(connected(&options, CONNECT_TIME_MAX).await?)))
    }
}
