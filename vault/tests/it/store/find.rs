//! The index of the log over both stores: complete, paged, extended by one, and held against the log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::route::{Attribute, RouteName};
use strongroom_domain::{BootId, ForwardId, Timestamp, TokenRef};
use strongroom_vault::audit::{Destination, Draft, Event, Indexed, Indexer, Object, Seen, row_of};
use strongroom_vault::store::Change;
use strongroom_vault::store::find::{EntryFilter, EntryRange, Follower, PlacePage, UsePage};

use super::both;
use super::ground::{Ground, tenant_id, workload};
use super::signed_log::sequencer;

/// A lease is over by then.
const LONG: Duration = Duration::from_secs(60);

pub(super) fn indexer(ground: &Ground, name: u128) -> Indexer {
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(name));
    Indexer::new(Arc::clone(&ground.store), ground.clock.clone(), holder)
}

/// Brings log and index up to date.
pub(super) async fn bring_up(ground: &Ground, indexer: &mut Indexer) -> u64 {
    ground.clock.go_on(LONG);
    sequencer(ground, 1, None).step().await.unwrap();
    loop {
        match indexer.step().await.unwrap() {
            Indexed::UpTo { place, behind: 0, .. } => return place,
            Indexed::UpTo { .. } => {}
            Indexed::Waiting => panic!("nobody else indexes"),
        }
    }
}

pub(super) fn token(number: u64) -> TokenRef {
    TokenRef::parse(&format!("{number:016x}{number:016x}")).unwrap()
}

/// A release of a card's data.
pub(super) fn release(ground: &Ground, card: u64, route: &str, tenant: &str) -> Draft {
    let object = Object::Token { token: token(card), tenant: Some(tenant_id(tenant)) };
    let mut destination = destination(route);
    let id = ForwardId::generate(ground.clock.as_ref(), ground.chance.as_ref()).unwrap();
    destination.forward = Some(id);
    ground.entry(Event::PanForward, object).to(destination).asserted_by(workload("proxy"))
}

/// A call at a route.
pub(super) fn destination(route: &str) -> Destination {
    Destination {
        route: RouteName::parse(route).unwrap(),
        account: RouteName::parse("default").unwrap(),
        host: format!("api.{route}.example").into(),
        port: Some(443),
        method: "POST".into(),
        path: "/v1/charges".into(),
        forward: None,
        attributes: [Attribute::Number].into_iter().collect(),
    }
}

/// Entries of every kind the filters tell apart.
pub(super) async fn write(ground: &Ground, rounds: u64) {
    let (committer, task, _) = ground.committer().await;
    for round in 0..rounds {
        ground.clock.go_on(Duration::from_secs(1));
        let tenant = if round % 3 == 0 { "globex" } else { "acme" };
        let route = if round % 2 == 0 { "psp" } else { "other" };
        let object = Object::Token { token: token(round % 5), tenant: Some(tenant_id(tenant)) };
        let page = ground.entry(Event::PanList, Object::Tenant(tenant_id(tenant)));
        let entries = vec![
            ground.entry(Event::PanTokenize, object),
            release(ground, round % 5, route, tenant),
            page.naming(vec![token(round % 5), token(round % 4)]).counting(2),
        ];
        committer.commit(Change::Entries { entries }).await.unwrap();
        committer.commit(ground.note()).await.unwrap();
    }
    task.stop().await;
}

pub(super) async fn all(ground: &Ground) -> Vec<(u64, Seen)> {
    let entries = ground.store.logged(0, 100_000).await.unwrap();
    entries.into_iter().map(|(place, leaf)| (place, Seen::of(&leaf).unwrap())).collect()
}

fn fits(seen: &Seen, filter: &EntryFilter) -> bool {
    let is = |wanted: &Option<String>, is: Option<&String>| wanted.is_none() || wanted.as_ref() == is;
    filter.token.as_ref().is_none_or(|token| seen.tokens().any(|named| named == *token))
        && filter.workload.as_ref().is_none_or(|workload| seen.is_by(workload))
        && is(&filter.route, seen.dst.as_ref().map(|dst| &dst.route_id))
        && is(&filter.tenant.as_ref().map(ToString::to_string), seen.obj.tenant.as_ref())
        && is(&filter.verb, Some(&seen.evt))
        && is(&filter.outcome, Some(&seen.out))
        && filter.from.is_none_or(|from| seen.ts >= from)
        && filter.until.is_none_or(|until| seen.ts < until)
}

async fn page(ground: &Ground, filter: &EntryFilter, range: EntryRange) -> PlacePage {
    ground.store.index().places(filter, range).await.unwrap()
}

/// Every page of a search.
async fn walk(ground: &Ground, filter: &EntryFilter, newest_first: bool, limit: u32) -> Vec<u64> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = page(ground, filter, EntryRange { newest_first, after, limit }).await;
        found.extend(&page.places);
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

