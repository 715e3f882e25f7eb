//! What the store takes on disk, table by table, its write-ahead log apart.

use std::collections::BTreeMap;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::{Failure, Import};

/// Bytes by table, its indexes with it.
pub(super) type Tables = BTreeMap<String, u64>;

const POSTGRES: &str = "SELECT relname || ' ' || pg_total_relation_size(oid) FROM pg_class \
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
const SQLITE: &str = "SELECT s.tbl_name || ' ' || sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name \
    GROUP BY s.tbl_name";

/// What each table takes now.
pub(super) fn tables(import: &Import<'_>) -> Result<Tables, Failure> {
    let found = match import.server {
        Some(server) => server.ask(POSTGRES)?.lines().map(str::to_owned).collect(),
        None => sqlite(import)?,
    };
    let table = |line: &String| -> Result<(String, u64), Failure> {
        let (name, bytes) = line.split_once(' ').ok_or("a table without its size")?;
        Ok((name.to_owned(), bytes.parse()?))
    };
    found.iter().map(table).collect()
}

/// What each table grew by.
pub(super) fn growth(before: &Tables, after: &Tables) -> Tables {
    let grown = |(name, bytes): (&String, &u64)| {
        (name.clone(), bytes.saturating_sub(before.get(name).copied().unwrap_or_default()))
    };
    after.iter().map(grown).filter(|(_, bytes)| *bytes > 0).collect()
}

fn sqlite(import: &Import<'_>) -> Result<Vec<String>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(import.vault.database()).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        Ok(sqlx::query_scalar(SQLITE).fetch_all(&mut connection).await?)
    })
}
