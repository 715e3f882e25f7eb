//! Cards that are changed under their token: locked and asked first, decided here, then written.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use strongroom_domain::{Timestamp, TokenHash};

use super::{cards, names};
use crate::store::change::{CardUpdate, Committed};
use crate::store::encode::{metadata, micros, signed};
use crate::store::rows::CardRow;
use crate::store::writer::{Batch, Claim, HeldCards};

/// Changes cards that are there at the version expected.
pub(super) async fn update(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let usable = cards::usable(connection, batch.resealing_keys(), batch.now).await?;
    let scopes = batch.update_scopes();
    let answers =
        if scopes.is_empty() { HashMap::new() } else { cards::held(connection, scopes, batch.now).await? };
    let versions = versions(connection, batch).await?;
    let aliases = names::holders(connection, &batch.update_aliases()).await?;
    let updated = batch.decide_updates(HeldCards { usable, answers, versions, aliases }, became);
    if !updated.cards.is_empty() {
        write(connection, &updated.cards).await?;
        forget(connection, &updated.cards).await?;
    }
    take(connection, &updated.claims(), batch.now).await?;
    names::add(connection, &updated.aliases).await?;
    if !updated.answers.is_empty() {
        cards::remember(connection, &updated.answers, batch.now).await?;
    }
    Ok(())
}

/// Tenant and version of the batch's cards that are neither hidden nor over. The lock holds every other change of these
/// rows back until this is committed.
async fn versions(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
) -> Result<HashMap<TokenHash, (String, u64)>, sqlx::Error> {
    let hashes: Vec<Vec<u8>> =
        batch.updated().map(|update| update.card.token.hash().as_bytes().to_vec()).collect();
    let rows = sqlx::query(
        "SELECT token_hash, tenant, row_version FROM cards WHERE token_hash = ANY($1) AND deleted_at IS NULL \
         AND (expires_at IS NULL OR expires_at > $2) ORDER BY token_hash FOR UPDATE",
    )
    .bind(hashes)
    .bind(batch.now.unix_micros())
    .fetch_all(connection)
    .await?;
    let version = |row: &sqlx::postgres::PgRow| {
        let token = TokenHash::from_bytes(names::hash(row.try_get(0)?)?);
        Ok((token, (row.try_get(1)?, row.try_get::<i64, _>(2)?.unsigned_abs())))
    };
    rows.iter().map(version).collect()
}

const UPDATE: &str = "\
UPDATE cards SET record = item.record, data_key = item.data_key, bin = item.bin, last4 = item.last4, exp = item.exp,
    brand = item.brand, length = item.length, row_version = item.row_version, expires_at = item.expires_at,
    metadata = item.metadata, updated_at = item.updated_at, fingerprint = item.fingerprint,
    number_version = item.number_version, closed_at = item.closed_at
FROM unnest(
    $1::bytea[], $2::bytea[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int4[], $9::int8[],
    $10::int8[], $11::text[], $12::int8[], $13::bytea[], $14::int8[],
    $15::int8[]
) AS item (
    token_hash, record, data_key, bin, last4, exp, brand, length, row_version, expires_at, metadata, updated_at,
    fingerprint, number_version, closed_at
)
WHERE cards.token_hash = item.token_hash AND cards.row_version = item.row_version - 1";

async fn write(connection: &mut PgConnection, updates: &[&CardUpdate]) -> Result<(), sqlx::Error> {
    fn all<'a, T>(updates: &[&'a CardUpdate], of: impl Fn(&'a CardRow) -> T) -> Vec<T> {
        updates.iter().map(|update| of(&update.card)).collect()
    }
    let written = sqlx::query(UPDATE)
        .bind(all(updates, |card| card.token.hash().as_bytes().to_vec()))
        .bind(all(updates, |card| card.record.as_slice()))
        .bind(all(updates, |card| card.data_key.as_uuid()))
        .bind(all(updates, |card| card.facts.bin.as_str()))
        .bind(all(updates, |card| card.facts.last4.as_str()))
        .bind(all(updates, |card| card.facts.expiry.map(|expiry| expiry.to_string())))
        .bind(all(updates, |card| card.brand.map(strongroom_domain::Brand::as_str)))
        .bind(all(updates, |card| card.length.map(i32::from)))
        .bind(all(updates, |card| signed(card.row_version)))
        .bind(all(updates, |card| micros(card.expires_at)))
        .bind(all(updates, |card| metadata(&card.metadata)))
        .bind(all(updates, |card| card.updated_at.unix_micros()))
        .bind(all(updates, |card| card.fingerprint.as_ref().map(|digest| digest.as_bytes().as_slice())))
        .bind(all(updates, |card| signed(card.number_version)))
        .bind(all(updates, |card| micros(card.closed_at)))
        .execute(connection)
        .await?;
    names::all_of(written.rows_affected(), updates.len())
}

/// What cards with another number were known by leads to them no more.
async fn forget(connection: &mut PgConnection, updates: &[&CardUpdate]) -> Result<(), sqlx::Error> {
    let renumbered = updates.iter().filter(|update| update.changes_number());
    let hashes: Vec<_> = renumbered.map(|update| update.card.token.hash().as_bytes().to_vec()).collect();
    if !hashes.is_empty() {
        sqlx::query("DELETE FROM fingerprints WHERE token_hash = ANY($1)")
            .bind(hashes)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Lets fingerprints lead to cards, unless they lead to one that is neither hidden nor over. One that another replica
/// takes in between stays that one's.
async fn take(
    connection: &mut PgConnection,
    claims: &[Claim<'_>],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if claims.is_empty() {
        return Ok(());
    }
    let tenants: Vec<_> = claims.iter().map(|claim| claim.tenant.as_str()).collect();
    let fingerprints: Vec<_> = claims.iter().map(|claim| claim.fingerprint.as_bytes().as_slice()).collect();
    let held: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT held.token_hash FROM fingerprints AS held JOIN unnest($1::text[], $2::bytea[]) AS item (tenant, fingerprint) \
         ON held.tenant = item.tenant AND held.fingerprint = item.fingerprint \
         ORDER BY held.tenant, held.fingerprint FOR UPDATE OF held",
    )
    .bind(&tenants)
    .bind(&fingerprints)
    .fetch_all(&mut *connection)
    .await?;
    // A statement of its own: a row that was waited for may lead to a card that one's snapshot does not show.
    let live: HashSet<Vec<u8>> = sqlx::query_scalar(
        "SELECT token_hash FROM cards WHERE token_hash = ANY($1) AND deleted_at IS NULL \
         AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(&held)
    .bind(now.unix_micros())
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .collect();
    let over: Vec<Vec<u8>> = held.into_iter().filter(|token| !live.contains(token)).collect();
    sqlx::query(
        "INSERT INTO fingerprints AS held (tenant, fingerprint, token_hash) \
         SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS item (tenant, fingerprint, token_hash) \
         ORDER BY tenant, fingerprint \
         ON CONFLICT (tenant, fingerprint) DO UPDATE SET token_hash = excluded.token_hash WHERE held.token_hash = ANY($4)",
    )
    .bind(&tenants)
    .bind(&fingerprints)
    .bind(claims.iter().map(|claim| claim.token.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(over)
    .execute(connection)
    .await?;
    Ok(())
}
