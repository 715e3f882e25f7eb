//! Forwards that are the only ones under their payment references, and what is found out of them later. The file's write
//! lock is held: what is read here cannot change before COMMIT.

use sqlx::sqlite::SqliteConnection;

use super::forwards;
use crate::store::change::Committed;
use crate::store::decode::sqlite as read;
use crate::store::encode::json;
use crate::store::rows::Holder;
use crate::store::writer::{Finding, Once};

/// Opens forwards whose references are free. No two of them are under the same one.
pub(super) async fn open(
    connection: &mut SqliteConnection,
    all: &[Once<'_>],
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let mut opened = Vec::with_capacity(all.len());
    for once in all {
        match take(connection, once).await? {
            None => opened.push(once.forward),
            Some(holder) => became[once.at] = Committed::Taken(holder),
        }
    }
    forwards::open(connection, &opened).await
}

/// Takes a reference that nobody has, or whose forward never left. `None`: taken.
async fn take(connection: &mut SqliteConnection, once: &Once<'_>) -> Result<Option<Holder>, sqlx::Error> {
    let forward = once.forward;
    let taken = sqlx::query(
        "INSERT INTO payment_references (tenant, route, account, reference, mac_key, forward, taken_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (tenant, route, account, reference) DO UPDATE SET mac_key = excluded.mac_key, \
         forward = excluded.forward, taken_at = excluded.taken_at \
         WHERE EXISTS (SELECT 1 FROM forwards WHERE forwards.id = payment_references.forward \
         AND forwards.state = 'not-sent')",
    )
    .bind(forward.tenant.as_str())
    .bind(forward.route.as_str())
    .bind(forward.account.as_str())
    .bind(once.reference.digest.as_slice())
    .bind(once.reference.mac_key.as_uuid())
    .bind(forward.id.as_uuid())
    .bind(forward.opened_at.unix_micros())
    .execute(&mut *connection)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT held.forward, forwards.state FROM payment_references AS held \
         LEFT JOIN forwards ON forwards.id = held.forward \
         WHERE held.tenant = ?1 AND held.route = ?2 AND held.account = ?3 AND held.reference = ?4",
    )
    .bind(forward.tenant.as_str())
    .bind(forward.route.as_str())
    .bind(forward.account.as_str())
    .bind(once.reference.digest.as_slice())
    .fetch_one(connection)
    .await?;
    read::holder(&row).map(Some).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Writes what the PSP says of a forward whose outcome is unknown.
pub(super) async fn reconcile(
    connection: &mut SqliteConnection,
    finding: &Finding<'_>,
) -> Result<Committed, sqlx::Error> {
    let written = sqlx::query(
        "UPDATE forwards SET state = ?3, reconciled = ?4 WHERE id = ?1 AND tenant = ?2 AND state = 'unknown'",
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
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM forwards WHERE id = ?1 AND tenant = ?2)")
            .bind(finding.id.as_uuid())
            .bind(finding.tenant.as_str())
            .fetch_one(connection)
            .await?;
    Ok(if own { Committed::Conflict } else { Committed::Missing })
}
