use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings(text: &str) -> BreakerSettings {
    toml::from_str(text).unwrap()
}

fn breaker(text: &str, now: Instant) -> Arc<Breaker> {
    Arc::new(Breaker::new(settings(text), "psp", "psp.example", now))
}

fn call(breaker: &Arc<Breaker>, verdict: Verdict, now: Instant) {
    breaker.admit(now).unwrap().tell(verdict, now);
}

const FOUR: &str = "failures = 4\npercent = 50\nwindow_ms = 10000\nopen_ms = 5000\nprobes = 2";

/// Opens one of `FOUR`.
fn open(now: Instant) -> Arc<Breaker> {
    let breaker = breaker(FOUR, now);
    (0..4).for_each(|_| call(&breaker, Verdict::Fails, now));
    breaker
}

#[test]
fn it_opens_on_enough_failures_that_are_enough_of_all() {
    let now = Instant::now();
    let few = breaker(FOUR, now);
    (0..3).for_each(|_| call(&few, Verdict::Fails, now));
    assert!(few.admit(now).is_ok(), "three are too few");
    let many = breaker(FOUR, now);
    (0..10).for_each(|_| call(&many, Verdict::Works, now));
    (0..9).for_each(|_| call(&many, Verdict::Fails, now));
    assert!(many.admit(now).is_ok(), "nine of nineteen are less than half");
    call(&many, Verdict::Fails, now);
    assert_eq!(many.admit(now).err(), Some(5 * SECOND));
    assert_eq!(many.refuses(now + SECOND), Some(4 * SECOND));
}

#[test]
fn what_says_nothing_about_the_psp_never_opens_it() {
    let now = Instant::now();
    let breaker = breaker(FOUR, now);
    for _ in 0..1_000 {
        call(&breaker, Verdict::Nothing, now);
        drop(breaker.admit(now).unwrap());
    }
    assert!(breaker.admit(now).is_ok());
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let now = Instant::now();
    let breaker = breaker(FOUR, now);
    for seconds in 0..60 {
        call(&breaker, Verdict::Fails, now + 4 * seconds * SECOND);
    }
    assert!(breaker.admit(now + 240 * SECOND).is_ok(), "never more than three in ten seconds");
}

#[test]
fn half_open_lets_as_many_through_as_declared_and_closes_when_they_succeed() {
    let now = Instant::now();
    let breaker = open(now);
    let later = now + 5 * SECOND;
    assert!(breaker.admit(later - SECOND).is_err());
    let (first, second) = (breaker.admit(later).unwrap(), breaker.admit(later).unwrap());
    assert_eq!(breaker.admit(later).err(), Some(HALF_OPEN_AGAIN));
    first.tell(Verdict::Works, later);
    assert!(breaker.admit(later).is_err(), "one success and one probe under way");
    drop(second);
    let second = breaker.admit(later).expect("a probe that said nothing left its place");
    second.tell(Verdict::Works, later);
    for _ in 0..100 {
        drop(breaker.admit(later).unwrap());
    }
}

#[test]
fn one_failed_probe_opens_it_again() {
    let now = Instant::now();
    let breaker = open(now);
    let later = now + 5 * SECOND;
    let (first, second) = (breaker.admit(later).unwrap(), breaker.admit(later).unwrap());
    first.tell(Verdict::Fails, later);
    assert_eq!(breaker.admit(later).err(), Some(5 * SECOND));
    second.tell(Verdict::Works, later);
    assert!(breaker.admit(later).is_err(), "it began before the breaker opened again");
}

#[test]
fn calls_that_began_before_it_opened_are_not_heard_when_they_end() {
    let now = Instant::now();
    let breaker = breaker(FOUR, now);
    let stalled: Vec<_> = (0..20).map(|_| breaker.admit(now).unwrap()).collect();
    (0..4).for_each(|_| call(&breaker, Verdict::Fails, now));
    let later = now + 5 * SECOND;
    let probe = breaker.admit(later).unwrap();
    stalled.into_iter().for_each(|call| call.tell(Verdict::Fails, later));
    probe.tell(Verdict::Works, later);
    call(&breaker, Verdict::Works, later);
    assert!(breaker.admit(later).is_ok());
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Begin,
    End(usize, Verdict),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let verdict = prop_oneof![Just(Verdict::Works), Just(Verdict::Fails), Just(Verdict::Nothing)];
    prop_oneof![
        3 => Just(Op::Begin),
        3 => (any::<usize>(), verdict).prop_map(|(at, verdict)| Op::End(at, verdict)),
        1 => (0_u64..7_000).prop_map(Op::Wait),
    ]
}

proptest! {
    /// Whatever begins, ends and passes: half-open never has more probes under way than declared, and once every call has
    /// ended and the pause is over, a PSP that works is let through again.
    #[test]
    fn no_order_of_events_leaves_it_stuck(ops in proptest::collection::vec(op(), 1..300)) {
        let (mut now, mut under_way) = (Instant::now(), Vec::new());
        let breaker = breaker(FOUR, now);
        for op in ops {
            match op {
                Op::Begin => under_way.extend(breaker.admit(now).ok()),
                Op::End(at, verdict) if !under_way.is_empty() => {
                    let at = at % under_way.len();
                    under_way.swap_remove(at).tell(verdict, now);
                }
                Op::End(..) => {}
                Op::Wait(ms) => now += Duration::from_millis(ms),
            }
            if let State::HalfOpen { trying, good } = breaker.lock().state {
                prop_assert!(trying + good <= 2);
            }
        }
        under_way.clear();
        now += 5 * SECOND;
        for _ in 0..10 {
            call(&breaker, Verdict::Works, now);
        }
    }
}
