//! The outbox as those who deliver see it. What is written here goes over the connection beside the committer's, in
//! transactions of a few rows. A `+` keeps a condition from leading SQLite to the index of what is due, where a card's own
//! rows are meant.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use strongroom_domain::{TenantId, Timestamp, TokenHash};
use uuid::Uuid;

use super::{SqliteStore, rows_of_placeholders};
use crate::store::decode::{bytes32, event_columns, sqlite as read};
use crate::store::encode::{micros, signed};
use crate::store::error::StoreError;
use crate::store::events::{EndingPage, EventStore, Nearing, months};
use crate::store::outbox::{Backlog, EventFilter, EventPlace, EventRow, EventState, Lease, Settled};

#[async_trait]
impl EventStore for SqliteStore {
    async fn lease(
        &self,
        destination: &str,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        // Looking first keeps those who wait for the lease away from the file's write lock.
        let held = "SELECT EXISTS (SELECT 1 FROM event_leases WHERE destination = ?1 AND until_at > ?2)";
        let held: bool = sqlx::query_scalar(held)
            .bind(destination)
            .bind(now.unix_micros())
            .fetch_one(&self.readers)
            .await?;
        if held {
            return Ok(None);
        }
        let taken = sqlx::query(
            "INSERT INTO event_leases (destination, holder, fence, until_at) VALUES (?1, ?2, 1, ?4) \
             ON CONFLICT (destination) DO UPDATE SET holder = excluded.holder, fence = event_leases.fence + 1, \
             until_at = excluded.until_at WHERE event_leases.until_at <= ?3 RETURNING fence, place",
        )
        .bind(destination)
        .bind(holder)
        .bind(now.unix_micros())
        .bind(until.unix_micros())
        .fetch_optional(&self.sweeper)
        .await?;
        let Some(row) = taken else { return Ok(None) };
        let place = row.try_get::<Option<&[u8]>, _>(1)?.map(bytes32).transpose()?;
        Ok(Some(Lease {
            destination: destination.to_owned(),
            fence: row.try_get::<i64, _>(0)?.unsigned_abs(),
            place: place.map(TokenHash::from_bytes),
        }))
    }

    async fn prolong(&self, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        let mut connection = self.sweeper.acquire().await?;
        Ok(prolong(&mut connection, lease, until).await?)
    }

    async fn events_due(
        &self,
        destination: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        sqlx::query(concat!(
            "SELECT ",
            event_columns!(),
            " FROM card_events AS due WHERE destination = ?1 AND state = 'pending' AND due_at <= ?2 AND NOT EXISTS \
             (SELECT 1 FROM card_events AS earlier WHERE earlier.token_hash = due.token_hash \
             AND earlier.sequence < due.sequence AND earlier.destination = ?1 AND earlier.state = 'pending') \
             ORDER BY due_at LIMIT ?3"
        ))
        .bind(destination)
        .bind(now.unix_micros())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(read::event)
        .collect()
    }

    async fn settle(
        &self,
        lease: &Lease,
        settled: &[Settled],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.sweeper.begin_with("BEGIN IMMEDIATE").await?;
        if !prolong(&mut transaction, lease, until).await? {
            return Ok(false);
        }
        let sql = format!(
            "UPDATE card_events SET state = item.column3, due_at = item.column4, attempts = attempts + 1, \
             met = item.column5 FROM (VALUES {}) AS item WHERE destination = ? AND token_hash = item.column1 \
             AND sequence = item.column2 AND +state = 'pending'",
            rows_of_placeholders(settled.len(), 5)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for item in settled {
            let (state, due_at, met) = item.written(now);
            query = query.bind(item.token.as_bytes().as_slice()).bind(signed(item.sequence));
            query = query.bind(state).bind(due_at).bind(met);
        }
        if !settled.is_empty() {
            query.bind(&lease.destination).execute(&mut *transaction).await?;
        }
        hold_back(&mut transaction, lease, settled).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        let (due_at, token, sequence) = after.map_or((i64::MIN, [0; 32], 0), |place| {
            (place.due_at.unix_micros(), *place.token.as_bytes(), signed(place.sequence))
        });
        sqlx::query(concat!(
            "SELECT ",
            event_columns!(),
            " FROM card_events WHERE destination = ?1 AND state = ?2 AND (due_at, token_hash, sequence) > (?3, ?4, ?5) \
             AND (?6 IS NULL OR tenant = ?6) AND (?7 IS NULL OR occurred_at >= ?7) AND (?8 IS NULL OR occurred_at < ?8) \
             AND (?9 IS NULL OR due_at < ?9) ORDER BY due_at, token_hash, sequence LIMIT ?10"
        ))
        .bind(filter.destination.as_str())
        .bind(filter.state.as_str())
        .bind(due_at)
        .bind(token.as_slice())
        .bind(sequence)
        .bind(filter.tenant.as_ref().map(TenantId::as_str))
        .bind(micros(filter.from))
        .bind(micros(filter.until))
        .bind(micros(filter.due_before))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(read::event)
        .collect()
    }

    async fn backlog(&self, destination: &str) -> Result<Backlog, StoreError> {
        let row = sqlx::query(
            "SELECT count(*), min(occurred_at), (SELECT count(*) FROM (SELECT 1 FROM card_events \
             WHERE destination = ?1 AND state = 'dead' LIMIT ?2)) FROM (SELECT occurred_at FROM card_events \
             WHERE destination = ?1 AND state = 'pending' ORDER BY due_at LIMIT ?2)",
        )
        .bind(destination)
        .bind(i64::from(Backlog::COUNTED_MAX))
        .fetch_one(&self.readers)
        .await?;
        read::backlog(&row)
    }

    async fn destinations_known(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT destination FROM event_leases ORDER BY destination";
        Ok(sqlx::query_scalar(sql).fetch_all(&self.readers).await?)
    }

    async fn forget_events(
        &self,
        destination: &str,
        state: EventState,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM card_events WHERE (token_hash, sequence, destination) IN (SELECT token_hash, sequence, destination \
             FROM card_events WHERE destination = ?1 AND state = ?2 AND due_at <= ?3 ORDER BY due_at LIMIT ?4)",
        )
        .bind(destination)
        .bind(state.as_str())
        .bind(before.unix_micros())
        .bind(i64::from(limit))
        .execute(&self.sweeper)
        .await?;
        Ok(done.rows_affected())
    }

