//! The ring under a clock, a KMS and a store that do as they are told.
//!
//! Invariants: one KMS call however many wait; no key past its age; denied drops at once; one active key however many
//! replicas. Non-goals: the providers' own behaviour (`tests/it`).

use std::sync::atomic::{AtomicI64, Ordering};

use strongroom_domain::{TenantId, Timestamp};

use super::*;
use crate::key::{KeyState, SEALS_FOR};
use crate::testing::Counting;

mod fakes;

use fakes::{FakeClock, FakeKms, FakeStore};

const START: i64 = 1_800_000_000;
const MAX_AGE: Duration = Duration::from_secs(300);

struct House {
    clock: Arc<FakeClock>,
    kms: Arc<FakeKms>,
    store: Arc<FakeStore>,
    ring: KeyRing,
}

impl House {
    fn new() -> Self {
        Self::holding(100)
    }

    fn holding(keys_max: usize) -> Self {
        let clock = Arc::new(FakeClock(AtomicI64::new(START * 1_000_000)));
        let (kms, store) = (FakeKms::new(), Arc::new(FakeStore::default()));
        let ring = replica(&clock, &kms, &store, 0, keys_max);
        Self { clock, kms, store, ring }
    }

    fn replica(&self, seed: u64) -> KeyRing {
        replica(&self.clock, &self.kms, &self.store, seed, 100)
    }

    async fn active(&self) -> Outcome {
        self.ring.active(&tenant("acme"), Purpose::Card).await
    }

    async fn by_id(&self, id: DataKeyId) -> Outcome {
        self.ring.by_id(&tenant("acme"), Purpose::Card, id).await
    }

    fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn replica(
    clock: &Arc<FakeClock>,
    kms: &Arc<FakeKms>,
    store: &Arc<FakeStore>,
    seed: u64,
    keys_max: usize,
) -> KeyRing {
    let config = KeyRingConfig::new(MAX_AGE, NonZeroUsize::new(keys_max).unwrap()).unwrap();
    let (kms, store, clock) = (Arc::clone(kms), Arc::clone(store), Arc::clone(clock));
    KeyRing::new(kms, store, clock, Counting::from(seed << 32), Environment::Test, config)
}

fn tenant(name: &str) -> KeyScope {
    KeyScope::Tenant(TenantId::parse(name).unwrap())
}

fn bytes(held: &HeldKey) -> [u8; 32] {
    held.key.with(|bytes| *bytes)
}

/// Lets spawned fetches run: everything here is ready at once, so a few turns are enough.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hundred_first_callers_make_one_key_with_one_call() {
    let house = House::new();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let ring = house.ring.clone();
            tokio::spawn(async move { ring.active(&tenant("acme"), Purpose::Card).await.unwrap().id })
        })
        .collect();
    let mut ids = Vec::new();
    for caller in callers {
        ids.push(caller.await.unwrap());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(house.kms.calls(), (1, 0));
    let rows = house.store.rows.lock().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].seals_until, rows[0].created_at.plus(SEALS_FOR));
    assert_eq!((rows[0].provider.as_str(), rows[0].kms_key.as_str()), ("fake", "fake:1"));
}

#[tokio::test]
async fn of_many_replicas_the_first_writer_wins() {
    let house = House::new();
    house.kms.shut();
    let callers: Vec<_> = (1..=5)
        .map(|seed| {
            let ring = house.replica(seed);
            tokio::spawn(async move { ring.active(&tenant("acme"), Purpose::Card).await.unwrap() })
        })
        .collect();
    settle().await;
    assert_eq!(house.kms.calls().0, 5, "all are past the look into the store");
    house.kms.gate.add_permits(100);
    let mut held = Vec::new();
    for caller in callers {
        held.push(caller.await.unwrap());
    }
    assert!(held.iter().all(|key| key.id == held[0].id && bytes(key) == bytes(&held[0])));
    assert_eq!(house.store.rows.lock().unwrap().len(), 1);
    assert_eq!(house.kms.calls(), (5, 4), "each loser unwraps the winner");
}

