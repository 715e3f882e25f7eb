//! Creating and updating the schema of a SQLite database.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use crate::store::error::StoreError;
use crate::store::schema::{self, Applied, SchemaError};

/// What was applied; `None` if the database knows of no schema.
pub(super) async fn versions(connection: &mut SqliteConnection) -> Result<Option<Vec<Applied>>, StoreError> {
    let known: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_versions')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !known {
        return Ok(None);
    }
    let rows = sqlx::query("SELECT version, sha256 FROM schema_versions ORDER BY version")
        .fetch_all(connection)
        .await?;
    let applied = |row: &sqlx::sqlite::SqliteRow| {
        Ok::<_, sqlx::Error>(Applied { version: row.try_get(0)?, sha256: row.try_get(1)? })
    };
    Ok(Some(rows.iter().map(applied).collect::<Result<_, _>>()?))
}

/// Applies what is missing, one transaction for each version. Several may try at once: the file's lock lets one through.
pub(super) async fn up(connection: &mut SqliteConnection) -> Result<Vec<u32>, SchemaError> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_versions (version integer NOT NULL PRIMARY KEY, sha256 blob NOT NULL) STRICT",
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::from)?;
    let mut added = Vec::new();
    loop {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        let applied = versions(&mut transaction).await?.unwrap_or_default();
        let Some(next) = schema::pending(&applied, |migration| migration.sqlite)?.first() else {
            return Ok(added);
        };
        sqlx::raw_sql(next.sqlite).execute(&mut *transaction).await.map_err(StoreError::from)?;
        sqlx::query("INSERT INTO schema_versions (version, sha256) VALUES (?1, ?2)")
            .bind(i32::try_from(next.version).unwrap_or(i32::MAX))
            .bind(schema::sha256(next.sqlite))
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::from)?;
        transaction.commit().await.map_err(StoreError::from)?;
        added.push(next.version);
    }
}
