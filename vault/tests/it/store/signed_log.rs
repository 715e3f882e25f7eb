//! The signed log over both stores: sequenced, exported, verified by two programs, and defended against a forked or rolled-back
//! database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::BootId;
use strongroom_vault::audit::{
    Checkpoint, Damage, EntryId, LogFolder, LogKey, Refusal, Sequencer, Stepped, Verified, verify,
};
use strongroom_vault::store::log::{Extension, LogHead};

use super::both;
use super::faults::{Fault, FaultyStore};
use super::ground::Ground;
use super::signers::{One, log_key, origin, signer};
use crate::aws::emulator;

/// A lease is over by then.
const LONG: Duration = Duration::from_secs(60);

fn key() -> LogKey {
    log_key(7)
}

pub(super) fn sequencer(ground: &Ground, name: u128, folder: Option<&Path>) -> Sequencer {
    sequencer_signing(ground, name, folder, 7)
}

fn sequencer_signing(ground: &Ground, name: u128, folder: Option<&Path>, signing: u8) -> Sequencer {
    let folder = folder.map(|path| LogFolder::open(path).unwrap());
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(name));
    Sequencer::new(
        Arc::clone(&ground.store),
        ground.clock.clone(),
        holder,
        Arc::new(One(signing)),
        &origin(),
        folder,
    )
}

/// Writes this many entries as one boot.
pub(super) async fn write(ground: &Ground, entries: u64) -> BootId {
    let (committer, task, boot) = ground.committer().await;
    let notes = (0..entries).map(|_| committer.commit(ground.note()));
    for done in futures_util::future::join_all(notes).await {
        done.unwrap();
    }
    task.stop().await;
    boot
}

fn verified(folder: &Path) -> Verified {
    verify(folder, &key(), |_, _| {}).unwrap()
}

fn sound(folder: &Path, size: u64) {
    let found = verified(folder);
    assert_eq!((found.damage, found.entries), (None, size));
}

both! {
    /// What is committed is taken in, in the order of each instance, and the export verifies.
    every_entry_is_taken_in_and_the_export_verifies;
    a_sequencer_that_slept_changes_nothing_and_the_log_does_not_fork;
    a_database_put_back_to_before_the_export_is_not_signed;
    an_administrator_who_rebuilds_the_log_is_found_by_the_export;
    an_entry_removed_before_it_was_taken_in_leaves_a_hole;
    an_export_that_was_interrupted_is_made_whole;
    an_extension_whose_answer_is_lost_is_neither_lost_nor_made_twice;
    each_tile_is_exported_as_it_is_read;
    what_is_seen_after_the_lease_was_lost_refuses_nothing;
    rows_no_vault_wrote_are_not_signed_and_hide_nothing;
}

async fn every_entry_is_taken_in_and_the_export_verifies(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    let mut sequencer = sequencer(&ground, 1, Some(folder.path()));
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 0, size: 0 });
    let first = write(&ground, 3).await; // and audit.start, audit.stop
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 5, size: 5 });
    sound(folder.path(), 5);
    let second = write(&ground, 700).await;
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 702, size: 707 });
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 0, size: 707 });
    sound(folder.path(), 707);
    let found = verified(folder.path());
    assert_eq!((found.boots, found.checkpoints), (2, 3)); // two of the history, and the newest once more
    // Each entry has its place, and each place its entry.
    for (id, place) in [(EntryId { boot: first, seq: 4 }, 4), (EntryId { boot: second, seq: 0 }, 5)] {
        assert_eq!(ground.store.log_place(id).await.unwrap(), Some(place));
        let (at, leaf) = ground.store.logged(place, 1).await.unwrap().remove(0);
        assert_eq!((at, leaf.read().unwrap().id), (place, id));
    }
    assert_eq!(ground.store.log_place(EntryId { boot: second, seq: 702 }).await.unwrap(), None);
    // Unfinished forms of what is full are gone.
    assert!(folder.path().join("tile/entries/001").is_file());
    assert!(!folder.path().join("tile/entries/000.p").exists());
}

