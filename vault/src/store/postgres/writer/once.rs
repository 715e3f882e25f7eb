//! Forwards that are the only ones under their payment references, and what is found out of them later.
//!
//! Promises: of two replicas that take one reference at once, one waits for the other's transaction and is told its forward.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::forwards;
use crate::store::change::Committed;
use crate::store::decode::postgres as read;
use crate::store::encode::json;
use crate::store::rows::{ForwardRow, Holder};
use crate::store::writer::{Finding, Once};

/// In one order for every replica, so that two that take the same references do not wait for each other. A reference whose
/// forward never left is free again; `not-sent` is never left, so the statement's snapshot cannot be late.
const TAKE: &str = "\
INSERT INTO payment_references AS held (tenant, route, account, reference, mac_key, forward, taken_at)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::uuid[], $7::int8[]
) AS item (tenant, route, account, reference, mac_key, forward, taken_at) ORDER BY tenant, route, account, reference
ON CONFLICT (tenant, route, account, reference) DO UPDATE
SET mac_key = excluded.mac_key, forward = excluded.forward, taken_at = excluded.taken_at
WHERE EXISTS (SELECT 1 FROM forwards WHERE forwards.id = held.forward AND forwards.state = 'not-sent')
RETURNING forward";

const HOLDERS: &str = "\
SELECT held.forward, forwards.state, held.reference
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS item (tenant, route, account, reference)
JOIN payment_references AS held USING (tenant, route, account, reference)
LEFT JOIN forwards ON forwards.id = held.forward";

/// Opens forwards whose references are free. No two of them are under the same one.
pub(super) async fn open(
    connection: &mut PgConnection,
    all: &[Once<'_>],
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(TAKE)
        .bind(of(all, |once| once.forward.tenant.as_str()))
        .bind(of(all, |once| once.forward.route.as_str()))
        .bind(of(all, |once| once.forward.account.as_str()))
        .bind(of(all, |once| once.reference.digest.as_slice()))
        .bind(of(all, |once| once.reference.mac_key.as_uuid()))
        .bind(of(all, |once| once.forward.id.as_uuid()))
        .bind(of(all, |once| once.forward.opened_at.unix_micros()))
        .fetch_all(&mut *connection)
        .await?;
    let taken: HashSet<Uuid> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let (opened, refused): (Vec<_>, Vec<_>) =
        all.iter().partition(|once| taken.contains(&once.forward.id.as_uuid()));
    if !refused.is_empty() {
        let holders = holders(connection, &refused).await?;
        for once in refused {
            // Gone between two statements: a restore, not a program of ours. The transaction is tried anew.
            let holder = holders.get(once.reference.digest.as_slice()).ok_or(sqlx::Error::RowNotFound)?;
            became[once.at] = Committed::Taken(*holder);
        }
    }
    if opened.is_empty() {
        return Ok(());
    }
    let opened: Vec<&ForwardRow> = opened.into_iter().map(|once| once.forward).collect();
    forwards::open(connection, &opened).await
}

async fn holders(
    connection: &mut PgConnection,
    refused: &[&Once<'_>],
) -> Result<HashMap<Vec<u8>, Holder>, sqlx::Error> {
    let rows = sqlx::query(HOLDERS)
        .bind(refused.iter().map(|once| once.forward.tenant.as_str()).collect::<Vec<_>>())
        .bind(refused.iter().map(|once| once.forward.route.as_str()).collect::<Vec<_>>())
        .bind(refused.iter().map(|once| once.forward.account.as_str()).collect::<Vec<_>>())
        .bind(refused.iter().map(|once| once.reference.digest.as_slice()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let holder = |row: &sqlx::postgres::PgRow| {
        let holder = read::holder(row).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok::<_, sqlx::Error>((row.try_get(2)?, holder))
    };
    rows.iter().map(holder).collect()
}

fn of<'a, T>(all: &'a [Once<'a>], part: impl Fn(&'a Once<'a>) -> T) -> Vec<T> {
    all.iter().map(part).collect()
}

/// Writes what the PSP says of a forward whose outcome is unknown.
pub(super) async fn reconcile(
    connection: &mut PgConnection,
    finding: &Finding<'_>,
) -> Result<Committed, sqlx::Error> {
    let written = sqlx::query(
        "UPDATE forwards SET state = $3, reconciled = $4 WHERE id = $1 AND tenant = $2 AND state = 'unknown'",
    )
    .bind(finding.id.as_uuid())
    .bind(finding.tenant.as_str())
    .bind(finding.reconciled.says.state().as_str())
    .bind(json(finding.reconciled))
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 1 {
        return Ok(Committed::Done);
    }
    let own: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM forwards WHERE id = $1 AND tenant = $2)")
            .bind(finding.id.as_uuid())
            .bind(finding.tenant.as_str())
            .fetch_one(connection)
            .await?;
    Ok(if own { Committed::Conflict } else { Committed::Missing })
}
