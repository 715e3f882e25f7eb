//! The shelf: verification codes by card, each leased to one payment attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use strongroom_domain::{Clock, Cvc, ForwardId, Timestamp, TokenHash};

use super::CVC_TTL_DEFAULT;

/// Bounds of the shelf.
#[derive(Clone, Copy, Debug)]
pub struct CvcShelfConfig {
    /// How long a code waits. At most [`super::CVC_TTL_MAX`].
    pub ttl: Duration,
    /// Most codes at once: at 128 bytes each the default is 25 MB. A full shelf refuses, it never drops another's code.
    pub codes_max: usize,
    /// How long a lease may go without an outcome before silence burns the code.
    pub lease: Duration,
}

impl Default for CvcShelfConfig {
    fn default() -> Self {
        Self { ttl: CVC_TTL_DEFAULT, codes_max: 200_000, lease: Duration::from_secs(120) }
    }
}

/// Verification codes by card. One code serves one *payment attempt*: it is leased when a forward opens, burned by the
/// outcome or by silence, and given back only by the proxy's `not-sent`. The identical attempt, under the PSP
/// idempotency key it began with, may take it again until there is a definite answer.
pub struct CvcShelf {
    shelf: Mutex<Shelf>,
    config: CvcShelfConfig,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Shelf {
    codes: HashMap<TokenHash, Shelved>,
    /// The cards whose codes a forward holds, at most eight each.
    leased: HashMap<ForwardId, Vec<TokenHash>>,
}

struct Shelved {
    cvc: Arc<Cvc>,
    /// The version the number came with that it belongs to.
    number_version: u64,
    expires_at: Timestamp,
    lease: Option<Lease>,
}

struct Lease {
    /// Every forward of this attempt that has not ended without a byte sent: what one gives back, another may have sent.
    forwards: Vec<ForwardId>,
    attempt: Option<AttemptId>,
    until: Timestamp,
}

/// Most forwards of one attempt that hold its code at once: retries of one payment, far more than an SDK makes.
const FORWARDS_MAX: usize = 16;

/// A PSP idempotency key, hashed: it is compared, never shown.
type AttemptId = [u8; 32];

/// What a code belongs to: a card, as long as it has the number that came with this version of its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeOwner {
    /// The card.
    pub token: TokenHash,
    /// The version its number came with.
    pub number_version: u64,
}

/// A code leased to one forward.
pub type TakenCvc = Arc<Cvc>;

/// The shelf is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for another verification code")]
pub struct ShelfFull;

impl CvcShelf {
    /// An empty shelf.
    #[must_use]
    pub fn new(config: CvcShelfConfig, clock: Arc<dyn Clock>) -> Self {
        Self { shelf: Mutex::default(), config, clock }
    }

    /// Shelves a code for a card. A newer code replaces an older one: only the last one given is right. One that belongs to
    /// a number the card had before is wiped.
    pub fn put(&self, owner: CodeOwner, cvc: Cvc) -> Result<(), ShelfFull> {
        let now = self.clock.now();
        let CodeOwner { token, number_version } = owner;
        let mut shelf = self.lock();
        if shelf.codes.len() >= self.config.codes_max && !shelf.codes.contains_key(&token) {
            shelf.sweep(now);
            if shelf.codes.len() >= self.config.codes_max {
                return Err(ShelfFull);
            }
        }
        let expires_at = now.plus(self.config.ttl);
        shelf.keep(token, Shelved { cvc: Arc::new(cvc), number_version, expires_at, lease: None });
        Ok(())
    }

    /// Leases the code to a forward. `None`: there is none, it is late or of another number, or another attempt has it.
    #[must_use]
    pub fn take(&self, owner: CodeOwner, forward: ForwardId, attempt: Option<&str>) -> Option<TakenCvc> {
        let now = self.clock.now();
        let attempt = attempt.map(attempt_id);
        let CodeOwner { token, number_version } = owner;
        let mut shelf = self.lock();
        let shelved = shelf.codes.get_mut(&token)?;
        if shelved.number_version > number_version {
            return None; // the forward read the card before it got the number this code is of
        }
        if !shelved.is_fresh(now) || shelved.number_version < number_version {
            shelf.codes.remove(&token);
            return None;
        }
        let until = now.plus(self.config.lease);
        match &mut shelved.lease {
            None => shelved.lease = Some(Lease { forwards: vec![forward], attempt, until }),
            Some(lease) if lease.may_add(attempt) => {
                lease.forwards.push(forward);
                lease.until = until;
            }
            Some(_) => return None,
        }
        let cvc = Arc::clone(&shelved.cvc);
        shelf.leased.entry(forward).or_default().push(token);
        Some(cvc)
    }

