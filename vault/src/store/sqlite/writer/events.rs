//! The outbox of one batch.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};
use strongroom_domain::{TenantId, TokenHash};

use super::STATEMENT_ROWS_MAX;
use crate::store::change::Committed;
use crate::store::decode::bytes32;
use crate::store::encode::{micros, signed};
use crate::store::outbox::{self, CardEvent, NewRow, Outbox, TenantGroups};
use crate::store::rows::TenantSettings;
use crate::store::sqlite::{insert_sql, placeholders, rows_of_statement};
use crate::store::writer::{NearEnd, Replay};

/// Writes what is told of a batch's changes: many rows of values in few statements.
pub(super) async fn tell(
    connection: &mut SqliteConnection,
    outbox: &Outbox,
    events: &[CardEvent<'_>],
) -> Result<(), sqlx::Error> {
    let groups = match outbox.asks_for_groups() {
        true => groups(connection, &outbox::tenants_of(events)).await?,
        false => TenantGroups::new(),
    };
    let told = outbox.told(events, &groups);
    let sequences = count(connection, &outbox::counted(&told)).await?;
    let rows = outbox.rows(&told, &sequences).ok_or(sqlx::Error::RowNotFound)?;
    for rows in rows.chunks(STATEMENT_ROWS_MAX) {
        add(connection, rows).await?;
    }
    Ok(())
}

async fn groups(connection: &mut SqliteConnection, tenants: &[&str]) -> Result<TenantGroups, sqlx::Error> {
    let mut groups = TenantGroups::new();
    for tenants in tenants.chunks(STATEMENT_ROWS_MAX) {
        let sql = format!("SELECT id, settings FROM tenants WHERE id IN ({})", placeholders(tenants.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for tenant in tenants {
            query = query.bind(*tenant);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let tenant = TenantId::parse(row.try_get::<&str, _>(0)?);
            let settings: TenantSettings = serde_json::from_str(row.try_get::<&str, _>(1)?)
                .map_err(|error| sqlx::Error::Decode(error.into()))?;
            groups.insert(tenant.map_err(|error| sqlx::Error::Decode(error.into()))?, settings.groups);
        }
    }
    Ok(groups)
}

/// Counts one more event of each card. Gives how many each has had.
async fn count(
    connection: &mut SqliteConnection,
    cards: &[&[u8]],
) -> Result<HashMap<TokenHash, u64>, sqlx::Error> {
    let mut counted = HashMap::new();
    for cards in cards.chunks(STATEMENT_ROWS_MAX) {
        let sql = format!(
            "UPDATE cards SET event_sequence = event_sequence + 1 WHERE token_hash IN ({}) \
             RETURNING token_hash, event_sequence",
            placeholders(cards.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for card in cards {
            query = query.bind(*card);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let hash = bytes32(row.try_get(0)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
            counted.insert(TokenHash::from_bytes(hash), row.try_get::<i64, _>(1)?.unsigned_abs());
        }
    }
    Ok(counted)
}

async fn add(connection: &mut SqliteConnection, rows: &[NewRow<'_>]) -> Result<(), sqlx::Error> {
    let into = "INSERT INTO card_events \
                (token_hash, sequence, destination, tenant, kind, data, occurred_at, state, due_at, give_up_at)";
    let sql = insert_sql(into, 10, rows_of_statement(rows.len()));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for row in rows {
        let at = row.event.at.unix_micros();
        query = query
            .bind(row.event.token.as_bytes().as_slice())
            .bind(signed(row.sequence))
            .bind(row.destination.as_str())
            .bind(row.event.tenant.as_str())
            .bind(row.event.kind.as_str())
            .bind(&*row.data)
            .bind(at)
            .bind("pending")
            .bind(at)
            .bind(row.give_up_at.unix_micros());
    }
    query.execute(connection).await?;
    Ok(())
}

/// Marks near ends as told, if they are still the card's and were not.
pub(super) async fn mark(
    connection: &mut SqliteConnection,
    near: &NearEnd<'_>,
) -> Result<Committed, sqlx::Error> {
    let marked = sqlx::query(
        "UPDATE cards SET told_exp = coalesce(?3, told_exp), told_expires_at = coalesce(?4, told_expires_at) \
         WHERE token_hash = ?1 AND tenant = ?2 AND deleted_at IS NULL \
         AND (?3 IS NULL OR (exp = ?3 AND told_exp IS NOT ?3)) \
         AND (?4 IS NULL OR (expires_at = ?4 AND told_expires_at IS NOT ?4))",
    )
    .bind(near.hash.as_bytes().as_slice())
    .bind(near.tenant.as_str())
    .bind(near.expiry.map(|expiry| expiry.to_string()))
    .bind(micros(near.expires_at))
    .execute(connection)
    .await?;
    Ok(if marked.rows_affected() == 1 { Committed::Done } else { Committed::Missing })
}

/// Lets events be delivered again.
pub(super) async fn replay(
    connection: &mut SqliteConnection,
    replay: &Replay<'_>,
) -> Result<(), sqlx::Error> {
    for events in replay.events.chunks(STATEMENT_ROWS_MAX) {
        let sql = format!(
            "UPDATE card_events SET state = 'pending', due_at = ?1, give_up_at = ?2, attempts = 0, met = NULL \
             FROM (VALUES {}) AS item WHERE destination = ?3 AND token_hash = item.column1 \
             AND sequence = item.column2 AND +state <> 'pending'",
            (0..events.len())
                .map(|at| format!("(?{},?{})", at * 2 + 4, at * 2 + 5))
                .collect::<Vec<_>>()
                .join(",")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(replay.time.unix_micros())
            .bind(replay.give_up_at.unix_micros())
            .bind(replay.destination.as_str());
        for (token, sequence) in events {
            query = query.bind(token.as_bytes().as_slice()).bind(signed(*sequence));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
