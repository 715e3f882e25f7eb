//! Fingerprints and aliases of one batch. The file's write lock is held: what is read here cannot change before COMMIT.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};
use strongroom_domain::{AliasHash, TokenHash};

use super::STATEMENT_ROWS_MAX;
use crate::store::decode::bytes32;
use crate::store::rows::AliasRow;
use crate::store::sqlite::{placeholders, rows_of_placeholders};
use crate::store::writer::{Batch, Claim, HeldNames, Winners};

/// What the batch's names lead to.
pub(super) async fn held<'a>(
    connection: &mut SqliteConnection,
    batch: &Batch<'a>,
) -> Result<HeldNames<'a>, sqlx::Error> {
    let mut names = HeldNames::default();
    let now = batch.now.unix_micros();
    for fingerprints in batch.fingerprints().chunks(STATEMENT_ROWS_MAX) {
        let sql = format!(
            "SELECT held.tenant, held.fingerprint, held.token_hash, \
             coalesce(cards.deleted_at IS NULL AND (cards.expires_at IS NULL OR cards.expires_at > ?), false) \
             FROM fingerprints AS held JOIN cards ON cards.token_hash = held.token_hash \
             WHERE (held.tenant, held.fingerprint) IN (VALUES {})",
            rows_of_placeholders(fingerprints.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(now);
        for (tenant, fingerprint) in fingerprints {
            query = query.bind(tenant.as_str()).bind(fingerprint.as_bytes().as_slice());
        }
        let asked: HashMap<_, _> = fingerprints
            .iter()
            .map(|(tenant, fingerprint)| {
                ((tenant.as_str(), *fingerprint.as_bytes()), (*tenant, *fingerprint))
            })
            .collect();
        for row in query.fetch_all(&mut *connection).await? {
            let fingerprint = hash(row.try_get(1)?)?;
            if let Some(name) = asked.get(&(row.try_get::<&str, _>(0)?, fingerprint)) {
                let token = TokenHash::from_bytes(hash(row.try_get(2)?)?);
                names.fingerprints.insert(*name, (token, row.try_get(3)?));
            }
        }
    }
    names.aliases = holders(connection, &batch.aliases()).await?;
    Ok(names)
}

/// The cards these aliases lead to.
pub(super) async fn holders(
    connection: &mut SqliteConnection,
    aliases: &[AliasHash],
) -> Result<HashMap<AliasHash, TokenHash>, sqlx::Error> {
    let mut holders = HashMap::new();
    for aliases in aliases.chunks(STATEMENT_ROWS_MAX) {
        let sql = format!(
            "SELECT alias_hash, token_hash FROM aliases WHERE alias_hash IN ({})",
            placeholders(aliases.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for alias in aliases {
            query = query.bind(alias.as_bytes().as_slice());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let alias = AliasHash::from_bytes(hash(row.try_get(0)?)?);
            holders.insert(alias, TokenHash::from_bytes(hash(row.try_get(1)?)?));
        }
    }
    Ok(holders)
}

pub(super) fn hash(bytes: &[u8]) -> Result<[u8; 32], sqlx::Error> {
    bytes32(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Writes the names of cards that come in.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    winners: &Winners<'_>,
) -> Result<(), sqlx::Error> {
    for claims in winners.claims.chunks(STATEMENT_ROWS_MAX) {
        claim(connection, claims).await?;
    }
    add(connection, &winners.aliases).await
}

/// Adds aliases that are nobody's.
pub(super) async fn add(connection: &mut SqliteConnection, aliases: &[&AliasRow]) -> Result<(), sqlx::Error> {
    for aliases in aliases.chunks(STATEMENT_ROWS_MAX) {
        let sql = format!(
            "INSERT INTO aliases (alias_hash, tenant, kind, alias, token_hash, mac, created_at, mac_key) VALUES {}",
            rows_of_placeholders(aliases.len(), 8)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for row in aliases {
            query = query
                .bind(row.alias.hash().as_bytes().to_vec())
                .bind(row.tenant.as_str())
                .bind(row.alias.kind().as_str())
                .bind(row.alias.as_str())
                .bind(row.token.as_bytes().as_slice())
                .bind(row.mac.as_slice())
                .bind(row.created_at.unix_micros())
                .bind(row.mac_key.as_uuid());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Lets fingerprints lead to new cards. A row that is there led to a card that is hidden or over.
async fn claim(connection: &mut SqliteConnection, claims: &[Claim<'_>]) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO fingerprints (tenant, fingerprint, token_hash) VALUES {} \
         ON CONFLICT (tenant, fingerprint) DO UPDATE SET token_hash = excluded.token_hash",
        rows_of_placeholders(claims.len(), 3)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for claim in claims {
        query = query
            .bind(claim.tenant.as_str())
            .bind(claim.fingerprint.as_bytes().to_vec())
            .bind(claim.token.as_bytes().to_vec());
    }
    query.execute(connection).await?;
    Ok(())
}

/// No fingerprint leads to the card any more: it is hidden, or has another number.
pub(super) async fn forget(connection: &mut SqliteConnection, card: TokenHash) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM fingerprints WHERE token_hash = ?1")
        .bind(card.as_bytes().as_slice())
        .execute(connection)
        .await?;
    Ok(())
}
