//! What the signed log keeps in the database: its head, its tiles, which entry stands where.
//!
//! Promises: the tree is extended by the holder of the lease alone, from the size that holder saw, in one transaction; a
//! holder that was overtaken changes nothing.
//! Does not promise: that the database was not changed by others. The sequencer holds it against what was exported.
//! Upholds: C-44.

use async_trait::async_trait;
use strongroom_domain::{BootId, DataKeyId, Timestamp};

use super::error::StoreError;
use super::rows::StoredEntry;
use crate::audit::tree::{Hash, Tile, TileId};
use crate::audit::{EntryId, Leaf};

/// Most tiles of one [`LogStore::log_tiles`]: a proof needs a few.
pub const TILES_READ_MAX: usize = 64;

/// The tree as the database knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogHead {
    /// How many entries are in.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// The right to extend the tree, until somebody else takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Who holds it.
    pub holder: BootId,
    /// Rises with every holder.
    pub fence: u64,
}

/// Entries of one boot that stand one after the other in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where the first stands in the tree.
    pub index: u64,
    /// The first.
    pub first: EntryId,
    /// How many.
    pub entries: u64,
}

impl Run {
    /// The part of it that stands from `index` on and before `end`.
    pub(super) fn within(self, index: u64, end: u64) -> Option<Self> {
        let skipped = index.saturating_sub(self.index);
        let index = self.index.saturating_add(skipped);
        let entries = self.entries.saturating_sub(skipped).min(end.saturating_sub(index));
        let first = EntryId { seq: self.first.seq.saturating_add(skipped), ..self.first };
        (entries > 0).then_some(Self { index, first, entries })
    }
}

/// Neighbours that are one run: of one boot, in the tree as in its numbers.
pub(super) fn joined(runs: Vec<Run>) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last)
                if last.first.boot == run.first.boot
                    && last.first.seq.checked_add(last.entries) == Some(run.first.seq)
                    && last.index.checked_add(last.entries) == Some(run.index) =>
            {
                last.entries = last.entries.saturating_add(run.entries);
            }
            _ => joined.push(run),
        }
    }
    joined
}

/// What an extension adds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// The tree it extends.
    pub from: u64,
    /// The tree it makes.
    pub head: LogHead,
    /// The entries.
    pub runs: Vec<Run>,
    /// Every tile that changed.
    pub tiles: Vec<Tile>,
}

/// A signed checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptCheckpoint {
    /// Of a tree of this size.
    pub size: u64,
    /// The signed note.
    pub note: String,
    /// When it was signed.
    pub signed_at: Timestamp,
}

/// A hand-over of the signing key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptHandOver {
    /// How many there were before.
    pub number: u64,
    /// Of a tree of this size.
    pub size: u64,
    /// The data key of the key before.
    pub former: DataKeyId,
    /// The data key of its successor.
    pub successor: DataKeyId,
    /// The note both signed.
    pub note: String,
    /// When.
    pub signed_at: Timestamp,
}

/// The database side of the signed log.
#[async_trait]
pub trait LogStore: Send + Sync {
    /// The tree's size and root.
    async fn log_head(&self) -> Result<LogHead, StoreError>;

    /// The data key the log's signing key derives from: the newest successor, or the first one anybody proposed.
    async fn log_signer(&self, proposed: DataKeyId) -> Result<DataKeyId, StoreError>;

    /// Whether [`Self::take_lease`] would give the right at `now`. Changes nothing.
    async fn lease_is_free(&self, holder: BootId, now: Timestamp) -> Result<bool, StoreError>;