fn filters(half: Timestamp) -> Vec<EntryFilter> {
    let none = EntryFilter::default();
    let text = |text: &str| Some(text.to_owned());
    let orchestrator = Some(workload("proxy").to_string());
    vec![
        none.clone(),
        EntryFilter { token: Some(token(3)), ..none.clone() },
        EntryFilter { workload: orchestrator.clone(), ..none.clone() },
        EntryFilter { workload: Some(workload("checkout").to_string()), ..none.clone() },
        EntryFilter { route: text("psp"), ..none.clone() },
        EntryFilter { tenant: Some(tenant_id("globex")), ..none.clone() },
        EntryFilter { verb: text("authz.deny"), ..none.clone() },
        EntryFilter { outcome: text("success"), ..none.clone() },
        EntryFilter { outcome: text("denied"), ..none.clone() },
        EntryFilter { from: Some(half), ..none.clone() },
        EntryFilter { until: Some(half), verb: text("pan.list"), ..none.clone() },
        EntryFilter {
            token: Some(token(1)),
            workload: orchestrator,
            route: text("other"),
            tenant: Some(tenant_id("acme")),
            verb: text("pan.forward"),
            outcome: text("success"),
            from: Some(half),
            until: None,
        },
        EntryFilter { route: text("nowhere"), ..none.clone() },
        EntryFilter { token: Some(token(99)), ..none },
    ]
}

both! {
    /// Whatever is asked for, in either order, by pages of any size: what a look through the whole log finds.
    what_is_found_is_what_reading_the_whole_log_finds;
    pages_hold_every_entry_once_while_entries_are_added;
    one_indexer_at_a_time_goes_on_from_where_the_other_was;
    an_entry_changed_or_removed_in_the_database_is_told;
    releases_are_listed_card_by_card_for_caller_and_proxy;
    cards_are_found_by_their_reference;
}

async fn what_is_found_is_what_reading_the_whole_log_finds(ground: Ground) {
    write(&ground, 20).await;
    let half = ground.clock.now_plus(0);
    write(&ground, 20).await;
    let size = bring_up(&ground, &mut indexer(&ground, 5)).await;
    let all = all(&ground).await;
    assert_eq!((all.len() as u64, size), (164, 164)); // and audit.start, audit.stop
    let mut empty = 0;
    for filter in filters(half) {
        let expected: Vec<u64> =
            all.iter().filter(|(_, seen)| fits(seen, &filter)).map(|(place, _)| *place).collect();
        empty += usize::from(expected.is_empty());
        for limit in [1, 7, 100] {
            assert_eq!(walk(&ground, &filter, false, limit).await, expected, "{filter:?}");
            let newest: Vec<u64> = expected.iter().rev().copied().collect();
            assert_eq!(walk(&ground, &filter, true, limit).await, newest, "{filter:?}");
        }
    }
    assert_eq!(
        empty, 3,
        "nothing was denied, goes nowhere or names the last card; everything else found something"
    );
}

async fn pages_hold_every_entry_once_while_entries_are_added(ground: Ground) {
    let mut indexer = indexer(&ground, 5);
    write(&ground, 10).await;
    let before = bring_up(&ground, &mut indexer).await;
    let filter = EntryFilter { verb: Some("pan.list".into()), ..EntryFilter::default() };
    let expected: BTreeSet<u64> = walk(&ground, &filter, true, 100).await.into_iter().collect();
    let (mut down, mut up) = (Vec::new(), Vec::new());
    let (mut below, mut above) = (None, None);
    for _ in 0..4 {
        let range = EntryRange { newest_first: true, after: below, limit: 3 };
        let newest = page(&ground, &filter, range).await;
        (below, _) = (newest.next, down.extend(newest.places));
        let range = EntryRange { newest_first: false, after: above, limit: 3 };
        let oldest = page(&ground, &filter, range).await;
        (above, _) = (oldest.next.or(above), up.extend(oldest.places));
        write(&ground, 2).await;
        bring_up(&ground, &mut indexer).await;
    }
    assert_eq!(below, None, "down to the first");
    assert_eq!(down.len(), expected.len(), "none twice");
    assert_eq!(down.into_iter().collect::<BTreeSet<_>>(), expected);
    let (was, new): (Vec<u64>, Vec<u64>) = up.into_iter().partition(|place| *place < before);
    assert_eq!((was.len(), new.len()), (10, 2), "upwards what was added comes after what was there");
}

