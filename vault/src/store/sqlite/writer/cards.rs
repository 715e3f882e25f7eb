//! Cards of one batch.

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, query::Query};
use strongroom_domain::{DataKeyId, Timestamp};
use uuid::Uuid;

use super::{STATEMENT_ROWS_MAX, names};
use crate::store::change::Committed;
use crate::store::decode::{idempotency_columns, sqlite as read};
use crate::store::encode::{metadata, micros, signed};
use crate::store::rows::IdempotencyRow;
use crate::store::sqlite::{insert_sql, placeholders, rows_of_statement};
use crate::store::writer::{Batch, Erasure, Held, KEY_RECORDS_MAX, NewCard};

/// Adds cards whose key still seals and whose idempotency scope is free.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let usable = usable(connection, &batch.sealing_keys(), batch.now).await?;
    let answers = held(connection, &batch.scopes(), batch.now).await?;
    let names = names::held(connection, batch).await?;
    let winners = batch.decide(Held { usable, answers, names }, became);
    for cards in winners.cards.chunks(STATEMENT_ROWS_MAX) {
        add(connection, cards).await?;
    }
    for answers in winners.answers.chunks(STATEMENT_ROWS_MAX) {
        remember(connection, answers).await?;
    }
    names::write(connection, &winners).await
}

/// The keys that still seal.
pub(super) async fn usable(
    connection: &mut SqliteConnection,
    keys: &[Uuid],
    now: Timestamp,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let sql = format!(
        "SELECT id FROM data_keys WHERE state = 'active' AND seals_until > ? AND records < ? AND id IN ({})",
        placeholders(keys.len())
    );
    let mut query = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .bind(now.unix_micros())
        .bind(KEY_RECORDS_MAX);
    for key in keys {
        query = query.bind(*key);
    }
    Ok(query.fetch_all(connection).await?.into_iter().collect())
}

/// The answers held under these scopes.
pub(super) async fn held(
    connection: &mut SqliteConnection,
    scopes: &[&[u8]],
    now: Timestamp,
) -> Result<HashMap<[u8; 32], IdempotencyRow>, sqlx::Error> {
    let mut held = HashMap::new();
    for scopes in scopes.chunks(STATEMENT_ROWS_MAX) {
        let sql = format!(
            concat!(
                "SELECT ",
                idempotency_columns!(),
                " FROM idempotency_keys WHERE expires_at > ? AND scope IN ({})"
            ),
            placeholders(scopes.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(now.unix_micros());
        for scope in scopes {
            query = query.bind(*scope);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let row = read::idempotency(&row).map_err(|error| sqlx::Error::Decode(error.into()))?;
            held.insert(row.scope, row);
        }
    }
    Ok(held)
}

async fn add(connection: &mut SqliteConnection, items: &[&NewCard<'_>]) -> Result<(), sqlx::Error> {
    let into = "INSERT INTO cards (token_hash, token, tenant, record, data_key, bin, last4, exp, brand, length, \
                row_version, expires_at, metadata, created_at, updated_at, fingerprint)";
    let sql = insert_sql(into, 16, rows_of_statement(items.len()));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for item in items {
        query = bind(query, item);
    }
    query.execute(connection).await?;
    Ok(())
}

/// The 16 values of a card's row.
pub(super) fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    item: &NewCard<'_>,
) -> Query<'q, Sqlite, SqliteArguments> {
    let card = item.card;
    query
        .bind(item.hash.as_bytes().to_vec())
        .bind(card.token.as_str())
        .bind(card.tenant.as_str())
        .bind(card.record.as_slice())
        .bind(card.data_key.as_uuid())
        .bind(card.facts.bin.as_str().to_owned())
        .bind(card.facts.last4.as_str().to_owned())
        .bind(card.facts.expiry.map(|expiry| expiry.to_string()))
        .bind(card.brand.map(strongroom_domain::Brand::as_str))
        .bind(card.length.map(i32::from))
        .bind(signed(card.row_version))
        .bind(micros(card.expires_at))
        .bind(metadata(&card.metadata))
        .bind(card.created_at.unix_micros())
        .bind(card.updated_at.unix_micros())
        .bind(card.fingerprint.map(|fingerprint| fingerprint.as_bytes().to_vec()))
}

/// Holds answers. A row that is there has expired: whoever looked for it first found nothing.
pub(super) async fn remember(
    connection: &mut SqliteConnection,
    answers: &[&IdempotencyRow],
) -> Result<(), sqlx::Error> {
    let into = "INSERT OR REPLACE INTO idempotency_keys (scope, digest, status, answer, expires_at)";
    let sql = insert_sql(into, 5, rows_of_statement(answers.len()));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for row in answers {
        query = query
            .bind(row.scope.as_slice())
            .bind(row.digest.as_slice())
            .bind(i32::from(row.status))
            .bind(row.answer.as_slice())
            .bind(row.expires_at.unix_micros());
    }
    query.execute(connection).await?;
    Ok(())
}

/// Hides a card that is there, if its idempotency scope is free.
pub(super) async fn erase(
    connection: &mut SqliteConnection,
    item: &Erasure<'_>,
    now: Timestamp,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    if let Some(row) = item.idempotency
        && let Some(held) = held(connection, &[&row.scope], now).await?.remove(&row.scope)
    {
        became[item.at] = Committed::Replay(held);
        return Ok(());
    }
    let hidden = sqlx::query(
        "UPDATE cards SET deleted_at = ?3, destroy_after = ?4, hidden_by = ?5, fingerprint = NULL \
         WHERE token_hash = ?1 AND tenant = ?2 AND deleted_at IS NULL AND (?6 IS NULL OR row_version = ?6)",
    )
    .bind(item.hash.as_bytes().as_slice())
    .bind(item.tenant.as_str())
    .bind(item.time.unix_micros())
    .bind(item.destroy_after.unix_micros())
    .bind(item.by.as_str())
    .bind(item.expected_version.map(signed))
    .execute(&mut *connection)
    .await?;
    if hidden.rows_affected() == 0 {
        became[item.at] = Committed::Missing;
        return Ok(());
    }
    names::forget(connection, item.hash).await?;
    match item.idempotency {
        Some(row) => remember(connection, &[row]).await,
        None => Ok(()),
    }
}

/// Adds to how much keys sealed.
pub(super) async fn count_uses(
    connection: &mut SqliteConnection,
    uses: &[(DataKeyId, u64)],
) -> Result<(), sqlx::Error> {
    for (key, records) in uses {
        sqlx::query("UPDATE data_keys SET records = records + ?2 WHERE id = ?1")
            .bind(key.as_uuid())
            .bind(signed(*records))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
