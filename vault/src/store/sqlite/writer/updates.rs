//! Cards that are changed under their token. The file's write lock is held: what is read here cannot change before COMMIT.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};
use strongroom_domain::{Timestamp, TokenHash};

use super::{STATEMENT_ROWS_MAX, cards, names};
use crate::store::change::{CardUpdate, Committed};
use crate::store::encode::{metadata, micros, signed};
use crate::store::sqlite::placeholders;
use crate::store::writer::{Batch, Claim, HeldCards};

/// Changes cards that are there at the version expected.
pub(super) async fn update(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let usable = cards::usable(connection, &batch.resealing_keys(), batch.now).await?;
    let answers = cards::held(connection, &batch.update_scopes(), batch.now).await?;
    let versions = versions(connection, batch).await?;
    let aliases = names::holders(connection, &batch.update_aliases()).await?;
    let updated = batch.decide_updates(HeldCards { usable, answers, versions, aliases }, became);
    for update in &updated.cards {
        write(connection, update).await?;
        if update.changes_number() {
            names::forget(connection, update.card.token.hash()).await?;
        }
    }
    for claim in updated.claims() {
        take(connection, &claim, batch.now).await?;
    }
    names::add(connection, &updated.aliases).await?;
    for answers in updated.answers.chunks(STATEMENT_ROWS_MAX) {
        cards::remember(connection, answers).await?;
    }
    Ok(())
}

/// Tenant and version of the batch's cards that are neither hidden nor over.
async fn versions(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
) -> Result<HashMap<TokenHash, (String, u64)>, sqlx::Error> {
    let hashes: Vec<TokenHash> = batch.updated().map(|update| update.card.token.hash()).collect();
    let mut versions = HashMap::new();
    for hashes in hashes.chunks(STATEMENT_ROWS_MAX) {
        let sql = format!(
            "SELECT token_hash, tenant, row_version FROM cards WHERE deleted_at IS NULL \
             AND (expires_at IS NULL OR expires_at > ?) AND token_hash IN ({})",
            placeholders(hashes.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(batch.now.unix_micros());
        for hash in hashes {
            query = query.bind(hash.as_bytes().as_slice());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let token = TokenHash::from_bytes(names::hash(row.try_get(0)?)?);
            versions.insert(token, (row.try_get(1)?, row.try_get::<i64, _>(2)?.unsigned_abs()));
        }
    }
    Ok(versions)
}

async fn write(connection: &mut SqliteConnection, update: &CardUpdate) -> Result<(), sqlx::Error> {
    let card = &update.card;
    sqlx::query(
        "UPDATE cards SET record = ?3, data_key = ?4, bin = ?5, last4 = ?6, exp = ?7, brand = ?8, length = ?9, \
         row_version = ?10, expires_at = ?11, metadata = ?12, updated_at = ?13, fingerprint = ?14, number_version = ?15, \
         closed_at = ?16 \
         WHERE token_hash = ?1 AND row_version = ?2",
    )
    .bind(card.token.hash().as_bytes().to_vec())
    .bind(signed(update.expected_version()))
    .bind(card.record.as_slice())
    .bind(card.data_key.as_uuid())
    .bind(card.facts.bin.as_str())
    .bind(card.facts.last4.as_str())
    .bind(card.facts.expiry.map(|expiry| expiry.to_string()))
    .bind(card.brand.map(strongroom_domain::Brand::as_str))
    .bind(card.length.map(i32::from))
    .bind(signed(card.row_version))
    .bind(micros(card.expires_at))
    .bind(metadata(&card.metadata))
    .bind(card.updated_at.unix_micros())
    .bind(card.fingerprint.map(|fingerprint| fingerprint.as_bytes().to_vec()))
    .bind(signed(card.number_version))
    .bind(micros(card.closed_at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets a fingerprint lead to a card, unless it leads to one that is neither hidden nor over.
async fn take(
    connection: &mut SqliteConnection,
    claim: &Claim<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO fingerprints (tenant, fingerprint, token_hash) VALUES (?1, ?2, ?3) \
         ON CONFLICT (tenant, fingerprint) DO UPDATE SET token_hash = excluded.token_hash \
         WHERE NOT EXISTS (SELECT 1 FROM cards WHERE cards.token_hash = fingerprints.token_hash \
         AND cards.deleted_at IS NULL AND (cards.expires_at IS NULL OR cards.expires_at > ?4))",
    )
    .bind(claim.tenant.as_str())
    .bind(claim.fingerprint.as_bytes().to_vec())
    .bind(claim.token.as_bytes().to_vec())
    .bind(now.unix_micros())
    .execute(connection)
    .await?;
    Ok(())
}
