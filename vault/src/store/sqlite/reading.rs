//! The reads that many requests make at once. Like the inserts, each has the next power of two of places, so that few
//! statements serve every number of keys and stay prepared; a place that is left null finds nothing.

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};
use strongroom_domain::{TenantId, TokenHash};
use strongroom_sealing::Fingerprint;

use super::{placeholders, rows_of_statement};
use crate::store::Reading;
use crate::store::decode::{bytes32, card_columns, idempotency_columns, sqlite as read};
use crate::store::error::StoreError;
use crate::store::rows::{CardRow, IdempotencyRow};

/// A connection that reads.
pub(super) struct SqliteReading {
    connection: SqliteConnection,
}

impl SqliteReading {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection }
    }
}

#[async_trait]
impl Reading for SqliteReading {
    async fn cards(&mut self, tokens: &[TokenHash]) -> Result<Vec<CardRow>, StoreError> {
        let sql = format!(
            concat!("SELECT ", card_columns!(), " FROM cards WHERE token_hash IN ({})"),
            placeholders(rows_of_statement(tokens.len()))
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for token in tokens {
            query = query.bind(token.as_bytes().as_slice());
        }
        query.fetch_all(&mut self.connection).await?.iter().map(read::card).collect()
    }

    async fn known(
        &mut self,
        tenant: &TenantId,
        fingerprints: &[Fingerprint],
    ) -> Result<Vec<(Fingerprint, CardRow)>, StoreError> {
        let sql = format!(
            concat!(
                "SELECT ",
                card_columns!(),
                ", known_by FROM (SELECT fingerprint AS known_by, token_hash AS known_as FROM fingerprints \
                 WHERE tenant = ? AND fingerprint IN ({})) AS held JOIN cards ON cards.token_hash = held.known_as"
            ),
            placeholders(rows_of_statement(fingerprints.len()))
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str());
        for fingerprint in fingerprints {
            query = query.bind(fingerprint.as_bytes().as_slice());
        }
        let rows = query.fetch_all(&mut self.connection).await?;
        let known = |row: &SqliteRow| {
            Ok((Fingerprint::from_bytes(bytes32(row.try_get("known_by")?)?), read::card(row)?))
        };
        rows.iter().map(known).collect()
    }

    async fn answers(&mut self, scopes: &[[u8; 32]]) -> Result<Vec<IdempotencyRow>, StoreError> {
        let sql = format!(
            concat!("SELECT ", idempotency_columns!(), " FROM idempotency_keys WHERE scope IN ({})"),
            placeholders(rows_of_statement(scopes.len()))
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for scope in scopes {
            query = query.bind(scope.as_slice());
        }
        query.fetch_all(&mut self.connection).await?.iter().map(read::idempotency).collect()
    }
}
