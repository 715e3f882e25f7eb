//! Receipts over both stores: each request is told where its own entries stand, whatever broke, and each proves itself.

use std::sync::Arc;

use strongroom_domain::BootId;
use strongroom_vault::audit::{
    BadReceipt, Event, LogKey, Object, ProveError, ProvenState, ReceiptId, Receipts, Sequencer, prove,
    verify_receipt,
};
use strongroom_vault::store::{Change, Committed, Store};

use super::both;
use super::faults::{Fault, FaultyStore};
use super::ground::Ground;
use super::signers::{One, log_key, origin};

both! {
    each_request_is_told_its_own_entries_whatever_broke;
    a_receipt_is_proved_by_the_newest_checkpoint_and_by_nothing_altered;
}

fn key() -> LogKey {
    log_key(7)
}

fn sequencer(ground: &Ground) -> Sequencer {
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(1));
    Sequencer::new(Arc::clone(&ground.store), ground.clock.clone(), holder, Arc::new(One(7)), &origin(), None)
}

/// A change of this many entries that tells these receipts.
fn change(ground: &Ground, entries: usize, receipts: &Receipts) -> Change {
    let entry = || ground.entry(Event::PanLookup, Object::Operation("test")).receipted(receipts.clone());
    Change::Entries { entries: (0..entries).map(|_| entry()).collect() }
}

async fn each_request_is_told_its_own_entries_whatever_broke(mut ground: Ground) {
    let faults = FaultyStore::under(&mut ground, &[]);
    let (committer, task, boot) = ground.committer().await;
    for fault in
        [Fault::None, Fault::Retry, Fault::LostAtApply, Fault::LostBeforeCommit, Fault::LostAfterCommit]
    {
        faults.lock().unwrap().push_back(fault);
        let told: Vec<Receipts> = (0..20).map(|_| Receipts::default()).collect();
        let changes =
            told.iter().enumerate().map(|(n, told)| committer.commit(change(&ground, n % 3 + 1, told)));
        for became in futures_util::future::join_all(changes).await {
            assert_eq!(became.unwrap(), Committed::Done, "{fault:?}");
        }
        let mut seen = std::collections::HashSet::new();
        for (n, told) in told.iter().enumerate() {
            let receipts = told.so_far();
            assert_eq!(receipts.len(), 1, "{fault:?}: one commit, one receipt");
            assert_eq!(receipts[0].count() as usize, n % 3 + 1, "{fault:?}");
            assert_eq!(receipts[0].first().boot, boot);
            for id in receipts[0].entries() {
                assert!(seen.insert(id), "{fault:?}: {id} is told twice");
                let leaf = ground.store.entry(id).await.unwrap().unwrap();
                assert_eq!(leaf.read().unwrap().fields["evt"], "pan.lookup");
            }
        }
    }
    // What is refused has none.
    let told = Receipts::default();
    assert!(committer.commit(change(&ground, 0, &told)).await.is_err());
    assert!(told.so_far().is_empty());
    task.stop().await;
}

