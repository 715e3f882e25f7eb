//! Batches as SQLite statements: many rows of values in one statement for each kind of change.
//!
//! A transaction begins with the file's write lock, so what it reads first cannot change before it commits.

mod at_once;
mod cards;
mod ends;
mod events;
mod forwards;
mod names;
mod once;
mod tenants;
mod updates;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use strongroom_domain::{BootId, Timestamp};

use super::fold::Folder;
use super::{insert_sql, keys, rows_of_statement};
use crate::audit::Leaf;
use crate::store::change::Committed;
use crate::store::encode::signed;
use crate::store::error::{StoreError, WriteError};
use crate::store::exports::sqlite as exports;
use crate::store::filed::sqlite as filed;
use crate::store::outbox::{CardEvent, Outbox};
use crate::store::rows::BootRow;
use crate::store::suspensions::sqlite as suspensions;
use crate::store::writer::{Batch, BootAt, Writer};

/// Most rows of one statement: SQLite takes 32,766 parameters, the widest row has 16, and prepared statements of every
/// size below stay in memory. A power of two.
const STATEMENT_ROWS_MAX: usize = 256;

/// The writing connection.
pub(super) struct SqliteWriter {
    connection: SqliteConnection,
    folder: Folder,
    /// When the boot's row was last written, as far as is known to be durable: what [`at_once`] goes by.
    written_at: i64,
    /// The same once the open transaction is committed, and how many changes it has.
    if_in: (Option<i64>, usize),
}

