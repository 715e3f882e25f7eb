//! What can be asked of the committer.

use strongroom_domain::{DataKeyId, Expiry, ExportId, ForwardId, TenantId, Timestamp, TokenHash, WorkloadId};
use strongroom_sealing::Fingerprint;

use super::ends::HiddenBy;
use super::filed::Filed;
use super::keys::WrappedKey;
use super::outbox::DestinationName;
use super::rows::{
    AliasRow, CardRow, ExportApproval, ExportRow, ExportRunRow, ForwardRow, ForwardState, Holder,
    IdempotencyRow, Reconciled, ReferenceRow, TenantRow,
};
use super::suspensions::{SuspensionBounds, SuspensionRow};
use crate::audit::Draft;

/// One change with its audit entries. Both are committed in one transaction, or neither.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds cards of one tenant, all of them or none.
    ///
    /// `KeyNotActive` if a data key no longer seals; `Replay` if the idempotency scope is taken; `Conflict` if a token,
    /// a fingerprint or an alias is another card's, or a card is not known any more by its fingerprint.
    InsertCards {
        /// The cards. None, if every card of a request was refused or known.
        cards: Vec<CardRow>,
        /// What else leads to them, and to cards that are there already.
        names: Names,
        /// The answer to give again.
        idempotency: Option<Box<IdempotencyRow>>,
        /// `pan.tokenize`, one for each card, also for those that were refused.
        entries: Vec<Draft>,
    },
    /// Changes cards of one tenant, all of them or none.
    ///
    /// `Replay` if the idempotency scope is taken; `KeyNotActive` if a data key no longer seals; `Conflict` if a card is not
    /// there at the version expected any more, or an alias is another card's.
    UpdateCards {
        /// The cards. None, if every update of a request was refused.
        updates: Vec<CardUpdate>,
        /// The answer to give again.
        idempotency: Option<Box<IdempotencyRow>>,
        /// `record.update`, one for each card, also for those that were refused.
        entries: Vec<Draft>,
    },
    /// Hides a card. `Missing` if it is unknown, another tenant's, hidden already, or not at the version expected.
    EraseCard {
        /// Whose it must be.
        tenant: TenantId,
        /// Which.
        token: TokenHash,
        /// When it is hidden.
        at: Timestamp,
        /// When it may be destroyed.
        destroy_after: Timestamp,
        /// At whose word.
        by: HiddenBy,
        /// The version it must have; none if any will do.
        expected_version: Option<u64>,
        /// The answer to give again.
        idempotency: Option<Box<IdempotencyRow>>,
        /// `record.shred`.
        entry: Draft,
    },
    /// Shows a hidden card again. `Missing` if it is not hidden, its hold is over, it was destroyed, or it would end again
    /// at once.
    RestoreCard {
        /// Whose it must be.
        tenant: TenantId,
        /// Which.
        token: TokenHash,
        /// When.
        at: Timestamp,
        /// What was last changed before this has ended; none if nothing ends by age.
        kept_since: Option<Timestamp>,
        /// `record.restore`.
        entry: Draft,
    },
    /// Destroys a hidden card whose hold is over: record, facts, notes, fingerprints and other names. The row stays, so its
    /// token is never issued again. `Missing` if it is not hidden, the hold is not over, or somebody changed it first.
    DestroyCard {
        /// Whose it must be.
        tenant: TenantId,
        /// Which.
        token: TokenHash,
        /// The version it must have.
        expected_version: u64,
        /// When.
        at: Timestamp,
        /// `record.shred`.
        entry: Draft,
    },
    /// Opens a forward. Once this is `Done`, and not before, card data may leave.
    ///
    /// `Taken` if its payment reference is another forward's. One of which nothing was sent gives it up.
    OpenForward {
        /// The forward.
        forward: Box<ForwardRow>,
        /// The payment reference that is to be its own, and of no other of its tenant, route and account.
        reference: Option<ReferenceRow>,
        /// `pan.forward`, one for each card.
        entries: Vec<Draft>,
    },
    /// Writes what became of a forward. `Missing` if this proxy has no such forward; `Conflict` if an outcome is
    /// known already.
    RecordOutcome {
        /// Which.
        id: ForwardId,
        /// Who opened it.
        proxy: WorkloadId,
        /// What became of it; not `Open`.
        state: ForwardState,
        /// Details.
        outcome: serde_json::Value,
        /// When.
        at: Timestamp,
        /// `forward.outcome`.
        entry: Draft,
    },
    /// Writes what the PSP says of a forward whose outcome is unknown. `Missing` if the tenant has no such forward;
    /// `Conflict` if its outcome is known, or still to come.
    ReconcileForward {
        /// Whose it must be.
        tenant: TenantId,
        /// Which.
        id: ForwardId,
        /// What was found out.
        reconciled: Box<Reconciled>,
        /// `forward.reconcile`.
        entry: Draft,
    },
    /// Creates (`expected_version` none) or changes a tenant. `Conflict` if it is there already, or at another version;
    /// `Missing` if there is none to change.
    PutTenant {
        /// The tenant as it is to be. Its version must be one more than expected.
        tenant: Box<TenantRow>,
        /// The version it must have now.
        expected_version: Option<u64>,
        /// `tenant.create` or `tenant.change`.
        entry: Draft,
    },
    /// Writes down an export that was asked for.
    RequestExport {
        /// The export.
        export: Box<ExportRow>,
        /// `export.request`.
        entry: Draft,
    },
    /// Approves an export. `Missing` if it is not there with this content; `Conflict` if it is approved already, over, or
    /// asked for by the same person.
    ApproveExport {
        /// Whose.
        tenant: TenantId,
        /// Which.
        id: ExportId,
        /// What the approver said it is.
        sha256: [u8; 32],
        /// The approval.
        approval: Box<ExportApproval>,
        /// `export.approve`.
        entry: Draft,
    },
    /// Begins a run. `Conflict` if the export is not approved, over, or had another run since it was looked at.
    BeginExportRun {
        /// Which export.
        id: ExportId,
        /// The run: its number must be the next.
        run: Box<ExportRunRow>,
        /// `export.run`.
        entry: Draft,
    },
    /// Ends a run, once. `Conflict` if it ended already.
    EndExportRun {
        /// Which export.
        id: ExportId,
        /// Which run.
        run: u32,
        /// When.
        at: Timestamp,
        /// What came of it.
        manifest: String,
        /// `export.run`.
        entry: Draft,
    },
    /// Suspends a workload. `Conflict` if it is suspended already, or the bounds do not hold.
    SuspendWorkload {
        /// Who, since when, by whom.
        suspension: Box<SuspensionRow>,
        /// What must hold.
        bounds: SuspensionBounds,
        /// `workload.suspend`.
        entry: Draft,
    },
    /// Ends a suspension. `Missing` if none is in force.
    ResumeWorkload {
        /// Whose.
        workload: WorkloadId,
        /// When.
        at: Timestamp,
        /// `workload.resume`.
        entry: Draft,
    },
    /// Files a review that was signed, or what is kept of a bundle. `Conflict` if its number or it itself is taken.
    File {
        /// What.
        filed: Box<Filed>,
        /// `review.access`, `review.log` or `evidence.make`.
        entry: Draft,
    },
    /// Adds a wrapped data key. `Conflict` if its scope and purpose have an active one.
    InsertKey {
        /// The key.
        key: Box<WrappedKey>,
        /// `dek.create`.
        entry: Draft,
    },
    /// Adds a wrapped data key in the place of the active one, which only opens from then on. `Conflict` if that one is not the
    /// active one any more.
    ReplaceKey {
        /// The one that is active.
        former: DataKeyId,
        /// Its successor, of the same scope and purpose.
        key: Box<WrappedKey>,
        /// `dek.create`.
        entry: Draft,
    },
    /// Marks that a card's near ends were told, so that each is told once; the event itself is in the outbox with it.
    /// `Missing` if the card is hidden or ends otherwise by now, or this was told already.
    TellExpiring {
        /// Whose it must be.
        tenant: TenantId,
        /// Which.
        token: TokenHash,
        /// The month that is near its end, if that is what is told.
        expiry: Option<Expiry>,
        /// The end of the token that is near, if that is what is told.
        expires_at: Option<Timestamp>,
        /// When.
        at: Timestamp,
        /// `card.expiring`.
        entry: Draft,
    },
    /// Delivers events again that were delivered or given up. Those that are pending stay as they are.
    ReplayEvents {
        /// To which destination.
        destination: DestinationName,
        /// Which: cards and sequences.
        events: Vec<(TokenHash, u64)>,
        /// When.
        at: Timestamp,
        /// When they are given up.
        give_up_at: Timestamp,
        /// `events.replay`.
        entry: Draft,
    },
    /// Writes an entry alone: a refusal, a read.
    Entry {
        /// The entry.
        entry: Draft,
    },
    /// Writes entries that belong to no change: a read of many cards.
    Entries {
        /// The entries, at least one.
        entries: Vec<Draft>,
    },
}

