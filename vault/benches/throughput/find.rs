//! How long a search of a long log takes: `-- --find 10000000`.
//!
//! Fills the index of an empty store with so many entries, by the store's own bulk path, in the order of a log and with cards in no
//! order; prints what that cost and how large it became. Then asks every kind of question a few hundred times.
//!
//! Promises: each page is a page of that index and holds what was asked for, or the run fails.
//! Does not promise: to time reading the entries themselves, which are found by their key; there are none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_domain::{BootId, TenantId, Timestamp, TokenRef};
use strongroom_vault::store::find::{EntryFilter, EntryRange, Follower, IndexRow};
use strongroom_vault::store::{PostgresOptions, PostgresStore, PostgresTls, SqliteStore, Store};

use super::Failure;
use super::flags::StoreKind;
use super::postgres;
use super::report::Report;

/// Rows of one transaction while filling; a vault takes 256.
const BATCH: u64 = 8_192;
/// How often each question is asked.
const TIMES: u64 = 300;
/// Entries that name one card, on average.
const ENTRIES_A_CARD: u64 = 4;
/// The time of the first entry.
const BEGAN: i64 = 1_795_000_000_000_000;
/// Between two entries: ten million are four months.
const MICROS_APART: i64 = 1_000_000;

fn options(server: &postgres::Server) -> PostgresOptions {
    PostgresOptions {
        host: server.socket_folder().display().to_string(),
        port: 5432,
        user: "strongroom".into(),
        password: None,
        database: "postgres".into(),
        tls: PostgresTls::Off,
        readers_max: 4,
    }
}

/// Fills and asks.
pub(crate) fn run(
    report: &mut Report,
    kind: StoreKind,
    entries: u64,
    folder: &std::path::Path,
    server: Option<&postgres::Server>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store: Arc<dyn Store> = match server {
            None => {
                let path = folder.join("find.db");
                SqliteStore::migrate(&path).await?;
                Arc::new(SqliteStore::open(&path).await?)
            }
            Some(server) => {
                let options = options(server);
                PostgresStore::migrate(&options).await?;
                Arc::new(PostgresStore::open(&options).await?)
            }
        };
        let began = Instant::now();
        fill(&*store, entries).await?;
        let took = began.elapsed().as_secs_f64();
        let bytes = match server {
            None => bytes_of(folder)?,
            Some(server) => server.ask("ANALYZE; SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'log_%' AND relkind = 'r'")?.lines().last().unwrap_or_default().parse()?,
        };
        let rate = entries as f64 / took;
        report.line(&format!(
            "{kind}: {entries} entries indexed in {took:.0} s ({rate:.0}/s), {} bytes an entry with the write-ahead log",
            bytes / entries.max(1)
        ));
        for (name, question) in QUESTIONS {
            ask(report, &*store, kind, name, *question, entries).await?;
        }
        reach(report, &*store, kind, entries).await
    })
}

/// A number that looks like chance and is the same in every run.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn card(number: u64) -> TokenRef {
    let (high, low) = (mixed(number.wrapping_add(7)), mixed(number.wrapping_add(11)));
    TokenRef::parse(&format!("{high:016x}{low:016x}")).expect("32 hex digits")
}

fn workload(number: u64) -> String {
    format!("spiffe://bench.test/workload-{number}")
}

fn row(place: u64, entries: u64) -> IndexRow {
    let chance = mixed(place);
    let is_release = chance.is_multiple_of(4);
    let verb = match chance % 1_000 {
        3 => "tenant.change",
        _ if is_release => "pan.forward",
        5..=300 => "forward.outcome",
        301..=600 => "pan.lookup",
        _ => "pan.tokenize",
    };
    IndexRow {
        place,
        at: at(place),
        verb: verb.into(),
        outcome: if (chance >> 16).is_multiple_of(50) { "denied" } else { "success" }.into(),
        caller: workload((chance >> 20) % 20),
        proxy: is_release.then(|| workload(20 + (chance >> 28) % 2)),
        route: is_release.then(|| format!("route-{}", (chance >> 32) % 15)),
        tenant: Some(format!("merchant-{}", (chance >> 36) % 500)),
        cards: vec![card((chance >> 8) % (entries / ENTRIES_A_CARD).max(1))],
        released: is_release,
    }
}

fn at(place: u64) -> Timestamp {
    Timestamp::from_unix_micros(BEGAN + place.cast_signed() * MICROS_APART)
}

async fn fill(store: &dyn Store, entries: u64) -> Result<(), Failure> {
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(1));
    let (now, until) = (at(0), Timestamp::from_unix_micros(i64::MAX));
    let taken = store.index().follow(Follower::Find, holder, now, until).await?;
    let mut following = taken.ok_or("somebody else indexes")?;
    while following.next < entries {
        let next = entries.min(following.next + BATCH);
        let rows: Vec<_> = (following.next..next).map(|place| row(place, entries)).collect();
        if !store.index().index_entries(following, next, &rows, until).await? {
            return Err("somebody else indexes".into());
        }
        following.next = next;
    }
    Ok(())
}

