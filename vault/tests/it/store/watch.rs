//! The rules over a log in both stores: what is found, that it is on the log, told once, and not lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::BootId;
use strongroom_domain::route::RouteName;
use strongroom_vault::audit::{
    Actor, Draft, EntryId, Event, FindingRef, Indexed, Indexer, Leaf, Object, Outcome, Seen, Source,
};
use strongroom_vault::store::{Change, Committer};
use strongroom_vault::watch::{FindingsFile, Rule, WatchConfig, Watched, Watcher};

use super::both;
use super::find::{release, token};
use super::ground::{Ground, instance, mac, tenant_id, workload};
use super::signed_log::sequencer;

/// A lease is over by then.
const LONG: Duration = Duration::from_secs(40);

fn holder(name: u128) -> BootId {
    BootId::from_uuid(uuid::Uuid::from_u128(name))
}

fn config() -> WatchConfig {
    WatchConfig { releases_per_minute: 5, denied_least: 4, denied_percent: 50, ..WatchConfig::default() }
}

fn watcher(ground: &Ground, committer: &Committer, name: u128, file: Option<&Path>) -> Watcher {
    let file = file.map(|path| FindingsFile::open(path).unwrap());
    let (store, clock) = (Arc::clone(&ground.store), ground.clock.clone());
    Watcher::new(store, committer.clone(), clock, holder(name), config(), file)
}

/// Brings log, index and rules up to date. Gives how many findings were written.
async fn bring_up(ground: &Ground, watcher: &mut Watcher) -> u64 {
    let mut all = 0;
    loop {
        sequencer(ground, 1, None).step().await.unwrap();
        let mut indexer = Indexer::new(Arc::clone(&ground.store), ground.clock.clone(), holder(2));
        while !matches!(indexer.step().await.unwrap(), Indexed::UpTo { behind: 0, .. }) {}
        match watcher.step().await.unwrap() {
            Watched::UpTo { found: 0, behind: 0, .. } => return all,
            Watched::UpTo { found, .. } => all += found,
            Watched::Waiting => panic!("nobody else watches"),
        }
    }
}

/// Findings on the log: rule, principal, count.
async fn findings(ground: &Ground) -> Vec<(String, String, u64)> {
    let entries = ground.store.entries(None, 100_000).await.unwrap();
    let read = entries.iter().map(|entry| entry.leaf.read().unwrap().fields);
    read.filter(|fields| fields["evt"] == "anomaly.found")
        .map(|fields| {
            let finding = &fields["finding"];
            let principal = finding["principal"].as_str().unwrap_or("-");
            let principal = principal.rsplit('/').next().unwrap().to_owned();
            (fields["rsn"].as_str().unwrap().to_owned(), principal, finding["count"].as_u64().unwrap())
        })
        .collect()
}

fn by(ground: &Ground, who: &str, certificate: u8, event: Event, outcome: Outcome) -> Draft {
    let actor = Actor::Workload { id: workload(who), cert_sha256: Some([certificate; 32]) };
    let source = Source { peer: "127.0.0.1:5000".parse().unwrap(), tls: None };
    let now = strongroom_domain::Clock::now(ground.clock.as_ref());
    Draft::by_peer(now, event, outcome, actor, source, Object::Operation("test"))
}