impl SqliteWriter {
    /// A connection with what [`at_once`] needs on it.
    pub(super) async fn prepare(
        mut connection: SqliteConnection,
        folder: Folder,
    ) -> Result<Self, sqlx::Error> {
        sqlx::raw_sql(at_once::SETUP).execute(&mut connection).await?;
        Ok(Self { connection, folder, written_at: 0, if_in: (None, 0) })
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), WriteError> {
        sqlx::raw_sql(sql).execute(&mut self.connection).await.map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl Writer for SqliteWriter {
    async fn open_boot(&mut self, boot: &BootRow, leaf: &Leaf) -> Result<(), WriteError> {
        self.run("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO audit_boots (boot_id, instance, mac_key, started_at, written_at, next_seq) \
             VALUES (?1, ?2, ?3, ?4, ?4, 0)",
        )
        .bind(boot.boot.as_uuid())
        .bind(boot.instance.as_str())
        .bind(boot.mac_key.as_uuid())
        .bind(boot.started_at.unix_micros())
        .execute(&mut self.connection)
        .await
        .map_err(failed)?;
        self.append(boot.boot, 0, std::slice::from_ref(leaf), boot.started_at).await?;
        self.commit().await
    }

    async fn next_seq(&mut self, boot: BootId) -> Result<Option<u64>, WriteError> {
        // The write lock waits for a commit whose answer was lost: after it, the answer is final.
        let sql = "UPDATE audit_boots SET written_at = written_at + 1 WHERE boot_id = ?1 RETURNING next_seq, written_at";
        let rows: Vec<(i64, i64)> =
            sqlx::query_as(sql).bind(boot.as_uuid()).fetch_all(&mut self.connection).await.map_err(failed)?;
        let Some((next, written_at)) = rows.first() else { return Ok(None) };
        self.written_at = *written_at;
        Ok(Some(next.unsigned_abs()))
    }

    async fn at_once(
        &mut self,
        batch: &Batch<'_>,
        boot: BootId,
        from: u64,
        leaves: &[Leaf],
    ) -> Result<bool, WriteError> {
        let boot = BootAt { boot, seq: from, written_at: self.written_at };
        match at_once::write(&mut self.connection, batch, boot, leaves).await.map_err(failed) {
            Ok(true) => {
                self.written_at = batch.now.unix_micros();
                self.folder.wrote(changed(batch));
                Ok(true)
            }
            // COMMIT was part of it.
            Err(WriteError::Lost(source)) => Err(WriteError::InDoubt(source)),
            other => other,
        }
    }

    async fn apply(&mut self, batch: &Batch<'_>) -> Result<Vec<Committed>, WriteError> {
        self.if_in = (None, changed(batch));
        self.all_of(batch).await.map_err(failed)
    }

    async fn tell(&mut self, outbox: &Outbox, events: &[CardEvent<'_>]) -> Result<(), WriteError> {
        events::tell(&mut self.connection, outbox, events).await.map_err(failed)
    }

    async fn append(
        &mut self,
        boot: BootId,
        from: u64,
        leaves: &[Leaf],
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let moved = sqlx::query(
            "UPDATE audit_boots SET next_seq = next_seq + ?3, written_at = ?4 WHERE boot_id = ?1 AND next_seq = ?2",
        )
        .bind(boot.as_uuid())
        .bind(signed(from))
        .bind(i64::try_from(leaves.len()).unwrap_or(i64::MAX))
        .bind(now.unix_micros())
        .execute(&mut self.connection)
        .await
        .map_err(failed)?;
        if moved.rows_affected() != 1 {
            return Err(WriteError::Fenced);
        }
        self.if_in.0 = Some(now.unix_micros());
        let mut seq = signed(from);
        for leaves in leaves.chunks(STATEMENT_ROWS_MAX) {
            let rows = rows_of_statement(leaves.len());
            let sql = insert_sql("INSERT INTO audit_entries (boot_id, instance_seq, leaf)", 3, rows);
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for leaf in leaves {
                query = query.bind(boot.as_uuid()).bind(seq).bind(leaf.as_bytes());
                seq += 1;
            }
            // Parameters that are not bound are null.
            query.execute(&mut self.connection).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), WriteError> {
        match self.run("COMMIT").await {
            Err(WriteError::Lost(source)) => Err(WriteError::InDoubt(source)),
            Ok(()) => {
                let (written_at, changes) = std::mem::take(&mut self.if_in);
                self.written_at = written_at.unwrap_or(self.written_at);
                self.folder.wrote(changes);
                Ok(())
            }
            other => other,
        }
    }

    async fn roll_back(&mut self) -> Result<(), WriteError> {
        self.run("ROLLBACK").await
    }
}

impl SqliteWriter {
    async fn all_of(&mut self, batch: &Batch<'_>) -> Result<Vec<Committed>, sqlx::Error> {
        let connection = &mut self.connection;
        let mut became = vec![Committed::Done; batch.len];
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        for (at, key) in &batch.keys {
            if !keys::insert_if_first(connection, key).await? {
                became[*at] = Committed::Conflict;
            }
        }
        for (at, former, key) in &batch.successors {
            if !keys::replace(connection, *former, key).await? {
                became[*at] = Committed::Conflict;
            }
        }
        for put in &batch.tenants {
            became[put.at] = tenants::put(connection, put).await?;
        }
        if !batch.uses.is_empty() {
            cards::count_uses(connection, batch.uses).await?;
        }
        if !batch.inserts.is_empty() {
            cards::insert(connection, batch, &mut became).await?;
        }
        if !batch.updates.is_empty() {
            updates::update(connection, batch, &mut became).await?;
        }
        for erasure in &batch.erasures {
            cards::erase(connection, erasure, batch.now, &mut became).await?;
        }
        for restored in &batch.restored {
            became[restored.at] = ends::restore(connection, restored).await?;
        }
        for destroyed in &batch.destroyed {
            became[destroyed.at] = ends::destroy(connection, destroyed).await?;
        }
        if !batch.forwards.is_empty() {
            forwards::open(connection, &batch.forwards).await?;
        }
        if !batch.once.is_empty() {
            once::open(connection, &batch.once, &mut became).await?;
        }
        for told in &batch.outcomes {
            became[told.at] = forwards::tell(connection, told).await?;
        }
        for finding in &batch.findings {
            became[finding.at] = once::reconcile(connection, finding).await?;
        }
        for near in &batch.near_ends {
            became[near.at] = events::mark(connection, near).await?;
        }
        for replay in &batch.replays {
            events::replay(connection, replay).await?;
        }
        for (at, change) in &batch.exports {
            became[*at] = exports::write(connection, change).await?;
        }
        for (at, change) in &batch.suspensions {
            became[*at] = suspensions::write(connection, change).await?;
        }
        for (at, one) in &batch.filed {
            became[*at] = filed::write(connection, one).await?;
        }
        Ok(became)
    }
}

/// What an error before COMMIT means, by SQLite's extended result codes.
fn failed(error: sqlx::Error) -> WriteError {
    const BUSY: i64 = 5;
    const LOCKED: i64 = 6;
    const CONSTRAINT: i64 = 19;
    const CONSTRAINT_PRIMARY_KEY: i64 = 1555;
    const CONSTRAINT_UNIQUE: i64 = 2067;
    let code =
        error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i64>().ok());
    match code {
        Some(code) if matches!(code & 0xff, BUSY | LOCKED) => WriteError::Retry("busy"),
        Some(code) if code & 0xff == CONSTRAINT => {
            let taken = matches!(code, CONSTRAINT_PRIMARY_KEY | CONSTRAINT_UNIQUE);
            WriteError::Refused { taken, source: error }
        }
        _ => WriteError::Lost(StoreError::from(error)),
    }
}

/// How many rows of card data or forwards it changes: one change may hold a hundred new cards.
fn changed(batch: &Batch<'_>) -> usize {
    batch.len.max(batch.cards.len())
}
