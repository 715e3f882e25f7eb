//! Reads of fingerprints and aliases.

use sqlx::AssertSqlSafe;
use strongroom_domain::{AliasHash, TenantId};
use strongroom_sealing::Fingerprint;

use super::{SqliteStore, placeholders};
use crate::store::decode::{alias_columns, card_columns, sqlite as read};
use crate::store::error::StoreError;
use crate::store::rows::{AliasRow, CardRow};

impl SqliteStore {
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
            " FROM cards WHERE tenant = ?1 AND fingerprint = ?2 ORDER BY created_at, token_hash LIMIT ?3"
        ))
        .bind(tenant.as_str())
        .bind(fingerprint.as_bytes().as_slice())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read::card).collect()
    }

    /// Aliases by a column of hashes: `alias_hash` or `token_hash`.
    pub(super) async fn aliases_by(
        &self,
        column: &'static str,
        hashes: &[&[u8; 32]],
    ) -> Result<Vec<AliasRow>, StoreError> {
        let sql = format!(
            concat!(
                "SELECT ",
                alias_columns!(),
                " FROM aliases WHERE {} IN ({}) ORDER BY created_at, alias_hash"
            ),
            column,
            placeholders(hashes.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for hash in hashes {
            query = query.bind(hash.as_slice());
        }
        query.fetch_all(&self.readers).await?.iter().map(read::alias).collect()
    }

    /// By the aliases' own hashes.
    pub(super) async fn aliases_named(&self, aliases: &[AliasHash]) -> Result<Vec<AliasRow>, StoreError> {
        let hashes: Vec<&[u8; 32]> = aliases.iter().map(AliasHash::as_bytes).collect();
        self.aliases_by("alias_hash", &hashes).await
    }
}
