//! The outbox of one batch.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use strongroom_domain::{TenantId, TokenHash};

use crate::store::change::Committed;
use crate::store::decode::bytes32;
use crate::store::encode::{micros, signed};
use crate::store::outbox::{self, CardEvent, NewRow, Outbox, TenantGroups};
use crate::store::rows::TenantSettings;
use crate::store::writer::{NearEnd, Replay};

/// Writes what is told of a batch's changes: arrays in, one statement.
pub(super) async fn tell(
    connection: &mut PgConnection,
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
    if rows.is_empty() { Ok(()) } else { add(connection, &rows).await }
}

async fn groups(connection: &mut PgConnection, tenants: &[&str]) -> Result<TenantGroups, sqlx::Error> {
    let rows = sqlx::query("SELECT id, settings FROM tenants WHERE id = ANY($1)")
        .bind(tenants)
        .fetch_all(connection)
        .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        let tenant = TenantId::parse(row.try_get::<&str, _>(0)?);
        let settings: TenantSettings = serde_json::from_str(row.try_get::<&str, _>(1)?)
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok((tenant.map_err(|error| sqlx::Error::Decode(error.into()))?, settings.groups))
    };
    rows.iter().map(read).collect()
}

/// Counts one more event of each card; its row is locked, so two replicas number one after the other. Gives how many each
/// has had.
async fn count(
    connection: &mut PgConnection,
    cards: &[&[u8]],
) -> Result<HashMap<TokenHash, u64>, sqlx::Error> {
    if cards.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "UPDATE cards SET event_sequence = event_sequence + 1 WHERE token_hash = ANY($1) \
         RETURNING token_hash, event_sequence",
    )
    .bind(cards)
    .fetch_all(connection)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        let hash = bytes32(row.try_get(0)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok((TokenHash::from_bytes(hash), row.try_get::<i64, _>(1)?.unsigned_abs()))
    };
    rows.iter().map(read).collect()
}

async fn add(connection: &mut PgConnection, rows: &[NewRow<'_>]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO card_events \
         (token_hash, sequence, destination, tenant, kind, data, occurred_at, state, due_at, give_up_at) \
         SELECT token_hash, sequence, destination, tenant, kind, data, occurred_at, 'pending', occurred_at, give_up_at \
         FROM unnest($1::bytea[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[]) \
         AS item (token_hash, sequence, destination, tenant, kind, data, occurred_at, give_up_at)",
    )
    .bind(rows.iter().map(|row| row.event.token.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| signed(row.sequence)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.destination.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.tenant.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.data).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.at.unix_micros()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.give_up_at.unix_micros()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks near ends as told, if they are still the card's and were not.
pub(super) async fn mark(
    connection: &mut PgConnection,
    near: &[NearEnd<'_>],
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let marked = sqlx::query(
        "UPDATE cards SET told_exp = coalesce(item.exp, told_exp), \
         told_expires_at = coalesce(item.expires_at, told_expires_at) \
         FROM unnest($1::bytea[], $2::text[], $3::text[], $4::int8[]) AS item (token_hash, tenant, exp, expires_at) \
         WHERE cards.token_hash = item.token_hash AND cards.tenant = item.tenant AND cards.deleted_at IS NULL \
         AND (item.exp IS NULL OR (cards.exp = item.exp AND told_exp IS DISTINCT FROM item.exp)) \
         AND (item.expires_at IS NULL \
              OR (cards.expires_at = item.expires_at AND told_expires_at IS DISTINCT FROM item.expires_at)) \
         RETURNING cards.token_hash",
    )
    .bind(near.iter().map(|near| near.hash.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(near.iter().map(|near| near.tenant.as_str()).collect::<Vec<_>>())
    .bind(near.iter().map(|near| near.expiry.map(|expiry| expiry.to_string())).collect::<Vec<_>>())
    .bind(near.iter().map(|near| micros(near.expires_at)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    for near in near {
        if !super::ends::is_among(&marked, near.hash.as_bytes())? {
            became[near.at] = Committed::Missing;
        }
    }
    Ok(())
}

/// Lets events be delivered again.
pub(super) async fn replay(connection: &mut PgConnection, replay: &Replay<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE card_events SET state = 'pending', due_at = $4, give_up_at = $5, attempts = 0, met = NULL \
         FROM unnest($2::bytea[], $3::int8[]) AS item (token_hash, sequence) \
         WHERE card_events.destination = $1 AND card_events.state <> 'pending' \
         AND card_events.token_hash = item.token_hash AND card_events.sequence = item.sequence",
    )
    .bind(replay.destination.as_str())
    .bind(replay.events.iter().map(|(token, _)| token.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(replay.events.iter().map(|(_, sequence)| signed(*sequence)).collect::<Vec<_>>())
    .bind(replay.time.unix_micros())
    .bind(replay.give_up_at.unix_micros())
    .execute(connection)
    .await?;
    Ok(())
}