/// What a card becomes.
#[derive(Clone, Debug)]
pub struct CardUpdate {
    /// As it is to be, at the version after the one it must have. Token, tenant and the day it came in stay.
    pub card: CardRow,
    /// Whether its fingerprint is to lead to it, unless that leads to another card. Where the number came with this
    /// version, the fingerprint of the number before leads to it no more.
    pub claims: bool,
    /// Aliases to add.
    pub aliases: Vec<AliasRow>,
}

impl CardUpdate {
    /// The version the card must have.
    pub(super) const fn expected_version(&self) -> u64 {
        self.card.row_version.saturating_sub(1)
    }

    /// Whether the number is another one than before.
    pub(super) const fn changes_number(&self) -> bool {
        self.card.number_version == self.card.row_version
    }
}

/// What leads to cards besides their tokens.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Whether the fingerprints of the new cards are to lead to them and to no other. A fingerprint that led to a card
    /// that is hidden or over leads to the new one from then on.
    pub unique: bool,
    /// Cards that must be there already.
    pub known: Vec<KnownCard>,
    /// Aliases to add. One that leads to its card already is no conflict.
    pub aliases: Vec<AliasRow>,
}

/// A card that must be there already: not hidden, not over, and the one its fingerprint leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownCard {
    /// Whose.
    pub tenant: TenantId,
    /// By which it is known.
    pub fingerprint: Fingerprint,
    /// The card.
    pub token: TokenHash,
}

