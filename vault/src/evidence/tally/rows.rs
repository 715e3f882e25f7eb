//! Tables of counts: what is counted by what.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use strongroom_domain::Timestamp;

use super::ROWS_MAX;
use crate::authz::ActionKind;
use crate::evidence::entry::Destination;

/// How often, and between when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Span {
    /// Entries of the period.
    pub count: u64,
    /// The first, also before the period where that is counted.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// Rows by key.
#[derive(Clone, Debug)]
pub struct Counted<K> {
    rows: BTreeMap<K, Span>,
    not_itemised: u64,
}

impl<K> Default for Counted<K> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), not_itemised: 0 }
    }
}

impl<K: Ord> Counted<K> {
    /// Counts one; `within` the period or not.
    pub(super) fn add(&mut self, at: Timestamp, within: bool, key: K) {
        let full = self.rows.len() >= ROWS_MAX;
        match self.rows.get_mut(&key) {
            Some(span) => {
                span.count += u64::from(within);
                span.first = span.first.min(at);
                span.last = span.last.max(at);
            }
            None if full => self.not_itemised += u64::from(within),
            None => {
                self.rows.insert(key, Span { count: u64::from(within), first: at, last: at });
            }
        }
    }

    /// Every row, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Span)> {
        self.rows.iter()
    }

    /// Rows with anything in the period.
    pub fn of_period(&self) -> impl Iterator<Item = (&K, &Span)> {
        self.rows.iter().filter(|(_, span)| span.count > 0)
    }

    /// The row of this key.
    pub fn find(&self, key: &K) -> Option<&Span> {
        self.rows.get(key)
    }

    /// Entries of the period that are in no row, because there were too many rows.
    pub const fn not_itemised(&self) -> u64 {
        self.not_itemised
    }

    /// How many entries of the period the rows that fit hold.
    pub fn sum(&self, fits: impl Fn(&K) -> bool) -> u64 {
        self.rows.iter().filter(|(key, _)| fits(key)).map(|(_, span)| span.count).sum()
    }
}

#[derive(Serialize)]
struct Row<'a, K> {
    #[serde(flatten)]
    key: &'a K,
    #[serde(flatten)]
    span: Span,
}

impl<K: Ord + Serialize> Serialize for Counted<K> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a, K> {
            rows: Vec<Row<'a, K>>,
            not_itemised: u64,
        }
        let rows = self.rows.iter().map(|(key, span)| Row { key, span: *span }).collect();
        Wire { rows, not_itemised: self.not_itemised }.serialize(to)
    }
}

/// Entries of one event and outcome.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct EventCount {
    /// The requirement that asks for it.
    pub requirement: &'static str,
    /// The event.
    pub event: String,
    /// How it ended.
    pub outcome: String,
}

impl EventCount {
    pub(super) fn of(event: &str, requirement: &'static str, outcome: &str) -> Self {
        Self { requirement, event: event.to_owned(), outcome: outcome.to_owned() }
    }
}

/// What was denied or failed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Refusal {
    /// The event.
    pub event: String,
    /// `denied` or `failure`.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// Who asked; `-` where nobody was identified.
    pub actor: String,
}

impl Refusal {
    pub(super) fn of(event: &str, outcome: &str, reason: &str, actor: &str) -> Self {
        let [event, outcome, reason, actor] = [event, outcome, reason, actor].map(str::to_owned);
        Self { event, outcome, reason, actor }
    }
}

/// A TLS session of a request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct TlsSession {
    /// Protocol version.
    pub version: String,
    /// Cipher suite.
    pub suite: String,
    /// Key exchange group.
    pub group: String,
}

impl TlsSession {
    pub(super) fn of(version: &str, suite: &str, group: &str) -> Self {
        let [version, suite, group] = [version, suite, group].map(str::to_owned);
        Self { version, suite, group }
    }
}

/// A client certificate that was shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct CertificateUse {
    /// The identity it bore; `-` where it was refused.
    pub actor: String,
    /// SHA-256 of the certificate.
    pub certificate_sha256: String,
}

impl CertificateUse {
    pub(super) fn of(actor: &str, sha256: &str) -> Self {
        Self { actor: actor.to_owned(), certificate_sha256: sha256.to_owned() }
    }
}

/// Card data, by where it went or was to go.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct ForwardCount {
    /// `route/account`.
    pub account: String,
    /// The PSP's host.
    pub host: String,
    /// The call.
    pub call: String,
    /// On whose behalf.
    pub caller: String,
    /// The proxy that said so.
    pub proxy: String,
    /// How it ended.
    pub outcome: String,
}

impl ForwardCount {
    pub(super) fn of(to: &Destination<'_>, caller: &str, proxy: &str, outcome: &str) -> Self {
        Self {
            account: format!("{}/{}", to.route_id, to.account),
            host: to.host.to_string(),
            call: format!("{} {}", to.method, to.path),
            caller: caller.to_owned(),
            proxy: proxy.to_owned(),
            outcome: outcome.to_owned(),
        }
    }
}

/// A use of a grant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct GrantUse {
    /// Who acted.
    pub principal: String,
    /// What.
    pub action: ActionKind,
    /// For forwards: on whose behalf.
    pub caller: Option<String>,
    /// For forwards: `route/account`.
    pub account: Option<String>,
}