    /// The forward ended without a byte sent: its codes may serve another, unless an earlier forward of the same attempt
    /// still holds them.
    pub fn give_back(&self, forward: ForwardId) {
        let mut shelf = self.lock();
        for token in shelf.leased.remove(&forward).unwrap_or_default() {
            if let Some(shelved) = shelf.codes.get_mut(&token) {
                shelved.release(forward);
            }
        }
    }

    /// The forward has its definite answer: its codes are wiped.
    pub fn burn(&self, forward: ForwardId) {
        let mut shelf = self.lock();
        for token in shelf.leased.remove(&forward).unwrap_or_default() {
            if shelf.codes.get(&token).is_some_and(|shelved| shelved.is_leased_to(forward)) {
                shelf.codes.remove(&token);
            }
        }
    }

    /// The card is gone: so is its code.
    pub fn forget(&self, token: TokenHash) {
        self.lock().codes.remove(&token);
    }

    /// The card has another number from this version on: a code of the one before is gone.
    pub fn forget_former(&self, owner: CodeOwner) {
        let mut shelf = self.lock();
        let is_former = |shelved: &Shelved| shelved.number_version < owner.number_version;
        if shelf.codes.get(&owner.token).is_some_and(is_former) {
            shelf.codes.remove(&owner.token);
        }
    }

    /// The card turned out to have another token already: its code waits there.
    pub fn hand_over(&self, from: TokenHash, to: CodeOwner) {
        let mut shelf = self.lock();
        if let Some(shelved) = shelf.codes.remove(&from) {
            shelf.keep(to.token, Shelved { number_version: to.number_version, ..shelved });
        }
    }

    /// Wipes what is late. Called every few seconds, so that a code outlives its time by no more.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.lock().sweep(now);
    }

    /// Codes held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().codes.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No code is half-written under this lock, so a panic elsewhere does not poison it.
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn keep(&mut self, token: TokenHash, shelved: Shelved) {
        let is_former = |held: &Shelved| held.number_version > shelved.number_version;
        if !self.codes.get(&token).is_some_and(is_former) {
            self.codes.insert(token, shelved);
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        self.codes.retain(|_, shelved| shelved.is_fresh(now));
        let codes = &self.codes;
        self.leased.retain(|forward, tokens| {
            tokens.iter().any(|token| codes.get(token).is_some_and(|shelved| shelved.is_leased_to(*forward)))
        });
    }
}

impl Shelved {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.lease.as_ref().is_none_or(|lease| now < lease.until)
    }

    fn is_leased_to(&self, forward: ForwardId) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.forwards.contains(&forward))
    }

    fn release(&mut self, forward: ForwardId) {
        let Some(lease) = &mut self.lease else { return };
        lease.forwards.retain(|holder| *holder != forward);
        if lease.forwards.is_empty() {
            self.lease = None;
        }
    }
}

impl Lease {
    fn may_add(&self, attempt: Option<AttemptId>) -> bool {
        self.attempt.is_some() && self.attempt == attempt && self.forwards.len() < FORWARDS_MAX
    }
}