async fn commit(committer: &Committer, entries: Vec<Draft>) {
    committer.commit(Change::Entries { entries }).await.unwrap();
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lines that say that the log stalls.
fn of_stalled(path: &Path) -> Vec<Value> {
    let is_it = |line: &Value| line["finding_info"]["title"] == Rule::LogStalled.as_str();
    lines(path).into_iter().filter(is_it).collect()
}

both! {
    each_rule_finds_what_it_is_for_and_tells_it_once;
    another_watcher_remembers_what_was_told_and_goes_on;
    a_finding_whose_line_cannot_be_written_is_not_lost;
    what_was_there_before_the_rules_teaches_them_and_is_no_finding;
}

async fn each_rule_finds_what_it_is_for_and_tells_it_once(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("findings.jsonl");
    let (committer, task, _) = ground.committer().await;
    let mut watcher = watcher(&ground, &committer, 5, Some(&file));
    // What is usual: one certificate, one route, cards of its own.
    let usual = (0..3).map(|card| release(&ground, card, "psp", "acme")).collect();
    commit(&committer, usual).await;
    commit(&committer, vec![by(&ground, "thief", 1, Event::PanLookup, Outcome::Success)]).await;
    assert_eq!(bring_up(&ground, &mut watcher).await, 0);
    // What is not.
    commit(&committer, vec![release(&ground, 1, "other", "acme")]).await;
    commit(&committer, vec![by(&ground, "thief", 2, Event::PanLookup, Outcome::Success)]).await;
    let refused = || by(&ground, "thief", 2, Event::AuthzDeny, Outcome::Denied);
    commit(&committer, (0..6).map(|_| refused()).collect()).await;
    let guesses = by(&ground, "checkout", 7, Event::RateLimited, Outcome::Denied).because("too-many-numbers");
    let moved = Draft::by_service(
        ground.clock.now_plus(0),
        Event::PolicyActivate,
        Outcome::Success,
        Object::Service("policies"),
    );
    let tampered = by(&ground, "orchestrator", 7, Event::Tamper, Outcome::Failure);
    let unexpected = by(&ground, "checkout", 7, Event::PanUnexpected, Outcome::Denied);
    commit(&committer, vec![guesses, moved.because("destination-changed"), tampered, unexpected]).await;
    let object = Object::Token { token: token(1), tenant: Some(tenant_id("acme")) };
    let stolen = by(&ground, "thief", 2, Event::PanForward, Outcome::Success).about(object);
    commit(&committer, vec![release(&ground, 1, "psp", "acme"), with_route(stolen)]).await;
    commit(&committer, (0..9).map(|card| release(&ground, card % 3, "psp", "acme")).collect()).await;
    let found = bring_up(&ground, &mut watcher).await;
    let mut told = findings(&ground).await;
    assert_eq!(told.len() as u64, found);
    told.sort();
    let expected = [
        ("control-failed", "orchestrator", 1),
        ("denied-ratio", "thief", 4),
        ("many-numbers", "checkout", 1),
        ("new-caller", "thief", 1),
        ("new-certificate", "thief", 1),
        ("new-destination", "-", 1),
        ("new-route", "checkout", 1),
        ("pan-unexpected", "checkout", 1),
        ("release-rate", "checkout", 6),
    ];
    assert_eq!(told, expected.map(|(rule, who, count)| (rule.to_owned(), who.to_owned(), count)));
    // Again the same: told already.
    commit(&committer, vec![refused(), release(&ground, 1, "other", "acme")]).await;
    assert_eq!(bring_up(&ground, &mut watcher).await, 0);
    // Each is a line, made from its entry.
    let lines = lines(&file);
    assert_eq!(lines.len(), 9);
    for line in &lines {
        assert_eq!((&line["metadata"]["version"], &line["activity_id"]), (&json!("1.8.0"), &json!(1)));
        assert_eq!(line["type_uid"].as_u64(), line["class_uid"].as_u64().map(|class| class * 100 + 1));
        let (id, place) =
            (line["metadata"]["uid"].as_str().unwrap(), line["metadata"]["sequence"].as_u64().unwrap());
        let id = strongroom_vault::audit::EntryId::parse(id).unwrap();
        assert_eq!(ground.store.log_place(id).await.unwrap(), Some(place));
    }
    let classes: Vec<u64> = lines.iter().map(|line| line["class_uid"].as_u64().unwrap()).collect();
    assert_eq!(classes.iter().filter(|class| **class == 2003).count(), 1);
    assert_eq!(classes.iter().filter(|class| **class == 2006).count(), 1);
    // Nothing taken in for over a minute is told even though nobody sequences.
    ground.clock.go_on(Duration::from_secs(20));
    commit(&committer, vec![refused()]).await;
    ground.clock.go_on(Duration::from_secs(120));
    assert!(matches!(watcher.step().await.unwrap(), Watched::UpTo { found: 1, .. }));
    assert!(matches!(watcher.step().await.unwrap(), Watched::UpTo { found: 0, .. }));
    assert!(findings(&ground).await.iter().any(|(rule, _, _)| rule == Rule::LogStalled.as_str()));
    // Also in the file, at once and once: the log stalls, so it has no place there yet.
    let told = of_stalled(&file);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["class_uid"], &told[0]["metadata"]["sequence"]), (&json!(2003), &Value::Null));
    // Once the log goes on, the line of its place follows under the same name.
    bring_up(&ground, &mut watcher).await;
    let told = of_stalled(&file);
    assert_eq!((told.len(), &told[1]["metadata"]["uid"]), (2, &told[0]["metadata"]["uid"]));
    assert!(told[1]["metadata"]["sequence"].is_u64());
    task.stop().await;
}

fn with_route(draft: Draft) -> Draft {
    draft.to(super::find::destination("psp"))
}

async fn another_watcher_remembers_what_was_told_and_goes_on(ground: Ground) {
    let (committer, task, _) = ground.committer().await;
    let mut first = watcher(&ground, &committer, 5, None);
    let mut second = watcher(&ground, &committer, 6, None);
    let refused = || by(&ground, "thief", 1, Event::AuthzDeny, Outcome::Denied);
    commit(&committer, (0..3).map(|_| refused()).collect()).await;
    assert_eq!(bring_up(&ground, &mut first).await, 0);
    assert_eq!(second.step().await.unwrap(), Watched::Waiting);
    ground.clock.go_on(LONG);
    commit(&committer, vec![refused()]).await;
    assert_eq!(bring_up(&ground, &mut second).await, 1, "the first three are remembered from the log");
    assert_eq!(first.step().await.unwrap(), Watched::Waiting, "it slept");
    ground.clock.go_on(LONG);
    let mut third = watcher(&ground, &committer, 7, None);
    commit(&committer, vec![refused()]).await;
    assert_eq!(bring_up(&ground, &mut third).await, 0, "that it was told is remembered from the log");
    assert_eq!(findings(&ground).await, [("denied-ratio".to_owned(), "thief".to_owned(), 4)]);
    task.stop().await;
}

