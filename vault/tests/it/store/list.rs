//! Pages of cards: each card once, hidden and expired ones never, and no page that reads a whole table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom_domain::{Brand, Digits, Expiry, TokenHash};
use strongroom_vault::store::{
    CARDS_LOOKED_AT_MAX, CardFilter, CardListSql, CardPage, CardPlace, CardRow, Committed, Committer,
};

use super::ground::{Database, Ground, tenant_id};

super::both! {
    every_card_is_on_one_page_while_others_come_and_go;
    hidden_expired_and_other_tenants_cards_are_on_no_page;
    filters_leave_what_they_say;
    a_page_looks_at_so_many_cards_and_no_more;
    pages_are_read_by_their_index;
}

async fn insert(ground: &Ground, committer: &Committer, card: &CardRow) {
    assert_eq!(committer.commit(ground.insert(card.clone(), None)).await, Ok(Committed::Done));
}

async fn page(ground: &Ground, filter: &CardFilter, after: Option<CardPlace>, limit: u32) -> CardPage {
    ground.store.list(&tenant_id("acme"), filter, after, limit, ground.clock_now()).await.unwrap()
}

async fn all(ground: &Ground, filter: &CardFilter, limit: u32) -> Vec<CardRow> {
    let (mut cards, mut after) = (Vec::new(), None);
    loop {
        let page = page(ground, filter, after, limit).await;
        assert!(page.cards.len() <= limit as usize);
        cards.extend(page.cards);
        after = page.next;
        if after.is_none() {
            return cards;
        }
    }
}

async fn every_card_is_on_one_page_while_others_come_and_go(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let mut there = Vec::new();
    for n in 0..90 {
        // Many share a microsecond: what tells them apart is the hash alone.
        if n % 30 == 0 {
            ground.clock.go_on(Duration::from_micros(1));
        }
        let card = ground.card("acme", key);
        insert(&ground, &committer, &card).await;
        there.push(card);
    }
    let (ground, stop) = (Arc::new(ground), Arc::new(AtomicBool::new(false)));
    let adding = tokio::spawn({
        let (ground, committer, stop, there) =
            (Arc::clone(&ground), committer.clone(), Arc::clone(&stop), there.clone());
        async move {
            let mut added = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                let mut card = ground.card("acme", key);
                // Some come in between those that are there, as from a replica whose clock is behind.
                if added.is_multiple_of(2) {
                    card.created_at = there[added % there.len()].created_at;
                } else {
                    ground.clock.go_on(Duration::from_micros(1));
                }
                insert(&ground, &committer, &card).await;
                added += 1;
            }
            added
        }
    });
    let mut seen: HashMap<TokenHash, u32> = HashMap::new();
    let mut listings = 0;
    while listings < 5 {
        seen.clear();
        for card in all(&ground, &CardFilter::default(), 7).await {
            *seen.entry(card.token.hash()).or_default() += 1;
        }
        assert!(seen.values().all(|times| *times == 1), "a card on two pages");
        assert!(there.iter().all(|card| seen.contains_key(&card.token.hash())), "a card on no page");
        listings += 1;
    }
    stop.store(true, Ordering::Relaxed);
    assert!(adding.await.unwrap() > 5);
    // A page that was hidden before it was read is passed over, and nobody is lost for it.
    let first = page(&ground, &CardFilter::default(), None, 7).await;
    let (hidden, rest): (Vec<_>, Vec<_>) = there.iter().enumerate().partition(|(n, _)| n % 3 == 0);
    for (_, card) in &hidden {
        assert_eq!(committer.commit(ground.erase(card, None)).await, Ok(Committed::Done));
    }
    let mut later: HashSet<_> = first.cards.iter().map(|card| card.token.hash()).collect();
    let mut after = first.next;
    while after.is_some() {
        let page = page(&ground, &CardFilter::default(), after, 7).await;
        assert!(page.cards.iter().all(|card| later.insert(card.token.hash())));
        after = page.next;
    }
    assert!(rest.iter().all(|(_, card)| later.contains(&card.token.hash())));
    let shown: HashSet<_> = first.cards.iter().map(|card| card.token.hash()).collect();
    assert!(
        hidden
            .iter()
            .all(|(_, card)| !later.contains(&card.token.hash()) || shown.contains(&card.token.hash()))
    );
}

