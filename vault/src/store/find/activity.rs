//! How busy the log is: its newest entries, counted by minute, event and outcome.
//!
//! Promises: one reading looks at no more than [`ACTIVITY_PLACES_MAX`] rows of the index, by their places, however long the log is.
//! Upholds: C-66.

use async_trait::async_trait;
use strongroom_domain::Timestamp;

use crate::store::error::StoreError;

/// Most entries that are counted: a few milliseconds.
pub const ACTIVITY_PLACES_MAX: u64 = 10_000;

/// Entries of one minute, event and outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActivityRow {
    /// When the minute begins.
    pub minute: Timestamp,
    /// What happened.
    pub verb: String,
    /// How it ended.
    pub outcome: String,
    /// How many entries say so.
    pub entries: u64,
}

/// Counting the newest entries.
#[async_trait]
pub trait ActivityStore: Send + Sync {
    /// The newest of the entries before this place, counted; in no order.
    async fn activity(&self, before: u64) -> Result<Vec<ActivityRow>, StoreError>;
}

/// Both drivers read `$1`; the statement is the same.
macro_rules! activity_store {
    ($store:ty) => {
        #[async_trait::async_trait]
        impl $crate::store::find::ActivityStore for $store {
            async fn activity(
                &self,
                before: u64,
            ) -> Result<Vec<$crate::store::find::ActivityRow>, $crate::store::error::StoreError> {
                use sqlx::Row as _;
                let from = before.saturating_sub($crate::store::find::ACTIVITY_PLACES_MAX);
                let rows = sqlx::query(
                    "SELECT e.at / 60000000, v.name, o.name, count(*) FROM log_entries AS e \
                     JOIN log_names AS v ON v.id = e.verb JOIN log_names AS o ON o.id = e.outcome \
                     WHERE e.place >= $1 AND e.place < $2 GROUP BY e.at / 60000000, v.name, o.name",
                )
                .bind($crate::store::encode::signed(from))
                .bind($crate::store::encode::signed(before))
                .fetch_all(&self.readers)
                .await?;
                let mut counted = Vec::with_capacity(rows.len());
                for row in &rows {
                    let minute: i64 = row.try_get(0)?;
                    counted.push($crate::store::find::ActivityRow {
                        minute: strongroom_domain::Timestamp::from_unix_seconds(minute.saturating_mul(60)),
                        verb: row.try_get(1)?,
                        outcome: row.try_get(2)?,
                        entries: $crate::store::decode::count(row.try_get(3)?)?,
                    });
                }
                Ok(counted)
            }
        }
    };
}
pub(in crate::store) use activity_store;