async fn a_sequencer_that_slept_changes_nothing_and_the_log_does_not_fork(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    let mine = tempfile::tempdir().unwrap();
    let mut slow = sequencer(&ground, 1, Some(mine.path()));
    let mut fast = sequencer(&ground, 2, Some(folder.path()));
    write(&ground, 10).await;
    assert_eq!(slow.step().await.unwrap(), Stepped::Sequenced { entries: 12, size: 12 });
    assert_eq!(fast.step().await.unwrap(), Stepped::Waiting);
    // The first sleeps; its lease ends; the other takes over and goes on.
    ground.clock.go_on(LONG);
    write(&ground, 20).await;
    assert_eq!(fast.step().await.unwrap(), Stepped::Sequenced { entries: 22, size: 34 });
    // The first wakes, with entries to take in that the other has already.
    write(&ground, 5).await;
    assert_eq!(slow.step().await.unwrap(), Stepped::Waiting);
    assert_eq!(fast.step().await.unwrap(), Stepped::Sequenced { entries: 7, size: 41 });
    sound(folder.path(), 41);
    sound(mine.path(), 12);
    // Not even by its own hand: its fence is old, or the tree it would extend is.
    let head = ground.store.log_head().await.unwrap();
    let extension = Extension {
        from: head.size,
        head: LogHead { size: head.size + 1, root: head.root },
        runs: Vec::new(),
        tiles: Vec::new(),
    };
    let old =
        strongroom_vault::store::log::Lease { holder: BootId::from_uuid(uuid::Uuid::from_u128(1)), fence: 1 };
    let until = ground.clock.now_plus(60);
    assert!(!ground.store.extend(old, &extension, until).await.unwrap());
    let present =
        strongroom_vault::store::log::Lease { holder: BootId::from_uuid(uuid::Uuid::from_u128(2)), fence: 2 };
    let stale = Extension { from: 12, ..extension };
    assert!(!ground.store.extend(present, &stale, until).await.unwrap());
    assert_eq!(ground.store.log_head().await.unwrap(), head);
}

async fn a_database_put_back_to_before_the_export_is_not_signed(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    write(&ground, 300).await;
    sequencer(&ground, 1, Some(folder.path())).step().await.unwrap();
    sound(folder.path(), 302);
    // As a backup from before the first entry would be.
    for sql in [
        "DELETE FROM log_runs",
        "DELETE FROM log_boots",
        "DELETE FROM log_tiles",
        "DELETE FROM log_checkpoints",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_boots",
    ] {
        ground.tamper(sql).await;
    }
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let literal = if ground.is_postgres() { format!("'\\x{empty}'") } else { format!("X'{empty}'") };
    ground.tamper(&format!("UPDATE log_head SET size = 0, root = {literal}, lease_until = 0")).await;
    write(&ground, 10).await;
    let mut restarted = sequencer(&ground, 2, Some(folder.path()));
    assert_eq!(restarted.step().await.unwrap(), Stepped::Refused(Refusal::RolledBack));
    assert_eq!(restarted.step().await.unwrap(), Stepped::Refused(Refusal::RolledBack));
    sound(folder.path(), 302); // the export is as it was
}

