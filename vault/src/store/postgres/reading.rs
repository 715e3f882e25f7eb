//! The reads that many requests make at once.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use strongroom_domain::{TenantId, TokenHash};
use strongroom_sealing::Fingerprint;

use crate::store::Reading;
use crate::store::decode::{bytes32, card_columns, idempotency_columns, postgres as read};
use crate::store::error::StoreError;
use crate::store::rows::{CardRow, IdempotencyRow};

/// A connection that reads.
pub(super) struct PostgresReading {
    connection: PgConnection,
}

impl PostgresReading {
    pub(super) fn new(connection: PgConnection) -> Self {
        Self { connection }
    }
}

#[async_trait]
impl Reading for PostgresReading {
    async fn cards(&mut self, tokens: &[TokenHash]) -> Result<Vec<CardRow>, StoreError> {
        let hashes: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes().as_slice()).collect();
        sqlx::query(concat!("SELECT ", card_columns!(), " FROM cards WHERE token_hash = ANY($1)"))
            .bind(hashes)
            .fetch_all(&mut self.connection)
            .await?
            .iter()
            .map(read::card)
            .collect()
    }

    async fn known(
        &mut self,
        tenant: &TenantId,
        fingerprints: &[Fingerprint],
    ) -> Result<Vec<(Fingerprint, CardRow)>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            card_columns!(),
            ", known_by FROM (SELECT fingerprint AS known_by, token_hash AS known_as FROM fingerprints \
             WHERE tenant = $1 AND fingerprint = ANY($2)) AS held JOIN cards ON cards.token_hash = held.known_as"
        ))
        .bind(tenant.as_str())
        .bind(fingerprints.iter().map(|digest| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .fetch_all(&mut self.connection)
        .await?;
        let known =
            |row: &PgRow| Ok((Fingerprint::from_bytes(bytes32(row.try_get("known_by")?)?), read::card(row)?));
        rows.iter().map(known).collect()
    }

    async fn answers(&mut self, scopes: &[[u8; 32]]) -> Result<Vec<IdempotencyRow>, StoreError> {
        let scopes: Vec<&[u8]> = scopes.iter().map(<[u8; 32]>::as_slice).collect();
        sqlx::query(concat!(
            "SELECT ",
            idempotency_columns!(),
            " FROM idempotency_keys WHERE scope = ANY($1)"
        ))
        .bind(scopes)
        .fetch_all(&mut self.connection)
        .await?
        .iter()
        .map(read::idempotency)
        .collect()
    }
}