#[tokio::test]
async fn each_scope_and_purpose_has_its_own_key() {
    let house = House::new();
    let mut seen = Vec::new();
    for scope in [KeyScope::Service, tenant("acme"), tenant("globex")] {
        for purpose in Purpose::ALL {
            let held = house.ring.active(&scope, purpose).await.unwrap();
            assert!(!seen.contains(&bytes(&held)));
            seen.push(bytes(&held));
            // Held or not, a key answers to no other name.
            for (other_scope, other_purpose) in [(tenant("other"), purpose), (scope.clone(), Purpose::ALL[0])]
            {
                if (&other_scope, other_purpose) != (&scope, purpose) {
                    let error = house.ring.by_id(&other_scope, other_purpose, held.id).await.unwrap_err();
                    assert_eq!(error, KeyError::Unknown);
                }
            }
        }
    }
}

#[tokio::test]
async fn many_opens_are_one_decrypt() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    let replica = house.replica(1);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let ring = replica.clone();
            tokio::spawn(async move { ring.by_id(&tenant("acme"), Purpose::Card, id).await.unwrap().id })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), id);
    }
    for _ in 0..1_000 {
        replica.by_id(&tenant("acme"), Purpose::Card, id).await.unwrap();
    }
    assert_eq!(house.kms.calls(), (1, 1));
}

#[tokio::test]
async fn an_aging_key_is_refreshed_behind_its_callers_once() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    house.later(209);
    house.active().await.unwrap();
    settle().await;
    assert_eq!(house.kms.calls(), (1, 0), "70 % are not reached");

    house.later(32);
    house.kms.shut();
    for _ in 0..10 {
        assert_eq!(house.active().await.unwrap().id, id, "served while the refresh waits");
        settle().await;
    }
    assert_eq!(house.kms.calls(), (1, 1), "80 % are: one refresh");
    house.kms.gate.add_permits(100);
    settle().await;
    house.later(200);
    assert_eq!(house.active().await.unwrap().id, id, "fresh again");
    assert_eq!(house.kms.calls(), (1, 1));
}

#[tokio::test]
async fn age_counts_from_before_the_call() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    house.ring.forget(id);
    house.kms.shut();
    let ring = house.ring.clone();
    let caller = tokio::spawn(async move { ring.active(&tenant("acme"), Purpose::Card).await });
    settle().await;
    house.later(10);
    house.kms.gate.add_permits(100);
    caller.await.unwrap().unwrap();
    assert_eq!(house.ring.ages(), [(id, Duration::from_secs(10))]);
}

#[tokio::test]
async fn learning_that_a_held_key_is_the_active_one_does_not_make_it_younger() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    let replica = house.replica(1);
    replica.by_id(&tenant("acme"), Purpose::Card, id).await.unwrap();
    house.later(100);
    assert_eq!(replica.active(&tenant("acme"), Purpose::Card).await.unwrap().id, id);
    assert_eq!(house.kms.calls(), (1, 1), "the held key is used");
    assert_eq!(replica.ages(), [(id, Duration::from_secs(100))]);
}

#[tokio::test]
async fn unreachable_serves_while_fresh_and_fails_afterwards() {
    for error in [KmsError::Unreachable, KmsError::Throttled, KmsError::Credentials, KmsError::Unexpected] {
        let house = House::new();
        let id = house.active().await.unwrap().id;
        house.kms.say(Some(error));
        for _ in 0..5 {
            house.later(59);
            assert_eq!(house.by_id(id).await.unwrap().id, id, "{error}");
            settle().await;
        }
        house.later(5);
        assert_eq!(house.by_id(id).await.unwrap_err(), KeyError::Unavailable, "{error}");
        assert_eq!(house.active().await.unwrap_err(), KeyError::Unavailable, "{error}");

        house.kms.say(None);
        house.later(1);
        assert_eq!(house.active().await.unwrap().id, id, "{error}: heals by itself");
        assert_eq!(house.by_id(id).await.unwrap().id, id);
    }
}

