//! Addresses remembered for a moment.
//!
//! Without it every new connection asks the resolver, and a burst of them asks as often for the same name.
//!
//! Promises: no answer older than the stated age, or than its own time to live, is given; while one look-up of a name is
//! under way nobody begins another; a failure is never remembered. Who dials judges every address anew, remembered or not.
//! Does not promise: to follow a time to live it is not told: the operating system's resolver tells none. There choose an age
//! below those of the names asked for, or name servers of your own ([`super::dns`]).
//! Trusts: the resolver below for availability only.
//! Upholds: C-48, C-70.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::dial::{Found, Resolve};

/// Most names remembered. Names come from route and account files; each takes about 200 B.
const NAMES_MAX: usize = 4_096;

/// A resolver that asks another and remembers what it said.
pub struct CachedResolver {
    inner: Arc<dyn Resolve>,
    age_max: Duration,
    names: Mutex<HashMap<(String, u16), Arc<Name>>>,
}

/// One name. The lock is held while it is looked up.
type Name = tokio::sync::Mutex<Option<Answer>>;

struct Answer {
    at: Instant,
    addresses: Vec<SocketAddr>,
    good_for: Duration,
}

impl CachedResolver {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Resolve>, age_max: Duration) -> Self {
        Self { inner, age_max, names: Mutex::default() }
    }

    /// The entry of a name; none where too many are in use.
    fn name(&self, host: &str, port: u16) -> Option<Arc<Name>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port);
        if let Some(name) = names.get(&key) {
            return Some(name.clone());
        }
        if names.len() >= NAMES_MAX {
            // What is locked is being looked up.
            names.retain(|_, name| name.try_lock().map_or(true, |answer| is_fresh(answer.as_ref())));
        }
        if names.len() >= NAMES_MAX {
            return None;
        }
        Some(names.entry(key).or_default().clone())
    }
}

fn is_fresh(answer: Option<&Answer>) -> bool {
    answer.is_some_and(|answer| answer.at.elapsed() < answer.good_for)
}

#[async_trait]
impl Resolve for CachedResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let Some(name) = self.name(host, port) else { return self.inner.resolve(host, port).await };
        let mut answer = name.lock().await;
        match &*answer {
            Some(fresh) if is_fresh(Some(fresh)) => Ok(fresh.addresses.clone()),
            Some(_) | None => {
                *answer = None;
                // The age counts from the question: an answer on its way may be as old.
                let at = Instant::now();
                let Found { addresses, good_for } = self.inner.look_up(host, port).await?;
                let good_for = good_for.unwrap_or(self.age_max).min(self.age_max);
                *answer = Some(Answer { at, addresses: addresses.clone(), good_for });
                Ok(addresses)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers each question with the next of its addresses; counts the questions.
    struct Turning {
        asked: AtomicUsize,
        takes: Duration,
    }

    #[async_trait]
    impl Resolve for Turning {
        async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            if host == "gone.example" {
                return Err(io::ErrorKind::NotFound.into());
            }
            let last = u8::try_from(asked % 250).unwrap();
            Ok(vec![SocketAddr::from(([8, 8, 8, last], port))])
        }
    }

    /// Tells a time to live with each answer of another.
    struct Telling(Arc<Turning>, Duration);

    #[async_trait]
    impl Resolve for Telling {
        async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            self.0.resolve(host, port).await
        }

        async fn look_up(&self, host: &str, port: u16) -> io::Result<Found> {
            Ok(Found { addresses: self.resolve(host, port).await?, good_for: Some(self.1) })
        }
    }

    #[tokio::test]
    async fn an_answer_s_own_time_ends_it_before_its_age_does_and_never_after() {
        for (ttl, age_max, asked) in [(HOUR, HOUR, 1), (Duration::ZERO, HOUR, 3), (HOUR, Duration::ZERO, 3)] {
            let inner = Arc::new(Turning { asked: AtomicUsize::new(0), takes: Duration::ZERO });
            let cached = CachedResolver::new(Arc::new(Telling(inner.clone(), ttl)), age_max);
            for _ in 0..3 {
                assert!(cached.resolve("psp.example", 443).await.is_ok());
            }
            assert_eq!(inner.asked.load(Ordering::SeqCst), asked, "{ttl:?} {age_max:?}");
        }
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    fn cached(takes: Duration, age_max: Duration) -> (Arc<Turning>, CachedResolver) {
        let inner = Arc::new(Turning { asked: AtomicUsize::new(0), takes });
        (inner.clone(), CachedResolver::new(inner, age_max))
    }

    #[tokio::test]
    async fn an_answer_is_used_until_it_is_too_old_and_no_longer() {
        let (inner, cached_long) = cached(Duration::ZERO, HOUR);
        let first = cached_long.resolve("psp.example", 443).await.unwrap();
        assert_eq!(cached_long.resolve("psp.example", 443).await.unwrap(), first);
        assert_ne!(cached_long.resolve("other.example", 443).await.unwrap(), first);
        assert_eq!(inner.asked.load(Ordering::SeqCst), 2);
        let (inner, cached) = cached(Duration::ZERO, Duration::from_millis(20));
        let first = cached.resolve("psp.example", 443).await.unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert_ne!(cached.resolve("psp.example", 443).await.unwrap(), first);
        assert_eq!(inner.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_ask_once() {
        let (inner, cached) = cached(Duration::from_millis(50), HOUR);
        let asking = (0..100).map(|_| cached.resolve("psp.example", 443));
        let all = futures_util::future::join_all(asking).await;
        assert!(all.iter().all(|one| one.as_ref().unwrap() == all[0].as_ref().unwrap()));
        assert_eq!(inner.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failure_and_a_look_up_given_up_are_not_remembered() {
        let (inner, cached) = cached(Duration::from_millis(50), HOUR);
        for _ in 0..2 {
            assert!(cached.resolve("gone.example", 443).await.is_err());
        }
        assert_eq!(inner.asked.load(Ordering::SeqCst), 2);
        let given_up = tokio::time::timeout(Duration::from_millis(1), cached.resolve("psp.example", 443));
        assert!(given_up.await.is_err());
        assert!(cached.resolve("psp.example", 443).await.is_ok(), "the next one asks for itself");
    }

    #[tokio::test]
    async fn names_are_bounded() {
        for (age_max, left) in [(HOUR, NAMES_MAX), (Duration::from_nanos(1), 1)] {
            let (_, cached) = cached(Duration::ZERO, age_max);
            for name in 0..=NAMES_MAX {
                assert!(cached.resolve(&format!("m{name}.psp.example"), 443).await.is_ok());
            }
            assert_eq!(cached.names.lock().unwrap().len(), left);
        }
    }
}
