//! A token bucket in one number.
//!
//! The generic cell rate algorithm (ITU-T I.371): a bucket is the moment at which it will be full again. Taking one moves
//! that moment on; what would move it past the bucket's depth is refused. One compare-and-swap, no lock, no timer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strongroom_domain::route::Rate;
use tokio::time::Instant;

const NANOS_A_SECOND: u64 = 1_000_000_000;

/// A token bucket. Full at first.
#[derive(Debug)]
pub struct Bucket {
    /// Nanoseconds in which one comes back.
    gap: u64,
    /// Nanoseconds in which an empty one is full: at most 2^32 × 10^9.
    depth: u64,
    began: Instant,
    /// Nanoseconds after `began`.
    full_at: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        let gap = (NANOS_A_SECOND / u64::from(rate.per_second.get())).max(1);
        Self { gap, depth: gap * u64::from(rate.burst.get()), began: now, full_at: AtomicU64::new(0) }
    }

    /// Takes one, or says when there is one.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let now = self.nanos(now);
        let next = |full_at: u64| {
            let next = full_at.max(now).saturating_add(self.gap);
            (next - now <= self.depth).then_some(next)
        };
        let taken = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        taken.map(drop).map_err(|full_at| {
            Duration::from_nanos((full_at.max(now).saturating_add(self.gap) - now).saturating_sub(self.depth))
        })
    }

    /// Whether nothing was taken for so long that forgetting it changes nothing.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.load(Ordering::Acquire) <= self.nanos(now)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_one_at_a_time() {
        let began = Instant::now();
        let bucket = Bucket::new(Rate::new(10, 3), began);
        let at = |ms| began + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(bucket.take(at(5)), Ok(()));
        }
        assert_eq!(bucket.take(at(5)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(at(65)), Err(Duration::from_millis(40)));
        assert_eq!(bucket.take(at(105)), Ok(()));
        assert_eq!(bucket.take(at(105)), Err(Duration::from_millis(100)));
        assert!(!bucket.is_full(at(300)) && bucket.is_full(at(405)));
        for _ in 0..3 {
            assert_eq!(bucket.take(at(60_000)), Ok(()), "it never holds more than its burst");
        }
        assert!(bucket.take(at(60_000)).is_err());
    }

    #[test]
    fn takers_at_once_get_no_more_than_there_is() {
        let now = Instant::now();
        let bucket = Bucket::new(Rate::new(1, 1_000), now);
        let taken = std::thread::scope(|scope| {
            let taker = || (0..1_000).filter(|_| bucket.take(now).is_ok()).count();
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(taker)).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 1_000);
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_burst_and_rate(
            per_second in 1_u32..2_000, burst in 1_u32..200, gaps in proptest::collection::vec(0_u64..50_000, 1..400),
        ) {
            let began = Instant::now();
            let bucket = Bucket::new(Rate::new(per_second, burst), began);
            let (mut at, mut taken) = (Duration::ZERO, Vec::new());
            for gap in gaps {
                at += Duration::from_micros(gap);
                match bucket.take(began + at) {
                    Ok(()) => taken.push(at),
                    Err(again) => prop_assert!(again > Duration::ZERO && bucket.take(began + at).is_err()),
                }
            }
            for (index, first) in taken.iter().enumerate() {
                for (more, last) in taken[index..].iter().enumerate() {
                    let allowed = f64::from(burst) + (*last - *first).as_secs_f64() * f64::from(per_second) * 1.000_001 + 1e-6;
                    prop_assert!((more + 1) as f64 <= allowed + 1e-9, "{} in {:?}", more + 1, *last - *first);
                }
            }
        }
    }
}
