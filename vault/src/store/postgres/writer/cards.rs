//! Cards of one batch.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sqlx::query::Query;
use strongroom_domain::{DataKeyId, Timestamp};
use uuid::Uuid;

use super::names;
use crate::store::change::Committed;
use crate::store::decode::{idempotency_columns, postgres as read};
use crate::store::encode::{metadata, micros, signed};
use crate::store::rows::IdempotencyRow;
use crate::store::writer::{Batch, Held, KEY_RECORDS_MAX, NewCard};

/// Adds cards. The lock on their keys holds a deactivation back until this is committed, so that whoever re-encrypts
/// away from a key after it sees every card it sealed.
const INSERT: &str = "\
WITH item AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::int4[], $11::int8[], $12::int8[], $13::text[], $14::int8[], $15::int8[],
        $16::bytea[], $17::bytea[], $18::bytea[], $19::int4[], $20::bytea[], $21::int8[]
    ) WITH ORDINALITY AS item (
        token_hash, token, tenant, record, data_key, bin, last4, exp, brand,
        length, row_version, expires_at, metadata, created_at, updated_at,
        fingerprint, scope, digest, status, answer, forget_at, place
    )
), usable AS MATERIALIZED (
    SELECT id FROM data_keys
    WHERE id = ANY($22::uuid[]) AND state = 'active' AND seals_until > $23 AND records < $24
    FOR SHARE
), claimed AS (
    INSERT INTO idempotency_keys AS held (scope, digest, status, answer, expires_at)
    SELECT scope, digest, status, answer, forget_at FROM item
    WHERE scope IS NOT NULL AND data_key IN (SELECT id FROM usable) ORDER BY scope
    ON CONFLICT (scope) DO UPDATE SET
        digest = excluded.digest, status = excluded.status, answer = excluded.answer, expires_at = excluded.expires_at
    WHERE held.expires_at <= $23
    RETURNING scope
), added AS (
    INSERT INTO cards (
        token_hash, token, tenant, record, data_key, bin, last4, exp, brand,
        length, row_version, expires_at, metadata, created_at, updated_at, fingerprint
    )
    SELECT token_hash, token, tenant, record, data_key, bin, last4, exp, brand,
        length, row_version, expires_at, metadata, created_at, updated_at, fingerprint
    FROM item
    WHERE data_key IN (SELECT id FROM usable) AND (scope IS NULL OR scope IN (SELECT scope FROM claimed))
)
SELECT place, data_key IN (SELECT id FROM usable) FROM item
WHERE data_key NOT IN (SELECT id FROM usable) OR (scope IS NOT NULL AND scope NOT IN (SELECT scope FROM claimed))";

/// Adds cards whose key still seals and whose idempotency scope is free.
pub(super) async fn insert(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    if batch.inserts.iter().all(|insert| insert.cards.len() == 1 && insert.names.is_empty()) {
        insert_singles(connection, batch, became).await
    } else {
        insert_together(connection, batch, became).await
    }
}

/// Requests of one card each: one statement that decides and adds.
async fn insert_singles(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let answers = || batch.inserts.iter().map(|insert| insert.idempotency);
    let cards: Vec<&NewCard<'_>> = batch.cards.iter().collect();
    let undone = bind_cards(sqlx::query(INSERT), &cards)
        .bind(answers().map(|row| Some(row?.scope.as_slice())).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(row?.digest.as_slice())).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(i32::from(row?.status))).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(row?.answer.as_slice())).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(row?.expires_at.unix_micros())).collect::<Vec<_>>())
        .bind(batch.sealing_keys())
        .bind(batch.now.unix_micros())
        .bind(KEY_RECORDS_MAX)
        .fetch_all(&mut *connection)
        .await?;
    let mut refused = Vec::with_capacity(undone.len());
    for row in &undone {
        let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
        let insert = batch.inserts.get(place.wrapping_sub(1)).ok_or(sqlx::Error::RowNotFound)?;
        let left = if row.try_get(1)? { Undone::ScopeTaken } else { Undone::KeyNotActive };
        refused.push((insert.at, insert.idempotency, left));
    }
    explain(connection, &refused, batch.now, became).await
}

/// Requests of many cards: asked first, decided here, then added. What another transaction takes in between is found
/// when it is written, and the whole is tried again.
async fn insert_together(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let usable = usable(connection, batch.sealing_keys(), batch.now).await?;
    let answers = held(connection, batch.scopes(), batch.now).await?;
    let names = names::held(connection, batch).await?;
    let winners = batch.decide(Held { usable, answers, names }, became);
    names::write(connection, &winners).await?;
    if !winners.answers.is_empty() {
        remember(connection, &winners.answers, batch.now).await?;
    }
    if !winners.cards.is_empty() {
        bind_cards(sqlx::query(ADD), &winners.cards).execute(connection).await?;
    }
    Ok(())
}

