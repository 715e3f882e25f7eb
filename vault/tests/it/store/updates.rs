//! Cards changed under their token: at the version expected, all of a change or none, with everything that follows.

use std::time::Duration;

use strongroom_domain::{Alias, DataKeyId, Digits, Expiry, Metadata, TokenHash};
use strongroom_sealing::Fingerprint;
use strongroom_vault::audit::{CardChange, Event, Object, check};
use strongroom_vault::store::{AliasRow, CardRow, CardUpdate, Change, Committed, IdempotencyRow, Names};

use super::ground::{Ground, TestKeys, tenant_id};

super::both! {
    a_card_is_changed_whole_at_its_version_and_at_no_other;
    of_many_changes_of_one_version_one_is_made;
    a_change_of_many_cards_is_made_of_all_or_of_none;
    a_hidden_or_expired_card_is_not_changed;
    a_changed_number_takes_its_fingerprint_with_it;
    a_fingerprint_is_taken_from_the_dead_and_never_from_the_living;
    an_alias_added_by_a_change_is_one_cards;
    the_same_change_under_one_key_is_made_once;
}

const OLD: Fingerprint = Fingerprint::from_bytes([7; 32]);
const NEW: Fingerprint = Fingerprint::from_bytes([8; 32]);

/// The card at its next version, with another record.
fn next(ground: &Ground, card: &CardRow) -> CardRow {
    CardRow {
        record: [card.record.as_slice(), &[card.row_version as u8]].concat(),
        row_version: card.row_version + 1,
        updated_at: ground.clock_now(),
        ..card.clone()
    }
}

/// The same with another number.
fn renumbered(ground: &Ground, card: &CardRow, fingerprint: Option<Fingerprint>) -> CardUpdate {
    let next = next(ground, card);
    let number_version = next.row_version;
    CardUpdate { card: CardRow { fingerprint, number_version, ..next }, claims: true, aliases: Vec::new() }
}

fn plain(card: CardRow) -> CardUpdate {
    CardUpdate { card, claims: false, aliases: Vec::new() }
}

fn change(ground: &Ground, updates: Vec<CardUpdate>) -> Change {
    keyed(ground, updates, None)
}

fn keyed(ground: &Ground, updates: Vec<CardUpdate>, idempotency: Option<IdempotencyRow>) -> Change {
    let entry = |update: &CardUpdate| {
        let card = &update.card;
        let object = Object::Token { token: card.token.token_ref(), tenant: Some(card.tenant.clone()) };
        ground.entry(Event::RecordUpdate, object).changing(CardChange::of(card.row_version, &card.record))
    };
    let entries = updates.iter().map(entry).collect();
    Change::UpdateCards { updates, idempotency: idempotency.map(Box::new), entries }
}

/// A card whose number leads to it.
async fn known(ground: &Ground, key: DataKeyId, fingerprint: Fingerprint) -> CardRow {
    let (committer, _task, _) = ground.committer().await;
    let card = CardRow { fingerprint: Some(fingerprint), ..ground.card("acme", key) };
    let Change::InsertCards { cards, entries, .. } = ground.insert(card.clone(), None) else {
        unreachable!()
    };
    let names = Names { unique: true, ..Names::default() };
    let insert = Change::InsertCards { cards, names, idempotency: None, entries };
    assert_eq!(committer.commit(insert).await, Ok(Committed::Done));
    card
}

async fn stored(ground: &Ground, card: &CardRow) -> CardRow {
    ground.store.card(&card.tenant, card.token.hash()).await.unwrap().unwrap()
}

/// The card a number leads to.
async fn led_to(ground: &Ground, fingerprint: Fingerprint) -> Option<TokenHash> {
    let known = ground.store.known(&tenant_id("acme"), &[fingerprint]).await.unwrap();
    known.first().map(|(_, card)| card.token.hash())
}

