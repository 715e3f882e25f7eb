//! Forwards of one batch.

use sqlx::AssertSqlSafe;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};

use super::STATEMENT_ROWS_MAX;
use crate::store::change::Committed;
use crate::store::encode::{attributes, grounds, micros, outcome, token_refs};
use crate::store::rows::ForwardRow;
use crate::store::sqlite::{insert_sql, rows_of_statement};
use crate::store::writer::Told;

/// Adds forwards.
pub(super) async fn open(
    connection: &mut SqliteConnection,
    forwards: &[&ForwardRow],
) -> Result<(), sqlx::Error> {
    for forwards in forwards.chunks(STATEMENT_ROWS_MAX) {
        let into = "INSERT INTO forwards (id, tenant, proxy, caller, route, account, method, path, host, cards, \
                    attributes, state, opened_at, closed_at, outcome, grounds)";
        let mut query = sqlx::query(AssertSqlSafe(insert_sql(into, 16, rows_of_statement(forwards.len()))));
        for forward in forwards {
            query = bind(query, forward);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The 16 values of a forward's row.
pub(super) fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    forward: &ForwardRow,
) -> Query<'q, Sqlite, SqliteArguments> {
    query
        .bind(forward.id.as_uuid())
        .bind(forward.tenant.as_str())
        .bind(forward.proxy.as_str())
        .bind(forward.caller.as_str())
        .bind(forward.route.as_str())
        .bind(forward.account.as_str())
        .bind(forward.method.as_str())
        .bind(forward.path.as_str())
        .bind(forward.host.as_str())
        .bind(token_refs(forward))
        .bind(attributes(forward))
        .bind(forward.state.as_str())
        .bind(forward.opened_at.unix_micros())
        .bind(micros(forward.closed_at))
        .bind(forward.outcome.as_ref().and_then(outcome))
        .bind(grounds(forward))
}

/// Writes an outcome, once; one that a sweep wrote for a silent proxy (`unknown`, without details) gives way.
pub(super) async fn tell(
    connection: &mut SqliteConnection,
    told: &Told<'_>,
) -> Result<Committed, sqlx::Error> {
    let written = sqlx::query(
        "UPDATE forwards SET state = ?3, outcome = ?4, closed_at = ?5 WHERE id = ?1 AND proxy = ?2 \
         AND (state = 'open' OR (state = 'unknown' AND outcome IS NULL AND ?4 IS NOT NULL))",
    )
    .bind(told.id.as_uuid())
    .bind(told.proxy.as_str())
    .bind(told.state.as_str())
    .bind(outcome(told.outcome))
    .bind(told.time.unix_micros())
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 1 {
        return Ok(Committed::Done);
    }
    let own: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM forwards WHERE id = ?1 AND proxy = ?2)")
        .bind(told.id.as_uuid())
        .bind(told.proxy.as_str())
        .fetch_one(connection)
        .await?;
    Ok(if own { Committed::Conflict } else { Committed::Missing })
}
