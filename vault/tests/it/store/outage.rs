//! The database goes away, comes back, and loses nothing it acknowledged.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_domain::TokenHash;
use strongroom_vault::audit::check;
use strongroom_vault::store::{CommitError, Committed};

use super::ground::{Database, Ground, TestKeys};

/// Writers at once.
const WRITERS: usize = 64;

/// Longer than any answer takes on a busy machine; what is never answered is found all the same.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_nothing_and_leaves_no_hole() {
    let ground = Arc::new(Ground::postgres().await);
    let (committer, task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged: Arc<Mutex<HashSet<TokenHash>>> = Arc::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (ground, committer) = (Arc::clone(&ground), committer.clone());
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let card = ground.card("acme", key);
                    let token = card.token.hash();
                    match committer.commit(ground.insert(card, None)).await {
                        Ok(Committed::Done) => {
                            acknowledged.lock().unwrap().insert(token);
                        }
                        Err(CommitError::Unavailable) => tokio::time::sleep(Duration::from_millis(20)).await,
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for round in 0..3_u64 {
        tokio::time::sleep(Duration::from_millis(300 + 130 * round)).await;
        let before = acknowledged.lock().unwrap().len();
        let again = Arc::clone(&ground);
        tokio::task::spawn_blocking(move || {
            let Database::Postgres(server) = &again.database else { unreachable!() };
            let mut server = server.lock().unwrap();
            server.kill();
            server.restart();
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(acknowledged.lock().unwrap().len() > before, "it goes on by itself");
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    task.stop().await;
    let acknowledged: Vec<TokenHash> = acknowledged.lock().unwrap().iter().copied().collect();
    assert!(acknowledged.len() > 1_000, "{}", acknowledged.len());
    for tokens in acknowledged.chunks(1_000) {
        assert_eq!(ground.store.cards(tokens).await.unwrap().len(), tokens.len());
    }
    let found = check(ground.store.as_ref(), &TestKeys).await.unwrap();
    assert_eq!(found.first_bad, None);
    // One entry for each card, and the start and the stop.
    assert_eq!(found.entries, ground.count("cards").await + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_while_the_store_is_away_is_told_in_time() {
    let ground = Ground::postgres().await;
    let (committer, _task, _) = ground.committer().await;
    assert_eq!(committer.commit(ground.note()).await, Ok(Committed::Done));
    let Database::Postgres(server) = &ground.database else { unreachable!() };
    server.lock().unwrap().kill();
    for _ in 0..3 {
        let answer = tokio::time::timeout(PATIENCE, committer.commit(ground.note())).await;
        assert_eq!(answer, Ok(Err(CommitError::Unavailable)));
    }
    server.lock().unwrap().restart();
    tokio::time::timeout(PATIENCE, async {
        while committer.commit(ground.note()).await != Ok(Committed::Done) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the committer comes back by itself");
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

super::both! {
    a_full_queue_says_so;
    a_store_that_forgot_what_was_written_stops_the_writer;
}

async fn a_full_queue_says_so(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let all = (0..6_000).map(|_| committer.commit(ground.note()));
    let became = futures_util::future::join_all(all).await;
    let full = became.iter().filter(|became| **became == Err(CommitError::Full)).count();
    let done = became.iter().filter(|became| **became == Ok(Committed::Done)).count();
    assert_eq!(full + done, 6_000);
    assert!(full > 0 && done >= 4_096, "{full} {done}");
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn a_store_that_forgot_what_was_written_stops_the_writer(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    for _ in 0..3 {
        assert_eq!(committer.commit(ground.note()).await, Ok(Committed::Done));
    }
    ground.tamper("DELETE FROM audit_entries WHERE instance_seq >= 2").await;
    ground.tamper("UPDATE audit_boots SET next_seq = 2").await;
    assert_eq!(committer.commit(ground.note()).await, Err(CommitError::Unavailable));
    tokio::time::timeout(PATIENCE, committer.ended()).await.expect("it ends");
}
