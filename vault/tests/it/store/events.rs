//! The outbox: what is told of changes, to whom, in which order, and who may say that it was told.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{Environment, TenantId, Timestamp, TokenHash};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_vault::audit::{Event, Object};
use strongroom_vault::events::{Ground as EventGround, Walk, WalkStep};
use strongroom_vault::store::{
    Audience, CardEventKind, CardRow, Change, Committed, DestinationName, EventFilter, EventRow, EventState,
    Outbox, Settled, Settlement, Subscription,
};

use super::faults::{Fault, FaultyStore};
use super::ground::{Ground, HOLD};

super::both! {
    each_change_is_told_once_in_the_order_of_its_card;
    only_the_audience_is_told_and_nobody_costs_nothing;
    a_postponed_event_holds_back_its_card_and_no_other;
    a_former_holder_of_a_lease_writes_nothing;
    what_was_settled_is_replayed_under_its_id;
    a_destroyed_cards_facts_are_told_no_more;
    a_card_is_told_to_be_expiring_once_for_each_end;
    old_events_are_forgotten_and_pending_ones_are_not;
    no_fault_parts_an_event_from_its_change;
}

const GIVE_UP: Duration = Duration::from_secs(72 * 3600);

fn destination(name: &str) -> DestinationName {
    DestinationName::parse(name).unwrap()
}

/// One destination that is told everything.
fn everyone() -> Outbox {
    Outbox::new(vec![Subscription { destination: destination("all"), audience: Audience::Everyone }], GIVE_UP)
}

fn filter(name: &str, state: EventState) -> EventFilter {
    let destination = destination(name);
    EventFilter { destination, state, tenant: None, from: None, until: None, due_before: None }
}

impl Ground {
    async fn pending(&self, name: &str) -> Vec<EventRow> {
        self.store.events().events(&filter(name, EventState::Pending), None, 1_000).await.unwrap()
    }

    async fn due(&self, name: &str) -> Vec<(TokenHash, u64)> {
        let due = self.store.events().events_due(name, self.clock_now(), 100).await.unwrap();
        due.iter().map(|event| (event.token, event.sequence)).collect()
    }
}

/// What was told of one card, in its order.
fn of<'a>(card: &CardRow, events: &'a [EventRow]) -> Vec<(u64, CardEventKind, &'a str)> {
    let token = card.token.hash();
    let mut told: Vec<_> = events.iter().filter(|event| event.token == token).collect();
    told.sort_by_key(|event| event.sequence);
    told.into_iter().map(|event| (event.sequence, event.kind, event.data.as_str())).collect()
}

async fn each_change_is_told_once_in_the_order_of_its_card(ground: Ground) {
    let (committer, task, _) = ground.telling(everyone()).await;
    let key = ground.key("acme").await;
    let (one, other) = (ground.card("acme", key), ground.card("acme", key));
    let answer = ground.answer(1, 1, "first");
    let both = ground.insert_all(&[one.clone(), other.clone()], Some(answer.clone()));
    assert_eq!(committer.commit(both.clone()).await, Ok(Committed::Done));
    assert!(matches!(committer.commit(both).await, Ok(Committed::Replay(_))), "told once");
    assert_eq!(committer.commit(ground.erase(&one, None)).await, Ok(Committed::Done));
    assert_eq!(committer.commit(ground.erase(&one, None)).await, Ok(Committed::Missing));
    assert_eq!(committer.commit(ground.restore(&one, None)).await, Ok(Committed::Done));
    assert_eq!(committer.commit(ground.erase(&one, None)).await, Ok(Committed::Done));
    committer.commit(ground.note()).await.unwrap();
    ground.clock.go_on(HOLD);
    assert_eq!(committer.commit(ground.destroy(&one)).await, Ok(Committed::Done));
    task.stop().await;
    let events = ground.pending("all").await;
    let kinds: Vec<_> =
        of(&one, &events).iter().map(|(sequence, kind, _)| (*sequence, kind.as_str())).collect();
    assert_eq!(kinds, [(1, "created"), (2, "erased"), (3, "restored"), (4, "erased"), (5, "destroyed")]);
    let [(1, CardEventKind::Created, data)] = of(&other, &events)[..] else { panic!("one event") };
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((data["last4"].as_str(), data["exp_year"].as_u64()), (Some("4242"), Some(2030)));
    for event in &events {
        assert!(!event.data.contains(one.token.as_str()) && !event.data.contains(other.token.as_str()));
        assert_eq!(event.give_up_at, event.occurred_at.plus(GIVE_UP));
    }
    let ids: HashSet<_> = events.iter().map(EventRow::id).collect();
    assert_eq!(ids.len(), events.len());
}

