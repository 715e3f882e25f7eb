//! Looking for cards that have come to an end.

use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgRow};
use strongroom_domain::{TenantId, Timestamp, TokenHash, WorkloadId};

use crate::store::encode::micros;
use crate::store::ends::{Due, DueCard, Kept};
use crate::store::error::StoreError;

/// Cards that have come to an end, those that wait longest first. Each question has its index.
pub(super) async fn due(readers: &PgPool, which: Due<'_>, limit: u32) -> Result<Vec<DueCard>, StoreError> {
    let limit = i64::from(limit);
    let rows = match which {
        Due::Expired(at) => {
            sqlx::query(
                "SELECT tenant, token_hash, row_version FROM cards WHERE expires_at <= $1 AND deleted_at IS NULL \
                 ORDER BY expires_at LIMIT $2",
            )
            .bind(at.unix_micros())
            .bind(limit)
            .fetch_all(readers)
            .await?
        }
        Due::Unchanged(tenant, since) => {
            sqlx::query(
                "SELECT tenant, token_hash, row_version FROM cards \
                 WHERE tenant = $1 AND updated_at <= $2 AND deleted_at IS NULL ORDER BY updated_at LIMIT $3",
            )
            .bind(tenant.as_str())
            .bind(since.unix_micros())
            .bind(limit)
            .fetch_all(readers)
            .await?
        }
        Due::Condemned(at) => {
            sqlx::query(
                "SELECT tenant, token_hash, row_version FROM cards \
                 WHERE destroy_after IS NOT NULL AND octet_length(record) > 0 AND destroy_after <= $1 \
                 ORDER BY destroy_after LIMIT $2",
            )
            .bind(at.unix_micros())
            .bind(limit)
            .fetch_all(readers)
            .await?
        }
        Due::Restorable(hidden) => {
            sqlx::query(
                "SELECT tenant, token_hash, row_version FROM cards \
                 WHERE destroy_after IS NOT NULL AND octet_length(record) > 0 AND destroy_after > $1 AND tenant = $2 \
                 AND deleted_at >= $3 AND deleted_at < $4 AND ($5::text IS NULL OR hidden_by = $5) \
                 AND (expires_at IS NULL OR expires_at > $1) AND ($6::int8 IS NULL OR updated_at > $6) \
                 ORDER BY destroy_after LIMIT $7",
            )
            .bind(hidden.at.unix_micros())
            .bind(hidden.tenant.as_str())
            .bind(hidden.from.unix_micros())
            .bind(hidden.until.unix_micros())
            .bind(hidden.by.as_ref().map(WorkloadId::as_str))
            .bind(micros(hidden.kept_since))
            .bind(limit)
            .fetch_all(readers)
            .await?
        }
    };
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<DueCard, StoreError> {
    let hash = row.try_get::<&[u8], _>(1)?.try_into().map_err(|_| StoreError::Corrupt("cards.token_hash"))?;
    Ok(DueCard {
        tenant: TenantId::parse(row.try_get::<&str, _>(0)?)
            .map_err(|_| StoreError::Corrupt("cards.tenant"))?,
        token: TokenHash::from_bytes(hash),
        row_version: row.try_get::<i64, _>(2)?.unsigned_abs(),
    })
}

/// What a tenant keeps. Overdue cards are few: they are found by their own indexes, whoever they belong to, which comparing
/// an expression sees to.
pub(super) async fn kept(
    readers: &PgPool,
    tenant: &TenantId,
    since: Option<Timestamp>,
    at: Timestamp,
) -> Result<Kept, StoreError> {
    let row = sqlx::query(
        "SELECT \
         (SELECT count(*) FROM cards WHERE tenant = $1 AND updated_at <= $2 AND deleted_at IS NULL), \
         (SELECT count(*) FROM cards WHERE expires_at <= $3 AND deleted_at IS NULL AND tenant || '' = $1), \
         (SELECT count(*) FROM cards WHERE destroy_after IS NOT NULL AND octet_length(record) > 0 AND destroy_after <= $3 \
          AND tenant || '' = $1), \
         (SELECT min(updated_at) FROM cards WHERE tenant = $1 AND deleted_at IS NULL)",
    )
    .bind(tenant.as_str())
    .bind(micros(since))
    .bind(at.unix_micros())
    .fetch_one(readers)
    .await?;
    let count = |at: usize| row.try_get::<i64, _>(at).map(i64::unsigned_abs);
    Ok(Kept {
        outlived: count(0)?,
        expired: count(1)?,
        condemned: count(2)?,
        oldest: row.try_get::<Option<i64>, _>(3)?.map(Timestamp::from_unix_micros),
    })
}
