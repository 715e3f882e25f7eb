//! The SQLite driver: a small pool that reads, one connection that writes. The embedded default.
//!
//! Promises: WAL and `synchronous=FULL`: what was committed survives a power cut, if the disk keeps what it acknowledged.
//! The file is its owner's alone.

mod ends;
mod events;
mod find;
mod fold;
mod keys;
mod list;
mod log;
mod migrate;
mod names;
mod reading;
mod writer;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_domain::{AliasHash, BootId, ExportId, ForwardId, TenantId, Timestamp, TokenHash};
use strongroom_sealing::Fingerprint;

use super::decode::{boot_columns, card_columns, forward_columns, sqlite as read, tenant_columns};
use super::encode::signed;
use super::ends::{Due, DueCard, Kept};
use super::error::StoreError;
use super::events::EventStore;
use super::exports::sqlite as exports;
use super::find::FindStore;
use super::list::{CardFilter, CardPage, CardPlace};
use super::rows::{
    AliasRow, BootRow, CardRow, ExportRow, ExportRunRow, ForwardRow, Holder, StoredEntry, TenantRow,
};
use super::schema::{self, SchemaError};
use super::suspensions::SuspensionRow;
use super::suspensions::sqlite as suspensions;
use super::writer::Writer;
use super::{Reading, Store};
use crate::audit::{EntryId, InstanceId, Leaf};

/// How long a statement waits for another writer: a commit takes milliseconds, a command line's import batch less than this.
const BUSY_TIME_MAX: Duration = Duration::from_secs(4);
/// Connections that read. Each is a thread; on WAL they do not wait for the writer.
const READERS: u32 = 2;
/// Connections that read the log: searches, digests and evidence share them. The sequencer and what follows the log open a store of
/// their own.
const LOG_READERS: u32 = 2;
/// Page cache of one connection in KiB (SQLite takes it negative).
const CACHE_KIB: &str = "-8192";
/// The same of a connection that reads all the time: the system has the file's pages in memory too.
const READING_CACHE_KIB: &str = "-2048";
/// The WAL file is cut back to this once it was folded into the database.
const WAL_BYTES_KEPT: &str = "67108864";
/// Pages of 4 KiB in the WAL before a commit has to fold it in, if [`fold`] did not keep up: 256 MiB.
const WAL_PAGES_MAX: &str = "65536";
/// Readable and writable by its owner, by nobody else.
const FILE_MODE: u32 = 0o600;

/// A SQLite store.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    pub(super) readers: SqlitePool,
    /// Reads the log for whoever follows, searches or counts it: requests for cards never wait for those.
    log_readers: SqlitePool,
    sweeper: SqlitePool,
    /// Writes the log's index, which can be made anew: it does not wait for the disk, and whoever commits cards waits less.
    indexing: SqlitePool,
    connect: SqliteConnectOptions,
}

impl SqliteStore {
    /// Opens a database file whose schema is the one this program knows.
    pub async fn open(path: &Path) -> Result<Self, SchemaError> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(SchemaError::Missing),
            Err(error) => return Err(error.into()),
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => return Err(SchemaError::FileMode),
            Ok(_) => {}
        }
        let store = Self::connect(path);
        let mut connection = store.connection().await.map_err(StoreError::from)?;
        let applied = migrate::versions(&mut connection).await?;
        schema::refuse_unless_current(applied.as_deref(), |migration| migration.sqlite)?;
        Ok(store)
    }

    /// Creates or updates the file and its schema. Gives the versions that were added.
    pub async fn migrate(path: &Path) -> Result<Vec<u32>, SchemaError> {
        create(path)?;
        let mut connection = Self::connect(path).connection().await.map_err(StoreError::from)?;
        let added = migrate::up(&mut connection).await?;
        connection.close().await.map_err(StoreError::from)?;
        Ok(added)
    }

    fn connect(path: &Path) -> Self {
        let connect = SqliteConnectOptions::new()
            .filename(PathBuf::from(path))
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIME_MAX)
            .pragma("cache_size", CACHE_KIB)
            .pragma("journal_size_limit", WAL_BYTES_KEPT)
            .pragma("wal_autocheckpoint", WAL_PAGES_MAX)
            .pragma("secure_delete", "on")
            .pragma("trusted_schema", "off")
            .disable_statement_logging();
        let lazy = |connections, options| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY_TIME_MAX)
                .test_before_acquire(false)
                .connect_lazy_with(options)
        };
        let readers = lazy(READERS, connect.clone().read_only(true));
        let of_log = connect.clone().read_only(true).pragma("cache_size", READING_CACHE_KIB);
        let log_readers = lazy(LOG_READERS, of_log);
        let sweeper = lazy(1, connect.clone());
        let indexing = lazy(1, connect.clone().synchronous(SqliteSynchronous::Normal));
        Self { readers, log_readers, sweeper, indexing, connect }
    }

    async fn connection(&self) -> Result<SqliteConnection, sqlx::Error> {
        SqliteConnection::connect_with(&self.connect).await
    }
}

