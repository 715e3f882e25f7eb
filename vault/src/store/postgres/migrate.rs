//! Creating and updating the schema of a Postgres database.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use crate::store::error::StoreError;
use crate::store::schema::{self, Applied, SchemaError};

/// What was applied; `None` if the database knows of no schema.
pub(super) async fn versions(connection: &mut PgConnection) -> Result<Option<Vec<Applied>>, StoreError> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('schema_versions') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Ok(None);
    }
    let rows = sqlx::query("SELECT version, sha256 FROM schema_versions ORDER BY version")
        .fetch_all(connection)
        .await?;
    let applied = |row: &sqlx::postgres::PgRow| {
        Ok::<_, sqlx::Error>(Applied { version: row.try_get(0)?, sha256: row.try_get(1)? })
    };
    Ok(Some(rows.iter().map(applied).collect::<Result<_, _>>()?))
}

/// Applies what is missing, one transaction for each version. Several may try at once: the table lock lets one through, and the
/// others wait for it as long as its step takes. Locks on tables that are served from are still asked for as briefly as ever.
pub(super) async fn up(connection: &mut PgConnection) -> Result<Vec<u32>, SchemaError> {
    let made = sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY, sha256 bytea NOT NULL)",
    )
    .execute(&mut *connection)
    .await;
    match made {
        // IF NOT EXISTS looks before it leaps: whoever is second gets this, and by now the first has committed.
        Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {}
        other => {
            other.map_err(StoreError::from)?;
        }
    }
    let mut added = Vec::new();
    loop {
        let mut transaction = connection.begin().await.map_err(StoreError::from)?;
        sqlx::raw_sql(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
             LOCK TABLE schema_versions IN EXCLUSIVE MODE; SET LOCAL lock_timeout TO DEFAULT",
        )
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::from)?;
        let applied = versions(&mut transaction).await?.unwrap_or_default();
        let Some(next) = schema::pending(&applied, |migration| migration.postgres)?.first() else {
            return Ok(added);
        };
        sqlx::raw_sql(next.postgres).execute(&mut *transaction).await.map_err(StoreError::from)?;
        sqlx::query("INSERT INTO schema_versions (version, sha256) VALUES ($1, $2)")
            .bind(i32::try_from(next.version).unwrap_or(i32::MAX))
            .bind(schema::sha256(next.postgres))
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::from)?;
        transaction.commit().await.map_err(StoreError::from)?;
        added.push(next.version);
    }
}
