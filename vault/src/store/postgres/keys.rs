//! Wrapped data keys in Postgres.

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use strongroom_domain::DataKeyId;

use super::PostgresStore;
use crate::store::decode::{key_columns, postgres as read};
use crate::store::error::StoreError;
use crate::store::inventory::key_inventory;
use crate::store::keys::{KeyScope, KeyStore, KeyStoreError, Purpose, WrappedKey, unavailable};
use crate::store::writer::KEY_RECORDS_MAX;

key_inventory!(PostgresStore);

#[async_trait]
impl KeyStore for PostgresStore {
    async fn active_key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            key_columns!(),
            " FROM data_keys WHERE scope = $1 AND purpose = $2 AND state = 'active' AND records < $3"
        ))
        .bind(scope.as_str())
        .bind(purpose.as_str())
        .bind(KEY_RECORDS_MAX)
        .fetch_optional(&self.readers)
        .await
        .map_err(|error| unavailable(error.into()))?;
        row.map(|row| read::key(&row)).transpose().map_err(unavailable)
    }

    async fn key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            key_columns!(),
            " FROM data_keys WHERE id = $1 AND scope = $2 AND purpose = $3"
        ))
        .bind(id.as_uuid())
        .bind(scope.as_str())
        .bind(purpose.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(|error| unavailable(error.into()))?;
        row.map(|row| read::key(&row)).transpose().map_err(unavailable)
    }

    async fn insert_key_if_first(&self, key: WrappedKey) -> Result<WrappedKey, KeyStoreError> {
        let insert = async {
            let mut connection = self.readers.acquire().await?;
            let mut transaction = connection.begin().await?;
            insert_if_first(&mut transaction, &key).await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(())
        };
        insert.await.map_err(|error| unavailable(error.into()))?;
        let winner = self.active_key(&key.scope, key.purpose).await?;
        winner.ok_or_else(|| unavailable(StoreError::Away("the active key went away as it was made")))
    }
}

/// Adds a key unless its scope and purpose have one that still seals. Whether it was added.
pub(super) async fn insert_if_first(
    connection: &mut PgConnection,
    key: &WrappedKey,
) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "UPDATE data_keys SET state = 'deactivated' WHERE scope = $1 AND purpose = $2 AND state = 'active' \
         AND (seals_until <= $3 OR records >= $4)",
    )
    .bind(key.scope.as_str())
    .bind(key.purpose.as_str())
    .bind(key.created_at.unix_micros())
    .bind(KEY_RECORDS_MAX)
    .execute(&mut *connection)
    .await?;
    let inserted = sqlx::query(
        "INSERT INTO data_keys (id, scope, purpose, wrapped, provider, kms_key, state, created_at, seals_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (scope, purpose) WHERE state = 'active' DO NOTHING",
    )
    .bind(key.id.as_uuid())
    .bind(key.scope.as_str())
    .bind(key.purpose.as_str())
    .bind(&key.wrapped[..])
    .bind(&key.provider)
    .bind(&key.kms_key)
    .bind(key.state.as_str())
    .bind(key.created_at.unix_micros())
    .bind(key.seals_until.unix_micros())
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Adds a key in the place of the active one. Whether it was: nothing changed if that one is not active any more.
pub(super) async fn replace(
    connection: &mut PgConnection,
    former: DataKeyId,
    key: &WrappedKey,
) -> Result<bool, sqlx::Error> {
    let replaced = sqlx::query(
        "UPDATE data_keys SET state = 'deactivated' \
         WHERE id = $1 AND scope = $2 AND purpose = $3 AND state = 'active'",
    )
    .bind(former.as_uuid())
    .bind(key.scope.as_str())
    .bind(key.purpose.as_str())
    .execute(&mut *connection)
    .await?;
    Ok(replaced.rows_affected() == 1 && insert_if_first(connection, key).await?)
}
