//! The newest entries of the index, counted, over both stores.

use std::collections::BTreeMap;

use strongroom_vault::store::find::ACTIVITY_PLACES_MAX;

use super::both;
use super::find::{all, bring_up, indexer, write};
use super::ground::Ground;

both! {
    the_newest_entries_are_counted_by_minute_event_and_outcome;
}

async fn the_newest_entries_are_counted_by_minute_event_and_outcome(ground: Ground) {
    write(&ground, 150).await;
    let end = bring_up(&ground, &mut indexer(&ground, 1)).await;
    let entries = all(&ground).await;
    for before in [0, 1, 7, end] {
        let mut wanted: BTreeMap<_, u64> = BTreeMap::new();
        let from = before.saturating_sub(ACTIVITY_PLACES_MAX);
        for (_, seen) in entries.iter().filter(|(place, _)| (from..before).contains(place)) {
            let minute = seen.ts.unix_seconds().div_euclid(60) * 60;
            *wanted.entry((minute, seen.evt.clone(), seen.out.clone())).or_default() += 1;
        }
        let counted = ground.store.index().activity(before).await.unwrap();
        let counted: BTreeMap<_, _> = counted
            .into_iter()
            .map(|row| ((row.minute.unix_seconds(), row.verb, row.outcome), row.entries))
            .collect();
        assert_eq!(counted, wanted, "before {before}");
    }
    // Of more than are counted, the newest.
    let more = "INSERT INTO log_entries (place, at, verb, outcome, caller) WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n \
                WHERE i < 10100) SELECT i + 5000, CAST(i AS bigint) * 1000000, 1, 1, 1 FROM n";
    ground.run(more).await;
    let counted = ground.store.index().activity(15_101).await.unwrap();
    assert_eq!(counted.iter().map(|row| row.entries).sum::<u64>(), ACTIVITY_PLACES_MAX);
    assert_eq!(counted.iter().map(|row| row.minute.unix_seconds()).min(), Some(60));
}
