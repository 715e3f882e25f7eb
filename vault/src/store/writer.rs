//! What a driver does for the committer: one connection, one transaction at a time, each kind of change in one statement.

mod inserts;
mod updates;

use std::ops::Range;

use async_trait::async_trait;
use strongroom_domain::{BootId, DataKeyId, Expiry, ForwardId, TenantId, Timestamp, TokenHash, WorkloadId};

use super::change::{CardUpdate, Change, Committed, Names};
use super::ends::HiddenBy;
use super::error::WriteError;
use super::filed::Filed;
use super::keys::WrappedKey;
use super::outbox::{CardEvent, DestinationName, Outbox};
use super::rows::{
    BootRow, CardRow, ForwardRow, ForwardState, IdempotencyRow, Reconciled, ReferenceRow, TenantRow,
};
use crate::audit::Leaf;

pub(super) use self::inserts::{Claim, Held, HeldNames, Winners};
pub(super) use self::updates::HeldCards;

/// Most records one data key seals (design §4: 2^24), less room for what instances sealed and have not counted yet.
pub(super) const KEY_RECORDS_MAX: i64 = (1 << 24) - (1 << 17);

/// The writing connection. Calls come in the order [`Self::apply`], [`Self::tell`] if there is anything to tell,
/// [`Self::append`], [`Self::commit`]; after an error
/// of any of them [`Self::roll_back`], or the writer is dropped.
#[async_trait]
pub trait Writer: Send {
    /// Writes a boot's row and its first entry, number 0, in a transaction of its own.
    async fn open_boot(&mut self, boot: &BootRow, leaf: &Leaf) -> Result<(), WriteError>;

    /// The number of this boot's next entry, once every transaction that could change it has ended. One whose connection
    /// was given up and that has not begun yet comes too late after this: it finds the boot's row written since.
    async fn next_seq(&mut self, boot: BootId) -> Result<Option<u64>, WriteError>;

    /// Makes a plain batch and its entries, numbered from `from`, durable in one step, if all of it can be
    /// [`Committed::Done`] and `from` is the boot's next number. `false`: it cannot, nothing happened, and
    /// [`Self::apply`] says why. After an error that leaves no doubt nothing happened either, and nothing is to be undone.
    async fn at_once(
        &mut self,
        batch: &Batch<'_>,
        boot: BootId,
        from: u64,
        leaves: &[Leaf],
    ) -> Result<bool, WriteError>;

