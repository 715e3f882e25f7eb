//! A whole batch as one statement: many rows into a view, whose triggers write each kind where it belongs.
//!
//! sqlx reaches SQLite through a thread for each connection. A transaction of six statements crosses to it and back six
//! times, which costs a lone commit more than everything SQLite does for it; this crosses once. The text depends on how many
//! rows there are and on nothing else, so eleven prepared statements serve every mixture of changes.
//!
//! Promises: outside a transaction a statement is one: all of its rows are durable, or none is there.

use sqlx::AssertSqlSafe;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};

use super::{cards, forwards};
use crate::audit::Leaf;
use crate::store::encode::{outcome, signed};
use crate::store::rows::IdempotencyRow;
use crate::store::sqlite::{rows_of_placeholders, rows_of_statement};
use crate::store::writer::{Batch, BootAt, KEY_RECORDS_MAX, Told};

/// Most rows of one statement: SQLite takes 32,766 parameters. A power of two.
const ROWS_MAX: usize = 1_024;
/// Columns of the view: a kind, and those of the widest table.
const COLUMNS: usize = 17;
/// Kinds of rows.
const BOOT: i32 = 1;
const ENTRY: i32 = 2;
const KEY: i32 = 3;
const CARD: i32 = 4;
const ANSWER: i32 = 5;
const FORWARD: i32 = 6;
const OUTCOME: i32 = 7;

/// The view and what becomes of its rows: objects of this connection alone, never of the file. A row without a kind is
/// nothing.
pub(super) const SETUP: &str = "\
CREATE TEMP VIEW writes (kind, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16) AS
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER writes_boot INSTEAD OF INSERT ON writes WHEN NEW.kind = 1 BEGIN
    UPDATE audit_boots SET next_seq = next_seq + NEW.c3, written_at = NEW.c4 
        WHERE boot_id = NEW.c1 AND next_seq = NEW.c2 AND written_at = NEW.c5;
    SELECT RAISE(ABORT, 'not at once: the boot') WHERE changes() <> 1;
END;
CREATE TEMP TRIGGER writes_entry INSTEAD OF INSERT ON writes WHEN NEW.kind = 2 BEGIN
    INSERT INTO audit_entries (boot_id, instance_seq, leaf) VALUES (NEW.c1, NEW.c2, NEW.c3);
END;
CREATE TEMP TRIGGER writes_key INSTEAD OF INSERT ON writes WHEN NEW.kind = 3 BEGIN
    SELECT RAISE(ABORT, 'not at once: a key') WHERE NOT EXISTS (
        SELECT 1 FROM data_keys
        WHERE id = NEW.c1 AND state = 'active' AND seals_until > NEW.c2 AND records < NEW.c3);
END;
CREATE TEMP TRIGGER writes_card INSTEAD OF INSERT ON writes WHEN NEW.kind = 4 BEGIN
    INSERT INTO cards (token_hash, token, tenant, record, data_key, bin, last4, exp, brand, length, row_version,
        expires_at, metadata, created_at, updated_at, fingerprint)
    VALUES (NEW.c1, NEW.c2, NEW.c3, NEW.c4, NEW.c5, NEW.c6, NEW.c7, NEW.c8, NEW.c9, NEW.c10, NEW.c11,
        NEW.c12, NEW.c13, NEW.c14, NEW.c15, NEW.c16);
END;
CREATE TEMP TRIGGER writes_answer INSTEAD OF INSERT ON writes WHEN NEW.kind = 5 BEGIN
    INSERT INTO idempotency_keys (scope, digest, status, answer, expires_at)
    VALUES (NEW.c1, NEW.c2, NEW.c3, NEW.c4, NEW.c5)
    ON CONFLICT (scope) DO UPDATE SET digest = excluded.digest, status = excluded.status, answer = excluded.answer,
        expires_at = excluded.expires_at WHERE idempotency_keys.expires_at <= NEW.c6;
    SELECT RAISE(ABORT, 'not at once: a taken scope') WHERE changes() <> 1;