#[tokio::test]
async fn denied_drops_the_key_at_once() {
    for (error, expected) in [(KmsError::Denied, KeyError::Denied), (KmsError::Mismatch, KeyError::Tampered)]
    {
        let house = House::new();
        let id = house.active().await.unwrap().id;
        house.kms.say(Some(error));
        house.later(241);
        house.by_id(id).await.unwrap();
        settle().await;
        assert!(house.ring.ages().is_empty(), "{error}");
        assert_eq!(house.by_id(id).await.unwrap_err(), expected);
        assert_eq!(house.active().await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn a_failed_fetch_is_not_tried_again_within_a_second() {
    let house = House::new();
    house.kms.say(Some(KmsError::Unreachable));
    for _ in 0..100 {
        assert_eq!(house.active().await.unwrap_err(), KeyError::Unavailable);
    }
    assert_eq!(house.kms.calls(), (1, 0));
    house.later(1);
    assert_eq!(house.active().await.unwrap_err(), KeyError::Unavailable);
    assert_eq!(house.kms.calls(), (2, 0));
    assert!(house.ring.active(&tenant("globex"), Purpose::Card).await.is_err());
    assert_eq!(house.kms.calls(), (3, 0), "another key has its own pause");
}

#[tokio::test]
async fn the_least_recently_used_key_goes_first() {
    let house = House::holding(2);
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        ids.push(house.ring.active(&tenant(name), Purpose::Card).await.unwrap().id);
    }
    house.ring.active(&tenant("a"), Purpose::Card).await.unwrap();
    ids.push(house.ring.active(&tenant("c"), Purpose::Card).await.unwrap().id);
    let held: Vec<DataKeyId> = house.ring.ages().into_iter().map(|(id, _)| id).collect();
    assert_eq!(held.len(), 2);
    assert!(held.contains(&ids[0]) && held.contains(&ids[2]));
    house.ring.active(&tenant("b"), Purpose::Card).await.unwrap();
    assert_eq!(house.kms.calls(), (3, 1));
}

#[tokio::test]
async fn a_key_past_its_period_gets_a_successor_and_still_opens() {
    let house = House::new();
    let first = house.active().await.unwrap();
    house.clock.advance(SEALS_FOR);
    let second = house.active().await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(house.store.state_of(first.id), KeyState::Deactivated);
    assert_eq!(house.store.state_of(second.id), KeyState::Active);
    assert_eq!(bytes(&house.by_id(first.id).await.unwrap()), bytes(&first));
}

#[tokio::test]
async fn a_period_ends_inside_the_age_of_a_held_key() {
    let house = House::new();
    let first = house.active().await.unwrap().id;
    house.clock.advance(SEALS_FOR - Duration::from_secs(10));
    assert_eq!(house.active().await.unwrap().id, first);
    house.later(10);
    assert_ne!(house.active().await.unwrap().id, first);
}

#[tokio::test]
async fn a_fingerprint_key_has_no_such_period() {
    let house = House::new();
    let first = house.ring.active(&tenant("acme"), Purpose::Fingerprint).await.unwrap().id;
    house.clock.advance(SEALS_FOR * 8);
    assert_eq!(house.ring.active(&tenant("acme"), Purpose::Fingerprint).await.unwrap().id, first);
}

#[tokio::test]
async fn a_store_cannot_make_a_key_seal_for_longer() {
    let house = House::new();
    let first = house.active().await.unwrap().id;
    let far = Timestamp::from_unix_seconds(START).plus(SEALS_FOR * 100);
    house.store.change(first, |row| row.seals_until = far);
    house.clock.advance(SEALS_FOR + Duration::from_secs(61));
    assert_eq!(house.active().await.unwrap_err(), KeyError::Unavailable, "it insists on the old key");
    house.store.set_state(first, KeyState::Deactivated);
    house.later(1);
    assert_ne!(house.active().await.unwrap().id, first);
}

#[tokio::test]
async fn a_store_that_swaps_rows_gives_no_key() {
    let house = House::new();
    let mine = house.active().await.unwrap().id;
    let theirs = house.ring.active(&tenant("globex"), Purpose::Card).await.unwrap().id;
    let their_blob =
        house.store.rows.lock().unwrap().iter().find(|row| row.id == theirs).unwrap().wrapped.clone();
    house.store.change(mine, |row| row.wrapped = their_blob);
    house.ring.forget(mine);
    assert_eq!(house.by_id(mine).await.unwrap_err(), KeyError::Tampered);
    assert_eq!(house.active().await.unwrap_err(), KeyError::Tampered);
}

#[tokio::test]
async fn a_key_of_another_provider_is_not_tried() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    house.store.change(id, |row| row.provider = "file".to_owned());
    house.ring.forget(id);
    assert_eq!(house.by_id(id).await.unwrap_err(), KeyError::Tampered);
    assert_eq!(house.kms.calls(), (1, 0));
}

#[tokio::test]
async fn the_state_of_a_key_decides() {
    for state in KeyState::ALL {
        let house = House::new();
        let first = house.active().await.unwrap().id;
        house.store.set_state(first, state);
        house.ring.forget(first);
        let opened = house.by_id(first).await;
        let expected = if state.opens() { None } else { Some(KeyError::Denied) };
        assert_eq!(opened.err(), expected, "{state}");
        let second = house.active().await.unwrap().id;
        assert_eq!(second == first, state.seals(), "{state}");
    }
}

#[tokio::test]
async fn a_changed_state_is_seen_at_the_refresh() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    house.store.set_state(id, KeyState::Suspended);
    house.later(241);
    house.by_id(id).await.unwrap();
    settle().await;
    assert_eq!(house.by_id(id).await.unwrap_err(), KeyError::Denied);
    assert!(house.ring.ages().is_empty());
}

