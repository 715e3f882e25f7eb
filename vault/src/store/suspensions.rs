//! Workloads that are suspended. One text for both drivers; both read `$1` as the first value.
//!
//! Promises: of the workloads of a guarded role one always stays, also if two replicas suspend at once; rules suspend no more
//! within a time than was set, whatever was lifted since.
//! Upholds: C-64.

use strongroom_domain::{Timestamp, WorkloadId};

use super::change::{Change, Committed};
use super::error::StoreError;
use crate::audit::Reason;

/// A suspension that is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuspensionRow {
    /// Who is suspended.
    pub workload: WorkloadId,
    /// Since when.
    pub since: Timestamp,
    /// By whom.
    pub by: SuspendedBy,
}

/// Who suspended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SuspendedBy {
    /// A person of the security role.
    Person {
        /// As whom.
        id: WorkloadId,
        /// Why.
        reason: Reason,
    },
    /// A rule, by its name.
    Rule(String),
}

/// What must hold when a suspension is written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SuspensionBounds {
    /// For each guarded role it has: who else has it. One of each must not be suspended.
    pub others: Vec<Vec<WorkloadId>>,
    /// For a rule: at most so many by rules since then.
    pub by_rules: Option<(Timestamp, u32)>,
}

/// Two suspensions wait for each other here: what each reads next is what the other wrote.
const ENTER: &str = "UPDATE suspension_gate SET turn = turn + 1 WHERE id = 1";

const IN_FORCE: &str = "\
SELECT workload, since, by_rule, by_workload, reason FROM suspensions WHERE lifted_at IS NULL ORDER BY workload";

const COUNT_BY_RULES: &str = "SELECT count(*) FROM suspensions WHERE by_rule IS NOT NULL AND since > $1";

const INSERT: &str = "\
INSERT INTO suspensions (workload, since, by_rule, by_workload, reason) VALUES ($1, $2, $3, $4, $5)";

const LIFT: &str = "UPDATE suspensions SET lifted_at = $1 WHERE workload = $2 AND lifted_at IS NULL";

/// Whether it may be written beside these.
fn may_be(row: &SuspensionRow, bounds: &SuspensionBounds, in_force: &[String]) -> bool {
    let is_suspended = |id: &WorkloadId| in_force.iter().any(|name| name == id.as_str());
    !is_suspended(&row.workload) && bounds.others.iter().all(|others| !others.iter().all(is_suspended))
}

macro_rules! driver {
    ($driver:ident, $pool:ty, $connection:ty, $row:ty) => {
        /// Reads and writes of one driver.
        pub(super) mod $driver {
            use super::*;
            use sqlx::Row as _;

            pub(in crate::store) async fn in_force(
                readers: &$pool,
            ) -> Result<Vec<SuspensionRow>, StoreError> {
                sqlx::query(IN_FORCE).fetch_all(readers).await?.iter().map(read).collect()
            }

            fn read(row: &$row) -> Result<SuspensionRow, StoreError> {
                let corrupt = StoreError::Corrupt;
                let name = |text: &str| WorkloadId::parse(text).map_err(|_| corrupt("suspensions.workload"));
                let by = match (row.try_get(2)?, row.try_get::<Option<&str>, _>(3)?) {
                    (Some(rule), _) => SuspendedBy::Rule(rule),
                    (None, Some(id)) => SuspendedBy::Person {
                        id: name(id)?,
                        reason: Reason::parse(row.try_get(4)?).map_err(|_| corrupt("suspensions.reason"))?,
                    },
                    (None, None) => return Err(corrupt("suspensions.by_rule")),
                };
                let since = Timestamp::from_unix_micros(row.try_get(1)?);
                Ok(SuspensionRow { workload: name(row.try_get(0)?)?, since, by })
            }

            /// Writes one change of suspensions.
            pub(in crate::store) async fn write(
                connection: &mut $connection,
                change: &Change,
            ) -> Result<Committed, sqlx::Error> {
                match change {
                    Change::SuspendWorkload { suspension, bounds, .. } => {
                        suspend(connection, suspension, bounds).await
                    }
                    Change::ResumeWorkload { workload, at, .. } => {
                        let query = sqlx::query(LIFT).bind(at.unix_micros()).bind(workload.as_str());
                        let lifted = query.execute(connection).await?.rows_affected();
                        Ok(if lifted == 1 { Committed::Done } else { Committed::Missing })
                    }
                    _ => Ok(Committed::Conflict), // no change of suspensions
                }
            }

            async fn suspend(
                connection: &mut $connection,
                row: &SuspensionRow,
                bounds: &SuspensionBounds,
            ) -> Result<Committed, sqlx::Error> {
                sqlx::query(ENTER).execute(&mut *connection).await?;
                if let Some((since, most)) = bounds.by_rules {
                    let query = sqlx::query_scalar::<_, i64>(COUNT_BY_RULES).bind(since.unix_micros());
                    if query.fetch_one(&mut *connection).await? >= i64::from(most) {
                        return Ok(Committed::Conflict);
                    }
                }
                let rows = sqlx::query(IN_FORCE).fetch_all(&mut *connection).await?;
                let names = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
                if !may_be(row, bounds, &names) {
                    return Ok(Committed::Conflict);
                }
                let (rule, person, reason) = match &row.by {
                    SuspendedBy::Rule(rule) => (Some(rule.as_str()), None, None),
                    SuspendedBy::Person { id, reason } => (None, Some(id.as_str()), Some(reason.as_str())),
                };
                sqlx::query(INSERT)
                    .bind(row.workload.as_str())
                    .bind(row.since.unix_micros())
                    .bind(rule)
                    .bind(person)
                    .bind(reason)
                    .execute(connection)
                    .await?;
                Ok(Committed::Done)
            }
        }
    };
}

driver!(postgres, sqlx::PgPool, sqlx::PgConnection, sqlx::postgres::PgRow);
driver!(sqlite, sqlx::SqlitePool, sqlx::SqliteConnection, sqlx::sqlite::SqliteRow);
