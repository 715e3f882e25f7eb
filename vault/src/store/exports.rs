//! Exports: who asked, who approved, what the runs made. One text for both drivers; both read `$1` as the first value.

use strongroom_domain::{DataKeyId, ExportId, TenantId, Timestamp, WorkloadId};

use super::change::{Change, Committed};
use super::decode::bytes32;
use super::encode::micros;
use super::error::StoreError;
use super::rows::{ExportRow, ExportRunRow};

const INSERT: &str = "\
INSERT INTO exports (id, tenant, request, sha256, requester, requested_at, not_after, mac_key, mac, runs)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)";

/// That two people are two is asked here too, and of the table.
const APPROVE: &str = "\
UPDATE exports SET approver = $1, approval = $2
WHERE id = $3 AND tenant = $4 AND sha256 = $5 AND approver IS NULL AND requester <> $1 AND not_after > $6";

const IS_THERE: &str = "SELECT count(*) FROM exports WHERE id = $1 AND tenant = $2 AND sha256 = $3";

const COUNT_RUN: &str = "\
UPDATE exports SET runs = $1 WHERE id = $2 AND runs = $1 - 1 AND approver IS NOT NULL AND not_after > $3";

const BEGIN: &str = "\
INSERT INTO export_runs (export_id, run, run_by, began_at) VALUES ($1, $2, $3, $4)";

const END: &str = "\
UPDATE export_runs SET ended_at = $1, manifest = $2 WHERE export_id = $3 AND run = $4 AND ended_at IS NULL";

macro_rules! export_columns {
    () => {
        "SELECT id, tenant, request, sha256, requester, requested_at, not_after, mac_key, mac, approval, runs FROM exports"
    };
}

const ONE: &str = concat!(export_columns!(), " WHERE id = $1 AND tenant = $2");

const ALL: &str =
    concat!(export_columns!(), " WHERE tenant = $1 ORDER BY requested_at DESC, id DESC LIMIT $2");

const RUNS: &str = "\
SELECT run, run_by, began_at, ended_at, manifest FROM export_runs WHERE export_id = $1 ORDER BY run";

/// No export has nearly as many runs.
fn small(run: u32) -> i32 {
    i32::try_from(run).unwrap_or(i32::MAX)
}

