//! Handing the log's signing key over, on both stores: one successor, no fork, nothing lost in between, and both verifiers follow.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::BootId;
use strongroom_vault::audit::tree::Hash;
use strongroom_vault::audit::{
    BadReceipt, Checkpoint, HandOver, LogFolder, LogSigners, Refusal, Sequencer, Stepped, hand_overs_in,
    prove, verify, verify_receipt, verify_receipt_in,
};
use strongroom_vault::store::log::{KeptCheckpoint, KeptHandOver, Lease};
use strongroom_vault::store::{Change, Committed};

use super::both;
use super::faults::{Fault, FaultyStore};
use super::ground::Ground;
use super::signed_log::{copy, second_opinion_by, write};
use super::signers::{Successive, data_key, log_key, origin, signer};

/// A lease is over by then.
const LONG: Duration = Duration::from_secs(60);

both! {
    a_key_is_handed_over_and_both_verifiers_follow_from_every_key;
    two_replicas_make_one_successor_and_no_fork;
    a_hand_over_that_broke_off_anywhere_is_made_once;
    a_successor_that_cannot_be_had_leaves_the_key_before_to_sign;
    a_key_that_signed_before_does_not_come_back;
    hand_overs_changed_in_the_database_stop_the_signing;
    a_receipt_proves_itself_across_hand_overs;
}

fn replica(ground: &Ground, name: u128, folder: Option<&Path>, keys: &Arc<Successive>) -> Sequencer {
    let folder = folder.map(|path| LogFolder::open(path).unwrap());
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(name));
    let keys: Arc<dyn LogSigners> = keys.clone();
    Sequencer::new(Arc::clone(&ground.store), ground.clock.clone(), holder, keys, &origin(), folder)
}

fn lease(name: u128, fence: u64) -> Lease {
    Lease { holder: BootId::from_uuid(uuid::Uuid::from_u128(name)), fence }
}

/// Both verifiers find nothing wrong, whichever of these keys they begin from; the next key is none of the log's.
fn sound_by_each(folder: &Path, numbers: &[u8], size: u64) {
    for number in numbers {
        let found = verify(folder, &log_key(*number), |_, _| {}).unwrap();
        assert_eq!((found.damage, found.entries), (None, size), "by key {number}");
        let said = second_opinion_by(folder, &log_key(*number));
        let same =
            format!("{size} entries of {} boots and {} checkpoints hold", found.boots, found.checkpoints);
        assert!(said.starts_with(&same), "by key {number}: {said}, not {same}");
        assert!(said.contains(&format!("{:?}", found.checkpoint.root)), "{said}");
    }
    let next = log_key(numbers.last().unwrap() + 1);
    assert!(verify(folder, &next, |_, _| {}).is_err());
    assert!(second_opinion_by(folder, &next).starts_with("first: "));
}

async fn step(sequencer: &mut Sequencer, ground: &Ground, size: u64) {
    write(ground, 10).await;
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 12, size });
}

async fn a_key_is_handed_over_and_both_verifiers_follow_from_every_key(ground: Ground) {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = Successive::from(7);
    let mut first = replica(&ground, 1, Some(folder.path()), &keys);
    step(&mut first, &ground, 12).await;
    keys.now(8);
    // Nothing new to sign: the key waits with it.
    assert_eq!(first.step().await.unwrap(), Stepped::Sequenced { entries: 0, size: 12 });
    assert!(ground.store.hand_overs().await.unwrap().is_empty());
    step(&mut first, &ground, 24).await;
    step(&mut first, &ground, 36).await;
    keys.now(9);
    step(&mut first, &ground, 48).await;
    step(&mut first, &ground, 60).await;
    sound_by_each(folder.path(), &[7, 8, 9], 60);
    let made = ground.store.hand_overs().await.unwrap();
    let told: Vec<_> =
        made.iter().map(|made| (made.number, made.size, made.former, made.successor)).collect();
    let pair = |former, successor| (data_key(former), data_key(successor));
    let [(a, b), (c, d)] = [pair(7, 8), pair(8, 9)];
    assert_eq!(told, [(0, 24, a, b), (1, 48, c, d)]);
    assert_eq!(ground.store.log_signer(data_key(200)).await.unwrap(), data_key(9));
    // For a program that knows one key and nothing of hand-overs each is a checkpoint.
    for (number, note) in [(7, &made[0].note), (8, &made[0].note), (9, &made[1].note)] {
        assert!(log_key(number).open(note).is_ok());
    }
    let newest = std::fs::read_to_string(folder.path().join("checkpoint")).unwrap();
    assert!(log_key(9).open(&newest).is_ok() && log_key(8).open(&newest).is_err());
    // Another replica, whose folder knows of none, has the whole history once it leads.
    ground.clock.go_on(LONG);
    step(&mut replica(&ground, 2, Some(other.path()), &keys), &ground, 72).await;
    sound_by_each(other.path(), &[7, 8, 9], 72);
    let history = |folder: &Path| std::fs::read_to_string(folder.join("history/000")).unwrap();
    assert!(history(other.path()).starts_with(&history(folder.path())));
}

