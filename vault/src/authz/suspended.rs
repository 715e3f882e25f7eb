//! Who is suspended, as the store said last: asked before any policy.
//!
//! Promises: asking costs a look at a set that is nearly always empty.
//! Does not promise: to be newer than the store's last answer; `operation::suspension` says how old that may be.
//! Upholds: C-64.

use std::collections::HashSet;

use arc_swap::ArcSwap;
use strongroom_domain::WorkloadId;

/// The reason of every refusal of a suspended workload.
pub const SUSPENDED: &str = "workload-suspended";

/// Workloads that may do nothing for now.
#[derive(Default, Debug)]
pub struct Suspended(ArcSwap<HashSet<WorkloadId>>);

impl Suspended {
    /// Whether this workload is.
    #[must_use]
    pub fn holds(&self, workload: &WorkloadId) -> bool {
        let suspended = self.0.load();
        !suspended.is_empty() && suspended.contains(workload)
    }

    /// What the store says now.
    pub fn become_these(&self, workloads: HashSet<WorkloadId>) {
        self.0.store(workloads.into());
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.load().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
