//! Cards that are shown again, and cards that are destroyed.

use sqlx::sqlite::SqliteConnection;

use crate::store::change::Committed;
use crate::store::encode::{micros, signed};
use crate::store::writer::{Destroyed, Restored};

/// Shows a hidden card again, if its hold is not over and it would not end again at once.
pub(super) async fn restore(
    connection: &mut SqliteConnection,
    item: &Restored<'_>,
) -> Result<Committed, sqlx::Error> {
    let shown = sqlx::query(
        "UPDATE cards SET deleted_at = NULL, destroy_after = NULL, hidden_by = NULL \
         WHERE token_hash = ?1 AND tenant = ?2 AND destroy_after > ?3 AND length(record) > 0 \
         AND (expires_at IS NULL OR expires_at > ?3) AND (?4 IS NULL OR updated_at > ?4)",
    )
    .bind(item.hash.as_bytes().as_slice())
    .bind(item.tenant.as_str())
    .bind(item.time.unix_micros())
    .bind(micros(item.kept_since))
    .execute(connection)
    .await?;
    Ok(if shown.rows_affected() == 1 { Committed::Done } else { Committed::Missing })
}

/// Destroys a hidden card whose hold is over. `secure_delete` overwrites in the file what these statements free.
pub(super) async fn destroy(
    connection: &mut SqliteConnection,
    item: &Destroyed<'_>,
) -> Result<Committed, sqlx::Error> {
    let emptied = sqlx::query(
        "UPDATE cards SET record = x'', bin = '', last4 = '', exp = NULL, brand = NULL, length = NULL, \
         metadata = NULL, closed_at = NULL, told_exp = NULL, told_expires_at = NULL, row_version = row_version + 1, updated_at = ?4 \
         WHERE token_hash = ?1 AND tenant = ?2 AND row_version = ?3 AND destroy_after <= ?4 AND length(record) > 0",
    )
    .bind(item.hash.as_bytes().as_slice())
    .bind(item.tenant.as_str())
    .bind(signed(item.expected_version))
    .bind(item.time.unix_micros())
    .execute(&mut *connection)
    .await?;
    if emptied.rows_affected() == 0 {
        return Ok(Committed::Missing);
    }
    for sql in [
        "DELETE FROM fingerprints WHERE token_hash = ?1",
        "DELETE FROM aliases WHERE token_hash = ?1",
        "UPDATE card_events SET data = '{}' WHERE token_hash = ?1 AND kind IN ('created', 'updated', 'expiring')",
    ] {
        sqlx::query(sql).bind(item.hash.as_bytes().as_slice()).execute(&mut *connection).await?;
    }
    Ok(Committed::Done)
}