    /// Begins a transaction and makes a batch's changes. Says for each what became of it, in order.
    async fn apply(&mut self, batch: &Batch<'_>) -> Result<Vec<Committed>, WriteError>;

    /// Writes what is told of the changes, for everybody whose audience it is.
    async fn tell(&mut self, outbox: &Outbox, events: &[CardEvent<'_>]) -> Result<(), WriteError>;

    /// Writes entries under the numbers from `from`, if that is the boot's next.
    async fn append(
        &mut self,
        boot: BootId,
        from: u64,
        leaves: &[Leaf],
        now: Timestamp,
    ) -> Result<(), WriteError>;

    /// Makes it durable.
    async fn commit(&mut self) -> Result<(), WriteError>;

    /// Undoes everything since [`Self::apply`].
    async fn roll_back(&mut self) -> Result<(), WriteError>;
}

/// Where a boot's log must stand for a batch that is written at once.
#[derive(Clone, Copy)]
pub(super) struct BootAt {
    pub(super) boot: BootId,
    pub(super) seq: u64,
    /// What [`Writer::next_seq`] changes: a statement that was given up and comes late finds another.
    pub(super) written_at: i64,
}

/// The changes of one transaction by kind, each with its place in the answer. No two touch the same row.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The time of the transaction: keys and answers that end before it are over.
    pub now: Timestamp,
    /// How many changes there are.
    pub len: usize,
    /// How much each data key sealed since this was last written.
    pub uses: &'a [(DataKeyId, u64)],
    pub(super) inserts: Vec<Insert<'a>>,
    pub(super) cards: Vec<NewCard<'a>>,
    pub(super) updates: Vec<Update<'a>>,
    pub(super) erasures: Vec<Erasure<'a>>,
    pub(super) restored: Vec<Restored<'a>>,
    pub(super) destroyed: Vec<Destroyed<'a>>,
    pub(super) forwards: Vec<&'a ForwardRow>,
    /// Forwards that are to be the only ones under their payment references.
    pub(super) once: Vec<Once<'a>>,
    pub(super) outcomes: Vec<Told<'a>>,
    /// A few a day, so each by itself.
    pub(super) findings: Vec<Finding<'a>>,
    pub(super) tenants: Vec<TenantPut<'a>>,
    pub(super) keys: Vec<(usize, &'a WrappedKey)>,
    /// Keys in the place of others: a few a year, so each by itself.
    pub(super) successors: Vec<(usize, DataKeyId, &'a WrappedKey)>,
    /// What is written of exports: a few a day, so each by itself.
    pub(super) exports: Vec<(usize, &'a Change)>,
    /// What is written of suspensions: fewer still.
    pub(super) suspensions: Vec<(usize, &'a Change)>,
    pub(super) filed: Vec<(usize, &'a Filed)>,
    pub(super) near_ends: Vec<NearEnd<'a>>,
    pub(super) replays: Vec<Replay<'a>>,
}

/// Near ends of a card to mark as told.
#[derive(Debug)]
pub(super) struct NearEnd<'a> {
    pub(super) at: usize,
    pub(super) tenant: &'a TenantId,
    pub(super) hash: TokenHash,
    pub(super) expiry: Option<Expiry>,
    pub(super) expires_at: Option<Timestamp>,
}

/// Events to deliver again.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    pub(super) destination: &'a DestinationName,
    pub(super) events: &'a [(TokenHash, u64)],
    pub(super) time: Timestamp,
    pub(super) give_up_at: Timestamp,
}

/// Cards to add together, by their place among all.
#[derive(Debug)]
pub(super) struct Insert<'a> {
    pub(super) at: usize,
    pub(super) cards: Range<usize>,
    pub(super) names: &'a Names,
    pub(super) idempotency: Option<&'a IdempotencyRow>,
}

/// A card to add.
#[derive(Debug)]
pub(super) struct NewCard<'a> {
    pub(super) card: &'a CardRow,
    pub(super) hash: TokenHash,
}

/// Cards to change together.
#[derive(Debug)]
pub(super) struct Update<'a> {
    pub(super) at: usize,
    pub(super) updates: &'a [CardUpdate],
    pub(super) idempotency: Option<&'a IdempotencyRow>,
}

/// A card to hide.
#[derive(Debug)]
pub(super) struct Erasure<'a> {
    pub(super) at: usize,
    pub(super) tenant: &'a TenantId,
    pub(super) hash: TokenHash,
    pub(super) time: Timestamp,
    pub(super) destroy_after: Timestamp,
    pub(super) by: &'a HiddenBy,
    pub(super) expected_version: Option<u64>,
    pub(super) idempotency: Option<&'a IdempotencyRow>,
}

/// A card to show again.
#[derive(Debug)]
pub(super) struct Restored<'a> {
    pub(super) at: usize,
    pub(super) tenant: &'a TenantId,
    pub(super) hash: TokenHash,
    pub(super) time: Timestamp,
    pub(super) kept_since: Option<Timestamp>,
}

/// A card to destroy.
#[derive(Debug)]
pub(super) struct Destroyed<'a> {
    pub(super) at: usize,
    pub(super) tenant: &'a TenantId,
    pub(super) hash: TokenHash,
    pub(super) expected_version: u64,
    pub(super) time: Timestamp,
}

/// An outcome to write.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) at: usize,
    pub(super) id: ForwardId,
    pub(super) proxy: &'a WorkloadId,
    pub(super) state: ForwardState,
    pub(super) outcome: &'a serde_json::Value,
    pub(super) time: Timestamp,
}

/// A forward to open if its payment reference is free.
#[derive(Debug)]
pub(super) struct Once<'a> {
    pub(super) at: usize,
    pub(super) forward: &'a ForwardRow,
    pub(super) reference: &'a ReferenceRow,
}

/// What was found out of a forward.
#[derive(Debug)]
pub(super) struct Finding<'a> {
    pub(super) at: usize,
    pub(super) tenant: &'a TenantId,
    pub(super) id: ForwardId,
    pub(super) reconciled: &'a Reconciled,
}

/// A tenant to write.
#[derive(Debug)]
pub(super) struct TenantPut<'a> {
    pub(super) at: usize,
    pub(super) tenant: &'a TenantRow,
    pub(super) expected_version: Option<u64>,
}

impl<'a> Batch<'a> {
    /// Sorts changes by kind. That no two touch the same row is the caller's to see to.
    #[must_use]
    pub fn of(
        changes: impl Iterator<Item = &'a Change>,
        now: Timestamp,
        uses: &'a [(DataKeyId, u64)],
    ) -> Self {
        let mut batch = Self {
            now,
            len: 0,
            uses,
            inserts: Vec::new(),
            cards: Vec::new(),
            updates: Vec::new(),
            erasures: Vec::new(),
            restored: Vec::new(),
            destroyed: Vec::new(),
            forwards: Vec::new(),
            once: Vec::new(),
            outcomes: Vec::new(),
            findings: Vec::new(),
            tenants: Vec::new(),
            keys: Vec::new(),
            successors: Vec::new(),
            near_ends: Vec::new(),
            replays: Vec::new(),
            exports: Vec::new(),
            suspensions: Vec::new(),
            filed: Vec::new(),
        };
        for (at, change) in changes.enumerate() {
            batch.len = at + 1;
            batch.add(at, change);
        }
        batch
    }

