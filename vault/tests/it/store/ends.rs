//! How cards end: hidden, shown again, destroyed; by callers, by time, by several replicas at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{Metadata, Timestamp};
use strongroom_vault::audit::check;
use strongroom_vault::operation::reaper::{Reaped, Reaper};
use strongroom_vault::store::{
    CardRow, Change, Committed, Committer, Due, Hidden, HiddenBy, Kept, Retention,
};

use super::ground::{Ground, HOLD, TestKeys, tenant_id, workload};

super::both! {
    a_destroyed_card_leaves_its_tombstone_and_nothing_else;
    a_hidden_card_is_shown_again_within_its_hold_only;
    what_expired_is_hidden_and_then_destroyed;
    what_changed_since_it_was_looked_at_is_left;
    retention_counts_from_the_last_change;
    restored_or_destroyed_and_never_both;
    replicas_that_reap_at_once_end_each_card_once;
    hidden_cards_are_found_by_whom_and_when;
    what_should_be_gone_is_counted;
}

async fn stored(ground: &Ground, committer: &Committer, tenant: &str) -> CardRow {
    let card = ground.card(tenant, ground.key(tenant).await);
    assert_eq!(committer.commit(ground.insert(card.clone(), None)).await, Ok(Committed::Done));
    card
}

async fn row(ground: &Ground, card: &CardRow) -> CardRow {
    ground.store.card(&card.tenant, card.token.hash()).await.unwrap().unwrap()
}

fn reaper(ground: &Ground, committer: &Committer) -> Reaper {
    Reaper::new(Arc::clone(&ground.store), committer.clone(), HOLD)
}