    /// The right to extend the tree, if nobody else holds it at `now`.
    async fn take_lease(
        &self,
        holder: BootId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StoreError>;

    /// Holds it longer, or gives it up by an `until` that is past. `false`: somebody else has it.
    async fn keep_lease(&self, lease: Lease, until: Timestamp) -> Result<bool, StoreError>;

    /// Entries that are not in the tree, by boot and number.
    async fn unsequenced(&self, limit: u32) -> Result<Vec<StoredEntry>, StoreError>;

    /// Extends the tree. `false`: the lease is somebody else's, or the tree is not the one this extends. Nothing changed then.
    async fn extend(&self, lease: Lease, extension: &Extension, until: Timestamp)
    -> Result<bool, StoreError>;

    /// These tiles as they are now, in no order; those that are not there are left out. At most [`TILES_READ_MAX`].
    async fn log_tiles(&self, tiles: &[TileId]) -> Result<Vec<Tile>, StoreError>;

    /// The entries of the tree from `index` on, each with its place. One that is missing is left out.
    async fn logged(&self, index: u64, count: u32) -> Result<Vec<(u64, Leaf)>, StoreError>;

    /// Where an entry stands in the tree.
    async fn log_place(&self, entry: EntryId) -> Result<Option<u64>, StoreError>;

    /// Keeps a signed checkpoint, unless one of the same size is kept already. Gives the note that is.
    async fn keep_checkpoint(&self, checkpoint: &KeptCheckpoint) -> Result<String, StoreError>;

    /// Makes a successor the log's signing key, and keeps the hand-over as the checkpoint of its size. `false`, and nothing
    /// changed: the lease is somebody else's, the tree has another size, another key signs, or a checkpoint of this size is kept.
    async fn hand_over(
        &self,
        lease: Lease,
        hand_over: &KeptHandOver,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Every hand-over, in their order.
    async fn hand_overs(&self) -> Result<Vec<KeptHandOver>, StoreError>;

    /// The newest checkpoint.
    async fn newest_checkpoint(&self) -> Result<Option<KeptCheckpoint>, StoreError>;

    /// The checkpoints of trees of `from` entries and more and of less than `until`, by size.
    async fn checkpoints(&self, from: u64, until: u64) -> Result<Vec<String>, StoreError>;
}

/// Both drivers read `$1`; the statements are the same.
macro_rules! log_store {
    ($store:ty, $readers:ident, $writers:ident, $begin:literal) => {
        #[async_trait::async_trait]
        impl LogStore for $store {
            async fn log_head(&self) -> Result<LogHead, StoreError> {
                let row = sqlx::query("SELECT size, root FROM log_head WHERE id = 1")
                    .fetch_one(&self.$readers)
                    .await?;
                let root = bytes32(row.try_get::<&[u8], _>(1)?)?;
                Ok(LogHead { size: count(row.try_get(0)?)?, root: Hash::from_bytes(root) })
            }

            async fn log_signer(&self, proposed: DataKeyId) -> Result<DataKeyId, StoreError> {
                sqlx::query("UPDATE log_head SET signer = $1 WHERE id = 1 AND signer IS NULL")
                    .bind(proposed.as_uuid())
                    .execute(&self.$writers)
                    .await?;
                let signer: Uuid = sqlx::query_scalar("SELECT signer FROM log_head WHERE id = 1")
                    .fetch_one(&self.$readers)
                    .await?;
                Ok(DataKeyId::from_uuid(signer))
            }

            async fn lease_is_free(&self, holder: BootId, now: Timestamp) -> Result<bool, StoreError> {
                let free = sqlx::query(
                    "SELECT 1 FROM log_head WHERE id = 1 AND (lease_until <= $1 OR holder = $2)",
                )
                .bind(now.unix_micros())
                .bind(holder.as_uuid())
                .fetch_optional(&self.$readers)
                .await?;
                Ok(free.is_some())
            }

            async fn take_lease(
                &self,
                holder: BootId,
                now: Timestamp,
                until: Timestamp,
            ) -> Result<Option<Lease>, StoreError> {
                let fence: Option<i64> = sqlx::query_scalar(
                    "UPDATE log_head SET holder = $1, fence = fence + 1, lease_until = $2 \
                     WHERE id = 1 AND (lease_until <= $3 OR holder = $1) RETURNING fence",
                )
                .bind(holder.as_uuid())
                .bind(until.unix_micros())
                .bind(now.unix_micros())
                .fetch_optional(&self.$writers)
                .await?;
                fence.map(|fence| Ok(Lease { holder, fence: count(fence)? })).transpose()
            }

            async fn keep_lease(&self, lease: Lease, until: Timestamp) -> Result<bool, StoreError> {
                let kept = sqlx::query(
                    "UPDATE log_head SET lease_until = $1 WHERE id = 1 AND holder = $2 AND fence = $3",
                )
                .bind(until.unix_micros())
                .bind(lease.holder.as_uuid())
                .bind(signed(lease.fence))
                .execute(&self.$writers)
                .await?;
                Ok(kept.rows_affected() == 1)
            }

            async fn unsequenced(&self, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
                // Which first, then each by its numbers: as one join, PostgreSQL read the whole log twice a second.
                let boots = sqlx::query(
                    "SELECT b.boot_id, coalesce(l.next_seq, 0), b.next_seq FROM audit_boots b \
                     LEFT JOIN log_boots l ON l.boot_id = b.boot_id \
                     WHERE b.next_seq > coalesce(l.next_seq, 0) ORDER BY b.boot_id",
                )
                .fetch_all(&self.$readers)
                .await?;
                let mut found = Vec::new();
                for boot in &boots {
                    let room = i64::from(limit) - found.len() as i64;
                    if room <= 0 {
                        break;
                    }
                    let rows = sqlx::query(
                        "SELECT boot_id, instance_seq, leaf FROM audit_entries WHERE boot_id = $1 \
                         AND instance_seq >= $2 AND instance_seq < $3 ORDER BY instance_seq LIMIT $4",
                    )
                    .bind(boot.try_get::<Uuid, _>(0)?)
                    .bind(boot.try_get::<i64, _>(1)?)
                    .bind(boot.try_get::<i64, _>(2)?)
                    .bind(room)
                    .fetch_all(&self.$readers)
                    .await?;
                    for row in &rows {
                        found.push(read::entry(row)?);
                    }
                }
                Ok(found)
            }

            async fn extend(
                &self,
                lease: Lease,
                extension: &Extension,
                until: Timestamp,
            ) -> Result<bool, StoreError> {
                let mut transaction = self.$writers.begin_with($begin).await?;
                let fenced = sqlx::query(
                    "UPDATE log_head SET size = $1, root = $2, lease_until = $3 \
                     WHERE id = 1 AND holder = $4 AND fence = $5 AND size = $6",
                )
                .bind(signed(extension.head.size))
                .bind(extension.head.root.as_bytes().as_slice())
                .bind(until.unix_micros())
                .bind(lease.holder.as_uuid())
                .bind(signed(lease.fence))
                .bind(signed(extension.from))
                .execute(&mut *transaction)
                .await?;
                if fenced.rows_affected() != 1 {
                    transaction.rollback().await?;
                    return Ok(false);
                }
                for run in &extension.runs {
                    sqlx::query(
                        "INSERT INTO log_runs (first_index, boot_id, first_seq, entries) VALUES ($1, $2, $3, $4)",
                    )
                    .bind(signed(run.index))
                    .bind(run.first.boot.as_uuid())
                    .bind(signed(run.first.seq))
                    .bind(signed(run.entries))
                    .execute(&mut *transaction)
                    .await?;
                    sqlx::query(
                        "INSERT INTO log_boots (boot_id, next_seq) VALUES ($1, $2) \
                         ON CONFLICT (boot_id) DO UPDATE SET next_seq = excluded.next_seq",
                    )
                    .bind(run.first.boot.as_uuid())
                    .bind(signed(run.first.seq.saturating_add(run.entries)))
                    .execute(&mut *transaction)
                    .await?;
                }
                for tile in &extension.tiles {
                    sqlx::query(
                        "INSERT INTO log_tiles (level, number, hashes) VALUES ($1, $2, $3) \
                         ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
                    )
                    .bind(i32::from(tile.id.level))
                    .bind(signed(tile.id.number))
                    .bind(tile.bytes())
                    .execute(&mut *transaction)
                    .await?;
                }
                transaction.commit().await?;
                Ok(true)
            }

            async fn log_tiles(&self, tiles: &[TileId]) -> Result<Vec<Tile>, StoreError> {
                let mut found = Vec::with_capacity(tiles.len());
                for id in tiles.iter().take(TILES_READ_MAX) {
                    let hashes: Option<Vec<u8>> =
                        sqlx::query_scalar("SELECT hashes FROM log_tiles WHERE level = $1 AND number = $2")
                            .bind(i32::from(id.level))
                            .bind(signed(id.number))
                            .fetch_optional(&self.$readers)
                            .await?;
                    if let Some(hashes) = hashes {
                        let tile = Tile::read(*id, &hashes).ok_or(StoreError::Corrupt("log_tiles.hashes"))?;
                        found.push(tile);
                    }
                }
                Ok(found)
            }

            async fn logged(&self, index: u64, limit: u32) -> Result<Vec<(u64, Leaf)>, StoreError> {
                let end = index.saturating_add(u64::from(limit));
                let rows = sqlx::query(
                    "SELECT first_index, boot_id, first_seq, entries FROM log_runs \
                     WHERE first_index >= (SELECT coalesce(max(first_index), 0) FROM log_runs WHERE first_index <= $1) \
                     AND first_index < $2 ORDER BY first_index",
                )
                .bind(signed(index))
                .bind(signed(end))
                .fetch_all(&self.$readers)
                .await?;
                let mut runs = Vec::with_capacity(rows.len());
                for row in &rows {
                    let boot = BootId::from_uuid(row.try_get(1)?);
                    let first = EntryId { boot, seq: count(row.try_get(2)?)? };
                    let run = Run { index: count(row.try_get(0)?)?, first, entries: count(row.try_get(3)?)? };
                    runs.extend(run.within(index, end));
                }
                let mut found = Vec::new();
                for run in joined(runs) {
                    let rows = sqlx::query(
                        "SELECT instance_seq, leaf FROM audit_entries WHERE boot_id = $1 \
                         AND instance_seq >= $2 AND instance_seq < $3 ORDER BY instance_seq",
                    )
                    .bind(run.first.boot.as_uuid())
                    .bind(signed(run.first.seq))
                    .bind(signed(run.first.seq.saturating_add(run.entries)))
                    .fetch_all(&self.$readers)
                    .await?;
                    for row in &rows {
                        let place = count(row.try_get(0)?)?.saturating_sub(run.first.seq);
                        found.push((run.index.saturating_add(place), Leaf::from_bytes(row.try_get(1)?)));
                    }
                }
                Ok(found)
            }

            async fn log_place(&self, entry: EntryId) -> Result<Option<u64>, StoreError> {
                let place: Option<i64> = sqlx::query_scalar(
                    "SELECT first_index + $2 - first_seq FROM log_runs \
                     WHERE boot_id = $1 AND first_seq <= $2 AND first_seq + entries > $2 \
                     ORDER BY first_seq DESC LIMIT 1",
                )
                .bind(entry.boot.as_uuid())
                .bind(signed(entry.seq))
                .fetch_optional(&self.$readers)
                .await?;
                place.map(count).transpose()
            }

            async fn keep_checkpoint(&self, checkpoint: &KeptCheckpoint) -> Result<String, StoreError> {
                sqlx::query(
                    "INSERT INTO log_checkpoints (size, note, signed_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (size) DO NOTHING",
                )
                .bind(signed(checkpoint.size))
                .bind(&checkpoint.note)
                .bind(checkpoint.signed_at.unix_micros())
                .execute(&self.$writers)
                .await?;
                Ok(sqlx::query_scalar("SELECT note FROM log_checkpoints WHERE size = $1")
                    .bind(signed(checkpoint.size))
                    .fetch_one(&self.$readers)
                    .await?)
            }

            async fn hand_over(
                &self,
                lease: Lease,
                hand_over: &KeptHandOver,
                until: Timestamp,
            ) -> Result<bool, StoreError> {
                let mut transaction = self.$writers.begin_with($begin).await?;
                if hand_over::write(&mut transaction, lease, hand_over, until).await? {
                    transaction.commit().await?;
                    return Ok(true);
                }
                transaction.rollback().await?;
                Ok(false)
            }

            async fn hand_overs(&self) -> Result<Vec<KeptHandOver>, StoreError> {
                let rows = sqlx::query(
                    "SELECT number, size, former, successor, note, signed_at FROM log_hand_overs ORDER BY number",
                )
                .fetch_all(&self.$readers)
                .await?;
                rows.iter().map(hand_over::read).collect()
            }

            async fn newest_checkpoint(&self) -> Result<Option<KeptCheckpoint>, StoreError> {
                sqlx::query("SELECT size, note, signed_at FROM log_checkpoints ORDER BY size DESC LIMIT 1")
                    .fetch_optional(&self.$readers)
                    .await?
                    .map(|row| {
                        Ok(KeptCheckpoint {
                            size: count(row.try_get(0)?)?,
                            note: row.try_get(1)?,
                            signed_at: Timestamp::from_unix_micros(row.try_get(2)?),
                        })
                    })
                    .transpose()
            }

            async fn checkpoints(&self, from: u64, until: u64) -> Result<Vec<String>, StoreError> {
                Ok(sqlx::query_scalar(
                    "SELECT note FROM log_checkpoints WHERE size >= $1 AND size < $2 ORDER BY size",
                )
                .bind(signed(from))
                .bind(signed(until))
                .fetch_all(&self.$readers)
                .await?)
            }
        }
    };
}
pub(super) use log_store;

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn run(index: u64, boot: u128, seq: u64, entries: u64) -> Run {
        let boot = BootId::from_uuid(Uuid::from_u128(boot));
        Run { index, first: EntryId { boot, seq }, entries }
    }

    #[test]
    fn a_run_is_cut_to_what_is_asked() {
        assert_eq!(run(10, 1, 5, 10).within(12, 15), Some(run(12, 1, 7, 3)));
        assert_eq!(run(10, 1, 5, 10).within(0, 100), Some(run(10, 1, 5, 10)));
        assert_eq!(run(10, 1, 5, 10).within(19, 100), Some(run(19, 1, 14, 1)));
        assert_eq!(run(10, 1, 5, 10).within(20, 100), None);
        assert_eq!(run(10, 1, 5, 10).within(0, 10), None);
    }

    #[test]
    fn neighbours_of_one_boot_are_one_run() {
        let apart = vec![run(0, 1, 0, 4), run(4, 1, 4, 2), run(6, 2, 0, 1), run(7, 1, 6, 1), run(8, 1, 8, 1)];
        let expected = vec![run(0, 1, 0, 6), run(6, 2, 0, 1), run(7, 1, 6, 1), run(8, 1, 8, 1)];
        assert_eq!(joined(apart), expected);
    }
}
