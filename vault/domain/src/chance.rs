//! Randomness as an argument: nothing in the house draws it on its own.

/// A source of cryptographic randomness.
///
/// The one for production is `strongroom_perimeter::chance::SystemRandom` (ring); tests pass a scripted one.
pub trait Random: Send + Sync {
    /// Fills `out` completely, or fails: a short fill is not possible.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable>;
}

/// The operating system gave no randomness. The request fails; nothing is made up instead (PCI DSS 3.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no randomness available")]
pub struct RandomUnavailable;
