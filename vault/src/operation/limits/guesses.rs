//! How many numbers of one BIN and last four one caller may try on a tenant that deduplicates.
//!
//! Where the same number gives the same token, whoever knows a token, its BIN and last four can try the thousand numbers
//! that fit until the token comes back. Each wrong try is a number nobody had tokenized there before, so those are what
//! is counted: by caller, tenant, BIN, last four and day.
//!
//! Promises: never fewer than were tried in this process since midnight UTC. The same number at the same time counts once; a
//! number that turns out to be known counts nothing. Once the tries are spent a known number is refused like a new one.
//! Does not promise: an exact count. It is a count-min sketch: fixed memory that cannot be flooded, and a count too
//! high only far beyond a million new cards a day. One count across replicas: N replicas allow N times as much.
//! Upholds: C-31.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use strongroom_domain::{Clock, Random, RandomUnavailable, TenantId, WorkloadId};
use strongroom_sealing::Fingerprint;

use super::{DAY_SECONDS, LimitReached};

/// Counters of one row: 1 MiB of memory each row. At a million new cards a day two share one.
const COLUMNS: usize = 1 << 19;
/// Rows: the least of four counts is taken.
const ROWS: usize = 4;

/// Numbers tried.
#[derive(Clone)]
pub struct Guesses(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    numbers_max: u16,
    /// Keys the places in the sketch, so that nobody can choose whom to share counters with.
    salt: [u8; 32],
    state: Mutex<State>,
}

struct State {
    day: i64,
    counts: Box<[u16]>,
    /// Numbers being tried now.
    trying: HashMap<Trying, Tried>,
}

/// One caller's number at one tenant.
type Trying = (WorkloadId, TenantId, Fingerprint);
/// Places of one BIN and last four in the sketch.
type Places = [usize; ROWS];

struct Tried {
    requests: u32,
    is_new: bool,
    places: Places,
}

/// A number being tried. Unless it is said to be new, it counts nothing once dropped.
pub(crate) struct Guess {
    of: Trying,
    is_new: bool,
    all: Guesses,
}

impl Guesses {
    /// Nothing tried yet.
    pub fn new(
        numbers_max: u16,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
    ) -> Result<Self, RandomUnavailable> {
        let mut salt = [0; 32];
        random.fill(&mut salt)?;
        let state = State { day: 0, counts: vec![0; ROWS * COLUMNS].into(), trying: HashMap::new() };
        Ok(Self(Arc::new(Inner { clock, numbers_max, salt, state: Mutex::new(state) })))
    }

    /// Counts a number that is not known, unless it is being tried already.
    pub(crate) fn begin(
        &self,
        caller: &WorkloadId,
        tenant: &TenantId,
        shown: &[u8],
        fingerprint: Fingerprint,
    ) -> Result<Guess, LimitReached> {
        let places = self.places(caller, tenant, shown);
        let of = (caller.clone(), tenant.clone(), fingerprint);
        let mut state = self.lock();
        if let Some(tried) = state.trying.get_mut(&of) {
            tried.requests += 1;
        } else {
            let least = places.iter().map(|place| state.counts[*place]).min().unwrap_or(u16::MAX);
            if least >= self.0.numbers_max {
                return Err(LimitReached);
            }
            for place in places {
                state.counts[place] = state.counts[place].saturating_add(1);
            }
            state.trying.insert(of.clone(), Tried { requests: 1, is_new: false, places });
        }
        Ok(Guess { of, is_new: false, all: self.clone() })
    }

    /// Whether no further number of this BIN and last four may be tried today. Then a number that is known must not be
    /// answered otherwise than one that is not: the difference would be the try that is refused.
    pub(crate) fn are_spent(
        &self,
        caller: &WorkloadId,
        tenant: &TenantId,
        shown: &[u8],
        fingerprint: Option<Fingerprint>,
    ) -> bool {
        let places = self.places(caller, tenant, shown);
        let state = self.lock();
        let is_being_tried = fingerprint
            .is_some_and(|number| state.trying.contains_key(&(caller.clone(), tenant.clone(), number)));
        let least = places.iter().map(|place| state.counts[*place]).min().unwrap_or(u16::MAX);
        !is_being_tried && least >= self.0.numbers_max
    }