/// The keys that still seal. The lock holds a deactivation back until this is committed.
pub(super) async fn usable(
    connection: &mut PgConnection,
    keys: Vec<Uuid>,
    now: Timestamp,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let usable = sqlx::query_scalar(
        "SELECT id FROM data_keys WHERE id = ANY($1) AND state = 'active' AND seals_until > $2 AND records < $3 \
         FOR SHARE",
    )
    .bind(keys)
    .bind(now.unix_micros())
    .bind(KEY_RECORDS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(usable.into_iter().collect())
}

const ADD: &str = "\
INSERT INTO cards (
    token_hash, token, tenant, record, data_key, bin, last4, exp, brand,
    length, row_version, expires_at, metadata, created_at, updated_at, fingerprint
)
SELECT * FROM unnest(
    $1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::int4[], $11::int8[], $12::int8[], $13::text[], $14::int8[], $15::int8[], $16::bytea[]
)";

/// Holds answers under scopes that are free.
pub(super) async fn remember(
    connection: &mut PgConnection,
    answers: &[&IdempotencyRow],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let insert = sqlx::query(
        "INSERT INTO idempotency_keys AS held (scope, digest, status, answer, expires_at) \
         SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::int4[], $4::bytea[], $5::int8[]) AS item (scope, digest, \
         status, answer, forget_at) ORDER BY scope \
         ON CONFLICT (scope) DO UPDATE SET digest = excluded.digest, status = excluded.status, \
         answer = excluded.answer, expires_at = excluded.expires_at WHERE held.expires_at <= $6",
    );
    let held = bind_answers(insert, answers).bind(now.unix_micros()).execute(connection).await?;
    // Taken since it was looked for: begin again, and it is found.
    if held.rows_affected() == answers.len() as u64 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

/// The 5 parameters of answers.
pub(super) fn bind_answers<'q>(
    query: Query<'q, Postgres, PgArguments>,
    answers: &[&'q IdempotencyRow],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(answers.iter().map(|row| row.scope.as_slice()).collect::<Vec<_>>())
        .bind(answers.iter().map(|row| row.digest.as_slice()).collect::<Vec<_>>())
        .bind(answers.iter().map(|row| i32::from(row.status)).collect::<Vec<_>>())
        .bind(answers.iter().map(|row| row.answer.as_slice()).collect::<Vec<_>>())
        .bind(answers.iter().map(|row| row.expires_at.unix_micros()).collect::<Vec<_>>())
}

/// The 16 parameters of cards.
pub(super) fn bind_cards<'q>(
    query: Query<'q, Postgres, PgArguments>,
    cards: &[&NewCard<'q>],
) -> Query<'q, Postgres, PgArguments> {
    let card = |of: &NewCard<'q>| of.card;
    query
        .bind(cards.iter().map(|new| new.hash.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(all(cards, |new| card(new).token.as_str()))
        .bind(all(cards, |new| card(new).tenant.as_str()))
        .bind(all(cards, |new| card(new).record.as_slice()))
        .bind(all(cards, |new| card(new).data_key.as_uuid()))
        .bind(all(cards, |new| card(new).facts.bin.as_str()))
        .bind(all(cards, |new| card(new).facts.last4.as_str()))
        .bind(all(cards, |new| card(new).facts.expiry.map(|expiry| expiry.to_string())))
        .bind(all(cards, |new| card(new).brand.map(strongroom_domain::Brand::as_str)))
        .bind(all(cards, |new| card(new).length.map(i32::from)))
        .bind(all(cards, |new| signed(card(new).row_version)))
        .bind(all(cards, |new| micros(card(new).expires_at)))
        .bind(all(cards, |new| metadata(&card(new).metadata)))
        .bind(all(cards, |new| card(new).created_at.unix_micros()))
        .bind(all(cards, |new| card(new).updated_at.unix_micros()))
        .bind(all(cards, |new| card(new).fingerprint.as_ref().map(|digest| digest.as_bytes().as_slice())))
}

fn all<'q, T>(cards: &[&NewCard<'q>], of: impl Fn(&NewCard<'q>) -> T) -> Vec<T> {
    cards.iter().map(|new| of(new)).collect()
}

/// Why a change was not made, as far as its statement can tell.
#[derive(Clone, Copy)]
enum Undone {
    ScopeTaken,
    KeyNotActive,
    Missing,
}

/// Says what became of changes that were not made. A taken scope comes before every other reason: the first answer
/// under a key is given again whatever happened since.
async fn explain(
    connection: &mut PgConnection,
    undone: &[(usize, Option<&IdempotencyRow>, Undone)],
    now: Timestamp,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let scopes: Vec<&[u8]> =
        undone.iter().filter_map(|(_, row, _)| Some(row.as_ref()?.scope.as_slice())).collect();
    let mut held = if scopes.is_empty() { HashMap::new() } else { held(connection, scopes, now).await? };
    for (at, row, left) in undone {
        became[*at] = match (row.and_then(|row| held.remove(&row.scope)), left) {
            (Some(row), _) => Committed::Replay(row),
            (None, Undone::KeyNotActive) => Committed::KeyNotActive,
            (None, Undone::Missing) => Committed::Missing,
            // Taken a moment ago and gone now: another transaction's row was reaped in between. Begin again.
            (None, Undone::ScopeTaken) => return Err(sqlx::Error::RowNotFound),
        };
    }
    Ok(())
}

pub(super) async fn held(
    connection: &mut PgConnection,
    scopes: Vec<&[u8]>,
    now: Timestamp,
) -> Result<HashMap<[u8; 32], IdempotencyRow>, sqlx::Error> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        idempotency_columns!(),
        " FROM idempotency_keys WHERE scope = ANY($1) AND expires_at > $2"
    ))
    .bind(scopes)
    .bind(now.unix_micros())
    .fetch_all(connection)
    .await?;
    let row = |row| read::idempotency(row).map_err(|error| sqlx::Error::Decode(error.into()));
    rows.iter().map(|held| row(held).map(|held| (held.scope, held))).collect()
}

