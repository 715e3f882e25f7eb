//! What the store holds: counted there, by nobody's word.

use std::path::Path;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::Failure;
use super::postgres::Server;

/// Rows and their entries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) cards: u64,
    pub(crate) tokenized: u64,
    pub(crate) forwards: u64,
    pub(crate) forwarded: u64,
}

const COUNTS: [&str; 4] = [
    "SELECT count(*) FROM cards",
    "SELECT count(*) FROM audit_entries WHERE \
     TEXT LIKE '%\"evt\":\"pan.tokenize\"%' AND TEXT LIKE '%\"out\":\"success\"%'",
    "SELECT count(*) FROM forwards",
    "SELECT count(*) FROM audit_entries WHERE \
     TEXT LIKE '%\"evt\":\"pan.forward\"%' AND TEXT LIKE '%\"out\":\"success\"%'",
];

impl From<[u64; 4]> for Counts {
    fn from([cards, tokenized, forwards, forwarded]: [u64; 4]) -> Self {
        Self { cards, tokenized, forwards, forwarded }
    }
}

pub(crate) fn of_postgres(server: &Server) -> Result<Counts, Failure> {
    let mut counts = [0; 4];
    for (count, sql) in counts.iter_mut().zip(COUNTS) {
        *count = server.ask(&sql.replace("TEXT", "convert_from(leaf, 'UTF8')"))?.parse()?;
    }
    Ok(counts.into())
}

pub(crate) fn of_sqlite(file: &Path) -> Result<Counts, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file).read_only(true))
                .await?;
        let mut counts = [0; 4];
        for (count, sql) in counts.iter_mut().zip(COUNTS) {
            let sql = sqlx::AssertSqlSafe(sql.replace("TEXT", "CAST(leaf AS TEXT)"));
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
            *count = found.unsigned_abs();
        }
        Ok(counts.into())
    })
}
