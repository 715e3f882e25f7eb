//! Forwards of one batch.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use crate::store::change::Committed;
use crate::store::encode::{attributes, grounds, micros, outcome, token_refs};
use crate::store::rows::ForwardRow;
use crate::store::writer::Told;

const OPEN: &str = "\
INSERT INTO forwards (
    id, tenant, proxy, caller, route, account, method, path, host, cards, attributes, state, opened_at, closed_at, outcome,
    grounds
)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::int8[], $14::int8[], $15::text[], $16::text[]
)";

/// Adds forwards.
pub(super) async fn open(connection: &mut PgConnection, forwards: &[&ForwardRow]) -> Result<(), sqlx::Error> {
    bind_forwards(sqlx::query(OPEN), forwards).execute(connection).await?;
    Ok(())
}

/// The 16 parameters of forwards.
pub(super) fn bind_forwards<'q>(
    query: Query<'q, Postgres, PgArguments>,
    forwards: &[&'q ForwardRow],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(all(forwards, |forward| forward.id.as_uuid()))
        .bind(all(forwards, |forward| forward.tenant.as_str()))
        .bind(all(forwards, |forward| forward.proxy.as_str()))
        .bind(all(forwards, |forward| forward.caller.as_str()))
        .bind(all(forwards, |forward| forward.route.as_str()))
        .bind(all(forwards, |forward| forward.account.as_str()))
        .bind(all(forwards, |forward| forward.method.as_str()))
        .bind(all(forwards, |forward| forward.path.as_str()))
        .bind(all(forwards, |forward| forward.host.as_str()))
        .bind(all(forwards, token_refs))
        .bind(all(forwards, attributes))
        .bind(all(forwards, |forward| forward.state.as_str()))
        .bind(all(forwards, |forward| forward.opened_at.unix_micros()))
        .bind(all(forwards, |forward| micros(forward.closed_at)))
        .bind(all(forwards, |forward| forward.outcome.as_ref().and_then(outcome)))
        .bind(all(forwards, grounds))
}

fn all<'a, T>(forwards: &[&'a ForwardRow], of: impl Fn(&'a ForwardRow) -> T) -> Vec<T> {
    forwards.iter().map(|forward| of(forward)).collect()
}

/// An outcome may be written once; one that a sweep wrote for a silent proxy (`unknown`, without details) gives way.
const TELL: &str = "\
UPDATE forwards SET state = told.state, outcome = told.outcome, closed_at = told.closed_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int8[]) AS told (id, proxy, state, outcome, closed_at)
WHERE forwards.id = told.id AND forwards.proxy = told.proxy
  AND (forwards.state = 'open' OR (forwards.state = 'unknown' AND forwards.outcome IS NULL AND told.outcome IS NOT NULL))
RETURNING forwards.id";

/// Writes outcomes.
pub(super) async fn tell(
    connection: &mut PgConnection,
    told: &[Told<'_>],
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let written = bind_told(sqlx::query(TELL), told).fetch_all(&mut *connection).await?;
    if written.len() == told.len() {
        return Ok(());
    }
    let written: Vec<Uuid> = written.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let left: Vec<_> = told.iter().filter(|told| !written.contains(&told.id.as_uuid())).collect();
    let rows = sqlx::query("SELECT id, proxy FROM forwards WHERE id = ANY($1)")
        .bind(left.iter().map(|told| told.id.as_uuid()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let proxies: HashMap<Uuid, String> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    for told in left {
        let own = proxies.get(&told.id.as_uuid()).is_some_and(|proxy| proxy == told.proxy.as_str());
        became[told.at] = if own { Committed::Conflict } else { Committed::Missing };
    }
    Ok(())
}

/// The 5 parameters of outcomes.
pub(super) fn bind_told<'q>(
    query: Query<'q, Postgres, PgArguments>,
    told: &[Told<'q>],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(told.iter().map(|told| told.id.as_uuid()).collect::<Vec<_>>())
        .bind(told.iter().map(|told| told.proxy.as_str()).collect::<Vec<_>>())
        .bind(told.iter().map(|told| told.state.as_str()).collect::<Vec<_>>())
        .bind(told.iter().map(|told| outcome(told.outcome)).collect::<Vec<_>>())
        .bind(told.iter().map(|told| told.time.unix_micros()).collect::<Vec<_>>())
}