async fn a_destroyed_card_leaves_its_tombstone_and_nothing_else(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let mut card = ground.card("acme", ground.key("acme").await);
    let mut metadata = Metadata::default();
    metadata.insert("order".into(), "7".into()).unwrap();
    card.metadata = metadata;
    assert_eq!(committer.commit(ground.insert(card.clone(), None)).await, Ok(Committed::Done));
    let other = stored(&ground, &committer, "acme").await;
    let quoted = |card: &CardRow| {
        let hex = hex::encode(card.token.hash().as_bytes());
        if ground.is_postgres() { format!("decode('{hex}', 'hex')") } else { format!("x'{hex}'") }
    };
    for card in [&card, &other] {
        let hash = quoted(card);
        ground
            .run(&format!(
                "INSERT INTO fingerprints (tenant, fingerprint, token_hash) VALUES ('acme', {hash}, {hash})"
            ))
            .await;
        ground
            .run(&format!(
                "INSERT INTO aliases (alias_hash, tenant, kind, alias, token_hash, mac, created_at) \
                 VALUES ({hash}, 'acme', 'foreign', 'x', {hash}, {hash}, 1)"
            ))
            .await;
    }
    assert_eq!(committer.commit(ground.destroy(&card)).await, Ok(Committed::Missing), "it is not hidden");
    assert_eq!(committer.commit(ground.erase(&card, None)).await, Ok(Committed::Done));
    ground.clock.go_on(HOLD - Duration::from_secs(1));
    assert_eq!(committer.commit(ground.destroy(&card)).await, Ok(Committed::Missing), "the hold is not over");
    ground.clock.go_on(Duration::from_secs(1));
    let mut foreign = card.clone();
    foreign.tenant = tenant_id("globex");
    assert_eq!(committer.commit(ground.destroy(&foreign)).await, Ok(Committed::Missing));
    let reaped = reaper(&ground, &committer).look(ground.clock_now()).await.unwrap();
    assert_eq!(reaped, Reaped { destroyed: 1, ..Reaped::default() });
    let left = row(&ground, &card).await;
    assert_eq!((left.record.len(), left.row_version, left.length, left.brand), (0, 2, None, None));
    assert_eq!(left.facts.bin.non_empty().or(left.facts.last4.non_empty()), None);
    assert!(left.facts.expiry.is_none() && left.metadata.is_empty() && left.deleted_at.is_some());
    assert_eq!((ground.count("fingerprints").await, ground.count("aliases").await), (1, 1), "the other's");
    assert_eq!(row(&ground, &other).await, other);
    assert_eq!(committer.commit(ground.destroy(&left)).await, Ok(Committed::Missing), "once");
    assert_eq!(committer.commit(ground.restore(&card, None)).await, Ok(Committed::Missing));
    assert_eq!(committer.commit(ground.erase(&card, None)).await, Ok(Committed::Missing));
    let again = ground.insert(card.clone(), None);
    assert_eq!(committer.commit(again).await, Ok(Committed::Conflict), "a token is never issued again");
    let entries = ground.store.entries(None, 100).await.unwrap();
    let entry = entries
        .iter()
        .map(|entry| entry.leaf.read().unwrap().fields)
        .find(|fields| fields["evt"] == "record.shred" && fields.get("rsn") == Some(&"destroyed".into()));
    let entry = entry.unwrap();
    assert_eq!(entry["obj"]["ref"], card.token.token_ref().to_string());
    assert_eq!(entry["change"]["row_version"], 2);
    assert_eq!(entry["actor"]["type"], "system");
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn a_hidden_card_is_shown_again_within_its_hold_only(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let card = stored(&ground, &committer, "acme").await;
    let late = stored(&ground, &committer, "acme").await;
    let restore = |card| committer.commit(ground.restore(card, None));
    assert_eq!(restore(&card).await, Ok(Committed::Missing), "it is not hidden");
    for card in [&card, &late] {
        assert_eq!(committer.commit(ground.erase(card, None)).await, Ok(Committed::Done));
    }
    let mut foreign = card.clone();
    foreign.tenant = tenant_id("globex");
    assert_eq!(restore(&foreign).await, Ok(Committed::Missing));
    ground.clock.go_on(HOLD - Duration::from_secs(1));
    let now = ground.clock_now();
    assert_eq!(committer.commit(ground.restore(&card, Some(now))).await, Ok(Committed::Missing), "too old");
    assert_eq!(restore(&card).await, Ok(Committed::Done));
    assert_eq!(row(&ground, &card).await, card, "as it was, to the byte");
    assert_eq!(restore(&card).await, Ok(Committed::Missing));
    ground.clock.go_on(Duration::from_secs(1));
    assert_eq!(restore(&late).await, Ok(Committed::Missing), "the hold is over");
    assert_eq!(reaper(&ground, &committer).look(ground.clock_now()).await.unwrap().destroyed, 1);
    assert_eq!(ground.told_of("record.restore").await.len(), 1);
}

async fn what_expired_is_hidden_and_then_destroyed(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let mut card = ground.card("acme", ground.key("acme").await);
    card.expires_at = Some(ground.clock.now_plus(60));
    assert_eq!(committer.commit(ground.insert(card.clone(), None)).await, Ok(Committed::Done));
    let reaper = reaper(&ground, &committer);
    assert_eq!(reaper.look(ground.clock_now()).await.unwrap(), Reaped::default());
    ground.clock.go_on(Duration::from_secs(60));
    assert_eq!(reaper.look(ground.clock_now()).await.unwrap(), Reaped { expired: 1, ..Reaped::default() });
    assert_eq!(row(&ground, &card).await.destroy_after, Some(ground.clock_now().plus(HOLD)));
    assert_eq!(reaper.look(ground.clock_now()).await.unwrap(), Reaped::default());
    assert_eq!(
        committer.commit(ground.restore(&card, None)).await,
        Ok(Committed::Missing),
        "it ended for good"
    );
    ground.clock.go_on(HOLD);
    assert_eq!(reaper.look(ground.clock_now()).await.unwrap(), Reaped { destroyed: 1, ..Reaped::default() });
    assert_eq!(row(&ground, &card).await.record, Vec::<u8>::new());
    let reasons: Vec<_> =
        ground.told_of("record.shred").await.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["expired", "destroyed"]);
}

/// Somebody gave the card a new end between the look and the change: the change finds another version.
async fn what_changed_since_it_was_looked_at_is_left(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let card = stored(&ground, &committer, "acme").await;
    let hide = |version| {
        let Change::EraseCard { tenant, token, at, destroy_after, entry, .. } = ground.erase(&card, None)
        else {
            unreachable!()
        };
        let by = HiddenBy::Expiry;
        let expected_version = Some(version);
        Change::EraseCard { tenant, token, at, destroy_after, by, expected_version, idempotency: None, entry }
    };
    assert_eq!(committer.commit(hide(2)).await, Ok(Committed::Missing));
    assert_eq!(committer.commit(hide(1)).await, Ok(Committed::Done));
    ground.clock.go_on(HOLD);
    let mut other = card.clone();
    other.row_version = 2;
    assert_eq!(committer.commit(ground.destroy(&other)).await, Ok(Committed::Missing));
    assert_eq!(committer.commit(ground.destroy(&card)).await, Ok(Committed::Done));
}

