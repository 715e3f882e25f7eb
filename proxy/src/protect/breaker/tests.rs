use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings(text: &str) -> BreakerSettings {
    toml::from_str(text).unwrap()
}

fn breaker(text: &str, now: Instant) -> Arc<Breaker> {
    Arc::new(Breaker::new(settings(text), "psp", "psp.example", now))
}

fn caller(name: &str) -> WorkloadId {
    WorkloadId::parse(&format!("spiffe://a/{name}")).unwrap()
}

fn one() -> WorkloadId {
    caller("one")
}

fn call(breaker: &Arc<Breaker>, verdict: Verdict, now: Instant) {
    breaker.admit(&one(), now).unwrap().tell(verdict, now);
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
    assert!(few.admit(&one(), now).is_ok(), "three are too few");
    let many = breaker(FOUR, now);
    (0..10).for_each(|_| call(&many, Verdict::Works, now));
    (0..9).for_each(|_| call(&many, Verdict::Fails, now));
    assert!(many.admit(&one(), now).is_ok(), "nine of nineteen are less than half");
    call(&many, Verdict::Fails, now);
    assert_eq!(many.admit(&one(), now).err(), Some(5 * SECOND));
    assert_eq!(many.refuses(now + SECOND), Some(4 * SECOND));
}

#[test]
fn what_says_nothing_about_the_psp_never_opens_it() {
    let now = Instant::now();
    let breaker = breaker(FOUR, now);
    for _ in 0..1_000 {
        call(&breaker, Verdict::Nothing, now);
        drop(breaker.admit(&one(), now).unwrap());
    }
    assert!(breaker.admit(&one(), now).is_ok());
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let now = Instant::now();
    let breaker = breaker(FOUR, now);
    for seconds in 0..60 {
        call(&breaker, Verdict::Fails, now + 4 * seconds * SECOND);
    }
    assert!(breaker.admit(&one(), now + 240 * SECOND).is_ok(), "never more than three in ten seconds");
}

#[test]
fn half_open_lets_as_many_through_as_declared_and_closes_when_they_succeed() {
    let now = Instant::now();
    let breaker = open(now);
    let later = now + 5 * SECOND;
    assert!(breaker.admit(&one(), later - SECOND).is_err());
    let other = caller("other");
    let (first, second) = (breaker.admit(&one(), later).unwrap(), breaker.admit(&other, later).unwrap());
    assert_eq!(breaker.admit(&caller("third"), later).err(), Some(HALF_OPEN_AGAIN));
    first.tell(Verdict::Works, later);
    assert!(breaker.admit(&one(), later).is_err(), "one success and one probe under way");
    second.tell(Verdict::Nothing, later);
    let second = breaker.admit(&one(), later).expect("a probe that said nothing left its place");
    second.tell(Verdict::Works, later);
    for _ in 0..100 {
        drop(breaker.admit(&one(), later).unwrap());
    }
}

#[test]
fn one_failed_probe_opens_it_again() {
    let now = Instant::now();
    let breaker = open(now);
    let later = now + 5 * SECOND;
    let (first, second) =
        (breaker.admit(&one(), later).unwrap(), breaker.admit(&caller("other"), later).unwrap());
    first.tell(Verdict::Fails, later);
    assert_eq!(breaker.admit(&one(), later).err(), Some(5 * SECOND));
    second.tell(Verdict::Works, later);
    assert!(breaker.admit(&one(), later).is_err(), "it began before the breaker opened again");
}

/// One caller floods a half-open breaker with calls that end before the PSP is reached: the others' probes find a place.
#[test]
fn a_caller_whose_probes_say_nothing_leaves_places_to_others() {
    let now = Instant::now();
    for (probes, held) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        let breaker = breaker(&FOUR.replace("probes = 2", &format!("probes = {probes}")), now);
        (0..4).for_each(|_| call(&breaker, Verdict::Fails, now));
        let (flood, other) = (caller("flood"), caller("other"));
        let mut later = now + 5 * SECOND;
        for _ in 0..20 {
            let all: Vec<_> = (0..10).filter_map(|_| breaker.admit(&flood, later).ok()).collect();
            assert_eq!(all.len(), held, "{probes}");
            if probes > 1 {
                breaker.admit(&other, later).unwrap().tell(Verdict::Nothing, later);
            }
            all.into_iter().for_each(|one| one.tell(Verdict::Nothing, later));
            assert!(breaker.admit(&flood, later).is_err(), "who said nothing gives way for a second");
            later += HALF_OPEN_AGAIN;
        }
        let all: Vec<_> = (0..10).filter_map(|_| breaker.admit(&flood, later).ok()).collect();
        all.into_iter().for_each(|one| one.tell(Verdict::Nothing, later));
        for _ in 0..probes {
            breaker.admit(&other, later).unwrap().tell(Verdict::Works, later);
        }
        assert!((0..10).all(|_| breaker.admit(&flood, later).is_ok()), "it is closed");
    }
}

#[test]
fn calls_that_began_before_it_opened_are_not_heard_when_they_end() {
    let now = Instant::now();
    let breaker = breaker(FOUR, now);
    let stalled: Vec<_> = (0..20).map(|_| breaker.admit(&one(), now).unwrap()).collect();
    (0..4).for_each(|_| call(&breaker, Verdict::Fails, now));
    let later = now + 5 * SECOND;
    let probe = breaker.admit(&one(), later).unwrap();
    stalled.into_iter().for_each(|call| call.tell(Verdict::Fails, later));
    probe.tell(Verdict::Works, later);
    call(&breaker, Verdict::Works, later);
    assert!(breaker.admit(&one(), later).is_ok());
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Begin(u8),
    End(usize, Verdict),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let verdict = prop_oneof![Just(Verdict::Works), Just(Verdict::Fails), Just(Verdict::Nothing)];
    prop_oneof![
        3 => (0_u8..3).prop_map(Op::Begin),
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
                Op::Begin(who) => under_way.extend(breaker.admit(&caller(&format!("{who}")), now).ok()),
                Op::End(at, verdict) if !under_way.is_empty() => {
                    let at = at % under_way.len();
                    under_way.swap_remove(at).tell(verdict, now);
                }
                Op::End(..) => {}
                Op::Wait(ms) => now += Duration::from_millis(ms),
            }
            if let State::HalfOpen(probes) = &breaker.lock().state {
                prop_assert!(probes.trying + probes.good <= 2);
                prop_assert_eq!(probes.callers.values().map(|one| one.trying).sum::<u32>(), probes.trying);
            }
        }
        under_way.clear();
        now += 5 * SECOND;
        for _ in 0..10 {
            call(&breaker, Verdict::Works, now);
        }
    }
}
