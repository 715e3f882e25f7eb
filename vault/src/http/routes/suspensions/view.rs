//! A suspension as the API shows and takes it.

use serde::{Deserialize, Serialize};
use strongroom_domain::{Problem, ProblemKind, Timestamp, WorkloadId};
use utoipa::ToSchema;

use crate::audit::Reason;
use crate::operation::OperationError;
use crate::store::{SuspendedBy, SuspensionRow};

/// A suspension.
#[derive(Serialize, ToSchema)]
#[schema(as = Suspension)]
pub struct SuspensionBody {
    /// Who is suspended.
    #[schema(value_type = String)]
    workload: WorkloadId,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Which person did it; null if a rule did.
    #[schema(value_type = Option<String>)]
    by: Option<WorkloadId>,
    /// Which rule did it; null if a person did.
    rule: Option<String>,
    /// Why, in that person's words.
    reason: Option<String>,
}

impl From<SuspensionRow> for SuspensionBody {
    fn from(row: SuspensionRow) -> Self {
        let (by, rule, reason) = match row.by {
            SuspendedBy::Person { id, reason } => (Some(id), None, Some(reason.to_string())),
            SuspendedBy::Rule(rule) => (None, Some(rule), None),
        };
        Self { workload: row.workload, since: row.since, by, rule, reason }
    }
}

/// Whom, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WorkloadAndReason)]
pub(super) struct WhomBody {
    /// The workload, as the policy bundle names it.
    #[schema(
        pattern = "^(spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+|dns:[a-z0-9.-]+)$",
        example = "spiffe://strongroom.test/importer"
    )]
    workload: String,
    /// Why, in a sentence: it stands on the log. No control characters, card numbers or tokens.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// The names an error may point at.
pub(super) const FIELDS: &[&str] = &["/workload", "/reason"];

impl WhomBody {
    pub(super) fn parse(&self) -> Result<(WorkloadId, Reason), OperationError> {
        let invalid = |detail, pointer| {
            OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail).at(pointer))
        };
        let workload = WorkloadId::parse(&self.workload);
        let workload = workload.map_err(|_| invalid("this is no workload's name", "/workload"))?;
        let told =
            "the reason is not 1 to 200 bytes of text without control characters, card numbers or tokens";
        let reason = Reason::parse(&self.reason).map_err(|_| invalid(told, "/reason"))?;
        Ok((workload, reason))
    }
}
