//! The log: what `check` finds, what `tail` and `show` show.

use std::time::Duration;

use strongroom_domain::BootId;
use strongroom_vault::audit::{BadEntry, EntryId, Finding, Leaf, check, show, tail};
use strongroom_vault::store::{Committed, Committer};

use super::ground::{Ground, TestKeys, instance, mac};

super::both! {
    an_untouched_log_is_sound;
    a_removed_entry_is_found;
    a_changed_byte_is_found;
    entries_that_changed_places_are_found;
    an_entry_under_a_foreign_mac_is_found;
    a_cut_tail_is_found;
    a_removed_boot_is_found;
    the_newest_entries_are_shown;
}

/// Two boots of ten entries and their starts; the first also has its stop, the second still runs.
async fn written(ground: &Ground) -> (BootId, BootId, Committer) {
    let (committer, task, first) = ground.committer().await;
    for _ in 0..10 {
        ground.clock.go_on(Duration::from_millis(1));
        assert_eq!(committer.commit(ground.note()).await, Ok(Committed::Done));
    }
    task.stop().await;
    let (committer, _, second) = ground.committer().await;
    for _ in 0..10 {
        ground.clock.go_on(Duration::from_millis(1));
        assert_eq!(committer.commit(ground.note()).await, Ok(Committed::Done));
    }
    (first, second, committer)
}

async fn first_bad(ground: &Ground) -> Option<BadEntry> {
    check(ground.store.as_ref(), &TestKeys).await.unwrap().first_bad
}

/// A boot as SQL writes it.
fn literal(ground: &Ground, boot: BootId) -> String {
    if ground.is_postgres() { format!("'{boot}'") } else { format!("x'{}'", boot.as_uuid().simple()) }
}

/// Bytes as SQL writes them.
fn blob(ground: &Ground, bytes: &[u8]) -> String {
    let hex = hex::encode(bytes);
    if ground.is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
}

async fn an_untouched_log_is_sound(ground: Ground) {
    let _running = written(&ground).await;
    let found = check(ground.store.as_ref(), &TestKeys).await.unwrap();
    assert_eq!((found.entries, found.boots, found.bad, found.first_bad), (23, 2, 0, None));
}

async fn a_removed_entry_is_found(ground: Ground) {
    let (first, _, _running) = written(&ground).await;
    let boot = literal(&ground, first);
    ground.tamper(&format!("DELETE FROM audit_entries WHERE boot_id = {boot} AND instance_seq = 4")).await;
    let id = EntryId { boot: first, seq: 4 };
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::Missing }));
}

async fn a_changed_byte_is_found(ground: Ground) {
    let (first, second, _running) = written(&ground).await;
    let id = EntryId { boot: second, seq: 3 };
    let mut bytes = ground.store.entry(id).await.unwrap().unwrap().into_bytes();
    let at = bytes.windows(7).position(|window| window == b"success").unwrap();
    bytes.splice(at..at + 7, *b"failure");
    let (boot, leaf) = (literal(&ground, second), blob(&ground, &bytes));
    ground
        .tamper(&format!(
            "UPDATE audit_entries SET leaf = {leaf} WHERE boot_id = {boot} AND instance_seq = 3"
        ))
        .await;
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::NotAuthentic }));
    let boot = literal(&ground, first);
    let leaf = blob(&ground, b"{}");
    ground
        .tamper(&format!(
            "UPDATE audit_entries SET leaf = {leaf} WHERE boot_id = {boot} AND instance_seq = 0"
        ))
        .await;
    let id = EntryId { boot: first, seq: 0 };
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::Malformed }));
}

async fn entries_that_changed_places_are_found(ground: Ground) {
    let (first, _, _running) = written(&ground).await;
    let boot = literal(&ground, first);
    for (from, to) in [(5, 1_000), (6, 5), (1_000, 6)] {
        ground
            .tamper(&format!(
                "UPDATE audit_entries SET instance_seq = {to} WHERE boot_id = {boot} AND instance_seq = {from}"
            ))
            .await;
    }
    let found = check(ground.store.as_ref(), &TestKeys).await.unwrap();
    let id = EntryId { boot: first, seq: 5 };
    assert_eq!((found.first_bad, found.bad), (Some(BadEntry { id, finding: Finding::Misplaced }), 2));
}

async fn an_entry_under_a_foreign_mac_is_found(ground: Ground) {
    let (_, second, _running) = written(&ground).await;
    let id = EntryId { boot: second, seq: 11 };
    let other = BootId::generate(ground.clock.as_ref(), ground.chance.as_ref()).unwrap();
    let strongroom_vault::store::Change::Entry { entry } = ground.note() else { unreachable!() };
    let forged = Leaf::seal(&entry, &instance(), id, &mac(other));
    let (boot, leaf) = (literal(&ground, second), blob(&ground, forged.as_bytes()));
    ground
        .tamper(&format!(
            "INSERT INTO audit_entries (boot_id, instance_seq, leaf) VALUES ({boot}, 11, {leaf})"
        ))
        .await;
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::NotAuthentic }));
}

async fn a_cut_tail_is_found(ground: Ground) {
    let (first, _, _running) = written(&ground).await;
    let boot = literal(&ground, first);
    ground.tamper(&format!("DELETE FROM audit_entries WHERE boot_id = {boot} AND instance_seq >= 9")).await;
    let id = EntryId { boot: first, seq: 9 };
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::Missing }));
    // The row that counts does not help whoever changes it too: the next start counted as well.
    ground.tamper(&format!("UPDATE audit_boots SET next_seq = 9 WHERE boot_id = {boot}")).await;
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::CutTail }));
}

async fn a_removed_boot_is_found(ground: Ground) {
    let (first, _, _running) = written(&ground).await;
    let boot = literal(&ground, first);
    ground.tamper(&format!("DELETE FROM audit_boots WHERE boot_id = {boot}")).await;
    let id = EntryId { boot: first, seq: 0 };
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::UnknownBoot }));
    ground.tamper(&format!("DELETE FROM audit_entries WHERE boot_id = {boot}")).await;
    assert_eq!(first_bad(&ground).await, Some(BadEntry { id, finding: Finding::CutTail }));
}

async fn the_newest_entries_are_shown(ground: Ground) {
    let (first, second, _running) = written(&ground).await;
    let newest = tail(ground.store.as_ref(), 15).await.unwrap();
    let ids: Vec<_> = newest.iter().map(|entry| (entry.id.boot, entry.id.seq)).collect();
    let wanted: Vec<_> = (8..12).map(|seq| (first, seq)).chain((0..11).map(|seq| (second, seq))).collect();
    assert_eq!(ids, wanted);
    let last = newest.last().unwrap();
    assert_eq!(EntryId::parse(&last.id.to_string()), Some(last.id));
    assert_eq!(show(ground.store.as_ref(), last.id).await.unwrap().as_ref(), Some(&last.leaf));
    let nowhere = EntryId { boot: second, seq: 99 };
    assert_eq!(show(ground.store.as_ref(), nowhere).await.unwrap(), None);
    assert_eq!(tail(ground.store.as_ref(), 0).await.unwrap(), vec![]);
}
