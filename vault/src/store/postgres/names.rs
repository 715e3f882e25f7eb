//! Reads of fingerprints and aliases.

use strongroom_domain::{AliasHash, TenantId, TokenHash};
use strongroom_sealing::Fingerprint;

use super::PostgresStore;
use crate::store::decode::{alias_columns, card_columns, postgres as read};
use crate::store::error::StoreError;
use crate::store::rows::{AliasRow, CardRow};

impl PostgresStore {
    /// Cards with this fingerprint, oldest first.
    pub(super) async fn cards_alike(
        &self,
        tenant: &TenantId,
        fingerprint: Fingerprint,
        limit: u32,
    ) -> Result<Vec<CardRow>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            card_columns!(),
            " FROM cards WHERE tenant = $1 AND fingerprint = $2 ORDER BY created_at, token_hash LIMIT $3"
        ))
        .bind(tenant.as_str())
        .bind(fingerprint.as_bytes().as_slice())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read::card).collect()
    }

    /// The aliases with these hashes.
    pub(super) async fn aliases_named(&self, aliases: &[AliasHash]) -> Result<Vec<AliasRow>, StoreError> {
        let rows =
            sqlx::query(concat!("SELECT ", alias_columns!(), " FROM aliases WHERE alias_hash = ANY($1)"))
                .bind(aliases.iter().map(|alias| alias.as_bytes().as_slice()).collect::<Vec<_>>())
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(read::alias).collect()
    }

    /// The aliases that lead to these cards, oldest first.
    pub(super) async fn aliases_leading_to(&self, tokens: &[TokenHash]) -> Result<Vec<AliasRow>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            alias_columns!(),
            " FROM aliases WHERE token_hash = ANY($1) ORDER BY created_at, alias_hash"
        ))
        .bind(tokens.iter().map(|token| token.as_bytes().as_slice()).collect::<Vec<_>>())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read::alias).collect()
    }
}
