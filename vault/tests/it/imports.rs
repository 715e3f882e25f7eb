//! `card import` against a running vault: counts are exact whatever is killed when, and nothing of a card is in what it
//! writes.
//!
//! `STRONGROOM_IMPORT_CARDS=100000` runs the full campaign.

mod ground;
mod openpgp;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::{card, number, setting, sound_log};
use ground::{Ended, Ground};

/// Cards of a campaign in CI.
const CARDS: u64 = 5_000;
/// How many times the import is killed.
const KILLS: u64 = 3;

#[test]
fn an_import_killed_at_random_moments_is_whole_and_single_on_sqlite() {
    killed_and_counted(Ground::on_sqlite());
}

#[test]
fn an_import_killed_at_random_moments_is_whole_and_single_on_postgres() {
    killed_and_counted(Ground::on_postgres());
}

/// Kills the import three times and the vault under it once; then counts.
fn killed_and_counted(mut ground: Ground) {
    let cards = setting("STRONGROOM_IMPORT_CARDS").map_or(CARDS, |text| text.parse().unwrap());
    ground.source(
        "cards.csv",
        "number,exp_month,exp_year,holder,metadata.batch",
        (0..cards).map(|n| format!("{},12,2034,JANE Q CARDHOLDER,{}", number(n), n % 7)),
    );
    let (began, mut moments) = (Instant::now(), Vec::new());
    for kill in 1..=KILLS {
        let mut import = ground.import(&["cards.csv"]);
        let moment = ground.below(cards / (KILLS + 1)) + cards * (kill - 1) / (KILLS + 1);
        if kill == 2 {
            ground.wait_for(&mut import, moment);
            ground.kill_vault();
        }
        ground.wait_for(&mut import, moment + 1);
        import.kill();
        moments.push(ground.acknowledged());
    }
    let ended = ground.import(&["cards.csv"]).end();
    assert_eq!(ended.status, 0, "{}", ended.told);
    let taken = began.elapsed();
    let report = ground.report();
    assert_eq!((&report["lines"], &report["imported"]), (&json!(cards), &json!(cards)), "{report}");
    assert_eq!(report["by_brand"], json!({ "unknown": cards }));
    assert!(report["checks"].as_object().unwrap().values().all(|check| check == &json!(true)), "{report}");
    let mapping = ground.mapping();
    let tokens: HashSet<&str> = mapping.iter().map(|(_, token)| token.as_str()).collect();
    assert_eq!((mapping.len() as u64, tokens.len() as u64), (cards, cards));
    assert!(
        mapping.iter().enumerate().all(|(place, (line, _))| *line == place as u64 + 2),
        "in order, every line"
    );
    for at in (0..cards).step_by(usize::try_from(cards / 20).unwrap()) {
        ground.assert_opens_to(&mapping[usize::try_from(at).unwrap()].1, &number(at));
    }
    ground.assert_writes_no_digit_of(&number(0));
    println!(
        "imported {cards} cards on {} in {:.1} s, killed at {moments:?}, {} batches replayed",
        ground.store(),
        taken.as_secs_f64(),
        report["batches_replayed"]
    );
    let config = ground.stop();
    let log = ground::runtime().block_on(sound_log(&config, 2));
    assert_eq!(log.cards.len() as u64, cards, "as many cards as lines, each with its entry");
}