    fn places(&self, caller: &WorkloadId, tenant: &TenantId, shown: &[u8]) -> Places {
        let mut hash = Sha256::new();
        hash.update(self.0.salt);
        for part in [caller.as_str().as_bytes(), tenant.as_str().as_bytes(), shown] {
            // Every part is bounded far below 64 KiB by its own type.
            hash.update((part.len() as u16).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        std::array::from_fn(|row| {
            let bytes = [digest[4 * row], digest[4 * row + 1], digest[4 * row + 2], digest[4 * row + 3]];
            row * COLUMNS + u32::from_be_bytes(bytes) as usize % COLUMNS
        })
    }

    /// The state of today. No count is half-written under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        let day = self.0.clock.now().unix_seconds().div_euclid(DAY_SECONDS);
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.day != day {
            state.day = day;
            state.counts.fill(0);
        }
        state
    }
}

impl Guess {
    /// The number was new: it counts.
    pub(crate) fn was_new(&mut self) {
        self.is_new = true;
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        let Some(tried) = state.trying.get_mut(&self.of) else { return };
        tried.requests -= 1;
        tried.is_new |= self.is_new;
        if tried.requests > 0 {
            return;
        }
        let (is_new, places) = (tried.is_new, tried.places);
        state.trying.remove(&self.of);
        if !is_new {
            for place in places {
                state.counts[place] = state.counts[place].saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};
    use strongroom_domain::Timestamp;

    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_seconds(self.0.load(Ordering::Relaxed))
        }
    }

    struct Ones;

    impl Random for Ones {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
            out.fill(1);
            Ok(())
        }
    }

    fn guesses(numbers_max: u16) -> (Guesses, Arc<Hands>) {
        let clock = Arc::new(Hands(AtomicI64::new(0)));
        (Guesses::new(numbers_max, Arc::clone(&clock) as Arc<dyn Clock>, &Ones).unwrap(), clock)
    }

    fn try_number(guesses: &Guesses, caller: &str, shown: &[u8], number: u8) -> Result<Guess, LimitReached> {
        let caller = WorkloadId::parse(&format!("spiffe://strongroom.test/{caller}")).unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        guesses.begin(&caller, &tenant, shown, Fingerprint::from_bytes([number; 32]))
    }

    #[test]
    fn new_numbers_of_one_bin_and_last_four_are_counted_by_caller_and_day() {
        let (guesses, clock) = guesses(3);
        for number in 0..3 {
            try_number(&guesses, "checkout", b"424242424242", number).unwrap().was_new();
        }
        assert!(try_number(&guesses, "checkout", b"424242424242", 9).is_err());
        assert!(try_number(&guesses, "checkout", b"424242424243", 9).is_ok());
        assert!(try_number(&guesses, "other", b"424242424242", 9).is_ok());
        clock.0.store(DAY_SECONDS, Ordering::Relaxed);
        assert!(try_number(&guesses, "checkout", b"424242424242", 9).is_ok());
    }

    #[test]
    fn one_number_at_a_time_counts_once_and_a_known_one_not_at_all() {
        let (guesses, _) = guesses(1);
        let mut crowd: Vec<_> =
            (0..1_000).map(|_| try_number(&guesses, "checkout", b"x", 1).unwrap()).collect();
        assert!(try_number(&guesses, "checkout", b"x", 2).is_err());
        drop(crowd.split_off(1));
        assert!(try_number(&guesses, "checkout", b"x", 2).is_err());
        drop(crowd); // it turned out to be known
        let mut new = try_number(&guesses, "checkout", b"x", 2).unwrap();
        new.was_new();
        drop(new);
        assert!(try_number(&guesses, "checkout", b"x", 3).is_err());
    }

    #[test]
    fn a_million_other_cards_hide_nothing_and_hinder_nobody() {
        let (guesses, _) = guesses(20);
        let caller = WorkloadId::parse("spiffe://strongroom.test/checkout").unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        for n in 0..100_000_u32 {
            let mut number = [0; 32];
            number[..4].copy_from_slice(&n.to_be_bytes());
            let number = Fingerprint::from_bytes(number);
            guesses.begin(&caller, &tenant, &n.to_be_bytes(), number).unwrap().was_new();
        }
        let tried = (0..40).filter(|number| {
            try_number(&guesses, "checkout", b"424242424242", *number).is_ok_and(|mut guess| {
                guess.was_new();
                true
            })
        });
        assert!((18..=20).contains(&tried.count()));
    }
}
