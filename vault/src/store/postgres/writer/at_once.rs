//! A whole batch as one statement, which is its own transaction: one exchange with the server instead of four.
//!
//! Promises: all of it is durable, or nothing of it happened: a part that finds its row otherwise than it must be makes the
//! statement fail.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::{cards, forwards};
use crate::audit::Leaf;
use crate::store::encode::signed;
use crate::store::writer::{Batch, BootAt, KEY_RECORDS_MAX, NewCard};

/// `division_by_zero`: how the statement says that some part found its row otherwise.
const NOT_AT_ONCE: &str = "22012";

/// Writes a plain batch and its entries. `false`: some row is not as it must be; nothing happened.
pub(super) async fn write(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    at: BootAt,
    leaves: &[Leaf],
) -> Result<bool, sqlx::Error> {
    let parts = Parts::of(batch);
    let mut query = sqlx::query(AssertSqlSafe(parts.sql()))
        .bind(at.boot.as_uuid())
        .bind(signed(at.seq))
        .bind(batch.now.unix_micros())
        .bind(leaves.iter().map(Leaf::as_bytes).collect::<Vec<_>>())
        .bind(at.written_at);
    if parts.cards {
        let cards: Vec<&NewCard<'_>> = batch.cards.iter().collect();
        query = cards::bind_cards(query, &cards).bind(batch.sealing_keys()).bind(KEY_RECORDS_MAX);
    }
    if parts.answers {
        query = cards::bind_answers(query, &batch.answers());
    }
    if parts.forwards {
        query = forwards::bind_forwards(query, &batch.forwards);
    }
    if parts.outcomes {
        query = forwards::bind_told(query, &batch.outcomes);
    }
    // To its end: the transaction is over only when the server is ready for the next one.
    match query.execute(connection).await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_database_error().and_then(|error| error.code()) {
            Some(code) if code == NOT_AT_ONCE => Ok(false),
            _ => Err(error),
        },
    }
}

/// Which kinds of changes there are: sixteen texts at most.
#[derive(Clone, Copy)]
struct Parts {
    cards: bool,
    answers: bool,
    forwards: bool,
    outcomes: bool,
}

impl Parts {
    fn of(batch: &Batch<'_>) -> Self {
        Self {
            cards: !batch.cards.is_empty(),
            answers: batch.inserts.iter().any(|insert| insert.idempotency.is_some()),
            forwards: !batch.forwards.is_empty(),
            outcomes: !batch.outcomes.is_empty(),
        }
    }

    fn sql(self) -> String {
        let (mut sql, mut good) = (String::from(ENTRIES), String::from(ENTRIES_GOOD));
        let mut next = 6;
        let parts = [
            (self.cards, CARDS, CARDS_GOOD),
            (self.answers, ANSWERS, ANSWERS_GOOD),
            (self.forwards, FORWARDS, ""),
            (self.outcomes, OUTCOMES, OUTCOMES_GOOD),
        ];
        for (_, part, is_good) in parts.into_iter().filter(|(there, ..)| *there) {
            let first = next;
            for (text, into) in [(part, &mut sql), (is_good, &mut good)] {
                next = next.max(numbered(text, first, into));
            }
        }
        // Nobody can tell before it ran that this divides by nought.
        let _ = write!(sql, "\nSELECT 1 / CASE WHEN {good} THEN 1 ELSE 0 END");
        sql
    }
}

/// Appends a text whose `{n}` are parameters, counted from `first`. Gives the number behind the last.
fn numbered(text: &str, first: usize, into: &mut String) -> usize {
    let mut next = first;
    let mut pieces = text.split('{');
    into.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (number, rest) = piece.split_once('}').unwrap_or((piece, ""));
        let number = first + number.parse::<usize>().unwrap_or_default();
        next = next.max(number + 1);
        let _ = write!(into, "${number}{rest}");
    }
    next
}

