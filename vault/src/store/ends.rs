//! How cards end: which have come to an end, and at whose word they are hidden.
//!
//! One text of each condition for both drivers; only the way to ask for a length differs.

use strongroom_domain::{TenantId, Timestamp, TokenHash, WorkloadId};

/// At whose word a card is hidden.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HiddenBy {
    /// A caller erased it.
    Caller(WorkloadId),
    /// Its own `expires_at` passed.
    Expiry,
    /// Its tenant's retention ended.
    Retention,
}

impl HiddenBy {
    /// As the store writes it. No identity looks like one of the words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Caller(workload) => workload.as_str(),
            Self::Expiry => "expired",
            Self::Retention => "retention",
        }
    }
}

/// A card that has come to an end, by as much as ending it needs: no text of the row is read, so a row that was altered
/// ends like any other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueCard {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub token: TokenHash,
    /// Its version as it was seen.
    pub row_version: u64,
}

/// Which cards are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Due<'a> {
    /// Not hidden, and `expires_at` is over at this time.
    Expired(Timestamp),
    /// Not hidden, of one tenant, and last changed at this time or before: its retention is over.
    Unchanged(&'a TenantId, Timestamp),
    /// Hidden, and the hold is over at this time.
    Condemned(Timestamp),
    /// Hidden, of one tenant, and could be shown again.
    Restorable(&'a Hidden),
}

/// What one tenant keeps, and what of it should be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Not hidden, and the retention is over.
    pub outlived: u64,
    /// Not hidden, and expired.
    pub expired: u64,
    /// Hidden, and not destroyed after the hold.
    pub condemned: u64,
    /// When the card that is kept longest was last changed; none if no card is kept.
    pub oldest: Option<Timestamp>,
}

/// Hidden cards of one tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hidden {
    /// Whose.
    pub tenant: TenantId,
    /// At whose word, if that matters.
    pub by: Option<WorkloadId>,
    /// Hidden at this time or later.
    pub from: Timestamp,
    /// Hidden before this time.
    pub until: Timestamp,
    /// The time: what ends before it has ended.
    pub at: Timestamp,
    /// What was last changed before this has ended; none if nothing ends by age.
    pub kept_since: Option<Timestamp>,
}