#[test]
fn each_refused_line_is_said_with_its_field_and_no_digit() {
    let ground = Ground::on_sqlite();
    let lines = [
        card(&number(1)),
        card(&format!("{}x", number(2))),
        json!({ "number": number(3), "exp_month": 13, "exp_year": 2030 }).to_string(),
        json!({ "number": number(4), "cvc": "123" }).to_string(),
        format!("{{\"number\":\"{}\"", number(5)),
        json!({ "number": number(6), "expires_at": "2001-01-01T00:00:00Z" }).to_string(),
        json!({ "number": "4532015112830366" }).to_string(),
        json!({ "number": "4242424242424242", "holder": "JOSÉ, \"JO\"" }).to_string(),
    ];
    ground.source_lines("cards.jsonl", lines.into_iter());
    let ended = ground.import(&["cards.jsonl"]).end();
    assert_eq!(ended.status, 3, "done, and lines were refused: {}", ended.told);
    let report = ground.report();
    assert_eq!((&report["lines"], &report["imported"]), (&json!(8), &json!(2)), "{report}");
    assert_eq!((&report["refused_here"], &report["refused_by_vault"]), (&json!(4), &json!(2)), "{report}");
    assert_eq!(report["by_brand"], json!({ "unknown": 1, "visa": 1 }));
    assert_eq!(report["source"]["sha256"], Value::Null, "so few lines could be guessed from their digest");
    let refused = ground.text("refused.csv");
    let rows: Vec<&str> = refused.lines().skip(1).collect();
    let begins = [
        "2,import,number,invalid-line,",
        "3,import,exp_month,invalid-line,",
        "4,import,,invalid-line,",
        "5,import,,invalid-line,",
        "6,vault,expires_at,invalid-card,",
        "7,vault,number,number-not-accepted,",
    ];
    assert!(
        rows.len() == begins.len() && rows.iter().zip(begins).all(|(row, begin)| row.starts_with(begin)),
        "{refused}"
    );
    for n in 1..=6 {
        ground.assert_writes_no_digit_of(&number(n));
    }
    ground.assert_writes_no_digit_of("4532015112830366");
    let again = ground.import(&["cards.jsonl"]).end();
    assert_eq!((again.status, ground.report()), (3, report), "what is done is done");
}

#[test]
fn another_source_tenant_or_caller_is_refused_before_anything_is_sent() {
    let ground = Ground::on_sqlite();
    let lines = || (0..300).map(|n| format!("{},12,2034", number(n)));
    ground.source("cards.csv", "number,exp_month,exp_year", lines());
    let ended = ground.import_as("checkout", &["cards.csv"]).end();
    assert_eq!(ended.status, 0, "who may tokenize may import: {}", ended.told);
    let before = ground.text("state.jsonl");
    ground.source("cards.csv", "number,exp_month,exp_year", lines().skip(1));
    let refused = |ended: Ended, word: &str| {
        assert!(ended.status == 1 && ended.told.contains(word), "{} {}", ended.status, ended.told);
    };
    refused(ground.import(&["cards.csv"]).end(), "another source");
    refused(ground.import(&["cards.csv", "--tenant", "globex"]).end(), "another tenant");
    assert_eq!(ground.text("state.jsonl"), before);
    ground.forget();
    ground.source("cards.csv", "number,cvc", lines());
    refused(ground.import(&["cards.csv"]).end(), "first line");
    ground.forget();
    ground.source("cards.csv", "number,exp_month,exp_year", lines());
    refused(ground.import_as("security", &["cards.csv"]).end(), "forbidden");
    refused(ground.import(&["cards.csv", "--tenant", "nobody"]).end(), "another tenant");
}

#[test]
fn a_pipe_goes_on_where_it_was_and_a_changed_one_is_refused() {
    let ground = Ground::on_sqlite();
    let text = |from: u64| {
        let lines: String = (from..from + 3_000).map(|n| card(&number(n)) + "\n").collect();
        lines.into_bytes()
    };
    let mut import = ground.import_from(text(0), &["-", "--format", "jsonl"]);
    ground.wait_for(&mut import, 500);
    import.kill();
    let other = ground.import_from(text(1), &["-", "--format", "jsonl"]).end();
    assert!(other.status == 1 && other.told.contains("changed"), "{}", other.told);
    let ended = ground.import_from(text(0), &["-", "--format", "jsonl"]).end();
    assert_eq!((ended.status, &ground.report()["imported"]), (0, &json!(3_000)), "{}", ended.told);
    assert_eq!(ground.mapping().len(), 3_000);
}

#[test]
fn the_vault_s_limit_is_obeyed() {
    let ground = Ground::on_sqlite_with("import_per_second = 300");
    ground.source(
        "cards.csv",
        "number,exp_month,exp_year",
        (0..1_000).map(|n| format!("{},12,2034", number(n))),
    );
    let began = Instant::now();
    let ended = ground.import(&["cards.csv"]).end();
    assert_eq!((ended.status, &ground.report()["imported"]), (0, &json!(1_000)), "{}", ended.told);
    assert!(began.elapsed() > Duration::from_secs(2), "three hundred a second");
    let ended = ground.import_anew(&["cards.csv", "--patience-seconds", "0"]).end();
    assert!(ended.status == 1 && ended.told.contains("run the same command again"), "{}", ended.told);
    let ended = ground.import(&["cards.csv"]).end();
    assert_eq!((ended.status, &ground.report()["imported"]), (0, &json!(1_000)), "{}", ended.told);
}

