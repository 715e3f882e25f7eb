//! One payment reference, one forward; and what is found out of forwards later.

use futures_util::future::join_all;
use serde_json::json;
use strongroom_domain::{DataKeyId, ForwardId};
use strongroom_vault::audit::{Event, Object};
use strongroom_vault::store::{
    Change, Committed, ForwardGrounds, ForwardRow, ForwardState, Holder, PspSays, Reconciled, ReferenceRow,
};

use super::ground::{Ground, tenant_id, workload};

super::both! {
    of_a_hundred_forwards_under_one_reference_one_is_opened;
    a_reference_is_free_again_only_if_nothing_was_sent;
    a_reference_is_its_tenants_routes_and_accounts_own;
    what_the_psp_says_is_written_once_and_of_an_unknown_outcome_only;
    why_a_forward_was_opened_is_kept_with_it;
}

fn reference(digest: u8, mac_key: DataKeyId) -> ReferenceRow {
    ReferenceRow { digest: [digest; 32], mac_key }
}

fn under(ground: &Ground, forward: &ForwardRow, reference: ReferenceRow) -> Change {
    let Change::OpenForward { forward, entries, .. } = ground.open(forward) else { panic!("an opening") };
    Change::OpenForward { forward, reference: Some(reference), entries }
}

fn says(ground: &Ground, forward: &ForwardRow, says: PspSays) -> Change {
    let object = Object::Forward { id: forward.id, tenant: Some(forward.tenant.clone()) };
    Change::ReconcileForward {
        tenant: forward.tenant.clone(),
        id: forward.id,
        reconciled: Box::new(Reconciled {
            says,
            status: Some(200),
            psp_reference: Some("psp-1".into()),
            by: workload("reconciler"),
            at: ground.clock_now(),
        }),
        entry: ground.entry(Event::ForwardReconcile, object),
    }
}

async fn of_a_hundred_forwards_under_one_reference_one_is_opened(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let forwards: Vec<ForwardRow> = (0..100).map(|_| ground.forward(&[&card])).collect();
    let other = ground.forward(&[&card]);
    let changes = forwards.iter().map(|forward| committer.commit(under(&ground, forward, reference(1, key))));
    let (became, neighbour) = tokio::join!(join_all(changes), committer.commit(ground.open(&other)));
    assert_eq!(neighbour, Ok(Committed::Done), "a forward without a reference is nobody's second");
    let became: Vec<Committed> = became.into_iter().map(Result::unwrap).collect();
    let opened: Vec<ForwardId> = forwards
        .iter()
        .zip(&became)
        .filter(|(_, became)| **became == Committed::Done)
        .map(|(forward, _)| forward.id)
        .collect();
    let [first] = opened[..] else { panic!("{} were opened", opened.len()) };
    let holder = Holder { forward: first, state: ForwardState::Open };
    assert_eq!(became.iter().filter(|became| **became == Committed::Taken(holder)).count(), 99);
    assert_eq!((ground.count("payment_references").await, ground.count("forwards").await), (1, 2));
    let entries = ground.told_of("pan.forward").await;
    assert_eq!(entries.len(), 2, "no entry says a refused one was opened");
}

async fn a_reference_is_free_again_only_if_nothing_was_sent(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let commit = |change| committer.commit(change);
    let open = |forward: &ForwardRow| commit(under(&ground, forward, reference(1, key)));
    let [first, second, third] = [(); 3].map(|()| ground.forward(&[&card]));
    let taken = |forward: &ForwardRow, state| Ok(Committed::Taken(Holder { forward: forward.id, state }));

    assert_eq!(open(&first).await, Ok(Committed::Done));
    assert_eq!(open(&second).await, taken(&first, ForwardState::Open));
    assert_eq!(commit(ground.tell(&first, ForwardState::NotSent, json!({}))).await, Ok(Committed::Done));
    let again = [&second, &third].map(open);
    let became = join_all(again).await;
    let winner = usize::from(became[1] == Ok(Committed::Done));
    let (won, lost) = if winner == 0 { (&second, &became[1]) } else { (&third, &became[0]) };
    assert_eq!(became[winner], Ok(Committed::Done), "{became:?}");
    assert_eq!(*lost, taken(won, ForwardState::Open), "one of two");

    assert_eq!(commit(ground.tell(won, ForwardState::Unknown, json!({}))).await, Ok(Committed::Done));
    assert_eq!(open(&ground.forward(&[&card])).await, taken(won, ForwardState::Unknown));
    assert_eq!(commit(says(&ground, won, PspSays::Answered)).await, Ok(Committed::Done));
    assert_eq!(open(&ground.forward(&[&card])).await, taken(won, ForwardState::Answered));
    // The forward that never left is what it was.
    let row = ground.store.forward(first.id).await.unwrap().unwrap();
    assert_eq!(row.state, ForwardState::NotSent);
    assert_eq!(ground.count("payment_references").await, 1);
}

async fn a_reference_is_its_tenants_routes_and_accounts_own(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let mut foreign = ground.forward(&[&card]);
    foreign.tenant = tenant_id("globex");
    let mut elsewhere = ground.forward(&[&card]);
    elsewhere.account = strongroom_domain::route::AccountName::parse("second").unwrap();
    let mut route = ground.forward(&[&card]);
    route.route = strongroom_domain::route::RouteName::parse("adyen").unwrap();
    for forward in [&ground.forward(&[&card]), &foreign, &elsewhere, &route] {
        let opened = committer.commit(under(&ground, forward, reference(1, key))).await;
        assert_eq!(opened, Ok(Committed::Done));
    }
    let second = committer.commit(under(&ground, &ground.forward(&[&card]), reference(1, key))).await;
    assert!(matches!(second, Ok(Committed::Taken(_))), "{second:?}");
}

