//! Whether a destination is worth trying.
//!
//! Promises: one that cannot be reached, or refuses whatever it is sent, is tried once in a while and not event by event.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strongroom_domain::Random;
use tokio::time::Instant;

use super::backoff::Backoff;

/// Pauses: a destination that came back is found within a minute.
const PAUSES: Backoff = Backoff { least: Duration::from_secs(1), most: Duration::from_secs(60) };
/// One that says it is gone for good (410) is asked again after this.
const GONE: Duration = Duration::from_secs(900);
/// Refusals in a row, of different cards, after which it is the destination and not the event.
const REFUSALS_MAX: u32 = 16;

/// How a destination did lately.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    refusals: u32,
    pauses: u32,
    until: Option<Instant>,
}

impl Health {
    /// It took an event.
    pub(super) fn took(&self) {
        *self.lock() = State::default();
    }

    /// It refused one.
    pub(super) fn refused(&self, random: &dyn Random) {
        let mut state = self.lock();
        state.refusals = state.refusals.saturating_add(1);
        if state.refusals >= REFUSALS_MAX || state.pauses > 0 {
            state.pause(None, random);
        }
    }

    /// It cannot be reached.
    pub(super) fn away(&self, random: &dyn Random) {
        self.lock().pause(None, random);
    }

    /// It says that it is gone for good.
    pub(super) fn gone(&self, random: &dyn Random) {
        self.lock().pause(Some(GONE), random);
    }

    /// Whether nothing is to be sent now.
    pub(super) fn is_paused(&self) -> bool {
        self.lock().is_paused()
    }

    /// Whether one event is enough to find out how it is.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.lock().pauses > 0
    }

    /// Nothing is half-written under this lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_paused(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Requests that fail together are one reason to pause.
    fn pause(&mut self, length: Option<Duration>, random: &dyn Random) {
        if length.is_none() && self.is_paused() {
            return;
        }
        let length = length.unwrap_or_else(|| PAUSES.after(self.pauses, random));
        self.until = Some(Instant::now() + length);
        self.pauses = self.pauses.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_perimeter::chance::SystemRandom;

    #[test]
    fn a_destination_pauses_when_it_is_away_or_refuses_everything() {
        let (health, random) = (Health::default(), SystemRandom::new());
        for _ in 1..REFUSALS_MAX {
            health.refused(&random);
            assert!(!health.is_paused(), "a few refused events are the events' own");
        }
        health.took();
        health.refused(&random);
        assert!(!health.is_paused());
        (0..REFUSALS_MAX).for_each(|_| health.refused(&random));
        assert!(health.is_paused() && health.is_in_doubt());
        health.took();
        assert!(!health.is_paused() && !health.is_in_doubt());
        (0..64).for_each(|_| health.away(&random));
        assert_eq!(health.lock().pauses, 1, "what fails together is one pause");
        health.gone(&random);
        assert!(health.lock().until.unwrap() > Instant::now() + GONE / 2);
    }
}