type Question = fn(u64, u64) -> EntryFilter;

/// What is asked, from a number that looks like chance and the number of entries.
const QUESTIONS: &[(&str, Question)] = &[
    ("everything, newest", |_, _| EntryFilter::default()),
    ("a card", |chance, entries| EntryFilter {
        token: Some(card(chance % (entries / ENTRIES_A_CARD).max(1))),
        ..EntryFilter::default()
    }),
    ("a caller", |chance, _| EntryFilter { workload: Some(workload(chance % 20)), ..EntryFilter::default() }),
    ("a proxy", |chance, _| EntryFilter {
        workload: Some(workload(20 + chance % 2)),
        ..EntryFilter::default()
    }),
    ("a tenant", |chance, _| EntryFilter { tenant: tenant(chance), ..EntryFilter::default() }),
    ("a rare event", |_, _| EntryFilter { verb: Some("tenant.change".into()), ..EntryFilter::default() }),
    ("refusals of a caller", |chance, _| EntryFilter {
        workload: Some(workload(chance % 20)),
        outcome: Some("denied".into()),
        ..EntryFilter::default()
    }),
    ("a tenant at a route", |chance, _| EntryFilter {
        tenant: tenant(chance),
        route: Some(format!("route-{}", (chance >> 20) % 15)),
        ..EntryFilter::default()
    }),
    ("an hour", |chance, entries| EntryFilter {
        from: Some(at(chance % entries.max(1))),
        until: Some(at(chance % entries.max(1)).plus(Duration::from_secs(3_600))),
        ..EntryFilter::default()
    }),
    ("a caller within an hour", |chance, entries| EntryFilter {
        workload: Some(workload(chance % 20)),
        from: Some(at(chance % entries.max(1))),
        until: Some(at(chance % entries.max(1)).plus(Duration::from_secs(3_600))),
        ..EntryFilter::default()
    }),
];

fn tenant(chance: u64) -> Option<TenantId> {
    TenantId::parse(&format!("merchant-{}", chance % 500)).ok()
}

async fn ask(
    report: &mut Report,
    store: &dyn Store,
    kind: StoreKind,
    name: &str,
    question: Question,
    entries: u64,
) -> Result<(), Failure> {
    let (mut times, mut found) = (Vec::new(), 0);
    for number in 0..TIMES {
        let chance = mixed(number.wrapping_add(1_000_003));
        let filter = question(chance, entries);
        let after = (number % 2 == 1).then_some(chance % entries.max(1));
        let range = EntryRange { newest_first: number % 4 < 2, after, limit: 100 };
        let began = Instant::now();
        let page = store.index().places(&filter, range).await?;
        times.push(began.elapsed());
        found += page.places.len();
        let is_right = |place: &u64| {
            let row = row(*place, entries);
            filter.verb.as_ref().is_none_or(|verb| *verb == row.verb)
                && filter.outcome.as_ref().is_none_or(|outcome| *outcome == row.outcome)
                && filter.token.as_ref().is_none_or(|token| row.cards.contains(token))
                && filter.from.is_none_or(|from| row.at >= from)
                && filter.until.is_none_or(|until| row.at < until)
        };
        if !page.places.iter().all(is_right) {
            return Err(format!("{name}: a page holds what was not asked for").into());
        }
    }
    tell(report, kind, name, times, found);
    Ok(())
}

async fn reach(report: &mut Report, store: &dyn Store, kind: StoreKind, entries: u64) -> Result<(), Failure> {
    for (name, seconds) in [("blast radius, all time", u64::MAX), ("blast radius, a day", 86_400)] {
        let (mut times, mut found) = (Vec::new(), 0);
        for number in 0..TIMES {
            let chance = mixed(number.wrapping_add(2_000_003));
            let from = at(chance % entries.max(1));
            let window = match seconds {
                u64::MAX => (None, None),
                seconds => (Some(from), Some(from.plus(Duration::from_secs(seconds)))),
            };
            let began = Instant::now();
            let page = store.index().uses(&workload(chance % 22), window, None, 100).await?;
            times.push(began.elapsed());
            found += page.uses.len();
        }
        tell(report, kind, name, times, found);
    }
    Ok(())
}

fn tell(report: &mut Report, kind: StoreKind, name: &str, mut times: Vec<Duration>, found: usize) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    report.line(&format!(
        "{kind}: {name}: p50 {:.2} ms, p99 {:.2} ms, {} entries a page",
        at(50),
        at(99),
        found / times.len().max(1)
    ));
}

fn bytes_of(folder: &std::path::Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for name in ["find.db", "find.db-wal"] {
        bytes += std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    }
    Ok(bytes)
}