async fn two_replicas_make_one_successor_and_no_fork(ground: Ground) {
    let (mine, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = Successive::from(7);
    let mut slow = replica(&ground, 1, Some(mine.path()), &keys);
    let mut fast = replica(&ground, 2, Some(folder.path()), &keys);
    step(&mut slow, &ground, 12).await;
    // Both are to hand over; the one that has the lease sleeps past its end.
    keys.now(8);
    ground.clock.go_on(LONG);
    step(&mut fast, &ground, 24).await;
    write(&ground, 10).await;
    assert_eq!(slow.step().await.unwrap(), Stepped::Waiting);
    // Not even by its own hand, at any size; nor twice by whoever has the lease.
    let made = ground.store.hand_overs().await.unwrap().remove(0);
    let until = ground.clock.now_plus(60);
    let again = |former: u8, size| KeptHandOver {
        number: 1,
        size,
        former: data_key(former),
        successor: data_key(9),
        ..made.clone()
    };
    for (lease, again) in [
        (lease(1, 1), again(8, 24)),
        (lease(2, 2), again(7, 24)),
        (lease(2, 2), again(8, 24)),
        (lease(2, 2), again(8, 23)),
    ] {
        assert!(!ground.store.hand_over(lease, &again, until).await.unwrap(), "{again:?}");
    }
    // What it signed before it slept, and kept no sooner than it woke, takes no other's place: it exports what is kept.
    let head = ground.store.log_head().await.unwrap();
    let late = Checkpoint { origin: origin(), size: 24, root: head.root }.sign(&signer(7));
    let late = KeptCheckpoint { size: 24, note: late, signed_at: ground.clock.now_plus(0) };
    assert_eq!(ground.store.keep_checkpoint(&late).await.unwrap(), made.note);
    assert_eq!(ground.store.hand_overs().await.unwrap(), [made]);
    assert_eq!(fast.step().await.unwrap(), Stepped::Sequenced { entries: 12, size: 36 });
    sound_by_each(folder.path(), &[7, 8], 36);
    // The slow one's folder is what it was, and whole again when it leads.
    assert_eq!(verify(mine.path(), &log_key(7), |_, _| {}).unwrap().entries, 12);
    ground.clock.go_on(LONG);
    step(&mut slow, &ground, 48).await;
    sound_by_each(mine.path(), &[7, 8], 48);
}

async fn a_hand_over_that_broke_off_anywhere_is_made_once(mut ground: Ground) {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Successive::from(7));
    let faults = FaultyStore::under(&mut ground, &[]);
    let mut sequencer = replica(&ground, 1, Some(folder.path()), &keys);
    step(&mut sequencer, &ground, 12).await;
    keys.now(8);
    write(&ground, 10).await;
    // Before the transaction, and after it: the tree was extended both times, nothing exported.
    faults.lock().unwrap().extend([Fault::None, Fault::Away]);
    assert!(sequencer.step().await.is_err());
    assert!(ground.store.hand_overs().await.unwrap().is_empty());
    faults.lock().unwrap().push_back(Fault::LostAfterCommit);
    assert!(sequencer.step().await.is_err());
    assert_eq!(ground.store.hand_overs().await.unwrap().len(), 1);
    // The next process finds it made, and exports it.
    drop(sequencer);
    ground.clock.go_on(LONG);
    let mut sequencer = replica(&ground, 2, Some(folder.path()), &keys);
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 0, size: 24 });
    sound_by_each(folder.path(), &[7, 8], 24);
    // A checkpoint kept before the process died is the checkpoint of its size: the hand-over comes with the next.
    keys.now(9);
    write(&ground, 10).await;
    faults.lock().unwrap().extend([Fault::LostAfterCommit]);
    assert!(sequencer.step().await.is_err());
    let root = ground.store.log_head().await.unwrap().root;
    let kept = Checkpoint { origin: origin(), size: 36, root }.sign(&signer(8));
    let kept = KeptCheckpoint { size: 36, note: kept, signed_at: ground.clock.now_plus(0) };
    ground.store.keep_checkpoint(&kept).await.unwrap();
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 0, size: 36 });
    assert_eq!(ground.store.hand_overs().await.unwrap().len(), 1);
    step(&mut sequencer, &ground, 48).await;
    assert_eq!(ground.store.hand_overs().await.unwrap().len(), 2);
    sound_by_each(folder.path(), &[7, 8, 9], 48);
    // It dies between the files of an export: with the hand-over ahead, without the history, and with half a note of it.
    drop(sequencer);
    for (spoil, size) in [(0, 60), (1, 72), (2, 84)] {
        let (checkpoint, history) = (folder.path().join("checkpoint"), folder.path().join("history/000"));
        let [note, notes] = [&checkpoint, &history].map(|file| std::fs::read_to_string(file).unwrap());
        let short = &notes[..notes.len() - [note.len() + 1, note.len() + 1, 7][spoil]];
        std::fs::write(&history, short).unwrap();
        if spoil == 0 {
            // As before the hand-over at 48, whose file is there.
            let before = HandOver::read(&ground.store.hand_overs().await.unwrap()[1].note).unwrap();
            assert_eq!(note, before.note());
            let earlier = notes.rfind(&kept.note).map(|at| &notes[at..at + kept.note.len()]).unwrap();
            std::fs::write(&checkpoint, earlier).unwrap();
        }
        if spoil < 2 {
            let at = if spoil == 0 { 36 } else { size - 12 };
            sound_by_each(folder.path(), &[7, 8, 9], at);
        }
        ground.clock.go_on(LONG);
        let mut next = replica(&ground, 10 + spoil as u128, Some(folder.path()), &keys);
        step(&mut next, &ground, size).await;
        sound_by_each(folder.path(), &[7, 8, 9], size);
    }
}

