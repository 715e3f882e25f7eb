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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::MIGRATIONS;

    /// Longer than what an index page keeps of a row in place.
    const LEAF_LENGTH: usize = 1500;

    async fn entries(connection: &mut SqliteConnection) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
        sqlx::query_as("SELECT boot_id, instance_seq, leaf FROM audit_entries ORDER BY boot_id, instance_seq")
            .fetch_all(connection)
            .await
            .expect("the entries are read")
    }

    #[tokio::test]
    async fn the_entries_of_schema_9_are_the_entries_of_schema_10() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("SQLite opens");
        for migration in MIGRATIONS.iter().filter(|migration| migration.version < 10) {
            sqlx::raw_sql(migration.sqlite).execute(&mut connection).await.expect("an earlier schema");
        }
        for (boot, seq) in [(2u8, 1i64), (1, 300), (2, 0), (1, 2)] {
            sqlx::query("INSERT INTO audit_entries (boot_id, instance_seq, leaf) VALUES (?1, ?2, ?3)")
                .bind(vec![boot; 16])
                .bind(seq)
                .bind(vec![boot ^ seq as u8; LEAF_LENGTH])
                .execute(&mut connection)
                .await
                .expect("an entry");
        }
        let before = entries(&mut connection).await;
        assert_eq!(before.len(), 4);

        let migration = MIGRATIONS.iter().find(|migration| migration.version == 10).expect("schema 10");
        sqlx::raw_sql(migration.sqlite).execute(&mut connection).await.expect("schema 10 applies");

        assert_eq!(entries(&mut connection).await, before);
        let twice =
            sqlx::query("INSERT INTO audit_entries (boot_id, instance_seq, leaf) VALUES (?1, 300, X'00')")
                .bind(vec![1u8; 16])
                .execute(&mut connection)
                .await;
        assert!(twice.is_err(), "a place is taken once");
    }
}
