//! Batches as Postgres statements: arrays in, one statement for each kind of change.

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
use sqlx::postgres::PgConnection;
use strongroom_domain::{BootId, Timestamp};

use super::keys;
use crate::audit::Leaf;
use crate::store::change::Committed;
use crate::store::encode::signed;
use crate::store::error::{StoreError, WriteError};
use crate::store::exports::postgres as exports;
use crate::store::filed::postgres as filed;
use crate::store::outbox::{CardEvent, Outbox};
use crate::store::rows::BootRow;
use crate::store::suspensions::postgres as suspensions;
use crate::store::writer::{Batch, BootAt, Writer};

/// The writing connection.
pub(super) struct PostgresWriter {
    connection: PgConnection,
    /// When the boot's row was last written, as far as is known to be durable: what [`at_once`] goes by.
    written_at: i64,
    /// The same, once the open transaction is committed.
    written_at_if_in: Option<i64>,
}

impl PostgresWriter {
    pub(super) fn new(connection: PgConnection) -> Self {
        Self { connection, written_at: 0, written_at_if_in: None }
    }
}

#[async_trait]
impl Writer for PostgresWriter {
    async fn open_boot(&mut self, boot: &BootRow, leaf: &Leaf) -> Result<(), WriteError> {
        let sql = "WITH boot AS (INSERT INTO audit_boots (boot_id, instance, mac_key, started_at, written_at, next_seq) \
                   VALUES ($1, $2, $3, $4, $4, 1)) \
                   INSERT INTO audit_entries (boot_id, instance_seq, leaf) VALUES ($1, 0, $5)";
        sqlx::query(sql)
            .bind(boot.boot.as_uuid())
            .bind(boot.instance.as_str())
            .bind(boot.mac_key.as_uuid())
            .bind(boot.started_at.unix_micros())
            .bind(leaf.as_bytes())
            .execute(&mut self.connection)
            .await
            .map_err(failed)?;
        self.written_at = boot.started_at.unix_micros();
        Ok(())
    }

    async fn next_seq(&mut self, boot: BootId) -> Result<Option<u64>, WriteError> {
        // It waits for a commit whose answer was lost: after it, the answer is final.
        let sql = "UPDATE audit_boots SET written_at = written_at + 1 WHERE boot_id = $1 RETURNING next_seq, written_at";
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
                Ok(true)
            }
            // COMMIT was part of it.
            Err(WriteError::Lost(source)) => Err(WriteError::InDoubt(source)),
            other => other,
        }
    }

    async fn apply(&mut self, batch: &Batch<'_>) -> Result<Vec<Committed>, WriteError> {
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
        let bytes: Vec<&[u8]> = leaves.iter().map(Leaf::as_bytes).collect();
        let written = sqlx::query(
            "WITH moved AS (UPDATE audit_boots SET next_seq = next_seq + $3, written_at = $4 \
                            WHERE boot_id = $1 AND next_seq = $2 RETURNING boot_id) \
             INSERT INTO audit_entries (boot_id, instance_seq, leaf) \
             SELECT moved.boot_id, $2 + leaf.place - 1, leaf.bytes \
             FROM moved, unnest($5::bytea[]) WITH ORDINALITY AS leaf (bytes, place)",
        )
        .bind(boot.as_uuid())
        .bind(signed(from))
        .bind(i64::try_from(leaves.len()).unwrap_or(i64::MAX))
        .bind(now.unix_micros())
        .bind(bytes)
        .execute(&mut self.connection)
        .await
        .map_err(failed)?;
        self.written_at_if_in = Some(now.unix_micros());
        if written.rows_affected() == leaves.len() as u64 { Ok(()) } else { Err(WriteError::Fenced) }
    }

    async fn commit(&mut self) -> Result<(), WriteError> {
        match sqlx::raw_sql("COMMIT").execute(&mut self.connection).await {
            Ok(_) => {
                self.written_at = self.written_at_if_in.take().unwrap_or(self.written_at);
                Ok(())
            }
            // An answer of one of these classes to COMMIT says the transaction was undone; anything else says nothing.
            Err(error) => Err(match failed(error) {
                WriteError::Lost(source) => WriteError::InDoubt(source),
                undone => undone,
            }),
        }
    }

    async fn roll_back(&mut self) -> Result<(), WriteError> {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await.map_err(failed)?;
        Ok(())
    }
}

impl PostgresWriter {
    async fn all_of(&mut self, batch: &Batch<'_>) -> Result<Vec<Committed>, sqlx::Error> {
        let connection = &mut self.connection;
        let mut became = vec![Committed::Done; batch.len];
        sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
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
        if !batch.erasures.is_empty() {
            cards::erase(connection, batch, &mut became).await?;
        }
        if !batch.restored.is_empty() {
            ends::restore(connection, &batch.restored, &mut became).await?;
        }
        if !batch.destroyed.is_empty() {
            ends::destroy(connection, &batch.destroyed, &mut became).await?;
        }
        if !batch.forwards.is_empty() {
            forwards::open(connection, &batch.forwards).await?;
        }
        if !batch.once.is_empty() {
            once::open(connection, &batch.once, &mut became).await?;
        }
        if !batch.outcomes.is_empty() {
            forwards::tell(connection, &batch.outcomes, &mut became).await?;
        }
        for finding in &batch.findings {
            became[finding.at] = once::reconcile(connection, finding).await?;
        }
        if !batch.near_ends.is_empty() {
            events::mark(connection, &batch.near_ends, &mut became).await?;
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

/// What an error before COMMIT means. SQLSTATE classes: 40 rolled back, 22 and 23 a row that is not accepted.
fn failed(error: sqlx::Error) -> WriteError {
    if matches!(error, sqlx::Error::RowNotFound) {
        return WriteError::Retry("vanished");
    }
    let Some(state) = error.as_database_error().and_then(|error| error.code()) else {
        return WriteError::Lost(error.into());
    };
    match state.as_ref() {
        "40001" => WriteError::Retry("serialization"),
        "40P01" => WriteError::Retry("deadlock"),
        "55P03" => WriteError::Retry("lock-timeout"),
        "23505" => WriteError::Refused { taken: true, source: error },
        state if state.starts_with("22") || state.starts_with("23") => {
            WriteError::Refused { taken: false, source: error }
        }
        _ => WriteError::Lost(StoreError::from(error)),
    }
}
