//! What the index keeps of entries, as numbers and as the statements take them.

use std::borrow::Cow;

use strongroom_domain::TokenRef;

use super::{IndexRow, SPAN};

/// The number a card is indexed by: the first eight bytes of its token's hash.
pub(in crate::store) fn token_key(token: &TokenRef) -> i64 {
    let mut bytes = [0; 8];
    let digits = token.as_str().get(..16).unwrap_or_default();
    hex::decode_to_slice(digits, &mut bytes).expect("a reference is 32 hex digits");
    i64::from_be_bytes(bytes)
}

/// The hashes a reference can stand for: the first and the last.
pub(in crate::store) fn hashes_of(token: &TokenRef) -> (Vec<u8>, Vec<u8>) {
    let first = hex::decode(token.as_str()).expect("a reference is 32 hex digits");
    let with = |fill: u8| first.iter().copied().chain([fill; 16]).collect();
    (with(0), with(0xff))
}

/// Place, time, verb, outcome, caller, proxy, route, tenant.
type EntryRow = (i64, i64, i64, i64, i64, Option<i64>, Option<i64>, Option<i64>);

/// Rows as the statements take them: JSON arrays of numbers.
#[derive(Default)]
pub(in crate::store) struct Rows {
    entries: Vec<EntryRow>,
    cards: Vec<(i64, i64)>,
    forwards: Vec<(i64, i64, i64)>,
    spans: std::collections::BTreeMap<i64, (i64, i64)>,
}

/// Names by kind, with how many entries of a batch have each.
pub(in crate::store) fn names<'a>(
    rows: &'a [IndexRow],
) -> std::collections::BTreeMap<(&'static str, Cow<'a, str>), i64> {
    let mut names = std::collections::BTreeMap::new();
    let mut count = |kind, name: Option<&'a String>| {
        if let Some(name) = name {
            *names.entry((kind, Cow::Borrowed(name.as_str()))).or_insert(0_i64) += 1;
        }
    };
    for row in rows {
        count("verb", Some(&row.verb));
        count("outcome", Some(&row.outcome));
        count("workload", Some(&row.caller));
        count("workload", row.proxy.as_ref().filter(|proxy| **proxy != row.caller));
        count("route", row.route.as_ref());
        count("tenant", row.tenant.as_ref());
    }
    names
}

impl Rows {
    /// Puts numbers in the place of names.
    pub(in crate::store) fn of(
        rows: &[IndexRow],
        id: impl Fn(&'static str, &str) -> Option<i64>,
    ) -> Option<Self> {
        let mut made = Self::default();
        for row in rows {
            let place = crate::store::encode::signed(row.place);
            let at = row.at.unix_micros();
            let caller = id("workload", &row.caller)?;
            let proxy = row.proxy.as_ref().and_then(|name| id("workload", name));
            made.entries.push((
                place,
                at,
                id("verb", &row.verb)?,
                id("outcome", &row.outcome)?,
                caller,
                proxy,
                row.route.as_ref().and_then(|name| id("route", name)),
                row.tenant.as_ref().and_then(|name| id("tenant", name)),
            ));
            let mut tokens: Vec<i64> = row.cards.iter().map(token_key).collect();
            tokens.sort_unstable();
            tokens.dedup();
            for token in tokens {
                made.cards.push((token, place));
                if row.released {
                    made.forwards.push((caller, token, place));
                    let other = proxy.filter(|proxy| *proxy != caller);
                    made.forwards.extend(other.map(|proxy| (proxy, token, place)));
                }
            }
            let span = crate::store::encode::signed(row.place / SPAN);
            let times = made.spans.entry(span).or_insert((at, at));
            *times = (times.0.min(at), times.1.max(at));
        }
        // In the order of their keys: neighbours are written together.
        made.cards.sort_unstable();
        made.forwards.sort_unstable();
        Some(made)
    }

    /// For `log_entries`, `log_cards`, `log_forwards`, `log_spans`.
    pub(in crate::store) fn json(&self) -> [String; 4] {
        let spans: Vec<_> = self.spans.iter().map(|(span, (from, until))| (span, from, until)).collect();
        [
            crate::store::encode::json(&self.entries),
            crate::store::encode::json(&self.cards),
            crate::store::encode::json(&self.forwards),
            crate::store::encode::json(&spans),
        ]
    }
}
