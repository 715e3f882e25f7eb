//! Follows the log and keeps its index: one replica at a time, behind the sequencer, apart from every request.
//!
//! Promises: the index holds every entry of the tree up to the place it says, and no transaction of it holds the
//! database for long: requests come first.
//! Does not promise: that an entry can be found in the second it was written.
//! Upholds: C-58.

use std::sync::Arc;

use async_trait::async_trait;
use strongroom_domain::{BootId, Clock, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{Leaf, Seen};
use crate::follow::{Consumer, Dealt, Follow, Followed, Span};
use crate::store::find::{Follower, Following, IndexRow};
use crate::store::{Store, StoreError};

/// One replica's indexer.
pub struct Indexer(Follow<Index>);

impl Indexer {
    /// An indexer that holds nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, holder: BootId) -> Self {
        let index = Index { store: Arc::clone(&store) };
        Self(Follow::new(store, clock, holder, index))
    }

    /// Looks until `stop`, then gives the lease up.
    pub async fn run(self, stop: CancellationToken) {
        self.0.run(stop).await;
    }

    /// Takes in what comes next, at most one batch. After an error it begins from what the database holds.
    pub async fn step(&mut self) -> Result<Followed, StoreError> {
        self.0.step().await
    }
}

/// Entries become rows.
struct Index {
    store: Arc<dyn Store>,
}

#[async_trait]
impl Consumer for Index {
    type Error = StoreError;
    const FOLLOWER: Follower = Follower::Find;
    /// One transaction: some five milliseconds.
    const BATCH: u64 = 256;
    const BEHIND: &'static str = "strongroom_log_index_behind";
    const FAILURES: &'static str = "strongroom_log_index_failures_total";

    async fn size(&self) -> Result<u64, StoreError> {
        Ok(self.store.log_head().await?.size)
    }

    async fn take_over(&mut self, _: Following, _: Timestamp) -> Result<(), StoreError> {
        Ok(()) // it remembers nothing
    }

    /// Rows and place are one transaction.
    async fn deal(&mut self, span: Span) -> Result<Dealt, StoreError> {
        let Span { following, next, until, .. } = span;
        let count = u32::try_from(next - following.next).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(Dealt { found: 0, went_on: None });
        }
        let entries = self.store.logged(following.next, count).await?;
        let rows: Vec<IndexRow> = entries.iter().map(|(place, leaf)| row_of(*place, leaf)).collect();
        let went_on = self.store.index().index_entries(following, next, &rows, until).await?;
        Ok(Dealt { found: 0, went_on: Some(went_on) })
    }
}

/// What the index keeps of an entry. Bytes that are no entry are found by the verb `-`.
#[must_use]
pub fn row_of(place: u64, leaf: &Leaf) -> IndexRow {
    let Some(seen) = Seen::of(leaf) else {
        return IndexRow {
            place,
            at: Timestamp::from_unix_micros(0),
            verb: "-".into(),
            outcome: "failure".into(),
            caller: "-".into(),
            proxy: None,
            route: None,
            tenant: None,
            cards: Vec::new(),
            released: false,
        };
    };
    IndexRow {
        place,
        at: seen.ts,
        cards: seen.tokens().collect(),
        released: seen.released(),
        verb: seen.evt,
        outcome: seen.out,
        caller: seen.actor.id,
        proxy: seen.asserted_by,
        route: seen.dst.map(|dst| dst.route_id),
        tenant: seen.obj.tenant,
    }
}