impl Names {
    /// Whether there is nothing to look at or to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.unique && self.known.is_empty() && self.aliases.is_empty()
    }
}

impl Change {
    /// Its audit entries.
    pub(super) fn entries(&self) -> &[Draft] {
        match self {
            Self::EraseCard { entry, .. }
            | Self::RestoreCard { entry, .. }
            | Self::DestroyCard { entry, .. }
            | Self::RecordOutcome { entry, .. }
            | Self::ReconcileForward { entry, .. }
            | Self::PutTenant { entry, .. }
            | Self::InsertKey { entry, .. }
            | Self::ReplaceKey { entry, .. }
            | Self::TellExpiring { entry, .. }
            | Self::ReplayEvents { entry, .. }
            | Self::RequestExport { entry, .. }
            | Self::ApproveExport { entry, .. }
            | Self::BeginExportRun { entry, .. }
            | Self::EndExportRun { entry, .. }
            | Self::SuspendWorkload { entry, .. }
            | Self::ResumeWorkload { entry, .. }
            | Self::File { entry, .. }
            | Self::Entry { entry } => std::slice::from_ref(entry),
            Self::InsertCards { entries, .. }
            | Self::UpdateCards { entries, .. }
            | Self::OpenForward { entries, .. }
            | Self::Entries { entries } => entries,
        }
    }

    /// How many rows it is about: what a queue and a transaction have bounds for.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::InsertCards { cards, .. } => cards.len().max(1),
            Self::UpdateCards { updates, .. } => updates.len().max(1),
            Self::Entries { entries } => entries.len(),
            Self::ReplayEvents { events, .. } => events.len().max(1),
            Self::EraseCard { .. }
            | Self::RestoreCard { .. }
            | Self::DestroyCard { .. }
            | Self::OpenForward { .. }
            | Self::RecordOutcome { .. }
            | Self::ReconcileForward { .. }
            | Self::PutTenant { .. }
            | Self::InsertKey { .. }
            | Self::ReplaceKey { .. }
            | Self::TellExpiring { .. }
            | Self::RequestExport { .. }
            | Self::ApproveExport { .. }
            | Self::BeginExportRun { .. }
            | Self::EndExportRun { .. }
            | Self::SuspendWorkload { .. }
            | Self::ResumeWorkload { .. }
            | Self::File { .. }
            | Self::Entry { .. } => 1,
        }
    }

    /// The answer it holds under an idempotency key.
    pub(super) fn idempotency(&self) -> Option<&IdempotencyRow> {
        match self {
            Self::InsertCards { idempotency, .. }
            | Self::UpdateCards { idempotency, .. }
            | Self::EraseCard { idempotency, .. } => idempotency.as_deref(),
            Self::RestoreCard { .. }
            | Self::DestroyCard { .. }
            | Self::OpenForward { .. }
            | Self::RecordOutcome { .. }
            | Self::ReconcileForward { .. }
            | Self::PutTenant { .. }
            | Self::InsertKey { .. }
            | Self::ReplaceKey { .. }
            | Self::TellExpiring { .. }
            | Self::ReplayEvents { .. }
            | Self::RequestExport { .. }
            | Self::ApproveExport { .. }
            | Self::BeginExportRun { .. }
            | Self::EndExportRun { .. }
            | Self::SuspendWorkload { .. }
            | Self::ResumeWorkload { .. }
            | Self::File { .. }
            | Self::Entry { .. }
            | Self::Entries { .. } => None,
        }
    }
}

/// What became of a [`Change`] whose transaction is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Committed {
    /// It happened, and its entries are written.
    Done,
    /// Nothing happened: this idempotency scope is taken, by this. Whether it is the same request is for the caller to
    /// see from the digest.
    Replay(IdempotencyRow),
    /// Nothing happened: the data key does not seal any more.
    KeyNotActive,
    /// Nothing happened: the present state does not allow it.
    Conflict,
    /// Nothing happened: there is no such thing.
    Missing,
    /// Nothing happened: the payment reference is this forward's.
    Taken(Holder),
}

/// Why nothing can be said of a change. It is safe to ask again under an idempotency key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// The queue is full: nothing happened.
    #[error("the commit queue is full")]
    Full,
    /// The store does not take the row: a defect of this program. Nothing happened.
    #[error("the store does not accept the change")]
    Refused,
    /// The store is away. As a rule nothing happened; if the connection broke during COMMIT it may have.
    #[error("the store is not available")]
    Unavailable,
}