async fn a_successor_that_cannot_be_had_leaves_the_key_before_to_sign(ground: Ground) {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Successive::from(7));
    let mut sequencer = replica(&ground, 1, Some(folder.path()), &keys);
    step(&mut sequencer, &ground, 12).await;
    keys.now(8);
    keys.away(true);
    step(&mut sequencer, &ground, 24).await;
    step(&mut sequencer, &ground, 36).await;
    assert!(ground.store.hand_overs().await.unwrap().is_empty());
    keys.away(false);
    ground.clock.go_on(Duration::from_secs(20));
    step(&mut sequencer, &ground, 48).await;
    assert_eq!(ground.store.hand_overs().await.unwrap().len(), 1);
    sound_by_each(folder.path(), &[7, 8], 48);
}

async fn a_key_that_signed_before_does_not_come_back(ground: Ground) {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Successive::from(7));
    let mut sequencer = replica(&ground, 1, Some(folder.path()), &keys);
    step(&mut sequencer, &ground, 12).await;
    keys.now(8);
    step(&mut sequencer, &ground, 24).await;
    // As whoever sets the key before active again in the database would have it.
    keys.now(7);
    step(&mut sequencer, &ground, 36).await;
    drop(sequencer);
    ground.clock.go_on(LONG);
    step(&mut replica(&ground, 2, Some(folder.path()), &keys), &ground, 48).await;
    assert_eq!(ground.store.hand_overs().await.unwrap().len(), 1);
    sound_by_each(folder.path(), &[7, 8], 48);
}

async fn hand_overs_changed_in_the_database_stop_the_signing(ground: Ground) {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Successive::from(7));
    let mut sequencer = replica(&ground, 1, Some(folder.path()), &keys);
    for (number, size) in [(7, 12), (8, 24), (9, 36), (9, 48)] {
        keys.now(number);
        step(&mut sequencer, &ground, size).await;
    }
    drop(sequencer);
    let refused = async |sql: &str, name| {
        ground.tamper(sql).await;
        ground.clock.go_on(LONG);
        match replica(&ground, name, Some(folder.path()), &keys).step().await.unwrap() {
            Stepped::Refused(refusal) => refusal,
            other => panic!("{sql}: {other:?}"),
        }
    };
    // The key before is put back, alone and with the hand-over that speaks of its successor.
    let id = |number: u8| {
        let hex = data_key(number).as_uuid().simple().to_string();
        if ground.is_postgres() { format!("'{hex}'::uuid") } else { format!("X'{hex}'") }
    };
    let back = format!("UPDATE log_head SET signer = {}", id(8));
    assert!(matches!(refused(&back, 2).await, Refusal::Keys(_)));
    assert!(matches!(refused("DELETE FROM log_hand_overs WHERE number = 1", 3).await, Refusal::Foreign(_)));
    // Or a hand-over is altered, or taken out of the middle.
    let forward = format!("UPDATE log_head SET signer = {}", id(9));
    assert!(matches!(refused(&forward, 4).await, Refusal::Keys(_)));
    sound_by_each(folder.path(), &[7, 8, 9], 48);
}

