//! The index of the log in SQLite.

use sqlx::Row as _;
use strongroom_domain::{BootId, Timestamp, TokenRef};

use super::SqliteStore;
use crate::audit::tree::Hash;
use crate::audit::{EntryId, Leaf};
use crate::store::decode::{bytes32, card_columns, count, sqlite as read};
use crate::store::encode::signed;
use crate::store::error::StoreError;
use crate::store::find::{
    Column, Dialect, EntryFilter, EntryRange, FENCED, FindStore, Follower, Following, IndexRow, Known,
    LEAVES_READ_MAX, LoggedLeaf, NamedCardRow, PLACES_LOOKED_AT_MAX, PageSql, PlacePage, Rows, SPAN, UsePage,
    UsePlace, bounds_sql, find_store, hashes_of, names, token_key,
};
use crate::store::log::Lease;

find_store!(
    SqliteStore,
    sqlx::SqliteConnection,
    sqlx::sqlite::SqliteRow,
    log_readers,
    indexing,
    "BEGIN IMMEDIATE",
    SQLITE
);
crate::store::find::activity_store!(SqliteStore);

/// Two numbers.
fn use_row(row: &sqlx::sqlite::SqliteRow) -> Result<(i64, i64), StoreError> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// A JSON array of arrays, as rows.
const SQLITE: Dialect = Dialect {
    inserts: [
        "INSERT INTO log_entries (place, at, verb, outcome, caller, proxy, route, tenant) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7 \
         FROM json_each($1)",
        "INSERT INTO log_cards (token, place) SELECT value ->> 0, value ->> 1 FROM json_each($1)",
        "INSERT INTO log_forwards (workload, token, place) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)",
        "INSERT INTO log_spans (span, from_at, until_at) SELECT value ->> 0, value ->> 1, value ->> 2 \
         FROM json_each($1) WHERE true ON CONFLICT (span) DO UPDATE \
         SET from_at = min(from_at, excluded.from_at), until_at = max(until_at, excluded.until_at)",
    ],
    leaves: "SELECT w.value, r.boot_id, r.first_seq + w.value - r.first_index, \
         (SELECT leaf FROM audit_entries AS a WHERE a.boot_id = r.boot_id \
          AND a.instance_seq = r.first_seq + w.value - r.first_index), \
         (SELECT substr(hashes, w.value % 256 * 32 + 1, 32) FROM log_tiles AS t WHERE t.level = 0 AND t.number = w.value / 256) \
         FROM json_each($1) AS w JOIN log_runs AS r \
         ON r.first_index = (SELECT max(first_index) FROM log_runs WHERE first_index <= w.value)",
    advised: true,
};
