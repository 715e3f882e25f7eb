//! What the ring holds, without any waiting: pure decisions on time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{DataKeyId, Timestamp};

use super::fetch::Fetched;
use super::{HeldKey, KeyError};
use crate::data_key::DataKey;
use crate::key::{KeyScope, Purpose};

/// After a failed fetch the same one is not tried again for so long: an ill KMS is not helped by a call a request.
const PAUSE: Duration = Duration::from_secs(1);
/// A clock that steps back further than this makes every key it is older than stale. Less is ordinary slewing.
const STEP_BACK_MAX: Duration = Duration::from_secs(5);

/// What callers ask for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Request {
    /// The key that seals now.
    Active(KeyScope, Purpose),
    /// One key, to open with.
    ById(KeyScope, Purpose, DataKeyId),
}

/// What the cache says to a request.
pub(super) enum Found {
    /// Use it.
    Fresh(HeldKey),
    /// Use it, and fetch it anew meanwhile.
    Aging(HeldKey),
    /// Fetch it.
    Missing,
    /// Fetching it failed a moment ago.
    Paused(KeyError),
}

struct Entry {
    scope: KeyScope,
    purpose: Purpose,
    key: Arc<DataKey>,
    span: Span,
    used: u64,
}

/// Which key is the active one, as the store said at the start of `span`.
struct Active {
    id: DataKeyId,
    seals_until: Timestamp,
    span: Span,
}

/// From when something is known, and after how long to ask again.
#[derive(Clone, Copy)]
struct Span {
    from: Timestamp,
    refresh_after: Duration,
}

pub(super) struct Cache {
    max_age: Duration,
    keys_max: usize,
    entries: HashMap<DataKeyId, Entry>,
    active: HashMap<(KeyScope, Purpose), Active>,
    pauses: HashMap<Request, (Timestamp, KeyError)>,
    /// Counts uses; the entry with the smallest was not used for longest.
    uses: u64,
}

impl Cache {
    pub(super) fn new(max_age: Duration, keys_max: usize) -> Self {
        let (entries, active, pauses) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { max_age, keys_max, entries, active, pauses, uses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&mut self, request: &Request, now: Timestamp) -> Found {
        let paused = self.pauses.get(request).filter(|(since, _)| age(*since, now) < PAUSE).map(|(_, e)| *e);
        match (self.held(request, now), paused) {
            (Some((held, Freshness::Aging)), None) => Found::Aging(held),
            (Some((held, _)), _) => Found::Fresh(held),
            (None, Some(error)) => Found::Paused(error),
            (None, None) => Found::Missing,
        }
    }

    fn held(&mut self, request: &Request, now: Timestamp) -> Option<(HeldKey, Freshness)> {
        let (scope, purpose, id, known) = match request {
            Request::ById(scope, purpose, id) => (scope, *purpose, *id, Freshness::Fresh),
            Request::Active(scope, purpose) => {
                let active = self.active.get(&(scope.clone(), *purpose))?;
                if now >= active.seals_until {
                    return None;
                }
                (scope, *purpose, active.id, active.span.freshness(now, self.max_age)?)
            }
        };
        let entry = self.entries.get_mut(&id)?;
        // A key answers only to its own scope and purpose, whatever row names it.
        if entry.scope != *scope || entry.purpose != purpose {
            return None;
        }
        let freshness = entry.span.freshness(now, self.max_age)?;
        self.uses += 1;
        entry.used = self.uses;
        Some((HeldKey { id, key: Arc::clone(&entry.key) }, freshness.max(known)))
    }

    /// Takes a fetched key. `jitter` of 255 refreshes at 70 % of the age, 0 at 80 %.
    pub(super) fn insert(
        &mut self,
        request: &Request,
        fetched: Fetched,
        from: Timestamp,
        jitter: u8,
    ) -> HeldKey {
        let (Request::Active(scope, purpose) | Request::ById(scope, purpose, _)) = request;
        let Fetched { held, from_kms, seals_until } = fetched;
        let refresh_after = self.max_age.mul_f64(0.8 - 0.1 * f64::from(jitter) / 255.0);
        let span = Span { from, refresh_after };
        if let (Request::Active(..), Some(seals_until)) = (request, seals_until) {
            let active = Active { id: held.id, seals_until, span };
            self.active.insert((scope.clone(), *purpose), active);
        }
        self.pauses.remove(request);
        if from_kms {
            self.uses += 1;
            let (key, used) = (Arc::clone(&held.key), self.uses);
            self.entries.insert(held.id, Entry { scope: scope.clone(), purpose: *purpose, key, span, used });
            self.evict();
        }
        held
    }

    fn evict(&mut self) {
        while self.entries.len() > self.keys_max {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id);
            self.remove(oldest.expect("more than none are held"));
        }
    }

    /// Remembers a failure for a moment.
    pub(super) fn pause(&mut self, request: Request, error: KeyError, now: Timestamp) {
        // Denied and tampered keys were dropped where that was found out. An unknown key is the caller's mistake,
        // costs the store one look-up, and may exist a moment later.
        if error != KeyError::Unknown && self.pauses.len() < self.keys_max {
            self.pauses.insert(request, (now, error));
        }
    }

    pub(super) fn remove(&mut self, id: DataKeyId) {
        self.entries.remove(&id);
        self.active.retain(|_, active| active.id != id);
    }

    /// Drops what is past its age.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        let max_age = self.max_age;
        self.entries.retain(|_, entry| entry.span.freshness(now, max_age).is_some());
        let entries = &self.entries;
        self.active.retain(|_, active| {
            entries.contains_key(&active.id) && active.span.freshness(now, max_age).is_some()
        });
        self.pauses.retain(|_, (since, _)| age(*since, now) < PAUSE);
    }

    pub(super) fn ages(&self, now: Timestamp) -> Vec<(DataKeyId, Duration)> {
        self.entries.iter().map(|(id, entry)| (*id, age(entry.span.from, now))).collect()
    }

    /// The freshly unwrapped key with this id, if it needs no new KMS call.
    pub(super) fn fresh(
        &mut self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
        now: Timestamp,
    ) -> Option<HeldKey> {
        match self.held(&Request::ById(scope.clone(), purpose, id), now)? {
            (held, Freshness::Fresh) => Some(held),
            (_, Freshness::Aging) => None,
        }
    }

    pub(super) fn tell(&self) {
        metrics::gauge!("strongroom_key_cache_entries").set(self.entries.len() as f64);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Freshness {
    Fresh,
    Aging,
}

impl Span {
    /// `None` once the maximal age is reached.
    fn freshness(self, now: Timestamp, max_age: Duration) -> Option<Freshness> {
        match age(self.from, now) {
            age if age >= max_age => None,
            age if age >= self.refresh_after => Some(Freshness::Aging),
            _ => Some(Freshness::Fresh),
        }
    }
}

fn age(from: Timestamp, now: Timestamp) -> Duration {
    if from.since(now) > STEP_BACK_MAX { Duration::MAX } else { now.since(from) }
}
