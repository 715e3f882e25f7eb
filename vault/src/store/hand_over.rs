//! Hand-overs of the log's signing key in both databases.
//!
//! Promises: one successor for each key: what is written here is written by the holder of the lease, on the tree it saw, while the
//! key it hands over from signs; and no other checkpoint of that size is kept.
//! Upholds: C-57.

use strongroom_domain::{DataKeyId, Timestamp};

use super::decode::count;
use super::encode::signed;
use super::error::StoreError;
use super::log::{KeptHandOver, Lease};

macro_rules! driver {
    ($driver:ident, $connection:ty, $row:ty) => {
        /// The statements of one driver: both read `$1`.
        pub(super) mod $driver {
            use super::*;
            use sqlx::Row as _;
            use uuid::Uuid;

            /// Writes one, inside a transaction. `false`: nothing may be written.
            pub(in crate::store) async fn write(
                connection: &mut $connection,
                lease: Lease,
                hand_over: &KeptHandOver,
                until: Timestamp,
            ) -> Result<bool, StoreError> {
                let fenced = sqlx::query(
                    "UPDATE log_head SET signer = $1, lease_until = $2 \
                     WHERE id = 1 AND holder = $3 AND fence = $4 AND size = $5 AND signer = $6",
                )
                .bind(hand_over.successor.as_uuid())
                .bind(until.unix_micros())
                .bind(lease.holder.as_uuid())
                .bind(signed(lease.fence))
                .bind(signed(hand_over.size))
                .bind(hand_over.former.as_uuid())
                .execute(&mut *connection)
                .await?;
                if fenced.rows_affected() != 1 {
                    return Ok(false);
                }
                let kept = sqlx::query(
                    "INSERT INTO log_checkpoints (size, note, signed_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (size) DO NOTHING",
                )
                .bind(signed(hand_over.size))
                .bind(&hand_over.note)
                .bind(hand_over.signed_at.unix_micros())
                .execute(&mut *connection)
                .await?;
                if kept.rows_affected() != 1 {
                    return Ok(false);
                }
                sqlx::query(
                    "INSERT INTO log_hand_overs (number, size, former, successor, note, signed_at) \
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(signed(hand_over.number))
                .bind(signed(hand_over.size))
                .bind(hand_over.former.as_uuid())
                .bind(hand_over.successor.as_uuid())
                .bind(&hand_over.note)
                .bind(hand_over.signed_at.unix_micros())
                .execute(&mut *connection)
                .await?;
                Ok(true)
            }

            /// Reads one.
            pub(in crate::store) fn read(row: &$row) -> Result<KeptHandOver, StoreError> {
                Ok(KeptHandOver {
                    number: count(row.try_get(0)?)?,
                    size: count(row.try_get(1)?)?,
                    former: DataKeyId::from_uuid(row.try_get::<Uuid, _>(2)?),
                    successor: DataKeyId::from_uuid(row.try_get::<Uuid, _>(3)?),
                    note: row.try_get(4)?,
                    signed_at: Timestamp::from_unix_micros(row.try_get(5)?),
                })
            }
        }
    };
}

driver!(postgres, sqlx::PgConnection, sqlx::postgres::PgRow);
driver!(sqlite, sqlx::SqliteConnection, sqlx::sqlite::SqliteRow);