/// The whole of what somebody with every right on the database can do: remove an entry, make every hash and checkpoint anew.
async fn an_administrator_who_rebuilds_the_log_is_found_by_the_export(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    let boot = write(&ground, 300).await;
    sequencer(&ground, 1, Some(folder.path())).step().await.unwrap();
    ground.clock.go_on(LONG);
    // An entry goes; those after it close ranks; the counters fit.
    ground.tamper("DELETE FROM audit_entries WHERE instance_seq = 200").await;
    for seq in 201..302 {
        let sql = format!("UPDATE audit_entries SET instance_seq = {} WHERE instance_seq = {seq}", seq - 1);
        ground.tamper(&sql).await;
    }
    ground.tamper("UPDATE audit_boots SET next_seq = next_seq - 1").await;
    for table in ["log_runs", "log_boots", "log_tiles", "log_checkpoints"] {
        ground.tamper(&format!("DELETE FROM {table}")).await;
    }
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let literal = if ground.is_postgres() { format!("'\\x{empty}'") } else { format!("X'{empty}'") };
    ground.tamper(&format!("UPDATE log_head SET size = 0, root = {literal}, lease_until = 0")).await;
    // The administrator's own sequencer, on the same database.
    sequencer_signing(&ground, 66, None, 66).step().await.unwrap();
    assert_eq!(ground.store.log_head().await.unwrap().size, 301);
    ground.clock.go_on(LONG);
    let mut restarted = sequencer(&ground, 2, Some(folder.path()));
    assert!(matches!(restarted.step().await.unwrap(), Stepped::Refused(Refusal::Foreign(_))));
    drop(restarted);
    // Nor without the foreign checkpoint, nor when the log has grown beyond what was exported.
    ground.tamper("DELETE FROM log_checkpoints").await;
    ground.clock.go_on(LONG);
    let mut restarted = sequencer(&ground, 3, Some(folder.path()));
    assert_eq!(restarted.step().await.unwrap(), Stepped::Refused(Refusal::RolledBack));
    drop(restarted);
    ground.clock.go_on(LONG);
    write(&ground, 5).await;
    sequencer_signing(&ground, 66, None, 66).step().await.unwrap();
    ground.tamper("DELETE FROM log_checkpoints").await;
    ground.clock.go_on(LONG);
    let mut restarted = sequencer(&ground, 4, Some(folder.path()));
    assert_eq!(restarted.step().await.unwrap(), Stepped::Refused(Refusal::Forked));
    sound(folder.path(), 302);
    assert!(ground.store.entry(EntryId { boot, seq: 300 }).await.unwrap().is_some());
}

async fn an_entry_removed_before_it_was_taken_in_leaves_a_hole(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    write(&ground, 300).await;
    ground.tamper("DELETE FROM audit_entries WHERE instance_seq = 200").await;
    let stepped = sequencer(&ground, 1, Some(folder.path())).step().await.unwrap();
    assert_eq!(stepped, Stepped::Sequenced { entries: 301, size: 301 });
    assert_eq!(verified(folder.path()).damage, Some(Damage::Hole(200)));
    let said = second_opinion(folder.path());
    assert!(said.contains("entry 200 is not the next of its boot"), "{said}");
}

async fn an_export_that_was_interrupted_is_made_whole(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    write(&ground, 600).await;
    sequencer(&ground, 1, Some(folder.path())).step().await.unwrap();
    ground.clock.go_on(LONG);
    write(&ground, 600).await;
    // The tree was extended and signed; nothing of it reached the folder.
    sequencer(&ground, 2, None).step().await.unwrap();
    ground.clock.go_on(LONG);
    sound(folder.path(), 602);
    let stepped = sequencer(&ground, 3, Some(folder.path())).step().await.unwrap();
    assert_eq!(stepped, Stepped::Sequenced { entries: 0, size: 1_204 });
    sound(folder.path(), 1_204);
}

async fn an_extension_whose_answer_is_lost_is_neither_lost_nor_made_twice(mut ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    write(&ground, 300).await;
    let faults = FaultyStore::under(&mut ground, &[Fault::LostAfterCommit]);
    let mut sequencer = sequencer(&ground, 1, Some(folder.path()));
    assert!(sequencer.step().await.is_err());
    assert!(!folder.path().join("checkpoint").exists());
    // It begins anew from what the database holds.
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 0, size: 302 });
    write(&ground, 10).await;
    for fault in [Fault::Away, Fault::LostAfterCommit] {
        faults.lock().unwrap().push_back(fault);
        assert!(sequencer.step().await.is_err());
    }
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 0, size: 314 });
    sound(folder.path(), 314);
}

async fn each_tile_is_exported_as_it_is_read(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    write(&ground, 600).await;
    sequencer(&ground, 1, None).step().await.unwrap();
    ground.clock.go_on(LONG);
    // A tile that is missing ends the export; the one before it is there.
    ground.tamper("DELETE FROM log_tiles WHERE level = 0 AND number = 1").await;
    assert!(sequencer(&ground, 2, Some(folder.path())).step().await.is_err());
    assert!(folder.path().join("tile/0/000").is_file());
    assert!(!folder.path().join("tile/0/001").exists() && !folder.path().join("checkpoint").exists());
}

