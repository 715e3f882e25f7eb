//! Fingerprints and aliases: what leads to cards besides tokens, and to one card only.

use std::collections::BTreeSet;
use std::time::Duration;

use strongroom_domain::alias::PanShaped;
use strongroom_domain::{Alias, DataKeyId, Environment, TokenHash};
use strongroom_sealing::Fingerprint;
use strongroom_vault::audit::{Event, Object, check};
use strongroom_vault::store::{AliasRow, CardRow, Change, Committed, KnownCard, Names};

use super::ground::{Ground, TestKeys, tenant_id};

super::both! {
    a_number_leads_to_one_card_and_two_tenants_never_meet;
    of_two_hundred_cards_with_one_number_one_comes_in;
    an_erased_or_expired_card_gives_its_number_up;
    a_known_card_must_still_be_there;
    a_number_that_is_erased_while_it_is_tokenized_has_one_card_or_none;
    an_alias_is_one_cards_for_good;
    of_many_cards_with_one_alias_one_gets_it;
    names_of_a_change_that_fails_are_not_taken;
}

const NUMBER: Fingerprint = Fingerprint::from_bytes([7; 32]);

fn card(ground: &Ground, tenant: &str, key: DataKeyId, fingerprint: Fingerprint) -> CardRow {
    CardRow { fingerprint: Some(fingerprint), ..ground.card(tenant, key) }
}

/// A change that adds cards whose numbers must be nobody else's.
fn unique(ground: &Ground, cards: &[CardRow]) -> Change {
    let Change::InsertCards { cards, entries, .. } = ground.insert_all(cards, None) else { unreachable!() };
    let names = Names { unique: true, ..Names::default() };
    Change::InsertCards { cards, names, idempotency: None, entries }
}