async fn retention_counts_from_the_last_change(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let day = Duration::from_secs(86_400);
    for (name, days) in [("acme", Some(30)), ("globex", None)] {
        let mut tenant = ground.tenant(name, 1);
        tenant.settings.retention = days.map(|days| Retention { days, reason: "orders".into() });
        assert_eq!(committer.commit(ground.put(&tenant, None)).await, Ok(Committed::Done));
    }
    let (old, renewed) =
        (stored(&ground, &committer, "acme").await, stored(&ground, &committer, "acme").await);
    let unbounded = stored(&ground, &committer, "globex").await;
    ground.clock.go_on(day * 10);
    let now = ground.clock_now().unix_micros();
    ground
        .tamper(&format!(
            "UPDATE cards SET updated_at = {now}, row_version = 2 WHERE token = '{}'",
            renewed.token.as_str()
        ))
        .await;
    let reaper = reaper(&ground, &committer);
    ground.clock.go_on(day * 20 - Duration::from_secs(1));
    assert_eq!(reaper.look(ground.clock_now()).await.unwrap(), Reaped::default());
    ground.clock.go_on(Duration::from_secs(1));
    assert_eq!(reaper.look(ground.clock_now()).await.unwrap(), Reaped { outlived: 1, ..Reaped::default() });
    assert!(row(&ground, &old).await.deleted_at.is_some());
    ground.clock.go_on(day * 10);
    let reaped = reaper.look(ground.clock_now()).await.unwrap();
    assert_eq!(reaped, Reaped { outlived: 1, destroyed: 1, ..Reaped::default() });
    ground.clock.go_on(day * 5_000);
    reaper.look(ground.clock_now()).await.unwrap();
    assert_eq!(row(&ground, &unbounded).await, unbounded);
    assert_eq!(row(&ground, &renewed).await.record, Vec::<u8>::new());
}