async fn what_is_seen_after_the_lease_was_lost_refuses_nothing(mut ground: Ground) {
    write(&ground, 10).await;
    sequencer(&ground, 1, None).step().await.unwrap();
    ground.clock.go_on(LONG);
    ground.tamper("DELETE FROM log_tiles").await;
    FaultyStore::under(&mut ground, &[Fault::Overtaken]);
    let mut slow = sequencer(&ground, 2, None);
    assert_eq!(slow.step().await.unwrap(), Stepped::Waiting);
    assert_eq!(slow.step().await.unwrap(), Stepped::Waiting);
    // What is still so when it has the lease stops it.
    ground.tamper("UPDATE log_head SET lease_until = 0").await;
    assert_eq!(slow.step().await.unwrap(), Stepped::Refused(Refusal::Tiles));
}

async fn rows_no_vault_wrote_are_not_signed_and_hide_nothing(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    write(&ground, 10).await;
    let blob = if ground.is_postgres() { "decode(repeat('00', 70000), 'hex')" } else { "zeroblob(70000)" };
    // Far beyond what the boot counts: it would move the mark past all that follow.
    let far = format!("INSERT INTO audit_entries SELECT boot_id, 1000000000000, {blob} FROM audit_boots");
    ground.tamper(&far).await;
    let mut first = sequencer(&ground, 1, Some(folder.path()));
    assert_eq!(first.step().await.unwrap(), Stepped::Sequenced { entries: 12, size: 12 });
    write(&ground, 3).await;
    assert_eq!(first.step().await.unwrap(), Stepped::Sequenced { entries: 5, size: 17 });
    // Longer than any entry, where the next one would be.
    let next = "INSERT INTO audit_entries SELECT boot_id, next_seq,";
    ground.tamper(&format!("{next} {blob} FROM audit_boots WHERE next_seq = 5")).await;
    ground.tamper("UPDATE audit_boots SET next_seq = next_seq + 1 WHERE next_seq = 5").await;
    assert_eq!(first.step().await.unwrap(), Stepped::Refused(Refusal::Oversized));
    sound(folder.path(), 17);
}

/// What the independent verifier says of a folder.
fn second_opinion(folder: &Path) -> String {
    second_opinion_by(folder, &key())
}