/// A change that finds a card there.
fn known(ground: &Ground, card: &CardRow) -> Change {
    let object = Object::Token { token: card.token.token_ref(), tenant: Some(card.tenant.clone()) };
    let known = KnownCard {
        tenant: card.tenant.clone(),
        fingerprint: card.fingerprint.unwrap(),
        token: card.token.hash(),
    };
    Change::InsertCards {
        cards: Vec::new(),
        names: Names { known: vec![known], ..Names::default() },
        idempotency: None,
        entries: vec![ground.entry(Event::PanTokenize, object)],
    }
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

fn named(ground: &Ground, card: &CardRow, aliases: Vec<AliasRow>) -> Change {
    let Change::InsertCards { cards, entries, .. } = ground.insert(card.clone(), None) else {
        unreachable!()
    };
    let names = Names { aliases, ..Names::default() };
    Change::InsertCards { cards, names, idempotency: None, entries }
}

async fn a_number_leads_to_one_card_and_two_tenants_never_meet(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let (acme, globex) = (ground.key("acme").await, ground.key("globex").await);
    let first = card(&ground, "acme", acme, NUMBER);
    assert_eq!(committer.commit(unique(&ground, std::slice::from_ref(&first))).await, Ok(Committed::Done));
    let second = card(&ground, "acme", acme, NUMBER);
    assert_eq!(committer.commit(unique(&ground, &[second])).await, Ok(Committed::Conflict));
    let foreign = card(&ground, "globex", globex, NUMBER);
    assert_eq!(committer.commit(unique(&ground, std::slice::from_ref(&foreign))).await, Ok(Committed::Done));
    for card in [&first, &foreign] {
        let found =
            ground.store.known(&card.tenant, &[NUMBER, Fingerprint::from_bytes([8; 32])]).await.unwrap();
        assert_eq!(found, vec![(NUMBER, card.clone())]);
        assert_eq!(ground.store.alike(&card.tenant, NUMBER, 10).await.unwrap(), vec![card.clone()]);
    }
    // Two of one number in one change are one too many.
    let other = Fingerprint::from_bytes([9; 32]);
    let twins = [card(&ground, "acme", acme, other), card(&ground, "acme", acme, other)];
    assert_eq!(committer.commit(unique(&ground, &twins)).await, Ok(Committed::Conflict));
    assert_eq!((ground.count("cards").await, ground.count("fingerprints").await), (2, 2));
    assert_eq!(committer.commit(known(&ground, &first)).await, Ok(Committed::Done));
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn of_two_hundred_cards_with_one_number_one_comes_in(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let tries = (0..200).map(|n| {
        let committer = if n % 2 == 0 { first.clone() } else { second.clone() };
        let change = unique(&ground, &[card(&ground, "acme", key, NUMBER)]);
        tokio::spawn(async move { committer.commit(change).await.unwrap() })
    });
    let became = futures_util::future::join_all(tries).await;
    let done = became.iter().filter(|became| matches!(became, Ok(Committed::Done))).count();
    let taken = became.iter().filter(|became| matches!(became, Ok(Committed::Conflict))).count();
    assert_eq!((done, taken), (1, 199));
    assert_eq!((ground.count("cards").await, ground.count("fingerprints").await), (1, 1));
    assert_eq!(ground.count("audit_entries").await, 3);
}

async fn an_erased_or_expired_card_gives_its_number_up(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let first = card(&ground, "acme", key, NUMBER);
    committer.commit(unique(&ground, std::slice::from_ref(&first))).await.unwrap();
    assert_eq!(committer.commit(ground.erase(&first, None)).await, Ok(Committed::Done));
    assert_eq!(ground.count("fingerprints").await, 0, "in the transaction that hides the card");
    let hidden = ground.store.card(&first.tenant, first.token.hash()).await.unwrap().unwrap();
    assert_eq!(hidden.fingerprint, None);
    assert_eq!(ground.store.alike(&first.tenant, NUMBER, 10).await.unwrap(), vec![]);

    let mut second = card(&ground, "acme", key, NUMBER);
    second.expires_at = Some(ground.clock.now_plus(60));
    assert_eq!(committer.commit(unique(&ground, std::slice::from_ref(&second))).await, Ok(Committed::Done));
    let third = card(&ground, "acme", key, NUMBER);
    assert_eq!(
        committer.commit(unique(&ground, std::slice::from_ref(&third))).await,
        Ok(Committed::Conflict)
    );
    ground.clock.go_on(Duration::from_secs(60));
    assert_eq!(committer.commit(known(&ground, &second)).await, Ok(Committed::Conflict), "it is over");
    assert_eq!(committer.commit(unique(&ground, std::slice::from_ref(&third))).await, Ok(Committed::Done));
    assert_eq!(ground.store.known(&third.tenant, &[NUMBER]).await.unwrap(), vec![(NUMBER, third)]);
    // The card that is over does not take the number with it when it is hidden at last.
    assert_eq!(committer.commit(ground.erase(&second, None)).await, Ok(Committed::Done));
    assert_eq!(ground.count("fingerprints").await, 1);
}

async fn a_known_card_must_still_be_there(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let first = card(&ground, "acme", key, NUMBER);
    assert_eq!(committer.commit(known(&ground, &first)).await, Ok(Committed::Conflict), "not yet");
    committer.commit(unique(&ground, std::slice::from_ref(&first))).await.unwrap();
    let mut other = first.clone();
    other.fingerprint = Some(Fingerprint::from_bytes([8; 32]));
    assert_eq!(committer.commit(known(&ground, &other)).await, Ok(Committed::Conflict), "another number");
    other.fingerprint = first.fingerprint;
    other.tenant = tenant_id("globex");
    assert_eq!(committer.commit(known(&ground, &other)).await, Ok(Committed::Conflict), "another tenant");
    committer.commit(ground.erase(&first, None)).await.unwrap();
    assert_eq!(committer.commit(known(&ground, &first)).await, Ok(Committed::Conflict), "no more");
}

async fn a_number_that_is_erased_while_it_is_tokenized_has_one_card_or_none(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let key = ground.key("acme").await;
    for _ in 0..20 {
        let there = card(&ground, "acme", key, NUMBER);
        assert_eq!(first.commit(unique(&ground, std::slice::from_ref(&there))).await, Ok(Committed::Done));
        let next = card(&ground, "acme", key, NUMBER);
        let (erased, found, taken) = tokio::join!(
            first.commit(ground.erase(&there, None)),
            second.commit(known(&ground, &there)),
            second.commit(unique(&ground, std::slice::from_ref(&next))),
        );
        assert_eq!(erased, Ok(Committed::Done));
        assert!(matches!(found, Ok(Committed::Done | Committed::Conflict)));
        let leads_to = ground.store.known(&there.tenant, &[NUMBER]).await.unwrap();
        let alive = if taken == Ok(Committed::Done) { vec![(NUMBER, next.clone())] } else { vec![] };
        assert_eq!(leads_to, alive);
        if taken == Ok(Committed::Done) {
            first.commit(ground.erase(&next, None)).await.unwrap();
        }
        assert_eq!(ground.count("fingerprints").await, 0);
    }
}

async fn an_alias_is_one_cards_for_good(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let (first, second) = (ground.card("acme", key), ground.card("acme", key));
    let (digits, foreign) = ("9198765432100005", "c06d0789-0a38-40be-b7cc-c28a718f76f1");
    let aliases = |card: &CardRow| {
        vec![alias(&ground, digits, card.token.hash()), alias(&ground, foreign, card.token.hash())]
    };
    assert_eq!(committer.commit(named(&ground, &first, aliases(&first))).await, Ok(Committed::Done));
    let hashes = [Alias::parse(digits).unwrap().hash(), Alias::parse(foreign).unwrap().hash()];
    let mut found = ground.store.aliases(&hashes).await.unwrap();
    found.sort_by_key(|row| row.alias.kind().as_str() == "foreign");
    assert_eq!(found, aliases(&first));
    assert_eq!(ground.store.aliases_of(&[first.token.hash()]).await.unwrap().len(), 2);
    assert_eq!(committer.commit(named(&ground, &second, aliases(&second))).await, Ok(Committed::Conflict));
    // The same card under the same alias again: nothing to add, nothing in the way.
    let again = named(&ground, &second, aliases(&first));
    assert_eq!(committer.commit(again).await, Ok(Committed::Done));
    committer.commit(ground.erase(&first, None)).await.unwrap();
    let third = ground.card("acme", key);
    assert_eq!(committer.commit(named(&ground, &third, aliases(&third))).await, Ok(Committed::Conflict));
    assert_eq!((ground.count("cards").await, ground.count("aliases").await), (2, 2));
}

async fn of_many_cards_with_one_alias_one_gets_it(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let tries = (0..60).map(|n| {
        let committer = if n % 2 == 0 { first.clone() } else { second.clone() };
        let card = ground.card("acme", key);
        let change = named(&ground, &card, vec![alias(&ground, "9198765432100005", card.token.hash())]);
        tokio::spawn(async move { (card.token.hash(), committer.commit(change).await.unwrap()) })
    });
    let mut done = BTreeSet::new();
    for tried in futures_util::future::join_all(tries).await {
        let (token, became) = tried.unwrap();
        match became {
            Committed::Done => drop(done.insert(*token.as_bytes())),
            other => assert_eq!(other, Committed::Conflict),
        }
    }
    let hash = Alias::PanShaped(PanShaped::parse("9198765432100005").unwrap()).hash();
    let rows = ground.store.aliases(&[hash]).await.unwrap();
    assert_eq!(done, BTreeSet::from([*rows[0].token.as_bytes()]));
    assert_eq!((rows.len(), ground.count("cards").await), (1, 1));
}

async fn names_of_a_change_that_fails_are_not_taken(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let first = card(&ground, "acme", key, NUMBER);
    ground.run("UPDATE data_keys SET state = 'deactivated'").await;
    assert_eq!(
        committer.commit(unique(&ground, std::slice::from_ref(&first))).await,
        Ok(Committed::KeyNotActive)
    );
    ground.run("UPDATE data_keys SET state = 'active'").await;
    let mut other = first.clone();
    other.token = strongroom_domain::Token::generate(Environment::Test, ground.chance.as_ref()).unwrap();
    let taken = card(&ground, "acme", key, Fingerprint::from_bytes([8; 32]));
    committer.commit(unique(&ground, std::slice::from_ref(&taken))).await.unwrap();
    // The second of two numbers is taken: the first is not taken either.
    let again = card(&ground, "acme", key, taken.fingerprint.unwrap());
    assert_eq!(committer.commit(unique(&ground, &[other.clone(), again])).await, Ok(Committed::Conflict));
    assert_eq!((ground.count("cards").await, ground.count("fingerprints").await), (1, 1));
    assert_eq!(committer.commit(unique(&ground, &[other])).await, Ok(Committed::Done));
}
