//! Suspensions in both stores: what holds also when two replicas write at once.

use std::collections::HashSet;
use std::time::Duration;

use strongroom_domain::{Clock as _, Timestamp};
use strongroom_vault::audit::{Draft, Event, Object, Outcome, Reason};
use strongroom_vault::store::{Change, Committed, SuspendedBy, SuspensionBounds, SuspensionRow};

use super::both;
use super::ground::{Ground, workload};

fn suspension(who: &str, at: Timestamp, by: SuspendedBy, bounds: SuspensionBounds) -> Change {
    let object = Object::Workload(workload(who));
    let entry = Draft::by_service(at, Event::WorkloadSuspend, Outcome::Success, object);
    let row = SuspensionRow { workload: workload(who), since: at, by };
    Change::SuspendWorkload { suspension: Box::new(row), bounds, entry }
}

fn by_person() -> SuspendedBy {
    SuspendedBy::Person { id: workload("security"), reason: Reason::parse("a drill").unwrap() }
}

fn lift(who: &str, at: Timestamp) -> Change {
    let object = Object::Workload(workload(who));
    let entry = Draft::by_service(at, Event::WorkloadResume, Outcome::Success, object);
    Change::ResumeWorkload { workload: workload(who), at, entry }
}

both! {
    a_suspension_is_one_until_it_is_lifted;
    rules_suspend_no_more_within_the_time_than_was_set;
    of_two_that_suspend_each_other_at_once_one_stays;
}

async fn a_suspension_is_one_until_it_is_lifted(ground: Ground) {
    let (committer, task, _) = ground.committer().await;
    let now = ground.clock.now();
    let once = || suspension("checkout", ground.clock.now(), by_person(), SuspensionBounds::default());
    assert_eq!(committer.commit(lift("checkout", now)).await.unwrap(), Committed::Missing);
    assert_eq!(committer.commit(once()).await.unwrap(), Committed::Done);
    assert_eq!(committer.commit(once()).await.unwrap(), Committed::Conflict);
    let row = SuspensionRow { workload: workload("checkout"), since: now, by: by_person() };
    assert_eq!(ground.store.suspensions().await.unwrap(), [row]);
    ground.clock.go_on(Duration::from_secs(1));
    assert_eq!(committer.commit(lift("checkout", ground.clock.now())).await.unwrap(), Committed::Done);
    assert_eq!(ground.store.suspensions().await.unwrap(), []);
    assert_eq!(committer.commit(once()).await.unwrap(), Committed::Done, "a second time");
    // What did not happen left no entry.
    let entries = ground.store.entries(None, 1_000).await.unwrap();
    let events = entries.iter().map(|entry| entry.leaf.read().unwrap().fields["evt"].clone());
    assert_eq!(events.filter(|event| event == "workload.suspend").count(), 2);
    task.stop().await;
}

async fn rules_suspend_no_more_within_the_time_than_was_set(ground: Ground) {
    let (committer, task, _) = ground.committer().await;
    let hour = Duration::from_secs(3_600);
    let by_rule = |who: &str| {
        let now = ground.clock.now();
        let bounds = SuspensionBounds { by_rules: Some((now.minus(hour), 2)), ..SuspensionBounds::default() };
        suspension(who, now, SuspendedBy::Rule("release-rate".into()), bounds)
    };
    for who in ["one", "two"] {
        assert_eq!(committer.commit(by_rule(who)).await.unwrap(), Committed::Done);
        ground.clock.go_on(Duration::from_secs(60));
        // That it is lifted gives nothing back.
        assert_eq!(committer.commit(lift(who, ground.clock.now())).await.unwrap(), Committed::Done);
    }
    assert_eq!(committer.commit(by_rule("three")).await.unwrap(), Committed::Conflict);
    let by_hand = suspension("three", ground.clock.now(), by_person(), SuspensionBounds::default());
    assert_eq!(committer.commit(by_hand).await.unwrap(), Committed::Done, "people are not bounded");
    ground.clock.go_on(hour);
    assert_eq!(committer.commit(by_rule("four")).await.unwrap(), Committed::Done);
    task.stop().await;
}

async fn of_two_that_suspend_each_other_at_once_one_stays(ground: Ground) {
    let (first, first_task, _) = ground.committer().await;
    let (second, second_task, _) = ground.committer().await;
    for _ in 0..20 {
        ground.clock.go_on(Duration::from_secs(1));
        let now = ground.clock.now();
        let without = |other: &str| SuspensionBounds { others: vec![vec![workload(other)]], by_rules: None };
        let (one, two) = tokio::join!(
            first.commit(suspension("alice", now, by_person(), without("bob"))),
            second.commit(suspension("bob", now, by_person(), without("alice"))),
        );
        let became = [one.unwrap(), two.unwrap()];
        assert_eq!(became.iter().filter(|became| **became == Committed::Done).count(), 1, "{became:?}");
        let suspended: HashSet<_> =
            ground.store.suspensions().await.unwrap().into_iter().map(|row| row.workload).collect();
        assert_eq!(suspended.len(), 1);
        ground.clock.go_on(Duration::from_secs(1));
        for who in ["alice", "bob"] {
            if suspended.contains(&workload(who)) {
                assert_eq!(first.commit(lift(who, ground.clock.now())).await.unwrap(), Committed::Done);
            }
        }
    }
    first_task.stop().await;
    second_task.stop().await;
}
