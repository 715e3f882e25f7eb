//! Rules that suspend whom they find: none, unless the configuration names them.
//!
//! Promises: whom a rule finds is suspended before the finding is written, so that no finding is passed over if a process dies in
//! between; what happened more than an hour ago suspends nobody any more.
//! Does not promise: that the rule was right. A person looks, and lifts it.
//! Upholds: C-64.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use strongroom_domain::{Timestamp, WorkloadId};

use super::follow::WatchError;
use super::rules::{Hit, Rule};

/// How old an entry may be whose finding suspends.
const OLD: Duration = Duration::from_secs(3_600);

/// Which rules suspend whom they find.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SuspendConfig {
    /// Their names. None: then every rule only tells.
    pub rules: Vec<Rule>,
    /// Most workloads that rules suspend within an hour, of all replicas together, 1 to 100. Beyond that they only tell.
    pub most_per_hour: u32,
}

impl Default for SuspendConfig {
    fn default() -> Self {
        Self { rules: Vec::new(), most_per_hour: 3 }
    }
}

impl SuspendConfig {
    /// Refuses rules that are about nobody, or about somebody who need not have done anything.
    pub(super) fn check(&self, off: &[Rule]) -> Result<(), String> {
        for rule in &self.rules {
            let name = rule.as_str();
            if matches!(rule, Rule::NewDestination | Rule::ControlFailed | Rule::LogStalled) {
                return Err(format!(
                    "watch.suspend.rules: `{name}` is not about what a workload did; leave it out"
                ));
            }
            if off.contains(rule) {
                return Err(format!(
                    "watch.suspend.rules: `{name}` is off (watch.off), so it suspends nobody"
                ));
            }
        }
        if !(1..=100).contains(&self.most_per_hour) {
            return Err("watch.suspend.most_per_hour is 1 to 100".into());
        }
        Ok(())
    }

    /// Whom this finding suspends.
    pub(super) fn whom<'a>(&self, hit: &'a Hit, now: Timestamp) -> Option<&'a WorkloadId> {
        let suspends = self.rules.contains(&hit.rule) && hit.at.plus(OLD) > now;
        hit.principal.as_ref().filter(|_| suspends)
    }
}

/// Whoever can suspend.
#[async_trait]
pub trait Suspend: Send + Sync {
    /// Suspends this workload if that may be; that it may not is written down. An error: it may be tried again.
    async fn suspend(
        &self,
        workload: &WorkloadId,
        rule: Rule,
        most_per_hour: u32,
        now: Timestamp,
    ) -> Result<(), WatchError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rules: &[Rule], off: &[Rule], most_per_hour: u32) -> String {
        SuspendConfig { rules: rules.to_vec(), most_per_hour }.check(off).unwrap_err()
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(SuspendConfig::default().rules.is_empty(), "nobody is suspended unless somebody says so");
        SuspendConfig::default().check(&[]).unwrap();
        assert!(refused(&[Rule::LogStalled], &[], 3).contains("log-stalled"));
        assert!(refused(&[Rule::ControlFailed], &[], 3).contains("control-failed"));
        assert!(refused(&[Rule::ReleaseRate], &[Rule::ReleaseRate], 3).contains("release-rate"));
        assert!(refused(&[], &[], 0).contains("most_per_hour"));
    }
}