    async fn cards_ending(
        &self,
        nearing: &Nearing,
        after: Option<TokenHash>,
        looked_at: u32,
    ) -> Result<EndingPage, StoreError> {
        let after = after.map_or_else(Vec::new, |after| after.as_bytes().to_vec());
        let last: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT token_hash FROM cards WHERE token_hash > ?1 ORDER BY token_hash LIMIT 1 OFFSET ?2",
        )
        .bind(&after)
        .bind(i64::from(looked_at.saturating_sub(1)))
        .fetch_optional(&self.readers)
        .await?;
        let next = last.as_deref().map(bytes32).transpose()?;
        let [first_month, last_month] = months(nearing);
        let rows = sqlx::query(
            "SELECT tenant, token_hash, CASE WHEN exp BETWEEN ?3 AND ?4 AND told_exp IS NOT exp THEN exp END AS near_exp, \
             CASE WHEN expires_at > ?5 AND expires_at <= ?6 AND told_expires_at IS NOT expires_at THEN expires_at END \
             AS near_end FROM cards WHERE token_hash > ?1 AND token_hash <= ?2 AND +deleted_at IS NULL \
             AND (near_exp IS NOT NULL OR near_end IS NOT NULL)",
        )
        .bind(&after)
        .bind(next.unwrap_or([0xff; 32]).to_vec())
        .bind(first_month)
        .bind(last_month)
        .bind(nearing.after.unix_micros())
        .bind(nearing.until.unix_micros())
        .fetch_all(&self.readers)
        .await?;
        let cards = rows.iter().map(read::ending).collect::<Result<_, _>>()?;
        Ok(EndingPage { cards, next: next.map(TokenHash::from_bytes) })
    }
}

async fn prolong(
    connection: &mut sqlx::sqlite::SqliteConnection,
    lease: &Lease,
    until: Timestamp,
) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE event_leases SET until_at = ?3, place = ?4 WHERE destination = ?1 AND fence = ?2";
    let kept = sqlx::query(sql)
        .bind(&lease.destination)
        .bind(signed(lease.fence))
        .bind(until.unix_micros())
        .bind(lease.place.map(|place| place.as_bytes().to_vec()))
        .execute(connection)
        .await?;
    Ok(kept.rows_affected() == 1)
}

/// Of a card whose event is tried again later, the later ones wait for it.
async fn hold_back(
    connection: &mut sqlx::sqlite::SqliteConnection,
    lease: &Lease,
    settled: &[Settled],
) -> Result<(), sqlx::Error> {
    let postponed: Vec<_> = settled.iter().filter_map(|item| Some((item, item.postponed()?))).collect();
    if postponed.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE card_events SET due_at = item.column3 FROM (VALUES {}) AS item WHERE +destination = ? \
         AND token_hash = item.column1 AND sequence > item.column2 AND +state = 'pending' AND +due_at < item.column3",
        rows_of_placeholders(postponed.len(), 3)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for (item, due_at) in &postponed {
        query = query.bind(item.token.as_bytes().as_slice()).bind(signed(item.sequence));
        query = query.bind(due_at.unix_micros());
    }
    query.bind(&lease.destination).execute(connection).await?;
    Ok(())
}
