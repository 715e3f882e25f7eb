//! What the database says of the log: asked over a connection of its own.

use std::path::Path;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::runtime::Runtime;

use super::Failure;

/// A connection.
pub(crate) struct Head {
    runtime: Runtime,
    connection: PgConnection,
}

impl Head {
    pub(crate) fn connect(socket: &Path) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let options =
            PgConnectOptions::new_without_pgpass().socket(socket).username("strongroom").database("postgres");
        let connection = runtime.block_on(PgConnection::connect_with(&options))?;
        Ok(Self { runtime, connection })
    }

    /// Entries in the tree.
    pub(crate) fn size(&mut self) -> Result<u64, Failure> {
        self.number("SELECT size FROM log_head")
    }

    /// Entries the newest checkpoint is of.
    pub(crate) fn newest(&mut self) -> Result<u64, Failure> {
        self.number("SELECT coalesce(max(size), 0) FROM log_checkpoints")
    }

    /// Who has the lease: the boot and its instance.
    pub(crate) fn leader(&mut self) -> Result<(uuid::Uuid, String), Failure> {
        let sql = "SELECT b.boot_id, b.instance FROM log_head h JOIN audit_boots b ON b.boot_id = h.holder";
        Ok(self.runtime.block_on(sqlx::query_as(sql).fetch_one(&mut self.connection))?)
    }

    /// Entries and boots.
    pub(crate) fn counts(&mut self) -> Result<(u64, u64), Failure> {
        let entries = self.number("SELECT count(*) FROM audit_entries")?;
        Ok((entries, self.number("SELECT count(*) FROM audit_boots")?))
    }

    /// Size and time of every checkpoint, by size.
    pub(crate) fn checkpoints(&mut self) -> Result<Vec<(u64, i64)>, Failure> {
        let sql = "SELECT size, signed_at FROM log_checkpoints ORDER BY size";
        let rows: Vec<(i64, i64)> =
            self.runtime.block_on(sqlx::query_as(sql).fetch_all(&mut self.connection))?;
        Ok(rows.into_iter().map(|(size, at)| (size.unsigned_abs(), at)).collect())
    }

    fn number(&mut self, sql: &'static str) -> Result<u64, Failure> {
        let found: i64 = self.runtime.block_on(sqlx::query_scalar(sql).fetch_one(&mut self.connection))?;
        Ok(found.unsigned_abs())
    }
}