async fn a_receipt_is_proved_by_the_newest_checkpoint_and_by_nothing_altered(ground: Ground) {
    let mut sequencer = sequencer(&ground);
    let (committer, task, _) = ground.committer().await;
    let told: Vec<Receipts> = (0..6).map(|_| Receipts::default()).collect();
    for (n, told) in told.iter().enumerate() {
        committer.commit(change(&ground, [1, 100, 128, 128, 100, 8][n], told)).await.unwrap();
    }
    let ids: Vec<ReceiptId> = told.iter().map(|told| told.so_far()[0]).collect();
    let store = &*ground.store;
    assert_eq!(proven(store, ids[0]).await.unwrap().state, ProvenState::Pending, "nobody sequenced yet");
    sequencer.step().await.unwrap();
    let later = Receipts::default();
    committer.commit(change(&ground, 1, &later)).await.unwrap();
    assert_eq!(proven(store, later.so_far()[0]).await.unwrap().state, ProvenState::Pending);
    let mut at = 1; // after audit.start
    for id in &ids {
        let proven = proven(store, *id).await.unwrap();
        let document = serde_json::to_vec(&proven).unwrap();
        let verified = verify_receipt(&document, &key()).unwrap();
        assert_eq!(verified.checkpoint.size, 466);
        let places: Vec<u64> = verified.entries.iter().map(|entry| entry.index).collect();
        assert_eq!(places, (at..at + u64::from(id.count())).collect::<Vec<_>>());
        assert!(verified.is_shown());
        let hashes = serde_json::to_vec(&proven.clone().without_leaves()).unwrap();
        let hashed = verify_receipt(&hashes, &key()).unwrap();
        assert!(hashed.entries.iter().zip(places).all(|(entry, place)| entry.index == place));
        assert!(hashed.entries.iter().all(|entry| !entry.is_shown) && !hashed.is_shown());
        at += u64::from(id.count());
    }
    refuses_what_was_changed(store, ids[5]).await;
    // One entry that is not shown is enough: another's proof under this id is no proof of it.
    let mut others = proven(store, ids[5]).await.unwrap();
    others.entries[0] = proven(store, ids[0]).await.unwrap().without_leaves().entries.remove(0);
    let verified = verify_receipt(&serde_json::to_vec(&others).unwrap(), &key()).unwrap();
    let shown: Vec<bool> = verified.entries.iter().map(|entry| entry.is_shown).collect();
    assert_eq!((shown, verified.is_shown()), ([&[false][..], &[true; 7]].concat(), false));

    // An entry or a tile that was altered below proves nothing.
    let blob = if ground.is_postgres() { "decode('00', 'hex')" } else { "X'00'" };
    ground.tamper(&format!("UPDATE audit_entries SET leaf = {blob} WHERE instance_seq = 1")).await;
    assert!(matches!(proven(store, ids[0]).await, Err(ProveError::Damaged)));
    ground.tamper("UPDATE log_tiles SET hashes = (SELECT hashes FROM log_tiles t WHERE t.level = 0 AND t.number = 0) WHERE level = 0 AND number = 1").await;
    assert!(proven(store, ids[5]).await.is_err());
    task.stop().await;
}

async fn proven(store: &dyn Store, id: ReceiptId) -> Result<strongroom_vault::audit::Proven, ProveError> {
    let first = id.first();
    let stored = store.entries_of(first.boot, first.seq, id.count()).await.unwrap();
    let leaves: Vec<_> = stored.into_iter().map(|entry| entry.leaf).collect();
    assert_eq!(leaves.len(), id.count() as usize);
    prove(store, id, &leaves).await
}

/// Everything of an answered receipt is held by its proof.
async fn refuses_what_was_changed(store: &dyn Store, id: ReceiptId) {
    let whole = serde_json::to_value(proven(store, id).await.unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = whole.clone();
        change(&mut changed);
        assert_ne!(changed, whole);
        verify_receipt(changed.to_string().as_bytes(), &key()).unwrap_err()
    };
    let place = whole["entries"][0]["index"].as_u64().unwrap();
    let leaf = whole["entries"][0]["leaf"].as_str().unwrap().replace("pan.lookup", "pan.forward");
    assert_eq!(refused(&|it| it["entries"][0]["leaf"] = leaf.as_str().into()), BadReceipt::OtherEntry(place));
    assert_eq!(
        refused(&|it| it["entries"][0]["leaf_hash"] = "00".repeat(32).into()),
        BadReceipt::OtherEntry(place)
    );
    assert_eq!(
        refused(&|it| it["entries"][0]["proof"][0] = "00".repeat(32).into()),
        BadReceipt::NotIncluded(place)
    );
    assert_eq!(
        refused(&|it| it["entries"][0]["index"] = (place + 1).into()),
        BadReceipt::NotIncluded(place + 1)
    );
    let other = id.to_string().replacen(&format!(".{}.", id.first().seq), ".1.", 1);
    assert_eq!(refused(&|it| it["id"] = other.as_str().into()), BadReceipt::OtherEntry(place));
    assert_eq!(refused(&|it| it["state"] = "pending".into()), BadReceipt::Pending);
    assert_eq!(
        refused(&|it| {
            it["entries"].as_array_mut().unwrap().pop();
        }),
        BadReceipt::Malformed
    );
    let note = whole["checkpoint"].as_str().unwrap().replacen("466", "467", 1);
    assert!(matches!(refused(&|it| it["checkpoint"] = note.as_str().into()), BadReceipt::Checkpoint(_)));
}
