//! Randomness for production: the operating system's, through `ring`.
//!
//! Promises: a fill is complete or an error; nothing is made up instead.

use ring::rand::SecureRandom;
use strongroom_domain::{Random, RandomUnavailable};

/// The source of randomness every service starts with.
///
/// ```
/// use strongroom_domain::Random;
/// let mut key = [0_u8; 32];
/// strongroom_perimeter::chance::SystemRandom::new().fill(&mut key)?;
/// # Ok::<(), strongroom_domain::RandomUnavailable>(())
/// ```
#[derive(Debug, Clone)]
pub struct SystemRandom(ring::rand::SystemRandom);

impl SystemRandom {
    /// Holds no state: all of them are the same source.
    #[must_use]
    pub fn new() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        self.0.fill(out).map_err(|_| RandomUnavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fills_differ() {
        let (mut one, mut two) = ([0_u8; 32], [0_u8; 32]);
        SystemRandom::new().fill(&mut one).unwrap();
        SystemRandom::new().fill(&mut two).unwrap();
        assert_ne!(one, two);
    }
}