/// Hides cards.
const ERASE: &str = "\
WITH item AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::bytea[], $2::text[], $3::int8[], $4::int8[], $5::bytea[], $6::bytea[], $7::int4[], $8::bytea[], $9::int8[],
        $10::text[], $11::int8[]
    ) WITH ORDINALITY AS item (
        token_hash, tenant, deleted_at, destroy_after, scope, digest, status, answer, forget_at, hidden_by, expected, place
    )
), there AS MATERIALIZED (
    SELECT cards.token_hash FROM cards JOIN item USING (token_hash, tenant)
    WHERE cards.deleted_at IS NULL AND (item.expected IS NULL OR cards.row_version = item.expected) FOR UPDATE OF cards
), claimed AS (
    INSERT INTO idempotency_keys AS held (scope, digest, status, answer, expires_at)
    SELECT scope, digest, status, answer, forget_at FROM item
    WHERE scope IS NOT NULL AND token_hash IN (SELECT token_hash FROM there) ORDER BY scope
    ON CONFLICT (scope) DO UPDATE SET
        digest = excluded.digest, status = excluded.status, answer = excluded.answer, expires_at = excluded.expires_at
    WHERE held.expires_at <= $12
    RETURNING scope
), hidden AS (
    UPDATE cards SET deleted_at = item.deleted_at, destroy_after = item.destroy_after, hidden_by = item.hidden_by,
        fingerprint = NULL
    FROM item
    WHERE cards.token_hash = item.token_hash AND cards.token_hash IN (SELECT token_hash FROM there)
      AND (item.scope IS NULL OR item.scope IN (SELECT scope FROM claimed))
    RETURNING cards.token_hash
), forgotten AS (
    DELETE FROM fingerprints WHERE token_hash IN (SELECT token_hash FROM hidden)
)
SELECT place, token_hash IN (SELECT token_hash FROM there) FROM item
WHERE token_hash NOT IN (SELECT token_hash FROM there)
   OR (scope IS NOT NULL AND scope NOT IN (SELECT scope FROM claimed))";

/// Hides cards that are there and whose idempotency scope is free.
pub(super) async fn erase(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    became: &mut [Committed],
) -> Result<(), sqlx::Error> {
    let items = &batch.erasures;
    let answers = || items.iter().map(|item| item.idempotency);
    let undone = sqlx::query(ERASE)
        .bind(items.iter().map(|item| item.hash.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.tenant.as_str()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.time.unix_micros()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.destroy_after.unix_micros()).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(row?.scope.as_slice())).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(row?.digest.as_slice())).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(i32::from(row?.status))).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(row?.answer.as_slice())).collect::<Vec<_>>())
        .bind(answers().map(|row| Some(row?.expires_at.unix_micros())).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.by.as_str()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.expected_version.map(signed)).collect::<Vec<_>>())
        .bind(batch.now.unix_micros())
        .fetch_all(&mut *connection)
        .await?;
    let mut refused = Vec::with_capacity(undone.len());
    for row in &undone {
        let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
        let item = items.get(place.wrapping_sub(1)).ok_or(sqlx::Error::RowNotFound)?;
        let left = if row.try_get(1)? { Undone::ScopeTaken } else { Undone::Missing };
        refused.push((item.at, item.idempotency, left));
    }
    explain(connection, &refused, batch.now, became).await
}

/// Adds to how much keys sealed.
pub(super) async fn count_uses(
    connection: &mut PgConnection,
    uses: &[(DataKeyId, u64)],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE data_keys SET records = data_keys.records + used.records \
         FROM unnest($1::uuid[], $2::int8[]) AS used (id, records) WHERE data_keys.id = used.id",
    )
    .bind(uses.iter().map(|(key, _)| key.as_uuid()).collect::<Vec<_>>())
    .bind(uses.iter().map(|(_, records)| signed(*records)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
