//! Counting entries, one after the other.
//!
//! Promises: an entry of the period is counted once under every heading it belongs to; what does not fit is counted as not
//! itemised, never dropped.
//! Does not promise: that entries are authentic: `audit check` needs the vault's key for that.

mod boots;
mod filed;
mod rotations;
mod rows;

pub(super) use boots::{Boot, Boots};
pub(super) use filed::{BundleEntry, Filed, ReviewEntry};
pub(super) use rotations::{Rotated, Rotation, Rotations};
pub(super) use rows::{
    CertificateUse, Counted, EventCount, ForwardCount, GrantUse, Refusal, Span, TlsSession,
};

use serde::Serialize;
use strongroom_domain::Timestamp;

use super::Period;
use super::entry::Entry;
use super::grants::{self, Used};
use crate::audit::{Event, Outcome};

/// Most rows of one table: above it entries are counted as not itemised.
pub(super) const ROWS_MAX: usize = 20_000;

/// What was counted.
#[derive(Debug, Serialize)]
pub struct Tally {
    #[serde(skip)]
    period: Period,
    /// Entries of the period.
    pub entries: u64,
    /// Entries before it.
    pub before: u64,
    /// Entries after it that the checkpoint covers too; nothing else of them is counted.
    pub after: u64,
    /// Leaves that are no entries of a format this program knows. Must be 0.
    pub unreadable: u64,
    /// Time of the oldest entry.
    pub oldest: Option<Timestamp>,
    /// Time of the newest entry before the end of the period.
    pub newest: Option<Timestamp>,
    /// By event and outcome.
    pub events: Counted<EventCount>,
    /// What was denied or failed, by whom and why.
    pub refusals: Counted<Refusal>,
    /// Negotiated TLS sessions, by request.
    pub tls: Counted<TlsSession>,
    /// Client certificates that were shown.
    pub certificates: Counted<CertificateUse>,
    /// Uses of card data, by where they went.
    pub forwards: Counted<ForwardCount>,
    /// Forwards that asked for a verification code.
    pub codes: Codes,
    /// The last use of each grant, also before the period.
    #[serde(skip)]
    pub grants: Counted<GrantUse>,
    /// What was changed.
    pub changes: Vec<ChangeRow>,
    /// Changes beyond 20,000.
    pub changes_not_itemised: u64,
    /// Starts of instances.
    pub boots: Boots,
    /// Reviews, and which bundle this one is compared with.
    pub filed: Filed,
    /// Keys that came into use.
    pub rotations: Rotations,
}

/// Forwards that asked for a verification code, by outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Codes {
    /// One was released.
    pub released: u64,
    /// The forward was denied.
    pub denied: u64,
    /// It failed.
    pub failed: u64,
}

