//! Suspending workloads: refusing an identity everything until a person lets it go on.
//!
//! Promises: whoever is suspended is refused by every replica within [`IN_FORCE_WITHIN`] of the answer, whatever restarts
//! meanwhile; of each role that can help (security, custodian) one workload always stays; each suspension, each that was
//! withheld and each that ended is an entry.
//! Does not promise: to end what is under way. A forward that was opened may still be sent, and its proxy may still say how
//! it ended, unless it is the proxy that is suspended.
//! Trusts: the store for who is suspended. While it does not answer, who was suspended stays so, and nothing new can be
//! served either: whatever a request does is written there first.
//! Upholds: C-64.

use std::collections::HashSet;
use std::time::Duration;

use strongroom_domain::{Problem, ProblemKind, Timestamp, WorkloadId};

use super::{Asking, OperationError, Vault};
use crate::audit::{Draft, Event, Object, Outcome, Reason, SuspensionRef};
use crate::authz::{Authorizer, Permit, ReadEvidence, ResumeWorkload, SuspendWorkload};
use crate::store::{Change, Committed, StoreError, SuspendedBy, SuspensionBounds, SuspensionRow};
use crate::watch::{Rule, Suspend, WatchError};

/// How long a suspension, or its end, may take to be in force on every replica.
pub const IN_FORCE_WITHIN: Duration = Duration::from_secs(5);
/// How often a replica reads who is suspended.
pub const READ_EVERY: Duration = Duration::from_secs(1);
/// The roles of which one workload always stays: those that can look, and lift a suspension, and those that can stop the keys.
const GUARDED: [&str; 2] = ["security", "custodian"];
/// Within how long rules suspend no more than was set.
const HOUR: Duration = Duration::from_secs(3_600);

/// Why a suspension was not written.
enum Withheld {
    Already(SuspensionRow),
    LastOfRole,
    UsedUp,
}

impl Vault {
    /// Reads who is suspended, for every request that begins from now on.
    pub async fn read_suspensions(&self) -> Result<(), StoreError> {
        let rows = self.store.suspensions().await?;
        let suspended: HashSet<WorkloadId> = rows.into_iter().map(|row| row.workload).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of workloads is far below 2^52")]
        metrics::gauge!("strongroom_workloads_suspended").set(suspended.len() as f64);
        self.suspended.become_these(suspended);
        Ok(())
    }

    /// Suspends a workload at a person's word. Gives the suspension in force, also if it was there before.
    pub async fn suspend_workload(
        &self,
        asking: &Asking,
        permit: Permit<SuspendWorkload>,
        reason: Reason,
    ) -> Result<SuspensionRow, OperationError> {
        let workload = permit.subject().clone();
        let authorizer = self.authorizer.load_full();
        if authorizer.roles_of(&workload).is_none() {
            let detail = "the policy bundle in force has no such workload";
            let problem = Problem::because(ProblemKind::NotFound, detail).at("/workload");
            return Err(OperationError::Request(problem));
        }
        let by = SuspendedBy::Person { id: asking.caller.workload.clone(), reason: reason.clone() };
        let row = SuspensionRow { workload: workload.clone(), since: asking.at, by };
        let bounds = SuspensionBounds { others: others(&authorizer, &workload), by_rules: None };
        let entry =
            Self::allowed(asking, Event::WorkloadSuspend, permit.decision(), Object::Workload(workload))
                .of_suspension(SuspensionRef { reason: Some(reason), ..SuspensionRef::default() });
        match self.write_suspension(&row, &bounds, entry.clone().because("by-person")).await? {
            None => Ok(row),
            Some(Withheld::Already(row)) => {
                self.record(entry.because("already")).await?;
                Ok(row)
            }
            Some(Withheld::LastOfRole) => Err(OperationError::LastOfRole),
            Some(Withheld::UsedUp) => Err(OperationError::Conflict), // somebody lifted it in this moment
        }
    }

    /// Ends a suspension. Gives the one that ended.
    pub async fn resume_workload(
        &self,
        asking: &Asking,
        permit: Permit<ResumeWorkload>,
        reason: Reason,
    ) -> Result<SuspensionRow, OperationError> {
        let workload = permit.subject().clone();
        let in_force = self.store.suspensions().await?;
        let Some(row) = in_force.into_iter().find(|row| row.workload == workload) else {
            return Err(OperationError::Conflict);
        };
        let object = Object::Workload(workload.clone());
        let told = SuspensionRef { reason: Some(reason), rule: None, since: Some(row.since) };
        let entry = Self::allowed(asking, Event::WorkloadResume, permit.decision(), object);
        let change = Change::ResumeWorkload { workload, at: asking.at, entry: entry.of_suspension(told) };
        if self.committer.commit(change).await? != Committed::Done {
            return Err(OperationError::Conflict);
        }
        tracing::warn!(workload = %row.workload, by = %asking.caller.workload, "a suspension was lifted");
        self.take_effect().await;
        Ok(row)
    }

