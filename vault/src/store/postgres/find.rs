//! The index of the log in Postgres.

use sqlx::Row as _;
use strongroom_domain::{BootId, Timestamp, TokenRef};

use super::PostgresStore;
use crate::audit::tree::Hash;
use crate::audit::{EntryId, Leaf};
use crate::store::decode::{bytes32, card_columns, count, postgres as read};
use crate::store::encode::signed;
use crate::store::error::StoreError;
use crate::store::find::{
    Column, Dialect, EntryFilter, EntryRange, FENCED, FindStore, Follower, Following, IndexRow, Known,
    LEAVES_READ_MAX, LoggedLeaf, NamedCardRow, PLACES_LOOKED_AT_MAX, PageSql, PlacePage, Rows, SPAN, UsePage,
    UsePlace, bounds_sql, find_store, hashes_of, names, token_key,
};
use crate::store::log::Lease;

find_store!(PostgresStore, sqlx::PgConnection, sqlx::postgres::PgRow, readers, readers, "BEGIN", POSTGRES);
crate::store::find::activity_store!(PostgresStore);

/// Two numbers.
fn use_row(row: &sqlx::postgres::PgRow) -> Result<(i64, i64), StoreError> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// A JSON array of arrays, as rows.
const POSTGRES: Dialect = Dialect {
    inserts: [
        "INSERT INTO log_entries (place, at, verb, outcome, caller, proxy, route, tenant) \
         SELECT (w ->> 0)::bigint, (w ->> 1)::bigint, (w ->> 2)::integer, (w ->> 3)::integer, (w ->> 4)::integer, \
         (w ->> 5)::integer, (w ->> 6)::integer, (w ->> 7)::integer FROM json_array_elements($1::json) AS w",
        "INSERT INTO log_cards (token, place) \
         SELECT (w ->> 0)::bigint, (w ->> 1)::bigint FROM json_array_elements($1::json) AS w",
        "INSERT INTO log_forwards (workload, token, place) \
         SELECT (w ->> 0)::integer, (w ->> 1)::bigint, (w ->> 2)::bigint FROM json_array_elements($1::json) AS w",
        "INSERT INTO log_spans (span, from_at, until_at) \
         SELECT (w ->> 0)::bigint, (w ->> 1)::bigint, (w ->> 2)::bigint FROM json_array_elements($1::json) AS w \
         ON CONFLICT (span) DO UPDATE SET from_at = least(log_spans.from_at, excluded.from_at), \
         until_at = greatest(log_spans.until_at, excluded.until_at)",
    ],
    leaves: "SELECT w.place, r.boot_id, r.first_seq + w.place - r.first_index, \
         (SELECT leaf FROM audit_entries AS a WHERE a.boot_id = r.boot_id \
          AND a.instance_seq = r.first_seq + w.place - r.first_index), \
         (SELECT substr(hashes, (w.place % 256 * 32 + 1)::integer, 32) FROM log_tiles AS t \
          WHERE t.level = 0 AND t.number = w.place / 256) \
         FROM (SELECT value::bigint AS place FROM json_array_elements_text($1::json)) AS w JOIN log_runs AS r \
         ON r.first_index = (SELECT max(first_index) FROM log_runs WHERE first_index <= w.place)",
    advised: false,
};
