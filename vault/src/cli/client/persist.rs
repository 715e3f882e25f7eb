//! Asking until there is a definite answer: for calls that are one effect however often they are made.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::{Answer, Call, CallError, Door};

/// First wait after no answer; it doubles.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// Longest wait that nobody asked for.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long to go on without a definite answer.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

/// Patience ended. What was asked may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum GaveUp {
    /// The vault answered, but only that it cannot now.
    #[error("the vault says for {} s that it cannot now (status {}); nothing is lost, run the same command again", waited.as_secs(), status.as_u16())]
    Busy {
        /// Its last status.
        status: StatusCode,
        /// For how long.
        waited: Duration,
    },
    /// The vault gave no answer.
    #[error("{error}, for {} s; nothing is lost, run the same command again", waited.as_secs())]
    Silent {
        /// The last failure.
        error: CallError,
        /// For how long.
        waited: Duration,
    },
}

impl Patience {
    /// Makes the call until it is answered with anything but "later". A `Retry-After` is obeyed.
    pub async fn ask(self, door: &mut Door, call: &Call) -> Result<Answer, GaveUp> {
        let (began, mut wait) = (Instant::now(), WAIT_FIRST);
        loop {
            let (pause, gave_up) = match door.ask(call).await {
                Ok(answer) if is_later(&answer) => {
                    let waited = began.elapsed();
                    (answer.retry_after().unwrap_or(wait), GaveUp::Busy { status: answer.status, waited })
                }
                Ok(answer) => return Ok(answer),
                Err(error) => (wait, GaveUp::Silent { error, waited: began.elapsed() }),
            };
            if began.elapsed() + pause > self.0 {
                return Err(gave_up);
            }
            sleep(pause).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}

/// Whether the answer only says that the vault, or what stands before it, cannot at the moment.
fn is_later(answer: &Answer) -> bool {
    match answer.status.as_u16() {
        408 | 425 | 429 | 502..=504 => true,
        // The same key is still being worked on: another connection of ours was cut off.
        409 => answer.retry_after().is_some(),
        _ => false,
    }
}