async fn a_receipt_proves_itself_across_hand_overs(ground: Ground) {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Successive::from(7));
    let mut sequencer = replica(&ground, 1, Some(folder.path()), &keys);
    let (committer, task, boot) = ground.committer().await;
    let receipts = strongroom_vault::audit::Receipts::default();
    let entry = ground
        .entry(strongroom_vault::audit::Event::PanLookup, strongroom_vault::audit::Object::Operation("test"))
        .receipted(receipts.clone());
    assert_eq!(committer.commit(Change::Entries { entries: vec![entry] }).await.unwrap(), Committed::Done);
    task.stop().await;
    let id = receipts.so_far()[0];
    let leaf = ground.store.entry(id.first()).await.unwrap().unwrap();
    assert_eq!(id.first().boot, boot);
    let proven = async || {
        serde_json::to_vec(&prove(&*ground.store, id, std::slice::from_ref(&leaf)).await.unwrap()).unwrap()
    };
    sequencer.step().await.unwrap();
    let before = proven().await;
    for (number, size) in [(8, 15), (9, 27), (9, 39)] {
        keys.now(number);
        step(&mut sequencer, &ground, size).await;
    }
    let after = proven().await;
    // An answer of now verifies by every key there was; one kept from before by the key of then, and by later ones with the log.
    for number in [7, 8, 9] {
        assert!(verify_receipt(&after, &log_key(number)).unwrap().is_shown());
    }
    assert!(verify_receipt(&before, &log_key(7)).unwrap().is_shown());
    assert!(matches!(verify_receipt(&before, &log_key(9)), Err(BadReceipt::Checkpoint(_))));
    let told = hand_overs_in(folder.path()).unwrap();
    assert!(verify_receipt_in(&before, &log_key(9), &told).unwrap().is_shown());
    // Without the hand-over that leads there, the key before does not vouch for what its successor signed.
    let mut cut: serde_json::Value = serde_json::from_slice(&after).unwrap();
    cut["hand_overs"].as_array_mut().unwrap().pop();
    assert!(verify_receipt(cut.to_string().as_bytes(), &log_key(7)).is_err());
    cut["hand_overs"] = serde_json::json!([told[1], told[0]]);
    assert!(matches!(verify_receipt(cut.to_string().as_bytes(), &log_key(7)), Err(BadReceipt::Keys(_))));
}

/// The notes of a history.
fn split(history: &str) -> Vec<String> {
    let parts: Vec<&str> = history.split("\n\n").collect();
    parts.chunks_exact(2).map(|note| format!("{}\n\n{}\n", note[0], note[1])).collect()
}