/// A change of what is in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChangeRow {
    /// Its place in the log.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: String,
    /// How it ended.
    pub outcome: String,
    /// Which way.
    pub reason: String,
    /// By whom; `-` is the service itself.
    pub actor: String,
    /// On what.
    pub object: String,
    /// Whose.
    pub tenant: String,
    /// Version of the policy bundle it names.
    pub bundle_version: Option<u64>,
    /// The bundle's hash.
    pub bundle_sha256: String,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new(period: Period) -> Self {
        Self {
            period,
            entries: 0,
            before: 0,
            after: 0,
            unreadable: 0,
            oldest: None,
            newest: None,
            events: Counted::default(),
            refusals: Counted::default(),
            tls: Counted::default(),
            certificates: Counted::default(),
            forwards: Counted::default(),
            codes: Codes::default(),
            grants: Counted::default(),
            changes: Vec::new(),
            changes_not_itemised: 0,
            boots: Boots::default(),
            filed: Filed::default(),
            rotations: Rotations::default(),
        }
    }

    /// Counts one entry. `true`: it is of the period.
    pub(super) fn take(&mut self, index: u64, entry: &Entry<'_>) -> bool {
        self.oldest = Some(self.oldest.map_or(entry.ts, |oldest| oldest.min(entry.ts)));
        let later = entry.ts >= self.period.until;
        self.boots.take(entry, later);
        if later {
            self.after += 1;
            return false;
        }
        self.newest = Some(self.newest.map_or(entry.ts, |newest| newest.max(entry.ts)));
        let within = self.period.holds(entry.ts);
        self.lasting(within, entry);
        self.filed.take(index, entry, self.period);
        self.rotations.take(index, entry, within);
        if within {
            self.entries += 1;
            self.of_period(index, entry);
        } else {
            self.before += 1;
        }
        within
    }

    /// What matters also before the period: who and what was seen first and last.
    fn lasting(&mut self, within: bool, entry: &Entry<'_>) {
        let at = entry.ts;
        if let Some(tls) = entry.src.as_ref().and_then(|source| source.tls.as_ref()) {
            let (version, suite, group) = (tls.ver.as_ref(), tls.suite.as_ref(), tls.group.as_ref());
            self.tls.add(at, within, TlsSession::of(version, suite, group));
        }
        if let Some(certificate) = &entry.actor.cert_sha256 {
            self.certificates.add(at, within, CertificateUse::of(&entry.actor.id, certificate));
        }
        if entry.out == Outcome::Success.as_str()
            && let Some(used) = grants::used(entry)
        {
            let Used { principal, action, caller, account } = used;
            self.grants.add(at, within, GrantUse { principal, action, caller, account });
        }
    }

    fn of_period(&mut self, index: u64, entry: &Entry<'_>) {
        let at = entry.ts;
        let requirement = requirement(&entry.evt);
        self.events.add(at, true, EventCount::of(&entry.evt, requirement, &entry.out));
        if entry.out != Outcome::Success.as_str() {
            let reason = entry.rsn.as_deref().unwrap_or("-");
            self.refusals.add(at, true, Refusal::of(&entry.evt, &entry.out, reason, &entry.actor.id));
        }
        if entry.evt == Event::PanForward.as_str()
            && let Some(to) = &entry.dst
        {
            let proxy = entry.asserted_by.as_deref().unwrap_or("-");
            self.forwards.add(at, true, ForwardCount::of(to, &entry.actor.id, proxy, &entry.out));
            if to.attributes.iter().any(|attribute| attribute == "cvc") {
                match entry.out.as_ref() {
                    "success" => self.codes.released += 1,
                    "denied" => self.codes.denied += 1,
                    _ => self.codes.failed += 1,
                }
            }
        }
        if is_change(&entry.evt) {
            self.change(index, entry);
        }
    }

    fn change(&mut self, index: u64, entry: &Entry<'_>) {
        if self.changes.len() >= ROWS_MAX {
            self.changes_not_itemised += 1;
            return;
        }
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        self.changes.push(ChangeRow {
            index,
            at: entry.ts,
            event: entry.evt.to_string(),
            outcome: entry.out.to_string(),
            reason: text(entry.rsn.as_deref()),
            actor: entry.actor.id.to_string(),
            object: format!("{} {}", entry.obj.r#type, entry.obj.r#ref),
            tenant: text(entry.obj.tenant.as_deref()),
            bundle_version: entry.pol.as_ref().and_then(|policy| policy.rev),
            bundle_sha256: text(entry.pol.as_ref().map(|policy| policy.sha256.as_ref())),
        });
    }
}

/// The requirement an event is for; of an event of a later release it is not known.
pub(super) fn requirement(event: &str) -> &'static str {
    Event::ALL.iter().find(|known| known.as_str() == event).map_or("other", |known| known.requirement())
}

/// What changes what is in force, and is told one by one: never what happens with every payment.
fn is_change(event: &str) -> bool {
    const CHANGES: [Event; 17] = [
        Event::PolicyActivate,
        Event::ConfigReload,
        Event::TenantCreate,
        Event::TenantChange,
        Event::DekCreate,
        Event::DekDestroy,
        Event::DbMigrate,
        Event::AuditStart,
        Event::AuditStop,
        Event::ExportRequest,
        Event::ExportApprove,
        Event::ExportRun,
        Event::WorkloadSuspend,
        Event::WorkloadResume,
        Event::EvidenceMake,
        Event::ReviewAccess,
        Event::ReviewLog,
    ];
    CHANGES.iter().any(|change| change.as_str() == event)
}
