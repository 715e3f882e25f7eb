//! What each change promises, alone, in a race and in a crowd.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use strongroom_domain::Metadata;
use strongroom_vault::audit::{EntryId, Event, Object, check};
use strongroom_vault::store::keys::{KeyScope, KeyState, KeyStore, Purpose};
use strongroom_vault::store::{
    AuditedKeys, Change, CommitError, Committed, ForwardState, Names, TenantRow, TenantStatus,
};

use super::ground::{Ground, TestKeys, tenant_id, workload};

super::both! {
    every_row_comes_back_as_it_went_in;
    a_key_that_does_not_seal_any_more_takes_no_card;
    a_token_is_taken_once;
    cards_of_one_change_come_in_together_or_not_at_all;
    one_of_many_batches_wins_an_idempotency_key;
    a_crowd_of_batches_is_cut_into_transactions;
    one_of_a_hundred_wins_an_idempotency_key;
    an_answer_is_given_again_until_its_time_is_over;
    a_card_is_hidden_once_and_by_its_tenant_only;
    an_outcome_is_told_once_and_by_its_proxy_only;
    tenants_change_version_by_version;
    the_first_key_wins_and_an_old_one_gives_way;
    a_refused_change_does_not_fail_its_neighbours;
    sixty_four_writers_leave_no_gap;
    uses_of_a_key_are_counted_in_steps;
    a_change_without_entry_is_refused;
    a_stopped_committer_takes_nothing_and_ends_its_log;
}

async fn every_row_comes_back_as_it_went_in(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let mut card = ground.card("acme", key);
    let mut metadata = Metadata::default();
    metadata.insert("order.id".into(), "2026/ä \"7\"".into()).unwrap();
    card.metadata = metadata;
    card.expires_at = Some(ground.clock.now_plus(60));
    card.updated_at = ground.clock.now_plus(1);
    let mut bare = ground.card("acme", key);
    bare.facts.bin = strongroom_domain::Digits::NONE;
    bare.facts.last4 = strongroom_domain::Digits::NONE;
    bare.facts.expiry = None;
    (bare.brand, bare.length) = (None, None);
    for card in [&card, &bare] {
        assert_eq!(committer.commit(ground.insert(card.clone(), None)).await, Ok(Committed::Done));
        assert_eq!(ground.store.card(&card.tenant, card.token.hash()).await.unwrap().as_ref(), Some(card));
    }
    assert_eq!(ground.store.card(&tenant_id("globex"), card.token.hash()).await.unwrap(), None);
    let found = ground.store.cards(&[bare.token.hash(), card.token.hash()]).await.unwrap();
    assert_eq!(found.len(), 2);

    let forward = ground.forward(&[&card, &bare]);
    assert_eq!(committer.commit(ground.open(&forward)).await, Ok(Committed::Done));
    assert_eq!(ground.store.forward(forward.id).await.unwrap(), Some(forward));

    let mut tenant = ground.tenant("acme", 1);
    tenant.settings.groups = vec!["retail".into()];
    assert_eq!(committer.commit(ground.put(&tenant, None)).await, Ok(Committed::Done));
    assert_eq!(ground.store.tenant(&tenant.id).await.unwrap(), Some(tenant.clone()));
    assert_eq!(ground.store.tenants().await.unwrap(), vec![tenant]);

    let scope = KeyScope::Tenant(tenant_id("acme"));
    let stored = ground.store.key(&scope, Purpose::Card, key).await.unwrap().unwrap();
    assert_eq!(ground.store.active_key(&scope, Purpose::Card).await.unwrap(), Some(stored));
    assert_eq!(ground.store.key(&KeyScope::Service, Purpose::Card, key).await.unwrap(), None);
    assert_eq!(ground.store.key(&scope, Purpose::Fingerprint, key).await.unwrap(), None);
}

