//! Batches that are written in one step, and those that cannot be: then nothing of them happened.

use strongroom_domain::BootId;
use strongroom_vault::audit::Leaf;
use strongroom_vault::store::{Batch, Change, Committed, ForwardState, Writer};

use super::ground::Ground;

super::both! {
    every_kind_of_plain_change_is_written_at_once;
    what_cannot_be_done_as_a_whole_is_not_begun;
    a_thousand_rows_are_too_many_and_come_in_all_the_same;
    a_statement_that_was_given_up_comes_too_late;
}

/// The boot's entries so far, and a leaf that can follow them.
async fn log_of(ground: &Ground, boot: BootId) -> (u64, Leaf) {
    let entries = ground.store.entries_of(boot, 0, 1_000).await.unwrap();
    (entries.len() as u64, entries[0].leaf.clone())
}

async fn try_at_once(ground: &Ground, writer: &mut dyn Writer, boot: BootId, changes: &[Change]) -> bool {
    let (next, leaf) = log_of(ground, boot).await;
    let batch = Batch::of(changes.iter(), ground.clock_now(), &[]);
    assert!(batch.is_plain());
    writer.at_once(&batch, boot, next, &vec![leaf; changes.len()]).await.unwrap()
}

async fn every_kind_of_plain_change_is_written_at_once(ground: Ground) {
    let (_committer, task, boot) = ground.committer().await;
    let (key, other) = (ground.key("acme").await, ground.key("globex").await);
    let (card, foreign) = (ground.card("acme", key), ground.card("globex", other));
    let told = ground.forward(&[&card]);
    let mut writer = ground.store.writer().await.unwrap();
    writer.next_seq(boot).await.unwrap();
    assert!(try_at_once(&ground, writer.as_mut(), boot, &[ground.open(&told)]).await);
    let (opened, answer) = (ground.forward(&[&card, &foreign]), ground.answer(1, 1, "once"));
    let outcome = serde_json::json!({ "status": 200 });
    let changes = [
        ground.insert(card.clone(), Some(answer.clone())),
        ground.insert(foreign.clone(), None),
        ground.open(&opened),
        ground.tell(&told, ForwardState::Answered, outcome.clone()),
        ground.note(),
    ];
    assert!(try_at_once(&ground, writer.as_mut(), boot, &changes).await);
    drop(writer);
    for card in [card, foreign] {
        let found = ground.store.card(&card.tenant, card.token.hash()).await.unwrap();
        assert_eq!(found, Some(card));
    }
    assert_eq!(ground.store.idempotent(&answer.scope, ground.clock_now()).await.unwrap(), Some(answer));
    assert_eq!(ground.store.forward(opened.id).await.unwrap(), Some(opened));
    let told = ground.store.forward(told.id).await.unwrap().unwrap();
    assert_eq!((told.state, told.outcome), (ForwardState::Answered, Some(outcome)));
    assert_eq!(log_of(&ground, boot).await.0, 1 + 1 + 5);
    drop(task); // its numbers are not the log's any more
}

async fn what_cannot_be_done_as_a_whole_is_not_begun(ground: Ground) {
    let (_committer, task, boot) = ground.committer().await;
    let key = ground.key("acme").await;
    let [held, card] = [(); 2].map(|()| ground.card("acme", key));
    let answer = ground.answer(1, 1, "once");
    let [open, told, unknown] = [(); 3].map(|()| ground.forward(&[&card]));
    let mut writer = ground.store.writer().await.unwrap();
    writer.next_seq(boot).await.unwrap();
    let said = || ground.tell(&told, ForwardState::Answered, serde_json::json!({}));
    let before = [ground.insert(held, Some(answer.clone())), ground.open(&told)];
    assert!(try_at_once(&ground, writer.as_mut(), boot, &before).await);
    assert!(try_at_once(&ground, writer.as_mut(), boot, &[said()]).await);
    let good = || ground.insert(card.clone(), None);
    let of_no_key = ground.card("acme", ground.key_row("acme").id);
    for bad in [
        ground.insert(ground.card("acme", key), Some(answer)),
        ground.insert(of_no_key, None),
        said(),
        ground.tell(&unknown, ForwardState::Answered, serde_json::json!({})),
    ] {
        assert!(!try_at_once(&ground, writer.as_mut(), boot, &[good(), bad, ground.open(&open)]).await);
    }
    let (next, leaf) = log_of(&ground, boot).await;
    let change = good();
    let batch = Batch::of(std::iter::once(&change), ground.clock_now(), &[]);
    for from in [next - 1, next + 1] {
        assert!(
            !writer.at_once(&batch, boot, from, std::slice::from_ref(&leaf)).await.unwrap(),
            "another number"
        );
    }
    assert_eq!((ground.count("cards").await, ground.count("forwards").await), (1, 1));
    assert_eq!(log_of(&ground, boot).await.0, next);
    // The writer is as good as before.
    assert!(try_at_once(&ground, writer.as_mut(), boot, &[good(), ground.open(&open)]).await);
    assert_eq!((ground.count("cards").await, ground.count("forwards").await), (2, 2));
    drop(task);
}

async fn a_thousand_rows_are_too_many_and_come_in_all_the_same(ground: Ground) {
    let (committer, task, boot) = ground.committer().await;
    let key = ground.key("acme").await;
    let cards: Vec<_> = (0..600).map(|_| ground.card("acme", key)).collect();
    let answer = ground.answer(1, 1, "once");
    assert_eq!(committer.commit(ground.insert_all(&cards, Some(answer))).await, Ok(Committed::Done));
    task.stop().await;
    assert_eq!(ground.count("cards").await, 600);
    assert_eq!(ground.store.entries_of(boot, 0, 1_000).await.unwrap().len(), 602);
}

/// What one connection sent and nobody waited for must not happen once another one asked how far the log is.
async fn a_statement_that_was_given_up_comes_too_late(ground: Ground) {
    let (_committer, task, boot) = ground.committer().await;
    let key = ground.key("acme").await;
    let [mut slow, mut next] = [ground.store.writer().await.unwrap(), ground.store.writer().await.unwrap()];
    let first = slow.next_seq(boot).await.unwrap();
    assert_eq!(next.next_seq(boot).await.unwrap(), first);
    let change = ground.insert(ground.card("acme", key), None);
    assert!(!try_at_once(&ground, slow.as_mut(), boot, std::slice::from_ref(&change)).await);
    assert_eq!(ground.count("cards").await, 0);
    assert!(try_at_once(&ground, next.as_mut(), boot, &[change]).await);
    assert_eq!(ground.count("cards").await, 1);
    drop(task);
}
