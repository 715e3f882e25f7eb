//! How old keys are: the inventory, by what they are for.
//!
//! Promises: nothing of a key but its id, and at most [`KEYS_COUNTED_MAX`] of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_domain::Timestamp;

use super::KEYS_HELD;
use crate::audit::{Event, Object};
use crate::authz::{Permit, ReadEvidence};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::inventory::{KEYS_READ_MAX, KeyFacts};

/// Most keys that are counted: ten readings of the inventory. Evidence counts all.
const KEYS_COUNTED_MAX: u32 = 10 * KEYS_READ_MAX;
/// Active keys that are shown by the end of their period.
const PERIODS_SHOWN: usize = 8;
/// Purposes whose keys have no such period: they end by a re-keying.
const WITHOUT_PERIOD: [&str; 1] = ["fingerprint"];

/// Keys at a glance.
#[derive(Debug, Default)]
pub struct KeyAges {
    /// How many were counted.
    pub counted: u64,
    /// Whether there are more.
    pub is_cut: bool,
    /// By what they are for.
    pub groups: BTreeMap<String, KeyGroup>,
    /// The active ones whose periods end first.
    pub ending: Vec<KeyFacts>,
}

/// Keys of one purpose.
#[derive(Debug, Default)]
pub struct KeyGroup {
    /// How many seal.
    pub active: u64,
    /// How many only open, or wait to be destroyed.
    pub others: u64,
    /// When the oldest that seals was made.
    pub oldest: Option<Timestamp>,
    /// How many should have stopped to seal by now.
    pub overdue: u64,
}

impl Vault {
    /// How old keys are.
    pub async fn key_ages(
        &self,
        asking: &Asking,
        permit: Permit<ReadEvidence>,
    ) -> Result<Arc<KeyAges>, OperationError> {
        let ages = self.console.keys.read(asking.at, KEYS_HELD, self.key_ages_at(asking.at)).await?;
        let entry = Self::allowed(asking, Event::EvidenceRead, permit.decision(), Object::Service("keys"));
        self.record(entry.because("keys").counting(ages.counted)).await?;
        Ok(ages)
    }

    async fn key_ages_at(&self, now: Timestamp) -> Result<KeyAges, OperationError> {
        let (mut ages, mut after, mut active) = (KeyAges::default(), None, Vec::new());
        loop {
            let page = self.store.key_facts(after).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            ages.is_cut = ages.counted >= u64::from(KEYS_COUNTED_MAX);
            if ages.is_cut {
                break;
            }
            let is_last = page.len() < KEYS_READ_MAX as usize;
            for facts in page {
                ages.take(&facts, now);
                if facts.state == "active" && !WITHOUT_PERIOD.contains(&facts.purpose.as_str()) {
                    active.push(facts);
                }
            }
            if is_last {
                break;
            }
        }
        active.sort_by_key(|facts| facts.seals_until);
        active.truncate(PERIODS_SHOWN);
        ages.ending = active;
        Ok(ages)
    }
}

impl KeyAges {
    fn take(&mut self, facts: &KeyFacts, now: Timestamp) {
        self.counted = self.counted.saturating_add(1);
        let group = self.groups.entry(facts.purpose.clone()).or_default();
        if facts.state != "active" {
            group.others = group.others.saturating_add(1);
            return;
        }
        group.active = group.active.saturating_add(1);
        group.oldest = Some(group.oldest.map_or(facts.created_at, |oldest| oldest.min(facts.created_at)));
        group.overdue = group.overdue.saturating_add(u64::from(facts.seals_until <= now));
    }
}