#[tokio::test]
async fn a_forgotten_key_is_asked_for_anew() {
    let house = House::new();
    let first = house.active().await.unwrap().id;
    house.store.set_state(first, KeyState::Deactivated);
    assert_eq!(house.active().await.unwrap().id, first, "the ring does not know yet");
    house.ring.forget(first);
    assert_ne!(house.active().await.unwrap().id, first);
}

#[tokio::test]
async fn keys_past_their_age_are_swept() {
    let house = House::new();
    let held = house.active().await.unwrap();
    let watched = Arc::downgrade(&held.key);
    drop(held);
    house.later(299);
    house.ring.sweep();
    assert!(watched.upgrade().is_some());
    house.later(1);
    house.ring.sweep();
    assert!(watched.upgrade().is_none(), "wiped");
    assert!(house.ring.ages().is_empty());
}

#[tokio::test]
async fn the_ring_sweeps_by_itself_and_stops_with_its_last_handle() {
    let house = House::new();
    house.active().await.unwrap();
    house.later(300);
    tokio::time::sleep(SWEEP_EVERY + Duration::from_millis(300)).await;
    assert!(house.ring.ages().is_empty());
    let watched = Arc::downgrade(&house.ring.0);
    drop(house);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(watched.upgrade().is_none());
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_fetch() {
    let house = House::new();
    house.kms.shut();
    let ring = house.ring.clone();
    let first = tokio::spawn(async move { ring.active(&tenant("acme"), Purpose::Card).await });
    settle().await;
    first.abort();
    settle().await;
    let ring = house.ring.clone();
    let second = tokio::spawn(async move { ring.active(&tenant("acme"), Purpose::Card).await });
    settle().await;
    house.kms.gate.add_permits(100);
    assert!(second.await.unwrap().is_ok());
    assert_eq!(house.kms.calls(), (1, 0));
}

#[tokio::test]
async fn a_panic_in_a_fetch_is_one_failure_and_not_the_end() {
    let house = House::new();
    house.kms.panics.store(1, Ordering::SeqCst);
    assert_eq!(house.active().await.unwrap_err(), KeyError::Unavailable);
    assert!(house.active().await.is_ok());
}

#[tokio::test]
async fn a_store_that_is_down_says_so() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    *house.store.down.lock().unwrap() = true;
    assert_eq!(house.ring.active(&tenant("globex"), Purpose::Card).await.unwrap_err(), KeyError::Store);
    house.later(299);
    assert_eq!(house.by_id(id).await.unwrap().id, id, "held keys stay good");
    settle().await;
    house.later(1);
    assert_eq!(house.by_id(id).await.unwrap_err(), KeyError::Store);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_each_time() {
    let house = House::new();
    let id = DataKeyId::from_uuid(uuid::Uuid::from_u128(5));
    for _ in 0..2 {
        assert_eq!(house.by_id(id).await.unwrap_err(), KeyError::Unknown);
    }
    assert_eq!(house.store.reads.load(Ordering::SeqCst), 2);
    assert_eq!(house.kms.calls(), (0, 0));
}

#[tokio::test]
async fn a_clock_that_steps_back_makes_no_key_immortal() {
    let house = House::new();
    let id = house.active().await.unwrap().id;
    house.clock.step_back(Duration::from_secs(3));
    house.by_id(id).await.unwrap();
    assert_eq!(house.kms.calls(), (1, 0), "slewing is nothing");
    house.clock.step_back(Duration::from_secs(3_600));
    house.by_id(id).await.unwrap();
    assert_eq!(house.kms.calls(), (1, 1), "a step is");
}

#[tokio::test]
async fn without_randomness_no_key_is_made() {
    let house = House::new();
    let config = KeyRingConfig::default();
    let empty = crate::testing::Scripted::new(Vec::new());
    let (kms, store, clock) = (house.kms.clone(), house.store.clone(), house.clock.clone());
    let ring = KeyRing::new(kms, store, clock, empty, Environment::Test, config);
    assert_eq!(ring.active(&KeyScope::Service, Purpose::Card).await.unwrap_err(), KeyError::Unavailable);
    assert_eq!(house.kms.calls(), (0, 0));
}

#[tokio::test]
async fn calls_and_held_keys_are_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let house = House::new();
    let id = house.active().await.unwrap().id;
    house.kms.errors.lock().unwrap().push_back(KmsError::Throttled);
    house.ring.forget(id);
    house.by_id(id).await.unwrap_err();
    house.ring.check().await.unwrap();
    house.later(1);
    house.by_id(id).await.unwrap();
    house.later(7);
    house.ring.sweep();
    let text = shown.render();
    for line in [
        r#"strongroom_kms_calls_total{provider="fake",op="generate-data-key",outcome="ok"} 1"#,
        r#"strongroom_kms_calls_total{provider="fake",op="decrypt",outcome="throttled"} 1"#,
        r#"strongroom_kms_calls_total{provider="fake",op="decrypt",outcome="ok"} 1"#,
        r#"strongroom_kms_calls_total{provider="fake",op="check",outcome="ok"} 1"#,
        r#"strongroom_kms_call_seconds_count{provider="fake",op="decrypt"} 2"#,
        "strongroom_key_cache_entries 1",
        "strongroom_key_cache_oldest_seconds 7",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn ages_outside_the_design_are_refused() {
    let new = |seconds| KeyRingConfig::new(Duration::from_secs(seconds), NonZeroUsize::MIN);
    for right in [5, 300, 3_600] {
        assert!(new(right).is_ok(), "{right}");
    }
    for wrong in [0, 4, 3_601] {
        assert!(new(wrong).is_err(), "{wrong}");
    }
}