/// The last moment of the hold: one replica shows the card again, another destroys it.
async fn restored_or_destroyed_and_never_both(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let mut wins = (0, 0);
    for _ in 0..40 {
        let card = stored(&ground, &first, "acme").await;
        assert_eq!(first.commit(ground.erase(&card, None)).await, Ok(Committed::Done));
        ground.clock.go_on(HOLD - Duration::from_secs(1));
        let restore = ground.restore(&card, None);
        ground.clock.go_on(Duration::from_secs(1));
        let destroy = ground.destroy(&card);
        let (restored, destroyed) = tokio::join!(first.commit(restore), second.commit(destroy));
        let left = row(&ground, &card).await;
        match (restored.unwrap(), destroyed.unwrap()) {
            (Committed::Done, Committed::Missing) => {
                assert_eq!(left, card);
                wins.0 += 1;
            }
            (Committed::Missing, Committed::Done) => {
                assert!(left.record.is_empty() && left.deleted_at.is_some());
                wins.1 += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    println!("restored {} times, destroyed {} times", wins.0, wins.1);
    assert_eq!(ground.told_of("record.restore").await.len(), wins.0);
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn replicas_that_reap_at_once_end_each_card_once(ground: Ground) {
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let mut cards = BTreeSet::new();
    for n in 0..400 {
        let card = stored(&ground, &first, "acme").await;
        cards.insert(card.token.token_ref().to_string());
        if n % 2 == 0 {
            assert_eq!(first.commit(ground.erase(&card, None)).await, Ok(Committed::Done));
        }
    }
    ground.run("UPDATE cards SET expires_at = 1 WHERE deleted_at IS NULL").await;
    let reapers = [reaper(&ground, &first), reaper(&ground, &second)];
    let mut total = Reaped::default();
    for _ in 0..2 {
        ground.clock.go_on(HOLD);
        let now = ground.clock_now();
        for _ in 0..6 {
            let (one, other) = tokio::join!(reapers[0].look(now), reapers[1].look(now));
            for reaped in [one.unwrap(), other.unwrap()] {
                total.expired += reaped.expired;
                total.destroyed += reaped.destroyed;
            }
        }
    }
    assert_eq!((total.expired, total.destroyed), (200, 400));
    let told = ground.told_of("record.shred").await;
    let destroyed: BTreeSet<_> =
        told.iter().filter(|(_, reason)| reason == "destroyed").map(|(token, _)| token.clone()).collect();
    assert_eq!(
        (destroyed, told.len()),
        (cards, 200 + 200 + 400),
        "hidden, expired, destroyed: an entry each"
    );
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn hidden_cards_are_found_by_whom_and_when(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let cards = [
        stored(&ground, &committer, "acme").await,
        stored(&ground, &committer, "acme").await,
        stored(&ground, &committer, "globex").await,
    ];
    let start = ground.clock_now();
    for card in &cards {
        ground.clock.go_on(Duration::from_secs(60));
        assert_eq!(committer.commit(ground.erase(card, None)).await, Ok(Committed::Done));
    }
    let find = async |by: Option<&str>, from: Timestamp, until: Timestamp, at: Timestamp| {
        let by = by.map(workload);
        let hidden = Hidden { tenant: tenant_id("acme"), by, from, until, at, kept_since: None };
        let found = ground.store.cards_due(Due::Restorable(&hidden), 10).await.unwrap();
        found.into_iter().map(|card| card.token).collect::<Vec<_>>()
    };
    let (now, minute) = (ground.clock_now(), Duration::from_secs(60));
    let both: Vec<_> = cards[..2].iter().map(|card| card.token.hash()).collect();
    assert_eq!(find(None, start, now, now).await, both);
    assert_eq!(find(Some("orchestrator"), start, now, now).await, both);
    assert_eq!(find(Some("checkout"), start, now, now).await, []);
    assert_eq!(find(None, start, start.plus(minute * 2), now).await, both[..1]);
    assert_eq!(find(None, start.plus(minute * 2), now, now).await, both[1..]);
    assert_eq!(
        find(None, start, now, start.plus(minute + HOLD)).await,
        both[1..],
        "the first one's hold is over"
    );
}

async fn what_should_be_gone_is_counted(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let start = ground.clock_now();
    for name in ["acme", "globex", "umbrella"] {
        assert_eq!(committer.commit(ground.put(&ground.tenant(name, 1), None)).await, Ok(Committed::Done));
    }
    let (first, hidden) =
        (stored(&ground, &committer, "acme").await, stored(&ground, &committer, "acme").await);
    let mut expiring = ground.card("acme", ground.key("acme").await);
    expiring.expires_at = Some(ground.clock.now_plus(60));
    assert_eq!(committer.commit(ground.insert(expiring, None)).await, Ok(Committed::Done));
    stored(&ground, &committer, "globex").await;
    assert_eq!(committer.commit(ground.erase(&hidden, None)).await, Ok(Committed::Done));
    let acme = tenant_id("acme");
    let count = async |since, at| ground.store.kept(&acme, since, at).await.unwrap();
    let kept =
        |outlived, expired, condemned| Kept { outlived, expired, condemned, oldest: Some(first.updated_at) };
    assert_eq!(count(None, start).await, kept(0, 0, 0));
    assert_eq!(count(None, start.plus(Duration::from_secs(60))).await, kept(0, 1, 0));
    assert_eq!(count(Some(start), start.plus(HOLD)).await, kept(2, 1, 1));
    let nobody = ground.store.kept(&tenant_id("umbrella"), Some(start), start.plus(HOLD)).await.unwrap();
    assert_eq!(nobody, Kept::default());
    ground.clock.go_on(HOLD);
    assert_eq!(reaper(&ground, &committer).look(ground.clock_now()).await.unwrap().destroyed, 1);
    assert_eq!(count(None, ground.clock_now()).await, kept(0, 0, 0));
    let after = async |after: Option<&str>, limit| {
        let after = after.map(tenant_id);
        let page = ground.store.tenants_after(after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(after(None, 2).await, ["acme", "globex"]);
    assert_eq!(after(Some("b"), 9).await, ["globex", "umbrella"]);
    assert_eq!(after(Some("umbrella"), 9).await, Vec::<String>::new());
}

/// What SQLite's file and write-ahead log hold of a destroyed card once it was wiped: nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_destroyed_card_is_left_in_the_file() {
    let ground = Ground::sqlite().await;
    let (committer, _task, _) = ground.committer().await;
    let mut gone = Vec::new();
    for n in 0..20 {
        let card = stored(&ground, &committer, "acme").await;
        if n % 2 == 0 {
            assert_eq!(committer.commit(ground.erase(&card, None)).await, Ok(Committed::Done));
            gone.push(card);
        }
    }
    ground.store.wipe_destroyed().await.unwrap();
    let path = ground.path().unwrap();
    let held = || {
        let files = [path.clone(), path.with_extension("db-wal")];
        let bytes: Vec<u8> = files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()).collect();
        let is_there = |card: &&CardRow| bytes.windows(32).any(|window| window == &card.record[16..48]);
        gone.iter().filter(is_there).count()
    };
    assert_eq!(held(), 10, "the sealed bytes are there to be found");
    ground.clock.go_on(HOLD);
    assert_eq!(reaper(&ground, &committer).look(ground.clock_now()).await.unwrap().destroyed, 10);
    ground.store.wipe_destroyed().await.unwrap();
    assert_eq!(held(), 0);
}