macro_rules! driver {
    ($driver:ident, $pool:ty, $connection:ty, $row:ty) => {
        /// Reads and writes of one driver.
        pub(super) mod $driver {
            use super::*;
            use sqlx::Row as _;
            use uuid::Uuid;

            pub(in crate::store) async fn one(
                readers: &$pool,
                tenant: &TenantId,
                id: ExportId,
            ) -> Result<Option<ExportRow>, StoreError> {
                let query = sqlx::query(ONE).bind(id.as_uuid()).bind(tenant.as_str());
                query.fetch_optional(readers).await?.map(|row| read(&row)).transpose()
            }

            pub(in crate::store) async fn all(
                readers: &$pool,
                tenant: &TenantId,
                limit: u32,
            ) -> Result<Vec<ExportRow>, StoreError> {
                let query = sqlx::query(ALL).bind(tenant.as_str()).bind(i64::from(limit));
                query.fetch_all(readers).await?.iter().map(read).collect()
            }

            pub(in crate::store) async fn runs(
                readers: &$pool,
                id: ExportId,
            ) -> Result<Vec<ExportRunRow>, StoreError> {
                let rows = sqlx::query(RUNS).bind(id.as_uuid()).fetch_all(readers).await?;
                rows.iter().map(read_run).collect()
            }

            fn read(row: &$row) -> Result<ExportRow, StoreError> {
                let corrupt = StoreError::Corrupt;
                let approval: Option<&str> = row.try_get(9)?;
                Ok(ExportRow {
                    id: ExportId::from_uuid(row.try_get::<Uuid, _>(0)?),
                    tenant: TenantId::parse(row.try_get::<&str, _>(1)?)
                        .map_err(|_| corrupt("exports.tenant"))?,
                    request: row.try_get(2)?,
                    sha256: bytes32(row.try_get::<&[u8], _>(3)?)?,
                    requester: row.try_get(4)?,
                    requested_at: Timestamp::from_unix_micros(row.try_get(5)?),
                    not_after: Timestamp::from_unix_micros(row.try_get(6)?),
                    mac_key: DataKeyId::from_uuid(row.try_get::<Uuid, _>(7)?),
                    mac: bytes32(row.try_get::<&[u8], _>(8)?)?,
                    approval: approval
                        .map(serde_json::from_str)
                        .transpose()
                        .map_err(|_| corrupt("exports.approval"))?,
                    runs: row.try_get::<i32, _>(10)?.unsigned_abs(),
                })
            }

            fn read_run(row: &$row) -> Result<ExportRunRow, StoreError> {
                let ended_at: Option<i64> = row.try_get(3)?;
                Ok(ExportRunRow {
                    run: row.try_get::<i32, _>(0)?.unsigned_abs(),
                    by: WorkloadId::parse(row.try_get::<&str, _>(1)?)
                        .map_err(|_| StoreError::Corrupt("export_runs.run_by"))?,
                    began_at: Timestamp::from_unix_micros(row.try_get(2)?),
                    ended_at: ended_at.map(Timestamp::from_unix_micros),
                    manifest: row.try_get(4)?,
                })
            }

            /// Writes one change of an export.
            pub(in crate::store) async fn write(
                connection: &mut $connection,
                change: &Change,
            ) -> Result<Committed, sqlx::Error> {
                match change {
                    Change::RequestExport { export, .. } => request(connection, export).await,
                    Change::ApproveExport { .. } => approve(connection, change).await,
                    Change::BeginExportRun { id, run, .. } => begin(connection, *id, run).await,
                    Change::EndExportRun { id, run, at, manifest, .. } => {
                        let query = sqlx::query(END).bind(at.unix_micros()).bind(manifest);
                        let query = query.bind(id.as_uuid()).bind(small(*run));
                        Ok(done(query.execute(connection).await?.rows_affected()))
                    }
                    _ => Ok(Committed::Conflict), // no change of an export
                }
            }

            fn done(rows: u64) -> Committed {
                if rows == 1 { Committed::Done } else { Committed::Conflict }
            }

            async fn request(
                connection: &mut $connection,
                export: &ExportRow,
            ) -> Result<Committed, sqlx::Error> {
                sqlx::query(INSERT)
                    .bind(export.id.as_uuid())
                    .bind(export.tenant.as_str())
                    .bind(&export.request)
                    .bind(export.sha256.as_slice())
                    .bind(&export.requester)
                    .bind(export.requested_at.unix_micros())
                    .bind(micros(Some(export.not_after)))
                    .bind(export.mac_key.as_uuid())
                    .bind(export.mac.as_slice())
                    .execute(connection)
                    .await?;
                Ok(Committed::Done)
            }

            async fn approve(
                connection: &mut $connection,
                change: &Change,
            ) -> Result<Committed, sqlx::Error> {
                let Change::ApproveExport { tenant, id, sha256, approval, .. } = change else {
                    return Ok(Committed::Conflict);
                };
                let text =
                    serde_json::to_string(approval).map_err(|error| sqlx::Error::Encode(error.into()))?;
                let approved = sqlx::query(APPROVE)
                    .bind(&approval.person)
                    .bind(text)
                    .bind(id.as_uuid())
                    .bind(tenant.as_str())
                    .bind(sha256.as_slice())
                    .bind(approval.at.unix_micros())
                    .execute(&mut *connection)
                    .await?;
                if approved.rows_affected() == 1 {
                    return Ok(Committed::Done);
                }
                let there: i64 = sqlx::query_scalar(IS_THERE)
                    .bind(id.as_uuid())
                    .bind(tenant.as_str())
                    .bind(sha256.as_slice())
                    .fetch_one(connection)
                    .await?;
                Ok(if there == 1 { Committed::Conflict } else { Committed::Missing })
            }

            async fn begin(
                connection: &mut $connection,
                id: ExportId,
                run: &ExportRunRow,
            ) -> Result<Committed, sqlx::Error> {
                let counted = sqlx::query(COUNT_RUN)
                    .bind(small(run.run))
                    .bind(id.as_uuid())
                    .bind(run.began_at.unix_micros())
                    .execute(&mut *connection)
                    .await?;
                if counted.rows_affected() != 1 {
                    return Ok(Committed::Conflict);
                }
                sqlx::query(BEGIN)
                    .bind(id.as_uuid())
                    .bind(small(run.run))
                    .bind(run.by.as_str())
                    .bind(run.began_at.unix_micros())
                    .execute(connection)
                    .await?;
                Ok(Committed::Done)
            }
        }
    };
}

driver!(postgres, sqlx::PgPool, sqlx::PgConnection, sqlx::postgres::PgRow);
driver!(sqlite, sqlx::SqlitePool, sqlx::SqliteConnection, sqlx::sqlite::SqliteRow);
