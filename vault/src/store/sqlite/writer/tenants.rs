//! Tenants: seldom written, so one statement each.

use sqlx::sqlite::SqliteConnection;

use crate::store::change::Committed;
use crate::store::encode::signed;
use crate::store::writer::TenantPut;

/// Creates or changes a tenant.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    put: &TenantPut<'_>,
) -> Result<Committed, sqlx::Error> {
    let tenant = put.tenant;
    let settings =
        serde_json::to_string(&tenant.settings).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sql = match put.expected_version {
        None => {
            "INSERT INTO tenants (id, settings, status, version, created_at, updated_at) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE ?7 = 0 ON CONFLICT (id) DO NOTHING"
        }
        Some(_) => {
            "UPDATE tenants SET settings = ?2, status = ?3, version = ?4, created_at = min(created_at, ?5), \
             updated_at = ?6 WHERE id = ?1 AND version = ?7 AND ?4 = ?7 + 1"
        }
    };
    let done = sqlx::query(sql)
        .bind(tenant.id.as_str())
        .bind(settings)
        .bind(tenant.status.as_str())
        .bind(signed(tenant.version))
        .bind(tenant.created_at.unix_micros())
        .bind(tenant.updated_at.unix_micros())
        .bind(signed(put.expected_version.unwrap_or(0)))
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() == 1 {
        return Ok(Committed::Done);
    }
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tenants WHERE id = ?1)")
        .bind(tenant.id.as_str())
        .fetch_one(connection)
        .await?;
    Ok(if there { Committed::Conflict } else { Committed::Missing })
}