const ENTRIES: &str = "\
WITH moved AS (
    UPDATE audit_boots SET next_seq = next_seq + cardinality($4::bytea[]), written_at = $3
    WHERE boot_id = $1 AND next_seq = $2 AND written_at = $5 RETURNING boot_id
), logged AS (
    INSERT INTO audit_entries (boot_id, instance_seq, leaf)
    SELECT $1, $2 + leaf.place - 1, leaf.bytes FROM unnest($4::bytea[]) WITH ORDINALITY AS leaf (bytes, place)
)";
const ENTRIES_GOOD: &str = "(SELECT count(*) FROM moved) = 1";

/// The lock on the keys holds a deactivation back until this is committed, so that whoever re-encrypts away from a key
/// after it sees every card it sealed.
const CARDS: &str = ", usable AS MATERIALIZED (
    SELECT id FROM data_keys WHERE id = ANY({16}::uuid[]) AND state = 'active' AND seals_until > $3 AND records < {17}
    FOR SHARE
), added AS (
    INSERT INTO cards (token_hash, token, tenant, record, data_key, bin, last4, exp, brand,
        length, row_version, expires_at, metadata, created_at, updated_at, fingerprint)
    SELECT * FROM unnest({0}::bytea[], {1}::text[], {2}::text[], {3}::bytea[], {4}::uuid[], {5}::text[], {6}::text[],
        {7}::text[], {8}::text[], {9}::int4[], {10}::int8[], {11}::int8[], {12}::text[], {13}::int8[], {14}::int8[],
        {15}::bytea[])
)";
const CARDS_GOOD: &str = " AND (SELECT count(*) FROM usable) = cardinality({16}::uuid[])";

const ANSWERS: &str = ", claimed AS (
    INSERT INTO idempotency_keys AS held (scope, digest, status, answer, expires_at)
    SELECT * FROM unnest({0}::bytea[], {1}::bytea[], {2}::int4[], {3}::bytea[], {4}::int8[])
        AS item (scope, digest, status, answer, forget_at) ORDER BY scope
    ON CONFLICT (scope) DO UPDATE SET digest = excluded.digest, status = excluded.status, answer = excluded.answer,
        expires_at = excluded.expires_at
    WHERE held.expires_at <= $3
    RETURNING scope
)";
const ANSWERS_GOOD: &str = " AND (SELECT count(*) FROM claimed) = cardinality({0}::bytea[])";

const FORWARDS: &str = ", opened AS (
    INSERT INTO forwards (id, tenant, proxy, caller, route, account, method, path, host, cards, attributes, state,
        opened_at, closed_at, outcome, grounds)
    SELECT * FROM unnest({0}::uuid[], {1}::text[], {2}::text[], {3}::text[], {4}::text[], {5}::text[], {6}::text[],
        {7}::text[], {8}::text[], {9}::text[], {10}::text[], {11}::text[], {12}::int8[], {13}::int8[], {14}::text[],
        {15}::text[])
)";

const OUTCOMES: &str = ", told AS (
    UPDATE forwards SET state = told.state, outcome = told.outcome, closed_at = told.closed_at
    FROM unnest({0}::uuid[], {1}::text[], {2}::text[], {3}::text[], {4}::int8[])
        AS told (id, proxy, state, outcome, closed_at)
    WHERE forwards.id = told.id AND forwards.proxy = told.proxy
      AND (forwards.state = 'open' OR (forwards.state = 'unknown' AND forwards.outcome IS NULL AND told.outcome IS NOT NULL))
    RETURNING forwards.id
)";
const OUTCOMES_GOOD: &str = " AND (SELECT count(*) FROM told) = cardinality({0}::uuid[])";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_every_mixture_are_numbered_without_a_hole() {
        for mixture in 0..16_u8 {
            let has = |bit: u8| mixture & bit != 0;
            let sql = Parts { cards: has(1), answers: has(2), forwards: has(4), outcomes: has(8) }.sql();
            let count = 5 + [(1, 18), (2, 5), (4, 16), (8, 5)]
                .iter()
                .filter(|(bit, _)| has(*bit))
                .map(|(_, n)| n)
                .sum::<usize>();
            for number in 1..=count {
                assert!(sql.contains(&format!("${number}")), "${number} of {count}: {sql}");
            }
            assert!(!sql.contains(&format!("${}", count + 1)) && !sql.contains('{'), "{sql}");
        }
    }
}
