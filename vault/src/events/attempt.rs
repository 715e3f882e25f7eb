//! What came of an attempt to tell a destination of an event.

use std::time::Duration;

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The destination took it.
    Taken,
    /// Something was sent, and it was not taken as far as is known.
    Refused { met: String, wait: Option<Duration> },
    /// The destination says that it is gone for good.
    Gone,
    /// Nothing was taken, whatever the event.
    Away(&'static str),
}

impl Attempt {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Taken => "delivered",
            Self::Refused { .. } | Self::Gone => "refused",
            Self::Away(_) => "unreachable",
        }
    }
}