async fn a_card_is_changed_whole_at_its_version_and_at_no_other(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let (key, other) = (ground.key("acme").await, ground.key("globex").await);
    let card = ground.card("acme", key);
    committer.commit(ground.insert(card.clone(), None)).await.unwrap();
    ground.clock.go_on(Duration::from_secs(60));
    let mut metadata = Metadata::default();
    metadata.insert("order".into(), "7".into()).unwrap();
    let mut to_be = next(&ground, &card);
    to_be.facts.bin = Digits::parse("37828224").unwrap();
    to_be.facts.last4 = Digits::parse("0005").unwrap();
    to_be.facts.expiry = Some(Expiry::new(1, 2031).unwrap());
    to_be.brand = Some(strongroom_domain::Brand::Amex);
    to_be.length = Some(15);
    to_be.expires_at = Some(ground.clock.now_plus(3_600));
    to_be.metadata = metadata;
    to_be.number_version = 2;
    to_be.closed_at = Some(ground.clock_now());
    to_be.fingerprint = Some(NEW);
    assert_eq!(committer.commit(change(&ground, vec![plain(to_be.clone())])).await, Ok(Committed::Done));
    assert_eq!(stored(&ground, &card).await, to_be);
    // Again, late, early, another tenant's, unknown, under a key that is not there.
    let later = CardRow { row_version: 4, ..to_be.clone() };
    let foreign = CardRow { tenant: tenant_id("globex"), data_key: other, ..next(&ground, &to_be) };
    let unknown = next(&ground, &ground.card("acme", key));
    for wrong in [to_be.clone(), later, foreign, unknown] {
        assert_eq!(committer.commit(change(&ground, vec![plain(wrong)])).await, Ok(Committed::Conflict));
    }
    let keyless = CardRow { data_key: ground.key_row("acme").id, ..next(&ground, &to_be) };
    assert_eq!(committer.commit(change(&ground, vec![plain(keyless)])).await, Ok(Committed::KeyNotActive));
    assert_eq!(stored(&ground, &card).await, to_be);
    assert_eq!(ground.told_of("record.update").await.len(), 1, "an entry for what happened alone");
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn of_many_changes_of_one_version_one_is_made(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    first.commit(ground.insert(card.clone(), None)).await.unwrap();
    for version in 2..6 {
        let now = stored(&ground, &card).await;
        let tries = (0..24_u8).map(|n| {
            let committer = if n.is_multiple_of(2) { first.clone() } else { second.clone() };
            let to_be = CardRow { record: vec![n; 40], ..next(&ground, &now) };
            let change = change(&ground, vec![plain(to_be)]);
            tokio::spawn(async move { committer.commit(change).await.unwrap() })
        });
        let became = futures_util::future::join_all(tries).await;
        let done = became.iter().filter(|became| matches!(became, Ok(Committed::Done))).count();
        let late = became.iter().filter(|became| matches!(became, Ok(Committed::Conflict))).count();
        assert_eq!((done, late), (1, 23));
        assert_eq!(stored(&ground, &card).await.row_version, version);
    }
    assert_eq!(ground.told_of("record.update").await.len(), 4);
}

async fn a_change_of_many_cards_is_made_of_all_or_of_none(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let cards: Vec<CardRow> = (0..3).map(|_| ground.card("acme", key)).collect();
    committer.commit(ground.insert_all(&cards, None)).await.unwrap();
    let mut updates: Vec<_> = cards.iter().map(|card| plain(next(&ground, card))).collect();
    let right = updates.clone();
    updates[1].card.row_version = 3;
    assert_eq!(committer.commit(change(&ground, updates)).await, Ok(Committed::Conflict));
    let twice = vec![right[0].clone(), right[0].clone()];
    assert_eq!(committer.commit(change(&ground, twice)).await, Ok(Committed::Conflict));
    for card in &cards {
        assert_eq!(stored(&ground, card).await, *card);
    }
    assert_eq!(committer.commit(change(&ground, right.clone())).await, Ok(Committed::Done));
    for update in &right {
        assert_eq!(stored(&ground, &update.card).await, update.card);
    }
}

async fn a_hidden_or_expired_card_is_not_changed(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let hidden = ground.card("acme", key);
    let over = CardRow { expires_at: Some(ground.clock.now_plus(10)), ..ground.card("acme", key) };
    committer.commit(ground.insert_all(&[hidden.clone(), over.clone()], None)).await.unwrap();
    committer.commit(ground.erase(&hidden, None)).await.unwrap();
    ground.clock.go_on(Duration::from_secs(10));
    for card in [&hidden, &over] {
        let update = plain(next(&ground, card));
        assert_eq!(committer.commit(change(&ground, vec![update])).await, Ok(Committed::Conflict));
    }
    // And one that is changed first is erased at its new version like any other.
    let card = ground.card("acme", key);
    committer.commit(ground.insert(card.clone(), None)).await.unwrap();
    let changed = change(&ground, vec![plain(next(&ground, &card))]);
    let both = tokio::join!(committer.commit(changed), committer.commit(ground.erase(&card, None)));
    assert_eq!(both, (Ok(Committed::Done), Ok(Committed::Done)));
    assert_eq!(stored(&ground, &card).await.row_version, 2);
}

async fn a_changed_number_takes_its_fingerprint_with_it(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = known(&ground, key, OLD).await;
    let update = renumbered(&ground, &card, Some(NEW));
    let renumbered_row = update.card.clone();
    assert_eq!(committer.commit(change(&ground, vec![update])).await, Ok(Committed::Done));
    assert_eq!((led_to(&ground, OLD).await, led_to(&ground, NEW).await), (None, Some(card.token.hash())));
    assert_eq!(ground.store.alike(&card.tenant, OLD, 10).await.unwrap(), vec![]);
    assert_eq!(ground.store.alike(&card.tenant, NEW, 10).await.unwrap(), vec![renumbered_row.clone()]);
    // A change of anything else leaves it; a number without one takes it away.
    let other = next(&ground, &renumbered_row);
    committer.commit(change(&ground, vec![plain(other.clone())])).await.unwrap();
    assert_eq!(led_to(&ground, NEW).await, Some(card.token.hash()));
    let bare = renumbered(&ground, &other, None);
    committer.commit(change(&ground, vec![bare])).await.unwrap();
    assert_eq!((led_to(&ground, NEW).await, ground.count("fingerprints").await), (None, 0));
}

async fn a_fingerprint_is_taken_from_the_dead_and_never_from_the_living(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let (card, holder) = (known(&ground, key, OLD).await, known(&ground, key, NEW).await);
    let update = renumbered(&ground, &card, Some(NEW));
    let card = update.card.clone();
    assert_eq!(committer.commit(change(&ground, vec![update])).await, Ok(Committed::Done));
    assert_eq!(led_to(&ground, NEW).await, Some(holder.token.hash()), "another card holds it");
    assert_eq!(led_to(&ground, OLD).await, None);
    assert_eq!(ground.store.alike(&card.tenant, NEW, 10).await.unwrap().len(), 2);
    // Two cards that change numbers with each other, and two that get the same.
    let swapped = vec![renumbered(&ground, &card, Some(OLD)), renumbered(&ground, &holder, Some(OLD))];
    let [card, holder] = [swapped[0].card.clone(), swapped[1].card.clone()];
    assert_eq!(committer.commit(change(&ground, swapped)).await, Ok(Committed::Done));
    assert!(led_to(&ground, OLD).await.is_some() && led_to(&ground, NEW).await.is_none());
    let swapped = vec![renumbered(&ground, &card, Some(NEW)), renumbered(&ground, &holder, Some(OLD))];
    let [card, holder] = [swapped[0].card.clone(), swapped[1].card.clone()];
    assert_eq!(committer.commit(change(&ground, swapped)).await, Ok(Committed::Done));
    assert_eq!(
        (led_to(&ground, OLD).await, led_to(&ground, NEW).await),
        (Some(holder.token.hash()), Some(card.token.hash()))
    );
    // One whose card is over is free.
    let ending = CardRow { expires_at: Some(ground.clock.now_plus(10)), ..next(&ground, &holder) };
    committer.commit(change(&ground, vec![plain(ending)])).await.unwrap();
    ground.clock.go_on(Duration::from_secs(10));
    let update = renumbered(&ground, &card, Some(OLD));
    assert_eq!(committer.commit(change(&ground, vec![update])).await, Ok(Committed::Done));
    assert_eq!(led_to(&ground, OLD).await, Some(card.token.hash()));
}

fn alias(ground: &Ground, text: &str, token: TokenHash) -> AliasRow {
    AliasRow {
        alias: Alias::parse(text).unwrap(),
        tenant: tenant_id("acme"),
        token,
        mac_key: super::ground::mac_key(),
        mac: [9; 32],
        created_at: ground.clock_now(),
    }
}

async fn an_alias_added_by_a_change_is_one_cards(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let cards = [ground.card("acme", key), ground.card("acme", key)];
    committer.commit(ground.insert_all(&cards, None)).await.unwrap();
    let named = |card: &CardRow| {
        let aliases = vec![alias(&ground, "9198765432100005", card.token.hash())];
        CardUpdate { aliases, ..plain(next(&ground, card)) }
    };
    let both: Vec<_> =
        cards.iter().map(|card| committer.commit(change(&ground, vec![named(card)]))).collect();
    let mut became: Vec<_> = futures_util::future::join_all(both).await;
    became.sort_by_key(|became| *became != Ok(Committed::Done));
    assert_eq!(became, vec![Ok(Committed::Done), Ok(Committed::Conflict)]);
    assert_eq!(ground.count("aliases").await, 1);
    let [first, second] = [stored(&ground, &cards[0]).await, stored(&ground, &cards[1]).await];
    assert_eq!(first.row_version + second.row_version, 3, "the loser is as it was");
}

async fn the_same_change_under_one_key_is_made_once(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    committer.commit(ground.insert(card.clone(), None)).await.unwrap();
    let answer = ground.answer(1, 1, "done");
    let tries = (0..8)
        .map(|_| committer.commit(keyed(&ground, vec![plain(next(&ground, &card))], Some(answer.clone()))));
    let became = futures_util::future::join_all(tries).await;
    assert_eq!(became.iter().filter(|became| **became == Ok(Committed::Done)).count(), 1);
    let replays = became.iter().filter(|became| **became == Ok(Committed::Replay(answer.clone())));
    assert_eq!(replays.count(), 7);
    assert_eq!(stored(&ground, &card).await.row_version, 2);
}