/// Creates the file before SQLite would, under its owner's eyes only: SQLite gives the WAL the same mode.
fn create(path: &Path) -> Result<(), SchemaError> {
    let created: Result<File, _> =
        OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path);
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `?, ?, …`
fn placeholders(count: usize) -> String {
    let mut text = "?,".repeat(count);
    text.pop();
    text
}

/// `(?, ?, …), (?, ?, …), …`
fn rows_of_placeholders(rows: usize, columns: usize) -> String {
    let row = format!("({}),", placeholders(columns));
    let mut text = row.repeat(rows);
    text.pop();
    text
}

/// How many places the statement has that takes this many: a power of two, so that there are few statements and each
/// is prepared once. What is too many is left null, and [`insert_sql`] passes over it.
const fn rows_of_statement(rows: usize) -> usize {
    rows.next_power_of_two()
}

/// `INSERT INTO table (columns)` of the rows whose first value is not null.
fn insert_sql(into: &str, columns: usize, rows: usize) -> String {
    let values = rows_of_placeholders(rows, columns);
    format!("{into} SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL")
}

#[async_trait]
impl Store for SqliteStore {
    async fn card(&self, tenant: &TenantId, token: TokenHash) -> Result<Option<CardRow>, StoreError> {
        sqlx::query(concat!("SELECT ", card_columns!(), " FROM cards WHERE token_hash = ?1 AND tenant = ?2"))
            .bind(token.as_bytes().as_slice())
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
        let hashes: Vec<&[u8; 32]> = tokens.iter().map(TokenHash::as_bytes).collect();
        self.aliases_by("token_hash", &hashes).await
    }

    async fn cards_due(&self, which: Due<'_>, limit: u32) -> Result<Vec<DueCard>, StoreError> {
        ends::due(&self.readers, which, limit).await
    }

    async fn wipe_destroyed(&self) -> Result<(), StoreError> {
        ends::wipe(&self.sweeper).await
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Option<TenantRow>, StoreError> {
        sqlx::query(concat!("SELECT ", tenant_columns!(), " FROM tenants WHERE id = ?1"))
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
        sqlx::query(concat!("SELECT ", tenant_columns!(), " FROM tenants WHERE id > ?1 ORDER BY id LIMIT ?2"))
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
             (SELECT scope FROM idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        )
        .bind(before.unix_micros())
        .bind(i64::from(limit))
        .execute(&self.sweeper)
        .await?;
        Ok(done.rows_affected())
    }

    async fn forward(&self, id: ForwardId) -> Result<Option<ForwardRow>, StoreError> {
        sqlx::query(concat!("SELECT ", forward_columns!(), " FROM forwards WHERE id = ?1"))
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
             LEFT JOIN forwards ON forwards.id = held.forward WHERE held.tenant = ?1 AND held.route = ?2 \
             AND held.account = ?3 AND held.reference = ?4",
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
            " FROM forwards WHERE state = 'open' AND opened_at < ?1 ORDER BY opened_at LIMIT ?2"
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
            "SELECT boot_id, instance_seq, leaf FROM audit_entries WHERE (boot_id, instance_seq) > (?1, ?2) \
             ORDER BY boot_id, instance_seq LIMIT ?3",
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
            "SELECT boot_id, instance_seq, leaf FROM audit_entries WHERE boot_id = ?1 AND instance_seq >= ?2 \
             ORDER BY instance_seq LIMIT ?3",
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
            sqlx::query_scalar("SELECT leaf FROM audit_entries WHERE boot_id = ?1 AND instance_seq = ?2")
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
            " FROM audit_boots WHERE instance = ?1 ORDER BY boot_id DESC LIMIT 1"
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
        let options = self.connect.clone().read_only(true).pragma("cache_size", READING_CACHE_KIB);
        Ok(Box::new(reading::SqliteReading::new(SqliteConnection::connect_with(&options).await?)))
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, StoreError> {
        let options = self.connect.clone().pragma("temp_store", "memory");
        let connection = SqliteConnection::connect_with(&options).await?;
        let folder = fold::Folder::start(self.connect.clone());
        Ok(Box::new(writer::SqliteWriter::prepare(connection, folder).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::AssertSqlSafe;

    #[tokio::test]
    async fn room_to_spare_in_a_statement_adds_no_row() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::query("CREATE TABLE things (id integer PRIMARY KEY, name text)")
            .execute(&mut connection)
            .await
            .unwrap();
        let sql = insert_sql("INSERT INTO things (id, name)", 2, rows_of_statement(3));
        for ids in [&[1_i64, 2, 3, 4][..], &[5], &[6, 7, 8]] {
            let mut query = sqlx::query(AssertSqlSafe(sql.as_str()));
            for id in ids {
                query = query.bind(*id).bind("thing");
            }
            query.execute(&mut connection).await.unwrap();
        }
        let ids: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM things ORDER BY id").fetch_all(&mut connection).await.unwrap();
        assert_eq!(ids, (1..=8).collect::<Vec<_>>());
    }
}
