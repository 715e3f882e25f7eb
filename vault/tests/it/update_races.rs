//! Changes of one card at the same time: by many writers, with its erasure, with forwards, with creates of its numbers, and
//! by a vault that is killed.

mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::Token;
use strongroom_sandbox::line::Door;

use crate::crash::{number, store_of};
use crate::postgres::PostgresServer;
use crate::service::wanted;
use site::Site;

const CARDS: &str = "/v1/tenants/acme/cards";
/// Writers of one card, and the changes each makes.
const WRITERS: usize = 6;
const CHANGES: u64 = 8;
/// Cards that are erased while they are changed.
const ERASURES: usize = 6;
/// Changes of number while others forward or create.
const FLIPS: u64 = 24;

fn path(token: &str) -> String {
    format!("{CARDS}/{token}")
}

/// Sends a change of this version. Gives status and body.
async fn patch(door: &mut Door, token: &str, version: u64, body: &Value) -> (u16, Value) {
    let tag = format!("\"{version}\"");
    let answer = door.send("PATCH", &path(token), &[("if-match", &tag)], body.to_string()).await.unwrap();
    (answer.status.as_u16(), answer.json())
}

async fn version(door: &mut Door, token: &str) -> Option<u64> {
    let answer = door.send("GET", &path(token), &[], String::new()).await.unwrap();
    answer.json()["version"].as_u64()
}

