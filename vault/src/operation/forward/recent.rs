//! Forwards this process opened a moment ago: whose they are, so that their outcomes need not be looked up first.
//!
//! Does not promise: completeness. What is not here is read from the store; whether an outcome may still be told is decided
//! there alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use strongroom_domain::{ForwardId, TenantId, WorkloadId};

/// Most forwards remembered: beyond a minute of them at 200 a second, as proxies bridge. About 2 MiB.
const REMEMBERED_MAX: usize = 16 * 1_024;

/// Forwards by id: who opened them, and whose cards they are about.
#[derive(Default)]
pub struct RecentForwards(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    owners: HashMap<ForwardId, (WorkloadId, TenantId)>,
    /// In the order they were opened; those that are told already are still among them.
    order: VecDeque<ForwardId>,
}

impl RecentForwards {
    /// Remembers a forward that is on disk.
    pub(super) fn remember(&self, id: ForwardId, proxy: WorkloadId, tenant: TenantId) {
        let mut recent = self.lock();
        while recent.order.len() >= REMEMBERED_MAX
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.owners.remove(&oldest);
        }
        recent.order.push_back(id);
        recent.owners.insert(id, (proxy, tenant));
    }

    /// The tenant of a forward that this proxy opened, if it is remembered.
    pub(super) fn tenant_of(&self, id: ForwardId, proxy: &WorkloadId) -> Option<TenantId> {
        let recent = self.lock();
        recent.owners.get(&id).filter(|(opener, _)| opener == proxy).map(|(_, tenant)| tenant.clone())
    }

    /// Its outcome is told: nobody asks again soon.
    pub(super) fn forget(&self, id: ForwardId) {
        self.lock().owners.remove(&id);
    }

    /// No forward is half-remembered under this lock.
    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> ForwardId {
        ForwardId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_forward_is_its_own_proxys_until_it_is_told_or_pushed_out() {
        let workload = |name: &str| WorkloadId::parse(&format!("spiffe://strongroom.test/{name}")).unwrap();
        let (proxy, other) = (workload("proxy"), workload("proxy-2"));
        let tenant = TenantId::parse("acme").unwrap();
        let recent = RecentForwards::default();
        for n in 0..=REMEMBERED_MAX as u128 {
            recent.remember(id(n), proxy.clone(), tenant.clone());
        }
        assert_eq!(recent.tenant_of(id(0), &proxy), None, "the oldest made room");
        assert_eq!(recent.tenant_of(id(1), &proxy), Some(tenant));
        assert_eq!(recent.tenant_of(id(1), &other), None);
        recent.forget(id(1));
        assert_eq!(recent.tenant_of(id(1), &proxy), None);
    }
}
