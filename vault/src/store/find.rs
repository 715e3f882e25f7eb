//! The index of the log: which entries name a card, a workload, a route, a tenant, a verb, an outcome, a time.
//!
//! A page begins after a *place*, an entry's number in the log. Places never change and entries are only added at the end, so
//! an entry is on exactly one page, however many are added meanwhile.
//!
//! Promises: one page looks at no more than [`PLACES_LOOKED_AT_MAX`] places; the index is extended by the holder of the lease
//! alone, from the place that holder saw, in one transaction.
//! Does not promise: to be honest. Whoever changes the database can hide entries from it; [`LoggedLeaf::intact`] tells
//! of entries that were changed, and reading the log itself of those that are not in the index.
//! Upholds: C-58.

mod activity;
mod driver;
mod rows;
mod sql;

use async_trait::async_trait;
use strongroom_domain::{BootId, Brand, CardFacts, TenantId, Timestamp, TokenRef};

use super::error::StoreError;
use super::log::Lease;
use crate::audit::tree::Hash;
use crate::audit::{EntryId, Leaf};

pub use activity::{ACTIVITY_PLACES_MAX, ActivityRow, ActivityStore};

pub(super) use activity::activity_store;
pub(super) use driver::{Dialect, FENCED, find_store};
pub(super) use rows::{Rows, hashes_of, names, token_key};
pub(super) use sql::{Column, Known, PageSql, bounds_sql};

/// Most places one page looks at: some ten milliseconds, whatever the filter leaves of them.
pub const PLACES_LOOKED_AT_MAX: u32 = 20_000;
/// Most entries of one [`FindStore::leaves`].
pub const LEAVES_READ_MAX: usize = 256;
/// Entries of one row of times.
pub const SPAN: u64 = 4_096;

/// What follows the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follower {
    /// The index.
    Find,
    /// The rules.
    Watch,
    /// Findings to a syslog server.
    Syslog,
}

impl Follower {
    /// As the database names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Watch => "watch",
            Self::Syslog => "syslog",
        }
    }
}

/// The right to go on from a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Following {
    /// Who holds it.
    pub lease: Lease,
    /// The first place that is not done.
    pub next: u64,
}

/// What the index keeps of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexRow {
    /// Its place in the log.
    pub place: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub verb: String,
    /// How it ended.
    pub outcome: String,
    /// Who.
    pub caller: String,
    /// On whose word.
    pub proxy: Option<String>,
    /// Where card data went or was to go.
    pub route: Option<String>,
    /// Whose.
    pub tenant: Option<String>,
    /// The cards it names.
    pub cards: Vec<TokenRef>,
    /// Whether card data was released.
    pub released: bool,
}

/// Which entries are wanted: all that fit everything said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EntryFilter {
    /// That name this card.
    pub token: Option<TokenRef>,
    /// By this workload or person, or on its word.
    pub workload: Option<String>,
    /// Of this route.
    pub route: Option<String>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this event.
    pub verb: Option<String>,
    /// That ended so.
    pub outcome: Option<String>,
    /// That happened at this time or later.
    pub from: Option<Timestamp>,
    /// That happened before this time.
    pub until: Option<Timestamp>,
}

/// Which part of what was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryRange {
    /// Newest first; else oldest first.
    pub newest_first: bool,
    /// After this place, in that order.
    pub after: Option<u64>,
    /// Most of them.
    pub limit: u32,
}

/// A page of places.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PlacePage {
    /// In the order asked for.
    pub places: Vec<u64>,
    /// What the next page comes after; none after the last.
    pub next: Option<u64>,
}

/// A use of a card: its place, and where the next page begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UsePlace {
    /// The card, by the first eight bytes of its token's hash.
    pub token: i64,
    /// Where the entry stands.
    pub place: u64,
}

/// Uses of cards by one workload, card by card.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UsePage {
    /// By card, then by place.
    pub uses: Vec<UsePlace>,
    /// What the next page comes after; none after the last.
    pub next: Option<UsePlace>,
}

/// An entry of the log as the database holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedLeaf {
    /// Its place in the log.
    pub place: u64,
    /// Its name.
    pub id: EntryId,
    /// Its bytes; none if it was removed.
    pub leaf: Option<Leaf>,
    /// Its hash in the tree; none if the tile was removed.
    pub hash: Option<Hash>,
}

impl LoggedLeaf {
    /// The entry, if its bytes are those the tree was made of.
    #[must_use]
    pub fn intact(&self) -> Option<&Leaf> {
        self.leaf.as_ref().filter(|leaf| Some(Hash::of_leaf(leaf.as_bytes())) == self.hash)
    }
}

/// What is known of a card by the reference of its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedCardRow {
    /// The reference.
    pub token: TokenRef,
    /// Its tenant.
    pub tenant: TenantId,
    /// Facts: no number.
    pub facts: CardFacts,
    /// Its brand.
    pub brand: Option<Brand>,
}

/// The database side of the index.
#[async_trait]
pub trait FindStore: ActivityStore + Send + Sync {
    /// The right to follow the log, if nobody else holds it at `now`.
    async fn follow(
        &self,
        follower: Follower,
        holder: BootId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Following>, StoreError>;

    /// The first place a follower is not done with.
    async fn followed(&self, follower: Follower) -> Result<u64, StoreError>;

    /// Is done up to `next`, and holds on until then. `false`: somebody else has the lease, or went on.
    async fn go_on(
        &self,
        follower: Follower,
        following: Following,
        next: u64,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The same for the index, with rows for what lies between.
    async fn index_entries(
        &self,
        following: Following,
        next: u64,
        rows: &[IndexRow],
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// A page of what fits.
    async fn places(&self, filter: &EntryFilter, range: EntryRange) -> Result<PlacePage, StoreError>;

    /// A page of the cards whose data was released for this workload, or on its word, within these times.
    async fn uses(
        &self,
        workload: &str,
        window: (Option<Timestamp>, Option<Timestamp>),
        after: Option<UsePlace>,
        limit: u32,
    ) -> Result<UsePage, StoreError>;

    /// Whether anybody, and whether this workload, had this card's data before this place.
    async fn used_before(
        &self,
        token: &TokenRef,
        workload: &str,
        place: u64,
    ) -> Result<(bool, bool), StoreError>;

    /// Where in the log this was first seen: there, if it is new.
    async fn first_seen(&self, name: &[u8; 32], place: u64) -> Result<u64, StoreError>;

    /// The entries at these places, in their order. At most [`LEAVES_READ_MAX`].
    async fn leaves(&self, places: &[u64]) -> Result<Vec<LoggedLeaf>, StoreError>;

    /// Facts of these cards, as far as there are rows. At most [`LEAVES_READ_MAX`].
    async fn named_cards(&self, tokens: &[TokenRef]) -> Result<Vec<NamedCardRow>, StoreError>;
}