#[test]
fn a_feed_killed_at_random_moments_makes_each_update_once_on_sqlite() {
    update_under_kills(Ground::on_sqlite_with("update_per_second = 1000"));
}

#[test]
fn a_feed_killed_at_random_moments_makes_each_update_once_on_postgres() {
    update_under_kills(Ground::on_postgres());
}

/// New numbers, new expiries and closed cards from a file; the feed is killed twice, and the vault under it once.
fn update_under_kills(mut ground: Ground) {
    const UPDATES: u64 = 900;
    ground.source(
        "cards.csv",
        "number,exp_month,exp_year",
        (0..UPDATES).map(|n| format!("{},12,2034", number(n))),
    );
    let ended = ground.import(&["cards.csv"]).end();
    assert_eq!(ended.status, 0, "{}", ended.told);
    let cards = ground.mapping();
    let update = |(n, (_, token)): (usize, &(u64, String))| match n % 3 {
        0 => format!("{token},{},1,2040,", number(UPDATES + n as u64)),
        1 => format!("{token},,2,2041,"),
        _ => format!("{token},,,,true"),
    };
    let wrong = [
        "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv,,,,true".to_owned(), // nobody's
        format!("{},4242424242424243,,,", cards[0].1),
        "4242424242424242,,,,true".to_owned(),
    ];
    let lines = cards.iter().enumerate().map(update).chain(wrong);
    ground.source("updates.csv", "token,number,exp_month,exp_year,closed", lines);
    for kill in 1..=2 {
        let mut feed = ground.update(&["updates.csv"]);
        if kill == 2 {
            ground.wait_for_updates(&mut feed, 300);
            ground.kill_vault();
        }
        ground.wait_for_updates(&mut feed, 200 * kill + ground.below(100) as usize);
        feed.kill();
    }
    let ended = ground.update(&["updates.csv"]).end();
    assert_eq!(ended.status, 3, "some lines were refused: {}", ended.told);
    let report: Value = serde_json::from_str(&ground.text_of_update("report.json")).unwrap();
    assert_eq!((&report["kind"], &report["lines"]), (&json!("update"), &json!(UPDATES + 3)), "{report}");
    let third = UPDATES / 3;
    assert_eq!(report["by_change"], json!({ "number": third, "expiry": third, "closed": third }));
    assert_eq!((&report["refused_here"], &report["refused_by_vault"]), (&json!(2), &json!(1)));
    assert!(report["checks"].as_object().unwrap().values().all(|check| check == &json!(true)), "{report}");
    let updated = ground.text_of_update("updated.csv");
    assert_eq!(updated.lines().count() as u64, UPDATES + 1);
    assert!(updated.lines().skip(1).all(|row| row.split(',').nth(2) == Some("2")), "each was changed once");
    let refused = ground.text_of_update("refused.csv");
    assert!(
        refused.contains("902,vault")
            && refused.contains("903,update,number")
            && refused.contains("904,update,token")
    );
    for file in ["state.jsonl", "updated.csv", "refused.csv", "report.json"] {
        let text = ground.text_of_update(file);
        assert!(!text.contains("42424242") && !text.contains(&number(UPDATES)), "{file}");
    }
    for n in [0, 3, 600, 1, 2] {
        let holds = if n % 3 == 0 { number(UPDATES + n as u64) } else { number(n as u64) };
        ground.assert_opens_to(&cards[n].1, &holds);
    }
    let store = ground.store();
    let config = ground.stop();
    let runtime = ground::runtime();
    runtime.block_on(sound_log(&config, 2));
    let read = strongroom_vault::config::VaultConfig::read(&config).unwrap();
    let log = runtime.block_on(strongroom_vault::app::open_store(&read.store)).unwrap();
    let mut changed: std::collections::HashMap<String, u32> = std::collections::HashMap::new();
    for entry in runtime.block_on(strongroom_vault::audit::tail(&*log, 100_000)).unwrap() {
        let entry: Value = serde_json::from_slice(entry.leaf.as_bytes()).unwrap();
        if entry["evt"] == "record.update" && entry["out"] == "success" {
            *changed.entry(entry["obj"]["ref"].to_string()).or_default() += 1;
        }
    }
    assert_eq!(changed.len() as u64, UPDATES);
    assert!(changed.values().all(|times| *times == 1), "an update was made twice");
    println!("{UPDATES} updates on {store} under 3 kills, {} batches replayed", report["batches_replayed"]);
}