/// The versions and record hashes that the log says a card went through, in their order.
fn changes(entries: &[Value], token: &str) -> BTreeMap<u64, String> {
    let reference = Token::parse(token).unwrap().token_ref().as_str().to_owned();
    let mut changes = BTreeMap::new();
    let made = entries.iter().filter(|entry| {
        entry["evt"] == "record.update" && entry["out"] == "success" && entry["obj"]["ref"] == *reference
    });
    for entry in made {
        let (version, record) = (&entry["change"]["row_version"], &entry["change"]["record_sha256"]);
        let before = changes.insert(version.as_u64().unwrap(), record.as_str().unwrap().to_owned());
        assert!(before.is_none(), "one version was made twice");
    }
    changes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_none_loses_a_change_on_sqlite() {
    write_together(Site::on_sqlite().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_at_two_replicas_none_loses_a_change_on_postgres() {
    write_together(Site::on_postgres().await, 2).await;
}

/// Each writer reads, changes its own note and sends that with the version it read, until it is taken.
async fn write_together(mut site: Site, boots: u64) {
    let token = site.create(&json!({ "number": number(0), "exp_month": 1, "exp_year": 2030 })).await;
    let writers = (0..WRITERS).map(|n| {
        let (mut updater, mut reader) = (site.door("updater", n), site.door("orchestrator", n));
        let token = token.clone();
        tokio::spawn(async move {
            let mut refused = 0_u32;
            for change in 1..=CHANGES {
                let name = format!("w{n}");
                let body = json!({ "metadata": { name: change.to_string() }, "number": number(change) });
                loop {
                    let seen = version(&mut reader, &token).await.unwrap();
                    match patch(&mut updater, &token, seen, &body).await {
                        (200, after) if after["version"] == seen + 1 => break,
                        (412, _) => refused += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            refused
        })
    });
    let mut refused = 0;
    for writer in futures_util::future::join_all(writers).await {
        refused += writer.unwrap();
    }
    let made = WRITERS as u64 * CHANGES;
    let shown =
        site.door("orchestrator", 0).send("GET", &path(&token), &[], String::new()).await.unwrap().json();
    assert_eq!(shown["version"], made + 1);
    for n in 0..WRITERS {
        assert_eq!(
            shown["metadata"][format!("w{n}")],
            CHANGES.to_string(),
            "writer {n}'s last change is there"
        );
    }
    let body = wanted(&[&token], &["number"]).to_string();
    let opened = site.door("proxy", 1).send("POST", "/v1/forwards", &[], body).await.unwrap();
    assert_eq!(opened.json()["cards"][0]["number"], number(CHANGES), "the record opens");
    let entries = site.end(boots).await;
    let told = changes(&entries, &token);
    assert!(told.keys().copied().eq(2..=made + 1), "versions count up by one");
    assert_eq!(site.row(&token).await, (made + 1, told[&(made + 1)].clone()));
    println!("{made} changes by {WRITERS} writers, {refused} refused as late");
    assert!(refused > 0, "nobody met anybody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_before_an_erasure_or_not_at_all_on_sqlite() {
    erase_under_changes(Site::on_sqlite().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_before_an_erasure_or_not_at_all_on_postgres() {
    erase_under_changes(Site::on_postgres().await, 2).await;
}

async fn erase_under_changes(mut site: Site, boots: u64) {
    let mut erased = Vec::new();
    for round in 0..ERASURES {
        let token = site.create(&json!({ "number": number(0) })).await;
        let gone = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|n| {
                let (mut updater, token, gone) = (site.door("updater", n), token.clone(), Arc::clone(&gone));
                tokio::spawn(async move {
                    let (mut seen, mut made) = (1, 0_u64);
                    loop {
                        let was_gone = gone.load(Ordering::SeqCst);
                        match patch(&mut updater, &token, seen, &json!({ "number": number(seen) })).await {
                            (200, after) => (seen, made) = (after["version"].as_u64().unwrap(), made + 1),
                            (412, _) => seen += 1,
                            (404, _) => return made,
                            other => panic!("{other:?}"),
                        }
                        assert!(!was_gone, "a card was changed after its erasure was answered");
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(40 + 25 * round as u64)).await;
        let answer = site.door("orchestrator", round).send("DELETE", &path(&token), &[], String::new()).await;
        assert_eq!(answer.unwrap().status, 204);
        gone.store(true, Ordering::SeqCst);
        let mut made = 0;
        for writer in writers {
            made += writer.await.unwrap();
        }
        erased.push((token, made));
    }
    let entries = site.end(boots).await;
    for (token, made) in &erased {
        let told = changes(&entries, token);
        assert!(told.keys().copied().eq(2..=made + 1));
        let last = told.get(&(made + 1)).cloned();
        let (version, record) = site.row(token).await;
        assert_eq!(version, made + 1, "hidden at the version of the last change");
        assert!(last.is_none_or(|last| last == record));
    }
    println!("changes before the erasures: {:?}", erased.iter().map(|(_, made)| *made).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_gives_the_old_card_or_the_new_and_never_a_mix_on_sqlite() {
    forward_under_changes(Site::on_sqlite().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_gives_the_old_card_or_the_new_and_never_a_mix_on_postgres() {
    forward_under_changes(Site::on_postgres().await, 2).await;
}

/// The `n`th state of the card: every part of it says which.
fn state(n: u64) -> Value {
    json!({ "number": number(n), "exp_month": 1 + n % 12, "exp_year": 2030 + n, "holder": format!("HOLDER {n}") })
}

async fn forward_under_changes(mut site: Site, boots: u64) {
    let token = site.create(&state(1)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let forwarders: Vec<_> = (0..3)
        .map(|n| {
            let (mut proxy, token, stop) = (site.door("proxy", n), token.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let body = wanted(&[&token], &["number", "exp", "holder"]).to_string();
                let mut seen = BTreeSet::new();
                while !stop.load(Ordering::SeqCst) {
                    let answer = proxy.send("POST", "/v1/forwards", &[], body.clone()).await.unwrap();
                    assert_eq!(answer.status, 201, "{}", answer.json());
                    let card = answer.json()["cards"][0].clone();
                    let holder = card["holder"].as_str().unwrap();
                    let n: u64 = holder.strip_prefix("HOLDER ").unwrap().parse().unwrap();
                    let whole = state(n);
                    assert_eq!(card["number"], whole["number"], "the number of another state");
                    assert_eq!(
                        (&card["exp_month"], &card["exp_year"]),
                        (&whole["exp_month"], &whole["exp_year"]),
                        "{card}"
                    );
                    seen.insert(n);
                }
                seen
            })
        })
        .collect();
    let mut updater = site.door("updater", 1);
    for version in 1..=FLIPS {
        let (status, body) = patch(&mut updater, &token, version, &state(version + 1)).await;
        assert_eq!(status, 200, "{body}");
    }
    stop.store(true, Ordering::SeqCst);
    let mut seen = BTreeSet::new();
    for forwarder in forwarders {
        seen.extend(forwarder.await.unwrap());
    }
    println!("{FLIPS} changes, forwards met {} states", seen.len());
    assert!(seen.len() > 1);
    assert_eq!(changes(&site.end(boots).await, &token).len() as u64, FLIPS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_leads_to_one_card_while_cards_change_numbers_on_sqlite() {
    create_under_changes(Site::on_sqlite().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_leads_to_one_card_while_cards_change_numbers_on_postgres() {
    create_under_changes(Site::on_postgres().await, 2).await;
}

/// One card goes to and fro between two numbers while others create cards of both. Whichever number it has not, gets a card of
/// its own once; from then on that is the number's, so there are never more than three cards.
async fn create_under_changes(mut site: Site, boots: u64) {
    site.deduplicate().await;
    let numbers = [number(1), number(2)];
    let wanderer = site.create(&json!({ "number": numbers[0] })).await;
    let stop = Arc::new(AtomicBool::new(false));
    let creators: Vec<_> = (0..4)
        .map(|n| {
            let (mut checkout, stop) = (site.door("checkout", n / 2), Arc::clone(&stop));
            let number = numbers[n % 2].clone();
            tokio::spawn(async move {
                let mut tokens = BTreeSet::new();
                while !stop.load(Ordering::SeqCst) {
                    let body = json!({ "number": number }).to_string();
                    let answer = checkout.send("POST", CARDS, &[], body).await.unwrap();
                    assert_eq!(answer.status, 201, "{}", answer.json());
                    tokens.insert(answer.json()["token"].as_str().unwrap().to_owned());
                }
                (n % 2, tokens)
            })
        })
        .collect();
    let mut updater = site.door("updater", 1);
    for version in 1..=FLIPS {
        let body = json!({ "number": numbers[version as usize % 2] });
        let (status, body) = patch(&mut updater, &wanderer, version, &body).await;
        assert_eq!(status, 200, "{body}");
    }
    stop.store(true, Ordering::SeqCst);
    let mut given = [BTreeSet::new(), BTreeSet::new()];
    for creator in creators {
        let (which, tokens) = creator.await.unwrap();
        given[which].extend(tokens);
    }
    let mut cards = BTreeSet::from([wanderer.clone()]);
    for (number, tokens) in numbers.iter().zip(&given) {
        let own = tokens.iter().filter(|token| **token != wanderer).count();
        assert!(own <= 1, "{number} has {own} cards besides the one that wanders");
        cards.extend(tokens.iter().cloned());
        // Once it is quiet, the number leads to one card, which has it.
        let token = site.create(&json!({ "number": number })).await;
        assert_eq!(site.create(&json!({ "number": number })).await, token);
        let body = wanted(&[&token], &["number"]).to_string();
        let opened = site.door("proxy", 0).send("POST", "/v1/forwards", &[], body).await.unwrap();
        assert_eq!(opened.json()["cards"][0]["number"], *number);
        cards.insert(token);
    }
    assert!(cards.len() <= 3, "{cards:?}");
    let entries = site.end(boots).await;
    assert!(entries.iter().all(|entry| entry["rsn"] != "tampered"));
    let new = entries.iter().filter(|entry| entry["evt"] == "pan.tokenize" && !entry["change"].is_null());
    assert_eq!(new.count(), cards.len(), "a card for each token that was given, and no other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_killed_under_changes_keeps_every_answered_one_on_sqlite() {
    kill_under_changes(Site::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_killed_under_changes_keeps_every_answered_one_on_postgres() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let store = store_of(&server);
    kill_under_changes(Site::start(tempfile::tempdir().unwrap(), Some(server), &store, &["vault-1"]).await)
        .await;
}

/// The number of the `version`th state of a card.
fn number_of(card: u64, version: u64) -> String {
    number(card * 100_000 + version)
}

async fn kill_under_changes(mut site: Site) {
    const KILLS: u64 = 4;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for card in 0..4 {
        let token = site.create(&json!({ "number": number_of(card, 1) })).await;
        let (mut updater, mut reader, stop) =
            (site.door("updater", 0), site.door("orchestrator", 0), Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            let (mut answered, mut in_doubt) = (1_u64, 0_u64);
            while !stop.load(Ordering::SeqCst) {
                let body = json!({ "number": number_of(card, answered + 1) }).to_string();
                let tag = format!("\"{answered}\"");
                let answer = updater.send("PATCH", &path(&token), &[("if-match", &tag)], body).await;
                match answer.map(|answer| answer.status.as_u16()) {
                    Ok(200) => answered += 1,
                    // The change whose answer was lost is in: the version says so.
                    Ok(412) => {
                        let Ok(answer) = reader.send("GET", &path(&token), &[], String::new()).await else {
                            continue;
                        };
                        let Some(version) = answer.json()["version"].as_u64() else { continue };
                        assert_eq!(version, answered + 1, "more than what was asked for happened");
                        (answered, in_doubt) = (version, in_doubt + 1);
                    }
                    Ok(503) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Ok(other) => panic!("{other}"),
                }
            }
            (card, token, answered, in_doubt)
        }));
    }
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(300 + 170 * kill)).await;
        site.vaults[0].kill();
        site.vaults[0].start();
        site.vaults[0].wait();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let mut cards = Vec::new();
    for writer in writers {
        cards.push(writer.await.unwrap());
    }
    for (card, token, answered, _) in &cards {
        // A last change may be in without its answer.
        let last = version(&mut site.door("orchestrator", 0), token).await.unwrap();
        assert!(last == *answered || last == answered + 1, "{last} after {answered}");
        let body = wanted(&[token], &["number"]).to_string();
        let opened = site.door("proxy", 0).send("POST", "/v1/forwards", &[], body).await.unwrap();
        assert_eq!(
            opened.json()["cards"][0]["number"],
            number_of(*card, last),
            "the record opens, at its version"
        );
    }
    let entries = site.end(KILLS + 1).await;
    for (_, token, answered, _) in &cards {
        let told = changes(&entries, token);
        let (version, record) = site.row(token).await;
        assert!(version >= *answered && told.keys().copied().eq(2..=version), "an entry for each version");
        assert!(version == 1 || told[&version] == record);
    }
    let made: u64 = cards.iter().map(|(_, _, answered, _)| answered - 1).sum();
    let in_doubt: u64 = cards.iter().map(|(.., in_doubt)| in_doubt).sum();
    println!("{made} changes under {KILLS} kills, {in_doubt} of them found made without an answer");
    assert!(made > KILLS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_that_meet_make_every_update_once_on_sqlite() {
    feed_together(Site::on_sqlite().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_that_meet_at_two_replicas_make_every_update_once_on_postgres() {
    feed_together(Site::on_postgres().await, 2).await;
}

/// Feeds that name no version, of the same cards in other orders: each of their updates is made once, of whatever was there.
async fn feed_together(mut site: Site, boots: u64) {
    const FEEDS: usize = 4;
    const ROUNDS: u64 = 4;
    let mut tokens = Vec::new();
    for n in 0..5 {
        tokens.push(site.create(&json!({ "number": number(n) })).await);
    }
    let feeds = (0..FEEDS).map(|n| {
        let (mut updater, mut tokens) = (site.door("updater", n), tokens.clone());
        tokens.rotate_left(n);
        tokio::spawn(async move {
            for round in 1..=ROUNDS {
                let name = format!("f{n}");
                let change = json!({ "metadata": { name: round.to_string() } });
                let updates: Vec<_> =
                    tokens.iter().map(|token| json!({ "token": token, "change": change })).collect();
                let body = json!({ "updates": updates }).to_string();
                let path = format!("{CARDS}/updates");
                loop {
                    let answer = updater.send("POST", &path, &[], body.clone()).await.unwrap();
                    // Met too often in one call: nothing was made, and the caller sends it again.
                    if answer.status == 409 {
                        continue;
                    }
                    assert_eq!(answer.status, 200, "{}", answer.json());
                    let results = answer.json()["results"].clone();
                    assert!(
                        results.as_array().unwrap().iter().all(|result| result["status"] == 200),
                        "{results}"
                    );
                    break;
                }
            }
        })
    });
    for feed in futures_util::future::join_all(feeds).await {
        feed.unwrap();
    }
    let made = FEEDS as u64 * ROUNDS;
    for token in &tokens {
        let answer =
            site.door("orchestrator", 0).send("GET", &path(token), &[], String::new()).await.unwrap();
        assert_eq!(answer.json()["version"], made + 1);
        for n in 0..FEEDS {
            assert_eq!(answer.json()["metadata"][format!("f{n}")], ROUNDS.to_string());
        }
    }
    let entries = site.end(boots).await;
    for token in &tokens {
        assert!(changes(&entries, token).keys().copied().eq(2..=made + 1));
    }
}
