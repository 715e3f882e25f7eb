//! A data key in memory: 32 bytes that are locked against swapping, wiped on drop and never shown.
//!
//! Keys lie in slots of pages that are locked once and never unlocked: `munlock` counts nothing, so unlocking the page
//! of one key would unlock its neighbours' too. A freed slot is wiped and used again.
//!
//! Promises: no `Clone`, no `Serialize`, no comparison, nothing in `Debug`; the slot is zero once the key is dropped.
//! Does not promise: locked memory where the limit (`ulimit -l`) is reached. Then keys still work; the gap is counted
//! in `strongroom_key_pages_unlocked_total` and logged once.
//! Upholds: C-12, C-21.

use std::fmt;
use std::sync::{Mutex, Once, PoisonError, RwLock};

use strongroom_domain::{Random, RandomUnavailable};
use zeroize::{Zeroize, Zeroizing};

/// Smallest page of the systems we run on. Where pages are larger, two of ours share one, which does no harm.
const PAGE_BYTES: usize = 4096;
const SLOTS: usize = PAGE_BYTES / size_of::<Slot>();

type Slot = RwLock<[u8; DataKey::BYTES]>;

#[repr(align(4096))]
struct Page([Slot; SLOTS]);

/// Slots no key lies in. Grows by a page; 2,000 pages (180,000 keys) fit the common 8 MiB limit.
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());

/// A data key. Share it in an `Arc`; it wipes itself when the last one is dropped.
pub struct DataKey {
    slot: &'static Slot,
}

impl DataKey {
    /// AES-256.
    pub const BYTES: usize = 32;

    /// Takes the key and wipes the place it came from.
    #[must_use]
    pub fn take(bytes: &mut [u8; Self::BYTES]) -> Self {
        let slot = free_slot(lock_page);
        *slot.write().unwrap_or_else(PoisonError::into_inner) = *bytes;
        bytes.zeroize();
        Self { slot }
    }

    /// Draws a new key.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomUnavailable> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        random.fill(bytes.as_mut_slice())?;
        Ok(Self::take(&mut bytes))
    }

    /// Lets `use_key` see the bytes, in place. Private to this crate.
    pub(crate) fn with<R>(&self, use_key: impl FnOnce(&[u8; Self::BYTES]) -> R) -> R {
        use_key(&self.slot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for DataKey {
    fn drop(&mut self) {
        self.slot.write().unwrap_or_else(PoisonError::into_inner).zeroize();
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([REDACTED])")
    }
}

fn free_slot(lock: fn(&'static Page) -> bool) -> &'static Slot {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    free.pop().unwrap_or_else(|| {
        let (first, others) = new_page(lock).split_first().expect("a page has slots");
        free.extend(others);
        first
    })
}

fn new_page(lock: fn(&'static Page) -> bool) -> &'static [Slot; SLOTS] {
    let page: &'static Page = Box::leak(Box::new(Page(std::array::from_fn(|_| Slot::default()))));
    if !lock(page) {
        report_unlocked();
    }
    &page.0
}

/// Locks the page for the life of the process. `false` if the system refuses.
fn lock_page(page: &'static Page) -> bool {
    match region::lock(std::ptr::from_ref(page), size_of::<Page>()) {
        Ok(guard) => {
            std::mem::forget(guard);
            true
        }
        Err(_) => false,
    }
}

fn report_unlocked() {
    static TOLD: Once = Once::new();
    metrics::counter!("strongroom_key_pages_unlocked_total").increment(1);
    TOLD.call_once(|| {
        tracing::warn!(
            "keys are in memory that may be swapped out: raise the locked-memory limit (LimitMEMLOCK=, ulimit -l) \
             or turn swap off"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(DataKey: Clone, fmt::Display, PartialEq, serde::Serialize);
    static_assertions::assert_impl_all!(DataKey: Send, Sync);
    static_assertions::const_assert!(size_of::<Page>() == PAGE_BYTES && SLOTS >= 64);

    #[test]
    fn a_key_is_taken_out_of_its_source_and_wiped_on_drop() {
        let mut source = [7; 32];
        let key = DataKey::take(&mut source);
        assert_eq!(source, [0; 32]);
        assert!(key.with(|bytes| *bytes == [7; 32]));
        assert_eq!(format!("{key:?}"), "DataKey([REDACTED])");
        let slot = key.slot;
        drop(key);
        // Another test's key may lie there by now, but not this one.
        assert_ne!(*slot.read().unwrap(), [7; 32]);
    }

    #[test]
    fn many_keys_keep_apart_and_their_slots_are_used_again() {
        let keys: Vec<DataKey> = (0..=255_u8).map(|byte| DataKey::take(&mut [byte; 32])).collect();
        for (byte, key) in (0..=255_u8).zip(&keys) {
            assert!(key.with(|bytes| *bytes == [byte; 32]));
        }
        drop(keys);
        assert!(FREE.lock().unwrap().len() >= 200);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn keys_lie_in_locked_memory() {
        let key = DataKey::take(&mut [9; 32]);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        let kibibytes: u64 = locked.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kibibytes >= 4, "{locked}");
        drop(key);
    }

    #[test]
    fn a_refused_lock_still_gives_slots() {
        assert_eq!(new_page(|_| false).len(), SLOTS);
    }
}