    /// Every suspension in force.
    pub async fn list_suspensions(
        &self,
        asking: &Asking,
        permit: Permit<ReadEvidence>,
    ) -> Result<Vec<SuspensionRow>, OperationError> {
        let rows = self.store.suspensions().await?;
        let object = Object::Service("suspensions");
        let entry = Self::allowed(asking, Event::SuspensionRead, permit.decision(), object);
        self.record(entry.counting(rows.len() as u64)).await?;
        Ok(rows)
    }

    /// Writes a suspension, and puts it in force here.
    async fn write_suspension(
        &self,
        row: &SuspensionRow,
        bounds: &SuspensionBounds,
        entry: Draft,
    ) -> Result<Option<Withheld>, OperationError> {
        let change =
            Change::SuspendWorkload { suspension: Box::new(row.clone()), bounds: bounds.clone(), entry };
        match self.committer.commit(change).await? {
            Committed::Done => {}
            Committed::Conflict => return Ok(Some(self.why_not(row, bounds).await?)),
            _ => return Err(OperationError::Defect("a suspension needs neither key nor replay")),
        }
        let by = match &row.by {
            SuspendedBy::Person { .. } => "person",
            SuspendedBy::Rule(_) => "rule",
        };
        metrics::counter!("strongroom_suspensions_total", "by" => by).increment(1);
        tracing::error!(workload = %row.workload, by, "a workload is suspended: everything it asks for is refused");
        self.take_effect().await;
        Ok(None)
    }

    /// In force here at once; if that cannot be read now, then with the next read, like everywhere else.
    async fn take_effect(&self) {
        if let Err(error) = self.read_suspensions().await {
            tracing::warn!(%error, "a suspension is written and not read back yet");
        }
    }

    async fn why_not(
        &self,
        row: &SuspensionRow,
        bounds: &SuspensionBounds,
    ) -> Result<Withheld, OperationError> {
        let in_force = self.store.suspensions().await?;
        let is_suspended = |id: &WorkloadId| in_force.iter().any(|held| held.workload == *id);
        if bounds.others.iter().any(|others| others.iter().all(is_suspended)) {
            return Ok(Withheld::LastOfRole);
        }
        let same = in_force.into_iter().find(|held| held.workload == row.workload);
        Ok(same.map_or(Withheld::UsedUp, Withheld::Already))
    }
}

#[async_trait::async_trait]
impl Suspend for Vault {
    async fn suspend(
        &self,
        workload: &WorkloadId,
        rule: Rule,
        most_per_hour: u32,
        now: Timestamp,
    ) -> Result<(), WatchError> {
        let authorizer = self.authorizer.load_full();
        // Whom the bundle does not know is refused everything as it is, and must use up nothing.
        if self.suspended.holds(workload) || authorizer.roles_of(workload).is_none() {
            return Ok(());
        }
        let by = SuspendedBy::Rule(rule.as_str().to_owned());
        let row = SuspensionRow { workload: workload.clone(), since: now, by };
        let by_rules = Some((now.minus(HOUR), most_per_hour));
        let bounds = SuspensionBounds { others: others(&authorizer, workload), by_rules };
        let object = Object::Workload(workload.clone());
        let told = SuspensionRef { rule: Some(rule.as_str()), ..SuspensionRef::default() };
        let entry = |outcome| {
            let entry = Draft::by_service(now, Event::WorkloadSuspend, outcome, object.clone());
            entry.of_suspension(told.clone())
        };
        let written = self.write_suspension(&row, &bounds, entry(Outcome::Success).because("by-rule")).await;
        let why = match written.map_err(WatchError::suspending)? {
            None | Some(Withheld::Already(_)) => return Ok(()),
            Some(Withheld::LastOfRole) => "last-of-role",
            Some(Withheld::UsedUp) => "suspensions-used-up",
        };
        metrics::counter!("strongroom_suspensions_withheld_total", "why" => why).increment(1);
        tracing::error!(%workload, rule = rule.as_str(), why, "a rule would suspend a workload and may not");
        let refused = self.record(entry(Outcome::Denied).because(why)).await;
        refused.map_err(WatchError::suspending)
    }
}

/// For each guarded role this workload has: who else has it.
fn others(authorizer: &Authorizer, workload: &WorkloadId) -> Vec<Vec<WorkloadId>> {
    let has = |id: &WorkloadId, role: &str| authorizer.roles_of(id).is_some_and(|roles| roles.contains(role));
    let guarded = GUARDED.into_iter().filter(|role| has(workload, role));
    let others = |role: &str| {
        let all = authorizer.bundle().workloads.keys();
        all.filter(|id| *id != workload && has(id, role)).cloned().collect()
    };
    guarded.map(others).collect()
}