async fn hidden_expired_and_other_tenants_cards_are_on_no_page(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let [shown, hidden, foreign] = ["acme", "acme", "globex"].map(|tenant| ground.card(tenant, key));
    let mut expiring = ground.card("acme", key);
    expiring.expires_at = Some(ground.clock.now_plus(60));
    for card in [&shown, &hidden, &foreign, &expiring] {
        insert(&ground, &committer, card).await;
    }
    assert_eq!(committer.commit(ground.erase(&hidden, None)).await, Ok(Committed::Done));
    let tokens = |cards: Vec<CardRow>| cards.iter().map(|card| card.token.hash()).collect::<HashSet<_>>();
    let last4 = CardFilter { last4: Digits::parse("4242"), ..CardFilter::default() };
    for filter in [CardFilter::default(), last4] {
        let found = tokens(all(&ground, &filter, 1).await);
        assert_eq!(found, HashSet::from([shown.token.hash(), expiring.token.hash()]));
    }
    ground.clock.go_on(Duration::from_secs(60));
    for filter in [CardFilter::default(), last4] {
        assert_eq!(tokens(all(&ground, &filter, 1).await), HashSet::from([shown.token.hash()]));
    }
}

async fn filters_leave_what_they_say(ground: Ground) {
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let mut cards = Vec::new();
    for (last4, brand, expiry) in [
        ("4242", Some(Brand::Visa), Some((12, 2030))),
        ("4444", Some(Brand::Mastercard), Some((1, 2027))),
        ("4242", Some(Brand::Mastercard), Some((2, 2027))),
        ("", None, None),
    ] {
        let mut card = ground.card("acme", key);
        card.facts.last4 = Digits::parse(last4).unwrap();
        card.facts.expiry = expiry.map(|(month, year)| Expiry::new(month, year).unwrap());
        card.brand = brand;
        insert(&ground, &committer, &card).await;
        cards.push(card);
        ground.clock.go_on(Duration::from_micros(1));
    }
    let none = CardFilter::default();
    let (first, third) = (Some(cards[0].created_at), Some(cards[2].created_at));
    for (filter, wanted) in [
        (none, vec![3, 2, 1, 0]),
        (CardFilter { last4: Digits::parse("4242"), ..none }, vec![2, 0]),
        (CardFilter { last4: Digits::parse(""), ..none }, vec![]),
        (CardFilter { brand: Some(Brand::Mastercard), ..none }, vec![2, 1]),
        (CardFilter { expiring_before: Expiry::new(2, 2027).ok(), ..none }, vec![1]),
        (CardFilter { expiring_before: Expiry::new(3, 2027).ok(), ..none }, vec![2, 1]),
        (CardFilter { created_after: first, ..none }, vec![3, 2, 1]),
        (CardFilter { created_before: third, ..none }, vec![1, 0]),
        (CardFilter { created_after: first, created_before: third, ..none }, vec![1]),
        (CardFilter { created_after: third, created_before: first, ..none }, vec![]),
        (
            CardFilter {
                last4: Digits::parse("4242"),
                brand: Some(Brand::Mastercard),
                expiring_before: Expiry::new(1, 2030).ok(),
                created_after: first,
                created_before: Some(ground.clock_now()),
            },
            vec![2],
        ),
    ] {
        for limit in [1, 100] {
            let found = all(&ground, &filter, limit).await;
            let wanted: Vec<_> = wanted.iter().map(|at: &usize| cards[*at].clone()).collect();
            assert_eq!(found, wanted, "{filter:?}");
        }
    }
}

/// Many cards of one brand, written past the service: enough for a plan to matter.
async fn fill(ground: &Ground, cards: u32) {
    let columns = "token_hash, token, tenant, record, data_key, bin, last4, exp, brand, length, row_version, \
                   created_at, updated_at";
    let sql = if ground.is_postgres() {
        format!(
            "INSERT INTO cards ({columns}) SELECT sha256(n::text::bytea), 'filler', 'acme', '\\x00', \
             gen_random_uuid(), '42424242', lpad((n % 10000)::text, 4, '0'), '3012', 'visa', 16, 1, n, n \
             FROM generate_series(1, {cards}) AS n"
        )
    } else {
        format!(
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {cards}) \
             INSERT INTO cards ({columns}) SELECT randomblob(32), 'filler', 'acme', x'00', randomblob(16), \
             '42424242', printf('%04d', n % 10000), '3012', 'visa', 16, 1, n, n FROM counted"
        )
    };
    assert_eq!(ground.run(&sql).await, u64::from(cards));
    if ground.is_postgres() {
        ground.run("ANALYZE cards").await; // as its autovacuum does; nobody does it for SQLite
    }
}

