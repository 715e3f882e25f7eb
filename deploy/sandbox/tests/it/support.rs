//! A clock that stands where it was put.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use strongroom_domain::{Clock, Timestamp};

pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    /// Begins at the real time: other programs look at the certificates too.
    #[expect(clippy::disallowed_methods, reason = "the one place where the tests learn the time")]
    pub(crate) fn now() -> Arc<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Arc::new(Self(AtomicI64::new(i64::try_from(now.as_micros()).unwrap())))
    }

    pub(crate) fn advance_days(&self, days: i64) {
        self.0.fetch_add(days * 86_400_000_000, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.0.load(Ordering::SeqCst))
    }
}