fn attempt_id(key: &str) -> AttemptId {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_seconds(self.0.load(Ordering::Relaxed))
        }
    }

    const CARD: CodeOwner = CodeOwner { token: TokenHash::from_bytes([1; 32]), number_version: 1 };
    const OTHER: CodeOwner = CodeOwner { token: TokenHash::from_bytes([2; 32]), number_version: 1 };

    fn forward(number: u128) -> ForwardId {
        ForwardId::from_uuid(uuid::Uuid::from_u128(number))
    }

    fn shelf(codes_max: usize) -> (CvcShelf, Arc<Hands>) {
        let clock = Arc::new(Hands(AtomicI64::new(0)));
        let config = CvcShelfConfig { codes_max, ..CvcShelfConfig::default() };
        (CvcShelf::new(config, Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    fn cvc() -> Cvc {
        Cvc::parse("737".into()).unwrap()
    }

    #[test]
    fn one_code_serves_one_forward() {
        let (shelf, _) = shelf(10);
        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(CARD, forward(1), None).is_some());
        assert!(shelf.take(CARD, forward(2), None).is_none());
        shelf.burn(forward(2));
        assert_eq!(shelf.len(), 1, "another forward's outcome burns nothing");
        shelf.burn(forward(1));
        assert!(shelf.is_empty());
    }

    #[test]
    fn a_code_serves_the_number_it_came_with_and_no_other() {
        let (shelf, _) = shelf(10);
        let renumbered = CodeOwner { number_version: 4, ..CARD };
        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(renumbered, forward(1), None).is_none());
        assert!(shelf.is_empty(), "the former number's code is wiped when it is met");
        shelf.put(renumbered, cvc()).unwrap();
        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(CARD, forward(2), None).is_none(), "a forward that read the card before");
        assert!(
            shelf.take(renumbered, forward(3), None).is_some(),
            "a late code of the former number is not kept"
        );
        shelf.put(OTHER, cvc()).unwrap();
        shelf.hand_over(OTHER.token, CARD);
        assert!(shelf.take(renumbered, forward(3), None).is_none() && shelf.len() == 1);
        shelf.forget_former(renumbered);
        assert_eq!(shelf.len(), 1);
        shelf.forget_former(CodeOwner { number_version: 5, ..CARD });
        assert!(shelf.is_empty());
    }

    #[test]
    fn a_thousand_takers_and_one_gets_it() {
        let (shelf, _) = shelf(10);
        shelf.put(CARD, cvc()).unwrap();
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..1_000)
                .map(|number| {
                    let shelf = &shelf;
                    scope.spawn(move || shelf.take(CARD, forward(number), None).is_some())
                })
                .collect();
            takers.into_iter().map(|taker| usize::from(taker.join().unwrap())).sum::<usize>()
        });
        assert_eq!(taken, 1);
    }

    #[test]
    fn only_not_sent_gives_it_back() {
        let (shelf, _) = shelf(10);
        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(CARD, forward(1), None).is_some());
        shelf.give_back(forward(9));
        assert!(shelf.take(CARD, forward(2), None).is_none());
        shelf.give_back(forward(1));
        assert!(shelf.take(CARD, forward(2), None).is_some());
    }

    #[test]
    fn the_identical_attempt_may_take_it_again() {
        let (shelf, _) = shelf(10);
        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(CARD, forward(1), Some("order-7")).is_some());
        assert!(shelf.take(CARD, forward(2), Some("order-8")).is_none());
        assert!(shelf.take(CARD, forward(2), None).is_none());
        assert!(shelf.take(CARD, forward(3), Some("order-7")).is_some());
    }

    #[test]
    fn what_a_repeat_gives_back_the_first_forward_still_holds() {
        let (shelf, _) = shelf(10);
        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(CARD, forward(1), Some("order-7")).is_some());
        assert!(shelf.take(CARD, forward(2), Some("order-7")).is_some());
        shelf.give_back(forward(2));
        assert!(shelf.take(CARD, forward(3), Some("order-8")).is_none(), "the first may have been sent");
        shelf.sweep();
        shelf.burn(forward(1));
        assert!(shelf.is_empty(), "the first forward's answer burns it");

        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(CARD, forward(4), Some("order-7")).is_some());
        assert!(shelf.take(CARD, forward(5), Some("order-7")).is_some());
        shelf.burn(forward(4));
        assert!(shelf.is_empty(), "a definite answer to any of them ends the attempt");

        shelf.put(CARD, cvc()).unwrap();
        let taken = (10..100).filter(|number| shelf.take(CARD, forward(*number), Some("order-7")).is_some());
        assert_eq!(taken.count(), FORWARDS_MAX);
    }

    #[test]
    fn silence_and_age_burn_it() {
        let (shelf, clock) = shelf(10);
        shelf.put(CARD, cvc()).unwrap();
        clock.0.store(601, Ordering::Relaxed);
        assert!(shelf.take(CARD, forward(1), None).is_none());
        assert!(shelf.is_empty());

        shelf.put(CARD, cvc()).unwrap();
        assert!(shelf.take(CARD, forward(1), Some("order-7")).is_some());
        clock.0.store(601 + 121, Ordering::Relaxed);
        assert!(shelf.take(CARD, forward(2), Some("order-7")).is_none());
        shelf.sweep();
        assert!(shelf.is_empty());
    }

    #[test]
    fn a_full_shelf_refuses_and_drops_nobodys_code() {
        let (shelf, clock) = shelf(1);
        shelf.put(CARD, cvc()).unwrap();
        assert_eq!(shelf.put(OTHER, cvc()), Err(ShelfFull));
        assert!(shelf.put(CARD, cvc()).is_ok(), "the same card's newer code replaces the older");
        clock.0.store(601, Ordering::Relaxed);
        assert!(shelf.put(OTHER, cvc()).is_ok());
    }
}
