//! How long to wait before the next attempt.

use std::time::Duration;

use strongroom_domain::Random;

/// Doubles from `least` to `most`; of each half is certain and half is chance, so that what failed together is not tried
/// together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

impl Backoff {
    /// After so many attempts.
    pub(super) fn after(self, attempts: u32, random: &dyn Random) -> Duration {
        let whole = self.least.saturating_mul(1_u32 << attempts.min(24)).min(self.most);
        let mut drawn = [0; 4];
        // Without randomness there is no jitter; there is nothing to guess.
        let _ = random.fill(&mut drawn);
        let half = whole / 2;
        half + half.mul_f64(f64::from(u32::from_be_bytes(drawn)) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::RandomUnavailable;

    struct Constant(u8);

    impl Random for Constant {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn it_doubles_up_to_its_bound_and_is_half_chance() {
        let backoff = Backoff { least: Duration::from_secs(5), most: Duration::from_secs(3_600) };
        let (short, long) = (Constant(0), Constant(0xff));
        for (attempts, seconds) in
            [(0, 5), (1, 10), (2, 20), (9, 2_560), (10, 3_600), (24, 3_600), (u32::MAX, 3_600)]
        {
            let whole = Duration::from_secs(seconds);
            assert_eq!(backoff.after(attempts, &short), whole / 2, "{attempts}");
            assert_eq!(backoff.after(attempts, &long), whole, "{attempts}");
        }
    }
}
