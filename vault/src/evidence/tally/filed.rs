//! Reviews and bundles, as the log names them.

use serde::Serialize;
use strongroom_domain::Timestamp;

use super::ROWS_MAX;
use crate::audit::{Event, Outcome};
use crate::evidence::Period;
use crate::evidence::entry::Entry;
use crate::review::ReviewKind;

/// What the log says was filed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Filed {
    /// Reviews before the end of the period, in the order of the log.
    pub reviews: Vec<ReviewEntry>,
    /// Reviews beyond 20,000.
    pub not_itemised: u64,
    /// The newest bundle made before the period.
    #[serde(skip)]
    before: Option<BundleEntry>,
    /// The first one made in it.
    #[serde(skip)]
    first_within: Option<BundleEntry>,
}

/// A review.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ReviewEntry {
    /// Its place in the log.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// Of what.
    pub kind: ReviewKind,
    /// Its number within its kind.
    pub number: u64,
    /// Hash of what was signed.
    pub sha256: String,
    /// Who.
    pub actor: String,
    /// With which certificate.
    pub certificate_sha256: String,
    /// `approved` or `follow-up`.
    pub decision: String,
}

/// A bundle that was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BundleEntry {
    /// Its place in the log.
    pub index: u64,
    /// When.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// Hash of its manifest.
    pub manifest_sha256: String,
}

impl Filed {
    /// Looks at an entry from before the end of the period.
    pub(super) fn take(&mut self, index: u64, entry: &Entry<'_>, period: Period) {
        if entry.out != Outcome::Success.as_str() {
            return;
        }
        if entry.evt == Event::EvidenceMake.as_str() {
            let made = BundleEntry {
                index,
                made_at: entry.ts,
                made_by: entry.actor.id.to_string(),
                manifest_sha256: entry.obj.r#ref.to_string(),
            };
            if period.holds(entry.ts) {
                self.first_within.get_or_insert(made);
            } else {
                self.before = Some(made);
            }
        }
        let kind = ReviewKind::ALL.into_iter().find(|kind| kind.event().as_str() == entry.evt);
        let Some(kind) = kind.filter(|_| entry.rsn.as_deref() != Some("unchanged")) else { return };
        if self.reviews.len() >= ROWS_MAX {
            self.not_itemised += 1;
            return;
        }
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        self.reviews.push(ReviewEntry {
            index,
            at: entry.ts,
            kind,
            number: entry.n.unwrap_or_default(),
            sha256: entry.obj.r#ref.to_string(),
            actor: entry.actor.id.to_string(),
            certificate_sha256: text(entry.actor.cert_sha256.as_deref()),
            decision: text(entry.rsn.as_deref()),
        });
    }

    /// The bundle this one is compared with: the first made in the period, or else the newest before it. Nobody chooses: whoever makes
    /// one more in the period moves nothing.
    pub fn previous(&self) -> Option<&BundleEntry> {
        self.first_within.as_ref().or(self.before.as_ref())
    }

    /// Reviews of one kind.
    pub fn of(&self, kind: ReviewKind) -> impl Iterator<Item = &ReviewEntry> {
        self.reviews.iter().filter(move |review| review.kind == kind)
    }
}