async fn a_finding_whose_line_cannot_be_written_is_not_lost(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("findings.jsonl");
    let (committer, task, _) = ground.committer().await;
    let mut watcher = watcher(&ground, &committer, 5, Some(&file));
    commit(&committer, vec![by(&ground, "orchestrator", 7, Event::Tamper, Outcome::Failure)]).await;
    sequencer(&ground, 1, None).step().await.unwrap();
    let mut indexer = Indexer::new(Arc::clone(&ground.store), ground.clock.clone(), holder(2));
    indexer.step().await.unwrap();
    assert!(matches!(watcher.step().await.unwrap(), Watched::UpTo { found: 1, .. }));
    sequencer(&ground, 1, None).step().await.unwrap();
    indexer.step().await.unwrap();
    // A folder stands where the file was.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    watcher.step().await.unwrap_err();
    ground.clock.go_on(LONG);
    watcher.step().await.unwrap_err();
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(bring_up(&ground, &mut watcher).await, 0);
    let lines = lines(&file);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["class_uid"], &lines[0]["finding_info"]["title"]),
        (&json!(2003), &json!("control-failed"))
    );
    task.stop().await;
}

async fn what_was_there_before_the_rules_teaches_them_and_is_no_finding(ground: Ground) {
    let (committer, task, _) = ground.committer().await;
    commit(&committer, vec![by(&ground, "thief", 1, Event::PanLookup, Outcome::Success)]).await;
    commit(&committer, (0..9).map(|_| by(&ground, "thief", 2, Event::AuthzDeny, Outcome::Denied)).collect())
        .await;
    ground.clock.go_on(Duration::from_secs(8 * 24 * 3_600));
    let mut watcher = watcher(&ground, &committer, 5, None);
    assert_eq!(bring_up(&ground, &mut watcher).await, 0);
    commit(&committer, vec![by(&ground, "thief", 2, Event::PanLookup, Outcome::Success)]).await;
    assert_eq!(bring_up(&ground, &mut watcher).await, 0, "its second certificate is known");
    commit(&committer, vec![by(&ground, "thief", 3, Event::PanLookup, Outcome::Success)]).await;
    assert_eq!(bring_up(&ground, &mut watcher).await, 1);
    task.stop().await;
}

/// The lines of one finding of each class. They were held against the published schema of OCSF 1.8.0; what changes here must be again.
const EVENTS: &str = include_str!("../../golden/findings.ocsf.jsonl");

#[test]
fn findings_are_the_ocsf_events_that_are_written_down() {
    let boot = BootId::from_uuid(uuid::Uuid::from_u128(0x0190_a0b0_c0d0_7e0f_8f00_1122_3344_5566));
    let at = strongroom_domain::Timestamp::parse_rfc3339("2026-11-21T07:35:22.123456Z").unwrap();
    let card = Object::Token { token: token(1), tenant: Some(tenant_id("acme")) };
    let finding = FindingRef {
        certificate_sha256: Some([0x11; 32]),
        count: 1_501,
        first_index: 7,
        last_index: 1_912,
        limit: 1_500,
        principal: Some(workload("orchestrator")),
        route: RouteName::parse("psp"),
        seconds: 60,
        severity: "high",
    };
    let bare = FindingRef {
        certificate_sha256: None,
        principal: None,
        route: None,
        seconds: 0,
        severity: "critical",
        ..finding.clone()
    };
    let of = |rule: Rule, object: Object, finding: &FindingRef, seq: u64| {
        let draft = Draft::by_service(at, Event::AnomalyFound, Outcome::Success, object);
        let draft = draft.because(rule.as_str()).finding(finding.clone());
        let leaf = Leaf::seal(&draft, &instance(), EntryId { boot, seq }, &mac(boot));
        strongroom_vault::watch::line(Some(seq + 2_000), &Seen::of(&leaf).unwrap()).unwrap()
    };
    let made = [
        of(Rule::ReleaseRate, card, &finding, 1),
        of(Rule::LogStalled, Object::Service("watch"), &bare, 2),
        of(Rule::PanUnexpected, Object::Tenant(tenant_id("acme")), &finding, 3),
    ];
    let made = made.concat().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let read =
        |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    assert!(read(&made) == read(EVENTS), "the events must be:\n{made}");
}
