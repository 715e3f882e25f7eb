//! The statements of a page of the index. Everything bound is a number.

use std::fmt::Write as _;

use super::{EntryFilter, EntryRange, PLACES_LOOKED_AT_MAX, token_key};
use crate::store::encode::signed;
use strongroom_domain::Timestamp;

/// A column entries are found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Column {
    Workload,
    Route,
    Tenant,
    Verb,
    Outcome,
}

impl Column {
    /// What a filter names.
    pub(in crate::store) fn of(filter: &EntryFilter) -> impl Iterator<Item = (Self, &str)> {
        let tenant = filter.tenant.as_ref().map(strongroom_domain::TenantId::as_str);
        [
            (Self::Workload, filter.workload.as_deref()),
            (Self::Route, filter.route.as_deref()),
            (Self::Tenant, tenant),
            (Self::Verb, filter.verb.as_deref()),
            (Self::Outcome, filter.outcome.as_deref()),
        ]
        .into_iter()
        .filter_map(|(column, name)| Some((column, name?)))
    }

    /// Its names' kind.
    pub(in crate::store) const fn kind(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Route => "route",
            Self::Tenant => "tenant",
            Self::Verb => "verb",
            Self::Outcome => "outcome",
        }
    }
}

/// The number `success` has in every database: there is no index over it.
const SUCCESS: i64 = 1;

/// A name of a filter: its number, and about how many entries have it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Known {
    pub(in crate::store) column: Column,
    pub(in crate::store) id: i64,
    pub(in crate::store) entries: i64,
}

/// Which spans can hold something of a time. Binds from and until.
pub(in crate::store) const fn bounds_sql() -> &'static str {
    "SELECT min(span), max(span) FROM log_spans WHERE until_at >= $1 AND from_at < $2"
}

/// Where a page is looked for: the fewest places that hold all of it.
#[derive(Clone, Copy, Debug)]
enum Driver {
    /// The entries that name a card.
    Card(i64),
    /// The entries with a name.
    Name(Known),
    /// All.
    All,
}

/// The two statements of a page.
pub(in crate::store) struct PageSql<'a> {
    filter: &'a EntryFilter,
    known: &'a [Known],
    range: EntryRange,
    /// Places from, and before.
    window: (i64, i64),
    driver: Driver,
    advised: bool,
    binds: Vec<i64>,
}

impl<'a> PageSql<'a> {
    pub(in crate::store) fn new(
        filter: &'a EntryFilter,
        known: &'a [Known],
        range: EntryRange,
        (low, high): (i64, i64),
        advised: bool,
    ) -> Self {
        let window = match range.after.map(signed) {
            Some(after) if range.newest_first => (low, high.min(after)),
            Some(after) => (low.max(after.saturating_add(1)), high),
            None => (low, high),
        };
        let width = window.1.saturating_sub(window.0);
        let indexed = |known: &&Known| known.column != Column::Outcome || known.id != SUCCESS;
        let rarest = known.iter().filter(indexed).min_by_key(|known| known.entries);
        let driver = match (&filter.token, rarest) {
            (Some(token), _) => Driver::Card(token_key(token)),
            (None, Some(known)) if known.entries < width => Driver::Name(*known),
            _ => Driver::All,
        };
        Self { filter, known, range, window, driver, advised, binds: Vec::new() }
    }

    /// The last place this page looks at, if more follow.
    pub(in crate::store) fn edge(&mut self) -> (String, Vec<i64>) {
        let arms = self.arms(true);
        let text = format!("{arms}{} LIMIT 1 OFFSET {}", self.order(), PLACES_LOOKED_AT_MAX - 1);
        (text, std::mem::take(&mut self.binds))
    }

    /// What fits, up to that place; one more than the limit.
    pub(in crate::store) fn page(&mut self, edge: Option<i64>) -> (String, Vec<i64>) {
        match edge {
            Some(edge) if self.range.newest_first => self.window.0 = edge,
            Some(edge) => self.window.1 = edge.saturating_add(1),
            None => {}
        }
        let arms = self.arms(false);
        let limit = self.bind(i64::from(self.range.limit) + 1);
        let text = format!("{arms}{} LIMIT {limit}", self.order());
        (text, std::mem::take(&mut self.binds))
    }

    /// What is looked through. A workload's are two, each in order and no longer than is asked for: Postgres would sort all of both.
    fn arms(&mut self, of_edge: bool) -> String {
        let advice = |advised: bool, index: &str| {
            let advice = if advised { format!(" INDEXED BY log_entries_{index}") } else { String::new() };
            format!("SELECT e.place AS place FROM log_entries AS e{advice} WHERE")
        };
        match self.driver {
            Driver::Name(Known { column: Column::Workload, id, .. }) => {
                let head = advice(self.advised, "caller");
                let caller = self.arm(&head, "e.caller =", id, of_edge);
                let head = advice(self.advised, "proxy");
                let proxy = self.arm(&head, "e.proxy <> e.caller AND e.proxy =", id, of_edge);
                let most = if of_edge { PLACES_LOOKED_AT_MAX } else { self.range.limit.saturating_add(1) };
                let end = format!("{} LIMIT {most}", self.order());
                format!(
                    "SELECT place FROM ({caller}{end}) AS c UNION ALL SELECT place FROM ({proxy}{end}) AS p"
                )
            }
            Driver::Name(Known { column: Column::Outcome, id, .. }) => {
                self.arm(&advice(self.advised, "outcome"), "e.outcome <> 1 AND e.outcome =", id, of_edge)
            }
            Driver::Name(Known { column, id, .. }) => {
                let condition = format!("e.{} =", column.kind());
                self.arm(&advice(self.advised, column.kind()), &condition, id, of_edge)
            }
            Driver::Card(token) => {
                let head = if of_edge {
                    "SELECT c.place AS place FROM log_cards AS c WHERE"
                } else {
                    "SELECT c.place AS place FROM log_cards AS c JOIN log_entries AS e ON e.place = c.place WHERE"
                };
                self.arm(head, "c.token =", token, of_edge)
            }
            Driver::All => self.arm("SELECT e.place AS place FROM log_entries AS e WHERE", "0 =", 0, of_edge),
        }
    }

    /// One of them: within the window, with what drives it, and with everything asked for unless it is an edge's.
    fn arm(&mut self, head: &str, driving: &str, value: i64, of_edge: bool) -> String {
        let place = if matches!(self.driver, Driver::Card(_)) { "c.place" } else { "e.place" };
        let (low, high) = self.window;
        let (value, low, high) = (self.bind(value), self.bind(low), self.bind(high));
        let mut text = format!("{head} {driving} {value} AND {place} >= {low} AND {place} < {high}");
        if of_edge {
            return text;
        }
        for known in self.known {
            let id = self.bind(known.id);
            // A String takes every write.
            let _ = match known.column {
                Column::Workload => write!(text, " AND (e.caller = {id} OR e.proxy = {id})"),
                column => write!(text, " AND e.{} = {id}", column.kind()),
            };
        }
        if let Some(from) = self.filter.from.map(Timestamp::unix_micros) {
            let _ = write!(text, " AND e.at >= {}", self.bind(from));
        }
        if let Some(until) = self.filter.until.map(Timestamp::unix_micros) {
            let _ = write!(text, " AND e.at < {}", self.bind(until));
        }
        text
    }

    const fn order(&self) -> &'static str {
        if self.range.newest_first { " ORDER BY place DESC" } else { " ORDER BY place ASC" }
    }

    fn bind(&mut self, number: i64) -> String {
        self.binds.push(number);
        format!("${}", self.binds.len())
    }
}