async fn a_key_that_does_not_seal_any_more_takes_no_card(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let answer = ground.answer(1, 1, "never");
    ground.run("UPDATE data_keys SET state = 'deactivated'").await;
    let change = ground.insert(ground.card("acme", key), Some(answer.clone()));
    assert_eq!(committer.commit(change).await, Ok(Committed::KeyNotActive));
    assert_eq!(ground.store.idempotent(&answer.scope, ground.clock_now()).await.unwrap(), None);
    ground.run("UPDATE data_keys SET state = 'active'").await;
    ground.clock.go_on(Duration::from_secs(91 * 24 * 3600));
    let change = ground.insert(ground.card("acme", key), None);
    assert_eq!(committer.commit(change).await, Ok(Committed::KeyNotActive));
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn a_token_is_taken_once(ground: Ground) {
    let (committer, _task, boot) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let other = {
        let mut other = ground.card("globex", key);
        other.token = card.token.clone();
        other
    };
    assert_eq!(committer.commit(ground.insert(card.clone(), None)).await, Ok(Committed::Done));
    let answer = ground.answer(5, 5, "no");
    let change = ground.insert(other, Some(answer.clone()));
    assert_eq!(committer.commit(change).await, Ok(Committed::Conflict));
    assert_eq!(ground.store.idempotent(&answer.scope, ground.clock_now()).await.unwrap(), None);
    assert_eq!(ground.store.card(&card.tenant, card.token.hash()).await.unwrap(), Some(card));
    assert!(ground.store.entry(EntryId { boot, seq: 2 }).await.unwrap().is_none());
}

async fn cards_of_one_change_come_in_together_or_not_at_all(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let cards = |count: usize| (0..count).map(|_| ground.card("acme", key)).collect::<Vec<_>>();
    let (first, answer) = (cards(3), ground.answer(1, 1, "three"));
    assert_eq!(committer.commit(ground.insert_all(&first, Some(answer.clone()))).await, Ok(Committed::Done));
    assert_eq!((ground.count("cards").await, ground.count("audit_entries").await), (3, 4));
    assert_eq!(
        committer.commit(ground.insert_all(&cards(2), Some(ground.answer(1, 2, "two")))).await,
        Ok(Committed::Replay(answer.clone()))
    );
    let mut taken = cards(3);
    taken[2].token = first[0].token.clone();
    let none = ground.answer(2, 2, "none");
    assert_eq!(
        committer.commit(ground.insert_all(&taken, Some(none.clone()))).await,
        Ok(Committed::Conflict)
    );
    ground.run("UPDATE data_keys SET state = 'deactivated'").await;
    assert_eq!(
        committer.commit(ground.insert_all(&cards(2), Some(none.clone()))).await,
        Ok(Committed::KeyNotActive)
    );
    assert_eq!(ground.store.idempotent(&none.scope, ground.clock_now()).await.unwrap(), None);
    assert_eq!((ground.count("cards").await, ground.count("audit_entries").await), (3, 4));
    // Entries of cards that were all refused, and the answer that says so.
    let entry = ground.entry(Event::PanTokenize, Object::Tenant(tenant_id("acme")));
    let refused = Change::InsertCards {
        cards: Vec::new(),
        names: Names::default(),
        idempotency: Some(Box::new(none.clone())),
        entries: vec![entry.clone(), entry],
    };
    assert_eq!(committer.commit(refused).await, Ok(Committed::Done));
    assert_eq!(ground.store.idempotent(&none.scope, ground.clock_now()).await.unwrap(), Some(none));
    assert_eq!((ground.count("cards").await, ground.count("audit_entries").await), (3, 6));
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn one_of_many_batches_wins_an_idempotency_key(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let tries = (0..40_u8).map(|n| {
        let committer = if n % 2 == 0 { first.clone() } else { second.clone() };
        let cards: Vec<_> = (0..5).map(|_| ground.card("acme", key)).collect();
        let change = ground.insert_all(&cards, Some(ground.answer(7, n, &format!("answer {n}"))));
        tokio::spawn(async move { committer.commit(change).await.unwrap() })
    });
    let mut answers = BTreeSet::new();
    let mut done = 0;
    for became in futures_util::future::join_all(tries).await {
        match became.unwrap() {
            Committed::Done => done += 1,
            Committed::Replay(row) => drop(answers.insert(row.answer)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((done, answers.len()), (1, 1));
    assert_eq!((ground.count("cards").await, ground.count("audit_entries").await), (5, 2 + 5));
}

async fn a_crowd_of_batches_is_cut_into_transactions(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let tries = (0..170).map(|_| {
        let cards: Vec<_> = (0..100).map(|_| ground.card("acme", key)).collect();
        let (committer, change) = (committer.clone(), ground.insert_all(&cards, None));
        tokio::spawn(async move { committer.commit(change).await })
    });
    let became: Vec<_> =
        futures_util::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    let done = became.iter().filter(|became| **became == Ok(Committed::Done)).count();
    let full = became.iter().filter(|became| **became == Err(CommitError::Full)).count();
    assert!(done + full == 170 && done >= 160, "{done} done, {full} turned away");
    assert_eq!(ground.count("cards").await, done as u64 * 100);
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn one_of_a_hundred_wins_an_idempotency_key(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let tries = (0..100_u8).map(|n| {
        let committer = if n % 2 == 0 { first.clone() } else { second.clone() };
        let change =
            ground.insert(ground.card("acme", key), Some(ground.answer(7, n, &format!("answer {n}"))));
        tokio::spawn(async move { committer.commit(change).await.unwrap() })
    });
    let mut done = 0;
    let mut answers = BTreeSet::new();
    for became in futures_util::future::join_all(tries).await {
        match became.unwrap() {
            Committed::Done => done += 1,
            Committed::Replay(row) => {
                answers.insert(row.answer);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((done, answers.len()), (1, 1));
    assert_eq!(ground.count("cards").await, 1);
    assert_eq!(ground.count("audit_entries").await, 3);
}

async fn an_answer_is_given_again_until_its_time_is_over(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let answer = ground.answer(3, 1, "first");
    let commit = async |answer| committer.commit(ground.insert(ground.card("acme", key), Some(answer))).await;
    assert_eq!(commit(answer.clone()).await, Ok(Committed::Done));
    assert_eq!(commit(ground.answer(3, 2, "other")).await, Ok(Committed::Replay(answer.clone())));
    assert_eq!(
        ground.store.idempotent(&answer.scope, ground.clock_now()).await.unwrap(),
        Some(answer.clone())
    );
    // A key that went away does not take the answer with it.
    ground.run("UPDATE data_keys SET state = 'deactivated'").await;
    assert_eq!(commit(ground.answer(3, 2, "other")).await, Ok(Committed::Replay(answer.clone())));
    ground.run("UPDATE data_keys SET state = 'active'").await;
    ground.clock.go_on(Duration::from_secs(24 * 3600));
    assert_eq!(ground.store.idempotent(&answer.scope, ground.clock_now()).await.unwrap(), None);
    let second = ground.answer(3, 9, "second");
    assert_eq!(commit(second.clone()).await, Ok(Committed::Done));
    assert_eq!(commit(answer).await, Ok(Committed::Replay(second)));
    assert_eq!(ground.store.forget_idempotent(ground.clock_now(), 10).await.unwrap(), 0);
    ground.clock.go_on(Duration::from_secs(25 * 3600));
    assert_eq!(ground.store.forget_idempotent(ground.clock_now(), 10).await.unwrap(), 1);
}

async fn a_card_is_hidden_once_and_by_its_tenant_only(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    committer.commit(ground.insert(card.clone(), None)).await.unwrap();
    let mut foreign = card.clone();
    foreign.tenant = tenant_id("globex");
    assert_eq!(committer.commit(ground.erase(&foreign, None)).await, Ok(Committed::Missing));
    let answer = ground.answer(1, 1, "gone");
    let erase = || ground.erase(&card, Some(answer.clone()));
    assert_eq!(committer.commit(erase()).await, Ok(Committed::Done));
    let hidden = ground.store.card(&card.tenant, card.token.hash()).await.unwrap().unwrap();
    assert_eq!(hidden.deleted_at, Some(ground.clock_now()));
    assert_eq!(hidden.destroy_after, Some(ground.clock_now().plus(Duration::from_secs(72 * 3600))));
    assert_eq!(committer.commit(erase()).await, Ok(Committed::Replay(answer)));
    assert_eq!(committer.commit(ground.erase(&card, None)).await, Ok(Committed::Missing));
    let again = ground.insert(card, None);
    assert_eq!(committer.commit(again).await, Ok(Committed::Conflict), "a token is never issued again");
}

async fn an_outcome_is_told_once_and_by_its_proxy_only(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let [told, silent, foreign] = [(); 3].map(|()| ground.forward(&[&card]));
    for forward in [&told, &silent] {
        assert_eq!(committer.commit(ground.open(forward)).await, Ok(Committed::Done));
    }
    assert_eq!(committer.commit(ground.open(&told)).await, Ok(Committed::Conflict));
    ground.clock.go_on(Duration::from_secs(600));
    let before = ground.clock_now();
    assert_eq!(ground.store.silent_forwards(before, 10).await.unwrap().len(), 2);
    let outcome = json!({"status": 200, "upstream_ms": 12});
    let tell = |forward, state, outcome| committer.commit(ground.tell(forward, state, outcome));
    let mut stranger = told.clone();
    stranger.proxy = workload("other");
    let answered = ForwardState::Answered;
    assert_eq!(tell(&stranger, answered, outcome.clone()).await, Ok(Committed::Missing));
    assert_eq!(tell(&foreign, answered, outcome.clone()).await, Ok(Committed::Missing));
    assert_eq!(tell(&told, answered, outcome.clone()).await, Ok(Committed::Done));
    assert_eq!(tell(&told, ForwardState::NotSent, outcome.clone()).await, Ok(Committed::Conflict));
    let row = ground.store.forward(told.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.closed_at, row.outcome.as_ref()), (answered, Some(before), Some(&outcome)));
    // What a sweep wrote for a silent proxy gives way to the proxy's word, once.
    assert_eq!(tell(&silent, ForwardState::Unknown, json!(null)).await, Ok(Committed::Done));
    assert_eq!(ground.store.silent_forwards(before, 10).await.unwrap(), vec![]);
    assert_eq!(tell(&silent, ForwardState::Unknown, json!(null)).await, Ok(Committed::Conflict));
    assert_eq!(tell(&silent, answered, outcome.clone()).await, Ok(Committed::Done));
    assert_eq!(tell(&silent, answered, outcome).await, Ok(Committed::Conflict));
}

async fn tenants_change_version_by_version(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let mut tenant = ground.tenant("acme", 1);
    let put = |tenant: &TenantRow, expected| committer.commit(ground.put(tenant, expected));
    assert_eq!(put(&ground.tenant("acme", 2), Some(1)).await, Ok(Committed::Missing));
    assert_eq!(put(&tenant, None).await, Ok(Committed::Done));
    assert_eq!(put(&tenant, None).await, Ok(Committed::Conflict));
    (tenant.version, tenant.status) = (2, TenantStatus::Suspended);
    assert_eq!(put(&tenant, Some(1)).await, Ok(Committed::Done));
    assert_eq!(put(&tenant, Some(1)).await, Ok(Committed::Conflict));
    assert_eq!(ground.store.tenant(&tenant.id).await.unwrap(), Some(tenant.clone()));
    // Of many who saw version 2, one is first.
    let tries = (0..20).map(|_| {
        let mut tenant = tenant.clone();
        tenant.version = 3;
        let (committer, change) = (committer.clone(), ground.put(&tenant, Some(2)));
        tokio::spawn(async move { committer.commit(change).await.unwrap() })
    });
    let became = futures_util::future::join_all(tries).await;
    assert_eq!(became.iter().filter(|became| matches!(became, Ok(Committed::Done))).count(), 1);
}

async fn the_first_key_wins_and_an_old_one_gives_way(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let keys = Arc::new(AuditedKeys::new(ground.store.clone(), committer, ground.clock.clone()));
    let tries = (0..20).map(|n| {
        let (key, keys, store) = (ground.key_row("acme"), Arc::clone(&keys), ground.store.clone());
        tokio::spawn(async move {
            let winner = if n % 2 == 0 {
                keys.insert_key_if_first(key).await
            } else {
                store.insert_key_if_first(key).await
            };
            winner.unwrap().id
        })
    });
    let winners: BTreeSet<_> =
        futures_util::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(winners.len(), 1);
    let scope = KeyScope::Tenant(tenant_id("acme"));
    ground.clock.go_on(Duration::from_secs(90 * 24 * 3600));
    let entries = ground.count("audit_entries").await;
    let next = keys.insert_key_if_first(ground.key_row("acme")).await.unwrap();
    assert!(!winners.contains(&next.id));
    assert_eq!(ground.count("audit_entries").await, entries + 1, "a new key has its entry");
    let old = ground.store.key(&scope, Purpose::Card, *winners.first().unwrap()).await.unwrap().unwrap();
    assert_eq!(old.state, KeyState::Deactivated);
    assert_eq!(keys.active_key(&scope, Purpose::Card).await.unwrap(), Some(next));
}

async fn a_refused_change_does_not_fail_its_neighbours(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let taken = ground.card("acme", key);
    committer.commit(ground.insert(taken.clone(), None)).await.unwrap();
    let tries = (0..40).map(|n| {
        let mut card = ground.card("acme", key);
        match n {
            13 => card.token = taken.token.clone(),
            29 => card.length = Some(3),
            _ => {}
        }
        let (committer, change) = (committer.clone(), ground.insert(card, None));
        tokio::spawn(async move { committer.commit(change).await })
    });
    let became = futures_util::future::join_all(tries).await;
    for (n, became) in became.into_iter().enumerate() {
        let wanted = match n {
            13 => Ok(Committed::Conflict),
            29 => Err(CommitError::Refused),
            _ => Ok(Committed::Done),
        };
        assert_eq!(became.unwrap(), wanted, "{n}");
    }
    assert_eq!(ground.count("cards").await, 39);
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn sixty_four_writers_leave_no_gap(ground: Ground) {
    let (committer, task, boot) = ground.committer().await;
    let key = ground.key("acme").await;
    let ground = Arc::new(ground);
    let writers = (0..64).map(|_| {
        let (ground, committer) = (Arc::clone(&ground), committer.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                let card = ground.card("acme", key);
                let change = ground.insert(card.clone(), None);
                assert_eq!(committer.commit(change).await, Ok(Committed::Done));
                let forward = ground.forward(&[&card]);
                assert_eq!(committer.commit(ground.open(&forward)).await, Ok(Committed::Done));
                let outcome = ground.tell(&forward, ForwardState::Answered, json!({"status": 200}));
                assert_eq!(committer.commit(outcome).await, Ok(Committed::Done));
                assert_eq!(committer.commit(ground.note()).await, Ok(Committed::Done));
            }
        })
    });
    for writer in futures_util::future::join_all(writers).await {
        writer.unwrap();
    }
    task.stop().await;
    let found = check(ground.store.as_ref(), &TestKeys).await.unwrap();
    assert_eq!((found.entries, found.boots, found.first_bad), (64 * 40 + 2, 1, None));
    let boots = ground.store.boots().await.unwrap();
    assert_eq!((boots[0].boot, boots[0].next_seq), (boot, 64 * 40 + 2));
}

async fn uses_of_a_key_are_counted_in_steps(ground: Ground) {
    let (committer, task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    for _ in 0..3 {
        let change = ground.insert(ground.card("acme", key), None);
        assert_eq!(committer.commit(change).await, Ok(Committed::Done));
    }
    task.stop().await;
    assert_eq!(ground.run("UPDATE data_keys SET records = 16777216 WHERE records = 3").await, 1);
    let scope = KeyScope::Tenant(tenant_id("acme"));
    assert_eq!(ground.store.active_key(&scope, Purpose::Card).await.unwrap(), None, "it sealed enough");
    let (committer, _task, _) = ground.committer().await;
    let change = ground.insert(ground.card("acme", key), None);
    assert_eq!(committer.commit(change).await, Ok(Committed::KeyNotActive));
    assert_ne!(ground.key("acme").await, key);
}

async fn a_change_without_entry_is_refused(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let forward = ground.forward(&[&ground.card("acme", key)]);
    let change =
        Change::OpenForward { forward: Box::new(forward.clone()), reference: None, entries: Vec::new() };
    assert_eq!(committer.commit(change).await, Err(CommitError::Refused));
    assert_eq!(ground.store.forward(forward.id).await.unwrap(), None);
}

async fn a_stopped_committer_takes_nothing_and_ends_its_log(ground: Ground) {
    let (committer, task, boot) = ground.committer().await;
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (committer, change) = (committer.clone(), ground.note());
            tokio::spawn(async move { committer.commit(change).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    task.stop().await;
    committer.ended().await;
    assert!(!committer.is_running());
    assert_eq!(committer.commit(ground.note()).await, Err(CommitError::Unavailable));
    let mut written = 0;
    for became in waiting {
        written += u64::from(became.await.unwrap() == Ok(Committed::Done));
    }
    let last = ground.store.entry(EntryId { boot, seq: written + 1 }).await.unwrap().unwrap();
    assert_eq!(last.read().unwrap().fields["evt"], "audit.stop");
    let (_, _task, next) = ground.committer().await;
    let first = ground.store.entry(EntryId { boot: next, seq: 0 }).await.unwrap().unwrap().read().unwrap();
    assert_eq!(first.fields["evt"], "audit.start");
    assert_eq!((&first.fields["obj"]["ref"], &first.fields["n"]), (&json!(boot), &json!(written + 2)));
}