async fn what_the_psp_says_is_written_once_and_of_an_unknown_outcome_only(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let [open, answered, unknown, lost] = [(); 4].map(|()| ground.forward(&[&card]));
    for (forward, digest) in [(&open, 1), (&answered, 2), (&unknown, 3), (&lost, 4)] {
        let opened = committer.commit(under(&ground, forward, reference(digest, key))).await;
        assert_eq!(opened, Ok(Committed::Done));
    }
    let tell = |forward, state| committer.commit(ground.tell(forward, state, json!({ "upstream_ms": 9 })));
    assert_eq!(tell(&answered, ForwardState::Answered).await, Ok(Committed::Done));
    assert_eq!(tell(&unknown, ForwardState::Unknown).await, Ok(Committed::Done));
    assert_eq!(tell(&lost, ForwardState::Unknown).await, Ok(Committed::Done));
    let say = |forward: &ForwardRow, word| committer.commit(says(&ground, forward, word));
    for (forward, word) in [
        (&open, PspSays::NeverArrived),
        (&open, PspSays::Answered),
        (&answered, PspSays::NeverArrived),
        (&answered, PspSays::Answered),
    ] {
        assert_eq!(say(forward, word).await, Ok(Committed::Conflict), "{word:?}");
    }
    let mut foreign = unknown.clone();
    foreign.tenant = tenant_id("globex");
    assert_eq!(say(&foreign, PspSays::Answered).await, Ok(Committed::Missing));
    assert_eq!(say(&ground.forward(&[&card]), PspSays::Answered).await, Ok(Committed::Missing));
    let both = join_all([PspSays::Answered, PspSays::NeverArrived].map(|word| say(&unknown, word))).await;
    assert_eq!(both.iter().filter(|became| **became == Ok(Committed::Done)).count(), 1, "{both:?}");
    assert_eq!(both.iter().filter(|became| **became == Ok(Committed::Conflict)).count(), 1, "{both:?}");
    let known = ground.store.forward(unknown.id).await.unwrap().unwrap();
    assert_eq!(known.state, known.reconciled.as_ref().unwrap().says.state());
    assert_eq!(known.outcome, Some(json!({ "upstream_ms": 9 })), "what the proxy told stays");
    assert_eq!(tell(&unknown, ForwardState::Answered).await, Ok(Committed::Conflict), "not taken back");

    assert_eq!(say(&lost, PspSays::NeverArrived).await, Ok(Committed::Done));
    let again = committer.commit(under(&ground, &ground.forward(&[&card]), reference(4, key))).await;
    assert_eq!(again, Ok(Committed::Done), "the payment may be tried again");
}

async fn why_a_forward_was_opened_is_kept_with_it(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let grounds = ForwardGrounds {
        caller_cert_sha256: "11".repeat(32),
        origin: Some("192.0.2.7:50000".parse().unwrap()),
        call: "/payments/{id}".into(),
        route_sha256: "22".repeat(32),
        policies: vec!["proxy-forwards-for-orchestrators".into()],
        bundle_version: 7,
        bundle_sha256: "33".repeat(32),
        request_id: "0190a0b0-c0d0-7e0f-8f00-112233445566".into(),
        at_most_once: false,
    };
    let plain = ForwardRow { grounds: Some(grounds.clone()), ..ground.forward(&[&card]) };
    let once = ForwardRow {
        grounds: Some(ForwardGrounds { at_most_once: true, origin: None, ..grounds }),
        ..ground.forward(&[&card])
    };
    assert_eq!(committer.commit(ground.open(&plain)).await, Ok(Committed::Done));
    assert_eq!(committer.commit(under(&ground, &once, reference(1, key))).await, Ok(Committed::Done));
    for forward in [plain, once] {
        assert_eq!(ground.store.forward(forward.id).await.unwrap(), Some(forward));
    }
}

/// Two replicas, each with its own writer, take the same hundred references in opposite order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_that_open_under_one_reference_one_does_on_postgres() {
    let ground = Ground::postgres().await;
    let (one, _one, _) = ground.committer().await;
    let (two, _two, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let attempt = |digest: u8| (digest, ground.forward(&[&card]));
    let here: Vec<_> = (0..100).map(attempt).collect();
    let there: Vec<_> = (0..100).rev().map(attempt).collect();
    let all = |committer: &strongroom_vault::store::Committer, forwards: &[(u8, ForwardRow)]| {
        let changes =
            forwards.iter().map(|(digest, forward)| under(&ground, forward, reference(*digest, key)));
        let committer = committer.clone();
        let changes: Vec<_> = changes.collect();
        async move { join_all(changes.into_iter().map(|change| committer.commit(change))).await }
    };
    let (here_became, there_became) = tokio::join!(all(&one, &here), all(&two, &there));
    let mut opened = std::collections::HashMap::new();
    let became = here.iter().zip(here_became).chain(there.iter().zip(there_became));
    let became: Vec<_> =
        became.map(|((digest, forward), became)| (*digest, forward.id, became.unwrap())).collect();
    for (digest, id, became) in &became {
        if *became == Committed::Done {
            assert_eq!(opened.insert(*digest, *id), None, "two forwards under one reference");
        }
    }
    assert_eq!(opened.len(), 100);
    for (digest, id, became) in &became {
        if opened[digest] != *id {
            let holder = Holder { forward: opened[digest], state: ForwardState::Open };
            assert_eq!(*became, Committed::Taken(holder));
        }
    }
    assert_eq!(ground.count("forwards").await, 100);
}