    /// Whether it is of the kinds that come all the time, and may be written without asking first.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        // By name, so that a new kind of change is thought of here.
        let Self {
            now: _,
            len: _,
            uses,
            inserts,
            cards: _,
            updates,
            erasures,
            restored,
            destroyed,
            forwards: _,
            once,
            outcomes: _,
            findings,
            tenants,
            keys,
            successors,
            exports,
            suspensions,
            filed,
            near_ends,
            replays,
        } = self;
        uses.is_empty()
            && inserts.iter().all(|insert| insert.names.is_empty())
            && (updates.is_empty() && erasures.is_empty() && restored.is_empty() && destroyed.is_empty())
            && (tenants.is_empty()
                && keys.is_empty()
                && successors.is_empty()
                && exports.is_empty()
                && suspensions.is_empty()
                && filed.is_empty())
            && (near_ends.is_empty() && replays.is_empty() && once.is_empty() && findings.is_empty())
    }

    /// The answers its cards are to leave under their idempotency scopes.
    pub(super) fn answers(&self) -> Vec<&'a IdempotencyRow> {
        self.inserts.iter().filter_map(|insert| insert.idempotency).collect()
    }

    fn add(&mut self, at: usize, change: &'a Change) {
        match change {
            Change::InsertCards { cards, names, idempotency, .. } => {
                let first = self.cards.len();
                self.cards.extend(cards.iter().map(|card| NewCard { card, hash: card.token.hash() }));
                let cards = first..self.cards.len();
                self.inserts.push(Insert { at, cards, names, idempotency: idempotency.as_deref() });
            }
            Change::UpdateCards { updates, idempotency, .. } => {
                self.updates.push(Update { at, updates, idempotency: idempotency.as_deref() });
            }
            Change::EraseCard {
                tenant,
                token,
                at: time,
                destroy_after,
                by,
                expected_version,
                idempotency,
                ..
            } => {
                self.erasures.push(Erasure {
                    at,
                    tenant,
                    hash: *token,
                    time: *time,
                    destroy_after: *destroy_after,
                    by,
                    expected_version: *expected_version,
                    idempotency: idempotency.as_deref(),
                });
            }
            Change::RestoreCard { tenant, token, at: time, kept_since, .. } => {
                let (hash, time, kept_since) = (*token, *time, *kept_since);
                self.restored.push(Restored { at, tenant, hash, time, kept_since });
            }
            Change::DestroyCard { tenant, token, expected_version, at: time, .. } => {
                let (hash, expected_version, time) = (*token, *expected_version, *time);
                self.destroyed.push(Destroyed { at, tenant, hash, expected_version, time });
            }
            Change::OpenForward { forward, reference: None, .. } => self.forwards.push(forward),
            Change::OpenForward { forward, reference: Some(reference), .. } => {
                self.once.push(Once { at, forward, reference });
            }
            Change::RecordOutcome { id, proxy, state, outcome, at: time, .. } => {
                self.outcomes.push(Told { at, id: *id, proxy, state: *state, outcome, time: *time });
            }
            Change::ReconcileForward { tenant, id, reconciled, .. } => {
                self.findings.push(Finding { at, tenant, id: *id, reconciled });
            }
            Change::PutTenant { tenant, expected_version, .. } => {
                self.tenants.push(TenantPut { at, tenant, expected_version: *expected_version });
            }
            Change::InsertKey { key, .. } => self.keys.push((at, key)),
            Change::ReplaceKey { former, key, .. } => self.successors.push((at, *former, key)),
            Change::TellExpiring { tenant, token, expiry, expires_at, .. } => {
                let (hash, expiry, expires_at) = (*token, *expiry, *expires_at);
                self.near_ends.push(NearEnd { at, tenant, hash, expiry, expires_at });
            }
            Change::ReplayEvents { destination, events, at: time, give_up_at, .. } => {
                let (time, give_up_at) = (*time, *give_up_at);
                self.replays.push(Replay { destination, events, time, give_up_at });
            }
            Change::RequestExport { .. }
            | Change::ApproveExport { .. }
            | Change::BeginExportRun { .. }
            | Change::EndExportRun { .. } => self.exports.push((at, change)),
            Change::SuspendWorkload { .. } | Change::ResumeWorkload { .. } => {
                self.suspensions.push((at, change));
            }
            Change::File { filed, .. } => self.filed.push((at, filed)),
            Change::Entry { .. } | Change::Entries { .. } => {}
        }
    }
}