END;
CREATE TEMP TRIGGER writes_forward INSTEAD OF INSERT ON writes WHEN NEW.kind = 6 BEGIN
    INSERT INTO forwards (id, tenant, proxy, caller, route, account, method, path, host, cards, attributes, state,
        opened_at, closed_at, outcome, grounds)
    VALUES (NEW.c1, NEW.c2, NEW.c3, NEW.c4, NEW.c5, NEW.c6, NEW.c7, NEW.c8, NEW.c9, NEW.c10, NEW.c11, NEW.c12,
        NEW.c13, NEW.c14, NEW.c15, NEW.c16);
END;
CREATE TEMP TRIGGER writes_outcome INSTEAD OF INSERT ON writes WHEN NEW.kind = 7 BEGIN
    UPDATE forwards SET state = NEW.c3, outcome = NEW.c4, closed_at = NEW.c5 WHERE id = NEW.c1 AND proxy = NEW.c2
        AND (state = 'open' OR (state = 'unknown' AND outcome IS NULL AND NEW.c4 IS NOT NULL));
    SELECT RAISE(ABORT, 'not at once: an outcome') WHERE changes() <> 1;
END;";

/// What a trigger says when a row is not as it must be.
const CONSTRAINT_TRIGGER: &str = "1811";

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Writes a plain batch and its entries. `false`: some row is not as it must be, or there are too many; nothing happened.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
    at: BootAt,
    leaves: &[Leaf],
) -> Result<bool, sqlx::Error> {
    let (keys, answers) = (batch.sealing_keys(), batch.answers());
    let changes = batch.cards.len() + batch.forwards.len() + batch.outcomes.len();
    let rows = 1 + leaves.len() + keys.len() + answers.len() + changes;
    if rows > ROWS_MAX {
        return Ok(false);
    }
    let values = rows_of_placeholders(rows_of_statement(rows), COLUMNS);
    let query = sqlx::query(AssertSqlSafe(format!("INSERT INTO writes VALUES {values}")));
    // Values behind the last row are not bound, and null.
    let mut query = entries(query, at, leaves, batch.now.unix_micros());
    for key in keys {
        query = query.bind(KEY).bind(key).bind(batch.now.unix_micros()).bind(KEY_RECORDS_MAX);
        query = filled(query, 4);
    }
    for card in &batch.cards {
        query = filled(cards::bind(query.bind(CARD), card), 17);
    }
    for row in answers {
        query = filled(answer(query, row, batch.now.unix_micros()), 7);
    }
    for forward in &batch.forwards {
        query = filled(forwards::bind(query.bind(FORWARD), forward), 17);
    }
    for told in &batch.outcomes {
        query = filled(tell(query, told), 6);
    }
    match query.execute(connection).await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_database_error().and_then(|error| error.code()) {
            Some(code) if code == CONSTRAINT_TRIGGER => Ok(false),
            _ => Err(error),
        },
    }
}

/// Null in every column of a row behind the first so many.
fn filled(mut query: Statement<'_>, bound: usize) -> Statement<'_> {
    for _ in bound..COLUMNS {
        query = query.bind(None::<i64>);
    }
    query
}

fn entries<'q>(query: Statement<'q>, at: BootAt, leaves: &[Leaf], now: i64) -> Statement<'q> {
    let (boot, seq) = (at.boot.as_uuid(), signed(at.seq));
    let count = i64::try_from(leaves.len()).unwrap_or(i64::MAX);
    let query = query.bind(BOOT).bind(boot).bind(seq).bind(count).bind(now).bind(at.written_at);
    let mut query = filled(query, 6);
    for (seq, leaf) in (seq..).zip(leaves) {
        query = filled(query.bind(ENTRY).bind(boot).bind(seq).bind(leaf.as_bytes()), 4);
    }
    query
}

fn answer<'q>(query: Statement<'q>, row: &IdempotencyRow, now: i64) -> Statement<'q> {
    query
        .bind(ANSWER)
        .bind(row.scope.as_slice())
        .bind(row.digest.as_slice())
        .bind(i32::from(row.status))
        .bind(row.answer.as_slice())
        .bind(row.expires_at.unix_micros())
        .bind(now)
}

fn tell<'q>(query: Statement<'q>, told: &Told<'_>) -> Statement<'q> {
    query
        .bind(OUTCOME)
        .bind(told.id.as_uuid())
        .bind(told.proxy.as_str())
        .bind(told.state.as_str())
        .bind(outcome(told.outcome))
        .bind(told.time.unix_micros())
}