async fn only_the_audience_is_told_and_nobody_costs_nothing(ground: Ground) {
    let some = |tenants: &[&str], groups: &[&str]| Audience::Some {
        tenants: tenants.iter().map(|name| TenantId::parse(name).unwrap()).collect(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    let subscribe = |name: &str, audience| Subscription { destination: destination(name), audience };
    let outbox = Outbox::new(
        vec![subscribe("acme", some(&["acme"], &[])), subscribe("shops", some(&[], &["shops"]))],
        GIVE_UP,
    );
    let (committer, task, _) = ground.telling(outbox).await;
    let mut shop = ground.tenant("globex", 1);
    shop.settings.groups = vec!["shops".into()];
    committer.commit(ground.put(&shop, None)).await.unwrap();
    let mut cards = Vec::new();
    for tenant in ["acme", "globex", "other"] {
        let key = ground.key(tenant).await;
        let card = ground.card(tenant, key);
        committer.commit(ground.insert(card.clone(), None)).await.unwrap();
        committer.commit(ground.erase(&card, None)).await.unwrap();
        cards.push(card);
    }
    // A group that is left is not told of any more, from that transaction on.
    shop.settings.groups.clear();
    shop.version = 2;
    committer.commit(ground.put(&shop, Some(1))).await.unwrap();
    committer.commit(ground.restore(&cards[1], None)).await.unwrap();
    task.stop().await;
    for (name, card) in [("acme", &cards[0]), ("shops", &cards[1])] {
        let events = ground.pending(name).await;
        assert_eq!(events.len(), 2, "{name}");
        assert_eq!(of(card, &events).len(), 2, "{name}");
    }
    assert_eq!(ground.count("card_events").await, 4);
    let (committer, task, _) = ground.committer().await;
    committer.commit(ground.restore(&cards[0], None)).await.unwrap();
    task.stop().await;
    assert_eq!(ground.count("card_events").await, 4, "where nobody is configured nothing is written");
}

async fn a_postponed_event_holds_back_its_card_and_no_other(ground: Ground) {
    let (committer, task, _) = ground.telling(everyone()).await;
    let key = ground.key("acme").await;
    let (one, other) = (ground.card("acme", key), ground.card("acme", key));
    for card in [&one, &other] {
        committer.commit(ground.insert(card.clone(), None)).await.unwrap();
        committer.commit(ground.erase(card, None)).await.unwrap();
    }
    let (first, second) = ((one.token.hash(), 1), (other.token.hash(), 1));
    let due: HashSet<_> = ground.due("all").await.into_iter().collect();
    assert_eq!(due, HashSet::from([first, second]), "of each card its first");
    let now = ground.clock_now();
    let (holder, until) = (uuid::Uuid::from_u128(1), now.plus(Duration::from_secs(60)));
    let lease = ground.store.events().lease("all", holder, now, until).await.unwrap().unwrap();
    let later = now.plus(Duration::from_secs(30));
    let settled = [
        Settled { token: first.0, sequence: 1, now: Settlement::Postponed(later, "status-500".into()) },
        Settled { token: second.0, sequence: 1, now: Settlement::Delivered },
    ];
    assert!(ground.store.events().settle(&lease, &settled, now, until).await.unwrap());
    assert_eq!(ground.due("all").await, [(other.token.hash(), 2)]);
    // What happens to the waiting card meanwhile waits too.
    committer.commit(ground.restore(&one, None)).await.unwrap();
    assert_eq!(ground.due("all").await, [(other.token.hash(), 2)]);
    ground.clock.go_on(Duration::from_secs(31));
    assert_eq!(
        ground.due("all").await.into_iter().filter(|(token, _)| *token == first.0).collect::<Vec<_>>(),
        [first]
    );
    let given_up = [Settled { token: first.0, sequence: 1, now: Settlement::GivenUp("status-500".into()) }];
    assert!(ground.store.events().settle(&lease, &given_up, ground.clock_now(), until).await.unwrap());
    assert!(ground.due("all").await.contains(&(first.0, 2)), "a dead event does not hold its card for ever");
    let backlog = ground.store.events().backlog("all").await.unwrap();
    assert_eq!((backlog.pending, backlog.dead, backlog.oldest.is_some()), (3, 1, true));
    let dead = ground.store.events().events(&filter("all", EventState::Dead), None, 10).await.unwrap();
    assert_eq!((dead[0].attempts, dead[0].met.as_deref()), (2, Some("status-500")));
    task.stop().await;
}

async fn a_former_holder_of_a_lease_writes_nothing(ground: Ground) {
    let (committer, task, _) = ground.telling(everyone()).await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    committer.commit(ground.insert(card.clone(), None)).await.unwrap();
    let events = ground.store.events();
    let until = |seconds| ground.clock_now().plus(Duration::from_secs(seconds));
    let (one, other) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    let first = events.lease("all", one, ground.clock_now(), until(10)).await.unwrap().unwrap();
    assert_eq!(events.lease("all", other, ground.clock_now(), until(10)).await.unwrap(), None);
    assert!(events.prolong(&first, until(20)).await.unwrap());
    ground.clock.go_on(Duration::from_secs(20));
    let second = events.lease("all", other, ground.clock_now(), until(10)).await.unwrap().unwrap();
    assert!(second.fence > first.fence);
    let taken = [Settled { token: card.token.hash(), sequence: 1, now: Settlement::Delivered }];
    assert!(!events.settle(&first, &taken, ground.clock_now(), until(10)).await.unwrap());
    assert!(!events.prolong(&first, until(99)).await.unwrap());
    assert_eq!(ground.due("all").await.len(), 1, "what the former holder says is not written");
    assert!(events.settle(&second, &taken, ground.clock_now(), until(10)).await.unwrap());
    assert_eq!(ground.due("all").await.len(), 0);
    // Let go of, it is anybody's at once.
    assert!(events.prolong(&second, ground.clock_now()).await.unwrap());
    assert!(events.lease("all", one, ground.clock_now(), until(10)).await.unwrap().is_some());
    assert_eq!(events.destinations_known().await.unwrap(), ["all"]);
    task.stop().await;
}

async fn what_was_settled_is_replayed_under_its_id(ground: Ground) {
    let (committer, task, _) = ground.telling(everyone()).await;
    let key = ground.key("acme").await;
    let (one, other) = (ground.card("acme", key), ground.card("acme", key));
    committer.commit(ground.insert_all(&[one.clone(), other.clone()], None)).await.unwrap();
    let before = ground.pending("all").await;
    let now = ground.clock_now();
    let until = now.plus(Duration::from_secs(60));
    let events = ground.store.events();
    let lease = events.lease("all", uuid::Uuid::from_u128(1), now, until).await.unwrap().unwrap();
    let settled = [
        Settled { token: one.token.hash(), sequence: 1, now: Settlement::GivenUp("status-400".into()) },
        Settled { token: other.token.hash(), sequence: 1, now: Settlement::Delivered },
    ];
    assert!(events.settle(&lease, &settled, now, until).await.unwrap());
    assert!(ground.pending("all").await.is_empty());
    ground.clock.go_on(Duration::from_secs(5));
    let change = Change::ReplayEvents {
        destination: destination("all"),
        events: vec![(one.token.hash(), 1), (other.token.hash(), 1), (other.token.hash(), 9)],
        at: ground.clock_now(),
        give_up_at: ground.clock_now().plus(GIVE_UP),
        entry: ground.entry(Event::EventsReplay, Object::Service("events")),
    };
    assert_eq!(committer.commit(change).await, Ok(Committed::Done));
    let again = ground.pending("all").await;
    let ids = |events: &[EventRow]| events.iter().map(EventRow::id).collect::<HashSet<_>>();
    assert_eq!(ids(&again), ids(&before));
    assert!(again.iter().all(|event| event.attempts == 0 && event.met.is_none()));
    assert!(again.iter().all(|event| event.give_up_at == ground.clock_now().plus(GIVE_UP)));
    task.stop().await;
}

async fn a_destroyed_cards_facts_are_told_no_more(ground: Ground) {
    let (committer, task, _) = ground.telling(everyone()).await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    committer.commit(ground.insert(card.clone(), None)).await.unwrap();
    committer.commit(ground.erase(&card, None)).await.unwrap();
    ground.clock.go_on(HOLD);
    committer.commit(ground.destroy(&card)).await.unwrap();
    task.stop().await;
    let events = ground.pending("all").await;
    let told = of(&card, &events);
    assert_eq!(told[0], (1, CardEventKind::Created, "{}"), "the event stays, its facts do not");
    assert!(told[1].2.contains("destroy_after"));
}

async fn a_card_is_told_to_be_expiring_once_for_each_end(ground: Ground) {
    let (committer, task, _) = ground.telling(everyone()).await;
    let key = ground.key("acme").await;
    let now = ground.clock_now();
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let month = |days_ahead| strongroom_domain::Expiry::month_of(now.plus(days(days_ahead))).unwrap();
    let card = |expiry, expires_at: Option<Timestamp>| {
        let mut card = ground.card("acme", key);
        card.facts.expiry = Some(expiry);
        card.expires_at = expires_at;
        card
    };
    let near = card(month(0), None);
    let both = card(month(0), Some(now.plus(days(3))));
    let far = card(month(200), Some(now.plus(days(200))));
    let (hidden, over) = (card(month(0), None), card(month(0).month_before().unwrap(), None));
    let all = [&near, &both, &far, &hidden, &over].map(Clone::clone);
    committer.commit(ground.insert_all(&all, None)).await.unwrap();
    committer.commit(ground.erase(&hidden, None)).await.unwrap();
    let walk = |ahead| {
        let (store, clock) = (Arc::clone(&ground.store), ground.clock.clone());
        let below = EventGround::new(store, clock, Arc::new(SystemRandom::new()), Environment::Test).unwrap();
        Walk::new(below, committer.clone(), everyone(), ahead)
    };
    let mut first = walk(days(60));
    assert_eq!(first.step().await.unwrap(), WalkStep::AtTheEnd(2));
    assert_eq!(first.step().await.unwrap(), WalkStep::AtTheEnd(0), "each end is told once");
    let mut second = walk(days(60));
    assert_eq!(second.step().await.unwrap(), WalkStep::Elsewhere, "one replica walks");
    ground.clock.go_on(Duration::from_secs(3_600));
    assert_eq!(second.step().await.unwrap(), WalkStep::AtTheEnd(0), "also after a takeover");
    let events = ground.pending("all").await;
    let expiring = |card: &CardRow| {
        let told = of(card, &events).into_iter().filter(|told| told.1 == CardEventKind::Expiring);
        told.map(|told| serde_json::from_str::<serde_json::Value>(told.2).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(expiring(&near)[0]["exp_month"], month(0).month());
    assert!(expiring(&both)[0]["expires_at"].is_string());
    for quiet in [&far, &hidden, &over] {
        assert!(expiring(quiet).is_empty());
    }
    // Another end is another event.
    let later = now.plus(days(5)).unix_micros();
    ground
        .tamper(&format!("UPDATE cards SET expires_at = {later} WHERE token = '{}'", both.token.as_str()))
        .await;
    assert_eq!(second.step().await.unwrap(), WalkStep::AtTheEnd(1));
    task.stop().await;
}

async fn old_events_are_forgotten_and_pending_ones_are_not(ground: Ground) {
    let (committer, task, _) = ground.telling(everyone()).await;
    let key = ground.key("acme").await;
    let cards: Vec<_> = (0..3).map(|_| ground.card("acme", key)).collect();
    committer.commit(ground.insert_all(&cards, None)).await.unwrap();
    let now = ground.clock_now();
    let until = now.plus(Duration::from_secs(60));
    let events = ground.store.events();
    let lease = events.lease("all", uuid::Uuid::from_u128(1), now, until).await.unwrap().unwrap();
    let delivered =
        |card: &CardRow| Settled { token: card.token.hash(), sequence: 1, now: Settlement::Delivered };
    let settled = [delivered(&cards[0]), delivered(&cards[1])];
    assert!(events.settle(&lease, &settled, now, until).await.unwrap());
    let forget = |state, before| events.forget_events("all", state, before, 1);
    assert_eq!(forget(EventState::Delivered, now.minus(Duration::from_secs(1))).await.unwrap(), 0);
    assert_eq!(forget(EventState::Delivered, now).await.unwrap(), 1, "a bounded number at once");
    assert_eq!(forget(EventState::Delivered, now).await.unwrap(), 1);
    assert_eq!(forget(EventState::Dead, now).await.unwrap(), 0);
    assert_eq!(ground.count("card_events").await, 1);
    task.stop().await;
}

async fn no_fault_parts_an_event_from_its_change(mut ground: Ground) {
    let key = ground.key("acme").await;
    let script = [
        Fault::Retry,
        Fault::LostAtApply,
        Fault::LostAtAppend,
        Fault::LostBeforeCommit,
        Fault::LostAfterCommit,
        Fault::LateCommit,
    ];
    let faults = FaultyStore::under(&mut ground, &[]);
    let (committer, task, _) = ground.telling(everyone()).await;
    for round in 0..4 {
        for fault in script {
            faults.lock().unwrap().push_back(fault);
            let cards: Vec<CardRow> = (0..3).map(|_| ground.card("acme", key)).collect();
            let changes = cards.iter().map(|card| committer.commit(ground.insert(card.clone(), None)));
            futures_util::future::join_all(changes).await;
            if round % 2 == 1 {
                faults.lock().unwrap().push_back(fault);
            }
            for card in &cards {
                // What was not added is not there to be hidden.
                let _ = committer.commit(ground.erase(card, None)).await;
            }
            faults.lock().unwrap().clear();
        }
    }
    task.stop().await;
    let told = |sql: &'static str| ground.texts(sql);
    let created = "SELECT 'x' FROM cards WHERE (SELECT count(*) FROM card_events AS told WHERE told.token_hash = \
                   cards.token_hash AND kind = 'created' AND sequence = 1) <> 1";
    assert_eq!(told(created).await, Vec::<String>::new(), "no card without its event");
    let erased = "SELECT 'x' FROM cards WHERE (SELECT count(*) FROM card_events AS told WHERE told.token_hash = \
                  cards.token_hash AND kind = 'erased' AND sequence = 2) <> CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END";
    assert_eq!(told(erased).await, Vec::<String>::new(), "no erasure without its event, and none twice");
    let orphans = "SELECT 'x' FROM card_events WHERE token_hash NOT IN (SELECT token_hash FROM cards)";
    assert_eq!(told(orphans).await, Vec::<String>::new(), "no event without its card");
    assert!(ground.count("card_events").await >= 100);
}