/// What is wrong with hand-overs, in the words of both verifiers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_hand_over_is_found_by_both_verifiers() {
    let ground = Ground::sqlite().await;
    let (whole, keys) = (tempfile::tempdir().unwrap(), Successive::from(7));
    let mut sequencer = replica(&ground, 1, Some(whole.path()), &keys);
    for (number, size) in [(7, 12), (8, 24), (8, 36), (9, 48), (9, 60)] {
        keys.now(number);
        step(&mut sequencer, &ground, size).await;
    }
    sound_by_each(whole.path(), &[7, 8, 9], 60);
    let made = hand_overs_in(whole.path()).unwrap();
    let [first, second] = [&made[0], &made[1]];
    let notes = std::fs::read_to_string(whole.path().join("history/000")).unwrap();
    let all = split(&notes);
    let of = |note: &str| HandOver::read(note).unwrap().checkpoint;
    let newest =
        Checkpoint::unverified(&std::fs::read_to_string(whole.path().join("checkpoint")).unwrap()).unwrap();
    let line = |note: &str, by: usize| note.split("\n\n").nth(1).unwrap().lines().nth(by).unwrap().to_owned();
    let text = |note: &str| note.split("\n\n").next().unwrap().to_owned();
    let put = |log: &Path, name: &str, text: &str| std::fs::write(log.join(name), text).unwrap();
    let forged = HandOver::sign(&of(second), &signer(8), &signer(66));
    type Harm<'a> = (&'a str, u8, Box<dyn Fn(&Path) + 'a>, &'a str);
    let one_wrong = "is malformed, not signed by both of its keys, or does not follow the one before";
    let table: Vec<Harm<'_>> = vec![
        (
            "a successor the key before did not sign",
            7,
            Box::new(|log| {
                let own = HandOver::sign(&of(first), &signer(66), &signer(67));
                let stolen = format!("{}\n\n{}\n{}\n", text(first), line(&own, 0), line(first, 1));
                put(log, "handover/000", &stolen);
            }),
            "hand-over 0 ",
        ),
        (
            "a successor that did not sign",
            7,
            Box::new(|log| put(log, "handover/000", &format!("{}\n\n{}\n", text(first), line(first, 0)))),
            "hand-over 0 ",
        ),
        (
            "another successor, signed by a stranger",
            7,
            Box::new(|log| put(log, "handover/000", &HandOver::sign(&of(first), &signer(66), &signer(8)))),
            "the key given is none of the log's",
        ),
        (
            "hand-overs change places",
            7,
            Box::new(|log| {
                put(log, "handover/000", second);
                put(log, "handover/001", first);
            }),
            "hand-over 1 ",
        ),
        (
            "a hand-over at another size than it was signed for",
            7,
            Box::new(|log| put(log, "handover/000", &first.replacen("\n24\n", "\n25\n", 1))),
            "hand-over 0 ",
        ),
        (
            "the last hand-over is removed",
            7,
            Box::new(|log| std::fs::remove_file(log.join("handover/001")).unwrap()),
            "newest checkpoint",
        ),
        (
            "the first hand-over is removed",
            7,
            Box::new(|log| std::fs::remove_file(log.join("handover/000")).unwrap()),
            "newest checkpoint",
        ),
        (
            "a hand-over is cut out of the history",
            7,
            Box::new(|log| put(log, "history/000", &notes.replacen(&format!("{first}\n"), "", 1))),
            "the hand-over at 24 entries is not in the history",
        ),
        (
            "a key before signs on: the newest checkpoint",
            7,
            Box::new(|log| put(log, "checkpoint", &newest.sign(&signer(8)))),
            "newest checkpoint",
        ),
        (
            "a key before signs on: a checkpoint of the history",
            7,
            Box::new(|log| {
                let third = &all[2];
                let again = Checkpoint::unverified(third).unwrap().sign(&signer(7));
                put(log, "history/000", &notes.replacen(third.as_str(), &again, 1));
            }),
            "a checkpoint after that of ",
        ),
        (
            "a hand-over of a tree that never was",
            7,
            Box::new(|log| {
                let other = Checkpoint { root: Hash::of_leaf(b"x"), ..of(first) };
                let forged = HandOver::sign(&other, &signer(7), &signer(8));
                put(log, "history/000", &notes.replacen(first.as_str(), &forged, 1));
                put(log, "handover/000", &forged);
            }),
            "entries 12 to 24 are not those of the checkpoint of 24 entries",
        ),
        (
            "a stolen key's own hand-over, for whoever begins with the newest key",
            9,
            Box::new(|log| {
                put(log, "handover/001", &forged);
                put(log, "checkpoint", &newest.sign(&signer(66)));
            }),
            "the key given is none of the log's",
        ),
    ];
    println!("| hand-over | both verifiers say |\n|---|---|");
    for (damage, number, harm, words) in table {
        let copied = tempfile::tempdir().unwrap();
        copy(whole.path(), copied.path());
        harm(copied.path());
        let found = match verify(copied.path(), &log_key(number), |_, _| {}) {
            Ok(found) => found.damage.unwrap_or_else(|| panic!("{damage} was not found")).to_string(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(words), "{damage}: {found}");
        let said = second_opinion_by(copied.path(), &log_key(number));
        assert!(said.starts_with("first: ") && said.contains(words), "{damage}: {said}");
        if words.starts_with("hand-over ") {
            assert!(found.contains(one_wrong) && said.contains(one_wrong), "{damage}: {found}, {said}");
        }
        println!("| {damage} | {found} |");
    }
}