async fn a_page_looks_at_so_many_cards_and_no_more(ground: Ground) {
    fill(&ground, 2 * CARDS_LOOKED_AT_MAX + 7).await;
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let mut oldest = ground.card("acme", key);
    (oldest.brand, oldest.created_at) = (Some(Brand::Jcb), strongroom_domain::Timestamp::from_unix_micros(0));
    insert(&ground, &committer, &oldest).await;
    let filter = CardFilter { brand: Some(Brand::Jcb), ..CardFilter::default() };
    let first = page(&ground, &filter, None, 10).await;
    assert_eq!((first.cards.len(), first.next.is_some()), (0, true), "not yet, and not the end");
    let second = page(&ground, &filter, first.next, 10).await;
    assert_eq!((second.cards.len(), second.next.is_some()), (0, true));
    let last = page(&ground, &filter, second.next, 10).await;
    assert_eq!((last.cards, last.next), (vec![oldest], None));
}

async fn plan(ground: &Ground, sql: &str) -> String {
    match &ground.database {
        Database::Postgres(_) => ground.texts(&format!("EXPLAIN (COSTS OFF) {sql}")).await.join("\n"),
        Database::Sqlite(folder) => {
            use sqlx::{ConnectOptions as _, Row as _};
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("vault.db"));
            let mut connection = options.connect().await.unwrap();
            let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(3)).collect::<Vec<_>>().join("\n")
        }
    }
}

/// The statement as the planner sees it in the middle of a long list.
fn filled(sql: &str, sigil: char, page: bool, filter: &CardFilter) -> String {
    let blob = |hex: &str| if sigil == '$' { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") };
    let mut values =
        vec!["'acme'".to_owned(), "8000".to_owned(), blob(&"7f".repeat(32)), "3000".to_owned(), blob("")];
    if page {
        values.extend(["0".to_owned(), "21".to_owned()]);
    }
    values.extend(filter.last4.map(|last4| format!("'{}'", last4.as_str())));
    if page {
        values.extend(filter.brand.map(|brand| format!("'{}'", brand.as_str())));
        values.extend(filter.expiring_before.map(|month| format!("'{month}'")));
    }
    let mut sql = sql.to_owned();
    for (place, value) in values.iter().enumerate().rev() {
        sql = sql.replace(&format!("{sigil}{}", place + 1), value);
    }
    assert!(!sql.contains(sigil), "{sql}");
    sql
}

async fn pages_are_read_by_their_index(ground: Ground) {
    fill(&ground, 100_000).await;
    let sigil = if ground.is_postgres() { '$' } else { '?' };
    let none = CardFilter::default();
    let (last4, brand) = (Digits::parse("4242"), Some(Brand::Visa));
    let expiring_before = Expiry::new(1, 2029).ok();
    for (filter, index) in [
        (none, "cards_page"),
        (CardFilter { brand, ..none }, "cards_page"),
        (CardFilter { expiring_before, ..none }, "cards_page"),
        (CardFilter { last4, ..none }, "cards_by_last4"),
        (CardFilter { last4, brand, expiring_before, ..none }, "cards_by_last4"),
    ] {
        let sql = CardListSql::new(&filter, sigil);
        for (sql, is_page) in [(sql.edge, false), (sql.page, true)] {
            let plan = plan(&ground, &filled(&sql, sigil, is_page, &filter)).await;
            assert!(plan.contains(index), "{filter:?}: {plan}");
            // Under a filter Postgres may prefer to sort the few thousand rows between the bounds.
            let may_sort = is_page && (filter.brand.is_some() || filter.expiring_before.is_some());
            for slow in ["Seq Scan", "SCAN", "TEMP B-TREE", "Sort", "Bitmap"].into_iter().take(if may_sort {
                3
            } else {
                5
            }) {
                assert!(!plan.contains(slow), "{filter:?}: {plan}");
            }
            let reads_rows = !plan.contains("COVERING") && !plan.contains("Index Only");
            assert_eq!(reads_rows, is_page, "the edge is found in the index alone: {plan}");
        }
    }
}
