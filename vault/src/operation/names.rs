//! What a card is called: tokens lead to cards by themselves, aliases by rows whose MAC holds.
//!
//! Promises: an alias row that was made, moved or altered below this program leads nowhere.
//! Trusts: the tenant's fingerprint key, which only the KMS unwraps.
//! Upholds: C-30.

use std::collections::HashMap;

use strongroom_domain::{Alias, AliasHash, CardName, TenantId, Timestamp, TokenHash};
use strongroom_sealing::{HeldKey, KeyError, KeyScope, OpenError, Purpose, alias_mac, alias_mac_holds};

use super::{OperationError, Vault};
use crate::authz::NamedCard;
use crate::store::AliasRow;

impl Vault {
    /// The cards these names lead to, in order. A name that leads nowhere becomes the name of a card nobody has, so that
    /// it is looked up, refused and logged like an unknown token.
    pub async fn resolve(&self, names: &[CardName]) -> Result<Vec<NamedCard>, OperationError> {
        self.resolve_where(names, |_| true).await
    }

    /// The same to somebody who may know of this tenant alone: aliases of others lead nowhere, whatever their rows are like.
    pub async fn resolve_within(
        &self,
        tenant: &TenantId,
        names: &[CardName],
    ) -> Result<Vec<NamedCard>, OperationError> {
        self.resolve_where(names, |row| row.tenant == *tenant).await
    }

    async fn resolve_where(
        &self,
        names: &[CardName],
        may_know: impl Fn(&AliasRow) -> bool + Send,
    ) -> Result<Vec<NamedCard>, OperationError> {
        let alias = |name: &CardName| match name {
            CardName::Alias(alias) => Some(alias.hash()),
            CardName::Token(_) => None,
        };
        let hashes: Vec<AliasHash> = names.iter().filter_map(alias).collect();
        let rows = if hashes.is_empty() { Vec::new() } else { self.store.aliases(&hashes).await? };
        let rows: HashMap<AliasHash, AliasRow> =
            rows.into_iter().filter(may_know).map(|row| (row.alias.hash(), row)).collect();
        let mut cards = Vec::with_capacity(names.len());
        for name in names {
            cards.push(match name {
                CardName::Token(token) => NamedCard::from(token),
                CardName::Alias(alias) => self.resolve_alias(alias, rows.get(&alias.hash())).await?,
            });
        }
        Ok(cards)
    }

    async fn resolve_alias(
        &self,
        alias: &Alias,
        row: Option<&AliasRow>,
    ) -> Result<NamedCard, OperationError> {
        let environment = match alias {
            Alias::PanShaped(alias) => alias.environment(),
            Alias::Foreign(_) => self.environment,
        };
        let Some(row) = row else {
            return Ok(NamedCard { token: alias.hash().of_no_card(), environment });
        };
        self.must_hold(row).await?;
        Ok(NamedCard { token: row.token, environment })
    }

    /// Refuses an alias row whose MAC does not hold: a person is told.
    async fn must_hold(&self, row: &AliasRow) -> Result<(), OperationError> {
        let scope = KeyScope::Tenant(row.tenant.clone());
        let key = match self.keys.by_id(&scope, Purpose::Fingerprint, row.mac_key).await {
            Ok(key) => key,
            Err(KeyError::Unknown) => return Err(OperationError::Unsealed(OpenError::Tampered)),
            Err(error) => return Err(error.into()),
        };
        if alias_mac_holds(&key.key, &row.tenant, &row.alias, row.token, row.created_at, &row.mac) {
            Ok(())
        } else {
            Err(OperationError::Unsealed(OpenError::Tampered))
        }
    }

    /// The aliases that lead to a card.
    pub async fn aliases_of(&self, token: TokenHash) -> Result<Vec<Alias>, OperationError> {
        let rows = self.all_hold(self.store.aliases_of(&[token]).await?).await?;
        Ok(rows.into_iter().map(|row| row.alias).collect())
    }

    /// These rows, if every one of them holds.
    pub(super) async fn all_hold(&self, rows: Vec<AliasRow>) -> Result<Vec<AliasRow>, OperationError> {
        for row in &rows {
            self.must_hold(row).await?;
        }
        Ok(rows)
    }
}

/// A new alias's row.
pub(super) fn alias_row(
    key: &HeldKey,
    tenant: &TenantId,
    alias: Alias,
    token: TokenHash,
    now: Timestamp,
) -> AliasRow {
    let mac = alias_mac(&key.key, tenant, &alias, token, now);
    AliasRow { alias, tenant: tenant.clone(), token, mac_key: key.id, mac, created_at: now }
}