pub(super) fn second_opinion_by(folder: &Path, key: &LogKey) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/verify_log.py");
    let output = Command::new(emulator::environment().join("bin/python3"))
        .arg("-B")
        .arg(program)
        .arg(folder)
        .args(["--vkey", &key.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code() == Some(0), !text.starts_with("first:"), "{text}{:?}", output.stderr);
    text
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

/// Changes one byte.
fn flip(path: PathBuf, at: usize) {
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A letter of the first entry of a bundle, where the bytes stay JSON.
fn change_entry(path: PathBuf) {
    let text = std::fs::read(&path).unwrap();
    let at = text.windows(12).position(|window| window == b"\"out\":\"succe").unwrap() + 7;
    flip(path, at);
}

/// Every kind of damage, and what both verifiers say: where, in the same words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_damage_is_found_by_both_verifiers() {
    let ground = Ground::sqlite().await;
    let (whole, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sequencer = sequencer(&ground, 1, Some(whole.path()));
    write(&ground, 498).await;
    sequencer.step().await.unwrap();
    copy(whole.path(), earlier.path());
    write(&ground, 298).await;
    sequencer.step().await.unwrap();
    sound(whole.path(), 800);
    assert!(second_opinion(whole.path()).starts_with("800 entries of 2 boots and 3 checkpoints hold"));
    let bundle = |number: &str| format!("tile/entries/{number}");
    let earlier = earlier.path();
    type Harm<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>, &'a str);
    let table: Vec<Harm<'_>> = vec![
        (
            "an entry is altered",
            Box::new(|log| change_entry(log.join(bundle("001")))),
            "entry 256 is not the one",
        ),
        (
            "an entry and its hash are altered",
            Box::new(|log| {
                change_entry(log.join(bundle("001")));
                let bytes = std::fs::read(log.join(bundle("001"))).unwrap();
                let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                let hash = strongroom_vault::audit::tree::Hash::of_leaf(&bytes[2..2 + length]);
                let mut tile = std::fs::read(log.join("tile/0/001")).unwrap();
                tile[..32].copy_from_slice(hash.as_bytes());
                std::fs::write(log.join("tile/0/001"), tile).unwrap();
            }),
            "entries 0 to 500 are not those of the checkpoint of 500 entries",
        ),
        (
            "a bundle is removed",
            Box::new(|log| std::fs::remove_file(log.join(bundle("000"))).unwrap()),
            "entries from 0 on are missing",
        ),
        (
            "a bundle is cut",
            Box::new(|log| {
                let bytes = std::fs::read(log.join(bundle("002"))).unwrap();
                std::fs::write(log.join(bundle("002")), &bytes[..bytes.len() - 40]).unwrap();
            }),
            "entries from 512 on are missing or cut",
        ),
        (
            "two entries change places",
            Box::new(|log| {
                let bytes = std::fs::read(log.join(bundle("001"))).unwrap();
                let end =
                    |from: usize| from + 2 + usize::from(u16::from_be_bytes([bytes[from], bytes[from + 1]]));
                let (first, second) = (end(0), end(end(0)));
                let swapped = [&bytes[first..second], &bytes[..first], &bytes[second..]].concat();
                std::fs::write(log.join(bundle("001")), swapped).unwrap();
            }),
            "entry 256 is not the one",
        ),
        (
            "the log is forked: the key signed another root",
            Box::new(|log| {
                let root = strongroom_vault::audit::tree::Hash::of_leaf(b"another past");
                let other = Checkpoint { origin: origin(), size: 800, root }.sign(&signer(7));
                let notes = std::fs::read_to_string(log.join("history/000")).unwrap();
                std::fs::write(log.join("history/000"), format!("{notes}{other}\n")).unwrap();
            }),
            "entries 500 to 800 are not those of the checkpoint of 800 entries",
        ),
        (
            "bundles change places",
            Box::new(|log| {
                std::fs::rename(log.join(bundle("000")), log.join("a")).unwrap();
                std::fs::rename(log.join(bundle("001")), log.join(bundle("000"))).unwrap();
                std::fs::rename(log.join("a"), log.join(bundle("001"))).unwrap();
            }),
            "entry 0 is not the one",
        ),
        ("a hash is altered", Box::new(|log| flip(log.join("tile/0/002"), 33)), "entry 513 is not the one"),
        (
            "a tile is removed",
            Box::new(|log| std::fs::remove_file(log.join("tile/0/001")).unwrap()),
            "the tile over entries from 256 on is missing",
        ),
        (
            "a hash above is altered",
            Box::new(|log| flip(log.join("tile/1/000.p/3"), 65)),
            "the tile over entries from 512 on is not that",
        ),
        (
            "the newest checkpoint is put back",
            Box::new(|log| {
                std::fs::copy(earlier.join("checkpoint"), log.join("checkpoint")).map(drop).unwrap()
            }),
            "entries 500 to 800 are not those",
        ),
        (
            "a checkpoint of the history is altered",
            Box::new(|log| flip(log.join("history/000"), 30)),
            "a checkpoint after that of 0 entries",
        ),
        (
            "a later checkpoint lies beside an older newest one",
            Box::new(|log| std::fs::write(log.join("history/001"), "").unwrap()),
            "entries 800 to 65536 are not those",
        ),
        (
            "the history is cut",
            Box::new(|log| {
                let text = std::fs::read(log.join("history/000")).unwrap();
                std::fs::write(log.join("history/000"), &text[..text.len() - 5]).unwrap();
            }),
            "a checkpoint after that of 0 entries is malformed",
        ),
    ];
    println!("| damage | both verifiers say |\n|---|---|");
    for (damage, harm, words) in table {
        let copied = tempfile::tempdir().unwrap();
        copy(whole.path(), copied.path());
        harm(copied.path());
        let found = verified(copied.path()).damage.unwrap_or_else(|| panic!("{damage} was not found"));
        assert!(found.to_string().contains(words), "{damage}: {found}");
        let said = second_opinion(copied.path());
        assert!(said.contains(words), "{damage}: {said}");
        println!("| {damage} | {found} |");
    }
    // The newest checkpoint itself: nothing that it covers can be believed.
    let copied = tempfile::tempdir().unwrap();
    copy(whole.path(), copied.path());
    flip(copied.path().join("checkpoint"), 25);
    assert!(verify(copied.path(), &key(), |_, _| {}).is_err());
    assert!(second_opinion(copied.path()).starts_with("first: the newest checkpoint is"));
}
