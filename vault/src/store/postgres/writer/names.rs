//! Fingerprints and aliases of one batch. What another replica takes between the question and the answer is found when
//! the row is written; the transaction is then begun again, and the question answers otherwise.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use strongroom_domain::{AliasHash, TokenHash};

use crate::store::decode::bytes32;
use crate::store::rows::AliasRow;
use crate::store::writer::{Batch, HeldNames, Winners};

/// What the batch's names lead to. The lock on a fingerprint holds its card's erasure back until this is committed.
pub(super) async fn held<'a>(
    connection: &mut PgConnection,
    batch: &Batch<'a>,
) -> Result<HeldNames<'a>, sqlx::Error> {
    let mut names = HeldNames::default();
    let fingerprints = batch.fingerprints();
    if !fingerprints.is_empty() {
        let rows = sqlx::query(
            "SELECT held.tenant, held.fingerprint, held.token_hash FROM fingerprints AS held JOIN unnest($1::text[], $2::bytea[]) AS item (tenant, fingerprint) \
             ON held.tenant = item.tenant AND held.fingerprint = item.fingerprint \
             ORDER BY held.tenant, held.fingerprint FOR UPDATE OF held",
        )
        .bind(fingerprints.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
        .bind(fingerprints.iter().map(|(_, digest)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
        // A statement of its own: a row that was waited for may lead to a card this one's snapshot does not show.
        let live: HashSet<Vec<u8>> = sqlx::query_scalar(
            "SELECT token_hash FROM cards WHERE token_hash = ANY($1) AND deleted_at IS NULL \
             AND (expires_at IS NULL OR expires_at > $2)",
        )
        .bind(rows.iter().map(|row| row.try_get::<&[u8], _>(2)).collect::<Result<Vec<_>, _>>()?)
        .bind(batch.now.unix_micros())
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .collect();
        let asked: HashMap<_, _> = fingerprints
            .iter()
            .map(|(tenant, fingerprint)| {
                ((tenant.as_str(), *fingerprint.as_bytes()), (*tenant, *fingerprint))
            })
            .collect();
        for row in &rows {
            let fingerprint = hash(row.try_get(1)?)?;
            if let Some(name) = asked.get(&(row.try_get::<&str, _>(0)?, fingerprint)) {
                let token = TokenHash::from_bytes(hash(row.try_get(2)?)?);
                names.fingerprints.insert(*name, (token, live.contains(token.as_bytes().as_slice())));
            }
        }
    }
    names.aliases = holders(connection, &batch.aliases()).await?;
    Ok(names)
}

/// The cards these aliases lead to.
pub(super) async fn holders(
    connection: &mut PgConnection,
    aliases: &[AliasHash],
) -> Result<HashMap<AliasHash, TokenHash>, sqlx::Error> {
    if aliases.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query("SELECT alias_hash, token_hash FROM aliases WHERE alias_hash = ANY($1)")
        .bind(aliases.iter().map(|alias| alias.as_bytes().as_slice()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let pair = |row: &sqlx::postgres::PgRow| {
        let alias = AliasHash::from_bytes(hash(row.try_get(0)?)?);
        Ok((alias, TokenHash::from_bytes(hash(row.try_get(1)?)?)))
    };
    rows.iter().map(pair).collect()
}

pub(super) fn hash(bytes: &[u8]) -> Result<[u8; 32], sqlx::Error> {
    bytes32(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Writes the names of cards that come in. A name that was taken since it was looked for begins all anew.
pub(super) async fn write(connection: &mut PgConnection, winners: &Winners<'_>) -> Result<(), sqlx::Error> {
    if !winners.claims.is_empty() {
        claim(connection, winners).await?;
    }
    add(connection, &winners.aliases).await
}

/// Adds aliases that were found to be nobody's.
pub(super) async fn add(connection: &mut PgConnection, rows: &[&AliasRow]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let added = sqlx::query(
        "INSERT INTO aliases (alias_hash, tenant, kind, alias, token_hash, mac, created_at, mac_key) \
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::int8[], \
         $8::uuid[]) AS item (alias_hash, tenant, kind, alias, token_hash, mac, created_at, mac_key) \
         ORDER BY alias_hash ON CONFLICT (alias_hash) DO NOTHING",
    )
    .bind(rows.iter().map(|row| row.alias.hash().as_bytes().to_vec()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.tenant.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.alias.kind().as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.alias.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.token.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.mac.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.created_at.unix_micros()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.mac_key.as_uuid()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    all_of(added.rows_affected(), rows.len())
}

/// Lets fingerprints lead to new cards: those that lead nowhere, and those whose card was found hidden or over.
async fn claim(connection: &mut PgConnection, winners: &Winners<'_>) -> Result<(), sqlx::Error> {
    let claims = &winners.claims;
    let claimed = sqlx::query(
        "INSERT INTO fingerprints AS held (tenant, fingerprint, token_hash) \
         SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS item (tenant, fingerprint, token_hash) \
         ORDER BY tenant, fingerprint \
         ON CONFLICT (tenant, fingerprint) DO UPDATE SET token_hash = excluded.token_hash \
         WHERE held.token_hash = ANY($4)",
    )
    .bind(claims.iter().map(|claim| claim.tenant.as_str()).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.fingerprint.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.token.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(claims.iter().filter_map(|claim| Some(claim.from?.as_bytes().to_vec())).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    all_of(claimed.rows_affected(), claims.len())
}

pub(super) fn all_of(written: u64, wanted: usize) -> Result<(), sqlx::Error> {
    if written == wanted as u64 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
