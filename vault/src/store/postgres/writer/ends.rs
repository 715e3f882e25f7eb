//! Cards that are shown again, and cards that are destroyed.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use crate::store::change::Committed;
use crate::store::encode::{micros, signed};
use crate::store::writer::{Destroyed, Restored};

const RESTORE: &str = "\
UPDATE cards SET deleted_at = NULL, destroy_after = NULL, hidden_by = NULL
FROM unnest($1::bytea[], $2::text[], $3::int8[], $4::int8[]) AS item (token_hash, tenant, time, kept_since)
WHERE cards.token_hash = item.token_hash AND cards.tenant = item.tenant
  AND cards.destroy_after > item.time AND octet_length(cards.record) > 0
  AND (cards.expires_at IS NULL OR cards.expires_at > item.time)
  AND (item.kept_since IS NULL OR cards.updated_at > item.kept_since)
RETURNING cards.token_hash";

/// Shows hidden cards again whose hold is not over and that would not end again at once.
pub(super) async fn restore(
    connection: &mut PgConnection,
    items: &[Restored<'_>],
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let shown = sqlx::query(RESTORE)
        .bind(items.iter().map(|item| item.hash.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.tenant.as_str()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.time.unix_micros()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| micros(item.kept_since)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    for item in items {
        if !is_among(&shown, item.hash.as_bytes())? {
            became[item.at] = Committed::Missing;
        }
    }
    Ok(())
}

/// Fingerprints, other names and facts told in events go with their card.
const DESTROY: &str = "\
WITH emptied AS (
    UPDATE cards SET record = '', bin = '', last4 = '', exp = NULL, brand = NULL, length = NULL, metadata = NULL, closed_at = NULL,
        told_exp = NULL, told_expires_at = NULL,
        row_version = cards.row_version + 1, updated_at = item.time
    FROM unnest($1::bytea[], $2::text[], $3::int8[], $4::int8[]) AS item (token_hash, tenant, row_version, time)
    WHERE cards.token_hash = item.token_hash AND cards.tenant = item.tenant AND cards.row_version = item.row_version
      AND cards.destroy_after <= item.time AND octet_length(cards.record) > 0
    RETURNING cards.token_hash
), prints AS (
    DELETE FROM fingerprints USING emptied WHERE fingerprints.token_hash = emptied.token_hash
), names AS (
    DELETE FROM aliases USING emptied WHERE aliases.token_hash = emptied.token_hash
), facts AS (
    UPDATE card_events SET data = '{}' FROM emptied
    WHERE card_events.token_hash = emptied.token_hash AND card_events.kind IN ('created', 'updated', 'expiring')
)
SELECT token_hash FROM emptied";

/// Destroys hidden cards whose hold is over. Postgres keeps the old versions of the rows until it vacuums.
pub(super) async fn destroy(
    connection: &mut PgConnection,
    items: &[Destroyed<'_>],
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let emptied = sqlx::query(DESTROY)
        .bind(items.iter().map(|item| item.hash.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.tenant.as_str()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| signed(item.expected_version)).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.time.unix_micros()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    for item in items {
        if !is_among(&emptied, item.hash.as_bytes())? {
            became[item.at] = Committed::Missing;
        }
    }
    Ok(())
}

/// Batches are a hundred rows: looking through them costs less than an index.
pub(super) fn is_among(rows: &[PgRow], hash: &[u8; 32]) -> Result<bool, sqlx::Error> {
    for row in rows {
        if row.try_get::<&[u8], _>(0)? == hash {
            return Ok(true);
        }
    }
    Ok(false)
}