async fn one_indexer_at_a_time_goes_on_from_where_the_other_was(ground: Ground) {
    let (mut first, mut second) = (indexer(&ground, 5), indexer(&ground, 6));
    write(&ground, 3).await;
    bring_up(&ground, &mut first).await;
    assert_eq!(second.step().await.unwrap(), Indexed::Waiting);
    ground.clock.go_on(LONG);
    write(&ground, 3).await;
    assert_eq!(bring_up(&ground, &mut second).await, 28);
    write(&ground, 3).await;
    sequencer(&ground, 1, None).step().await.unwrap();
    assert_eq!(first.step().await.unwrap(), Indexed::Waiting, "it slept");
    assert_eq!(ground.store.index().followed(Follower::Find).await.unwrap(), 28);
    // Not even by its own hand: its fence is old, or the place it would go on from is.
    let now = ground.clock.now_plus(0);
    let until = ground.clock.now_plus(300);
    ground.clock.go_on(LONG);
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(7));
    let late = ground.clock.now_plus(0);
    let held = ground.store.index().follow(Follower::Find, holder, late, until).await.unwrap().unwrap();
    assert_eq!(held.next, 28);
    let (place, leaf) = ground.store.logged(28, 1).await.unwrap().remove(0);
    let rows = [row_of(place, &leaf)];
    let mut stale = held;
    stale.lease.fence -= 1;
    assert!(!ground.store.index().index_entries(stale, 29, &rows, now).await.unwrap());
    let behind = strongroom_vault::store::find::Following { next: 27, ..held };
    assert!(!ground.store.index().index_entries(behind, 29, &rows, now).await.unwrap());
    assert!(ground.store.index().index_entries(held, 29, &rows, now).await.unwrap());
    assert_eq!(second.step().await.unwrap(), Indexed::Waiting, "it was overtaken too");
    assert_eq!(bring_up(&ground, &mut second).await, 42);
    assert_eq!(walk(&ground, &EntryFilter::default(), false, 100).await, (0..42).collect::<Vec<_>>());
}

async fn an_entry_changed_or_removed_in_the_database_is_told(ground: Ground) {
    write(&ground, 2).await;
    bring_up(&ground, &mut indexer(&ground, 5)).await;
    ground.tamper("UPDATE audit_entries SET leaf = (SELECT leaf FROM audit_entries WHERE instance_seq = 2) WHERE instance_seq = 3").await;
    ground.tamper("DELETE FROM audit_entries WHERE instance_seq = 5").await;
    let leaves = ground.store.index().leaves(&[6, 5, 3, 2]).await.unwrap();
    let told: Vec<_> = leaves.iter().map(|leaf| (leaf.place, leaf.intact().is_some())).collect();
    assert_eq!(told, [(6, true), (5, false), (3, false), (2, true)]);
    assert_eq!((leaves[1].id.seq, leaves[1].leaf.is_none(), leaves[2].leaf.is_some()), (5, true, true));
    ground.tamper("DELETE FROM log_tiles").await;
    let leaves = ground.store.index().leaves(&[2]).await.unwrap();
    assert!(leaves[0].intact().is_none(), "without the tree nothing is held to be it");
}

async fn releases_are_listed_card_by_card_for_caller_and_proxy(ground: Ground) {
    write(&ground, 10).await;
    let half = ground.clock.now_plus(0);
    write(&ground, 10).await;
    bring_up(&ground, &mut indexer(&ground, 5)).await;
    let all = all(&ground).await;
    for (who, window) in [
        ("checkout", (None, None)),
        ("proxy", (None, None)),
        ("checkout", (Some(half), None)),
        ("checkout", (None, Some(half))),
    ] {
        let mut expected: Vec<(TokenRef, u64)> = all
            .iter()
            .filter(|(_, seen)| seen.released() && seen.is_by(workload(who).as_str()))
            .filter(|(_, seen)| window.0.is_none_or(|from| seen.ts >= from))
            .filter(|(_, seen)| window.1.is_none_or(|until| seen.ts < until))
            .map(|(place, seen)| (seen.token().unwrap(), *place))
            .collect();
        expected.sort_by_key(|(token, place)| (token.to_string(), *place));
        assert!(expected.len() >= 9);
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let index = ground.store.index();
            let UsePage { uses, next } = index.uses(workload(who).as_str(), window, after, 3).await.unwrap();
            found.extend(uses);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let places: Vec<u64> = found.iter().map(|one| one.place).collect();
        assert_eq!(places, expected.iter().map(|(_, place)| *place).collect::<Vec<_>>(), "{who}");
    }
    let nobody = ground.store.index().uses("spiffe://a/nobody", (None, None), None, 3).await.unwrap();
    assert_eq!(nobody, UsePage::default());
    // Whether a card was used before, and by whom.
    let place = all.last().unwrap().0;
    let before = |card, who: &'static str, place| {
        let ground = &ground;
        async move { ground.store.index().used_before(&token(card), workload(who).as_str(), place).await.unwrap() }
    };
    assert_eq!(before(1, "checkout", place).await, (true, true));
    assert_eq!(before(1, "thief", place).await, (true, false));
    assert_eq!(before(1, "checkout", 1).await, (false, false));
    assert_eq!(before(99, "checkout", place).await, (false, false));
}

async fn cards_are_found_by_their_reference(ground: Ground) {
    let (committer, task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let cards: Vec<_> = (0..3).map(|_| ground.card("acme", key)).collect();
    committer.commit(ground.insert_all(&cards, None)).await.unwrap();
    task.stop().await;
    let mut wanted: Vec<TokenRef> = cards.iter().map(|card| card.token.token_ref()).collect();
    wanted.push(token(99));
    let found = ground.store.index().named_cards(&wanted).await.unwrap();
    assert_eq!(found.len(), 3, "one of them is nobody's");
    for (card, row) in cards.iter().zip(found) {
        assert_eq!((row.token, row.tenant), (card.token.token_ref(), card.tenant.clone()));
        assert_eq!(row.facts, card.facts);
    }
}
