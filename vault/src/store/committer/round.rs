//! Which of the waiting changes make the next transaction.

use std::collections::{HashMap, HashSet, VecDeque};

use strongroom_domain::{ExportId, ForwardId, TenantId, TokenHash};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{BATCH_MAX, ROWS_MAX, WAIT_TIME_MAX};
use crate::store::change::{Change, CommitError, Committed};
use crate::store::keys::{KeyScope, Purpose};
use crate::store::rows::{IdempotencyRow, ReferenceRow};

/// One waiting change and whoever waits for it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) change: Change,
    reply: oneshot::Sender<Result<Committed, CommitError>>,
    queued: Instant,
    /// Changes under the same idempotency scope that came after this one: its answer is theirs.
    followers: Vec<Item>,
}

/// A row that a change touches.
#[derive(PartialEq, Eq, Hash)]
enum Touched {
    Card(TokenHash),
    Forward(ForwardId),
    Reference([u8; 32]),
    Export(ExportId),
    /// All of them: what one relies on another changes.
    Suspensions,
    Tenant(TenantId),
    Key(KeyScope, Purpose),
}

impl Item {
    pub(super) fn new(
        change: Change,
        reply: oneshot::Sender<Result<Committed, CommitError>>,
        queued: Instant,
    ) -> Self {
        Self { change, reply, queued, followers: Vec::new() }
    }

    /// Answers, and gives back the followers that must be tried for themselves.
    pub(super) fn answer(self, result: Result<Committed, CommitError>) -> Vec<Self> {
        let again = match (&result, self.change.idempotency()) {
            (Ok(Committed::Done), Some(row)) => replay(self.followers, row),
            (Ok(Committed::Replay(row)), _) => replay(self.followers, row),
            (Err(error), _) => {
                let error = *error;
                self.followers.into_iter().flat_map(|follower| follower.answer(Err(error))).collect()
            }
            (Ok(_), _) => self.followers,
        };
        // Nobody listens any more if the caller went away; the change is durable all the same.
        let _ = self.reply.send(result);
        again
    }
}

fn replay(followers: Vec<Item>, row: &IdempotencyRow) -> Vec<Item> {
    followers.into_iter().flat_map(|follower| follower.answer(Ok(Committed::Replay(row.clone())))).collect()
}

/// Takes the next transaction's changes, in order. A change that touches what an earlier one touches stays for the next
/// round; one whose idempotency scope an earlier one claims follows that one; one nobody waits for is dropped.
pub(super) fn next(waiting: &mut VecDeque<Item>, now: Instant) -> Vec<Item> {
    let mut round: Vec<Item> = Vec::with_capacity(waiting.len().min(BATCH_MAX));
    let mut touched = HashSet::with_capacity(round.capacity());
    let mut scopes: HashMap<[u8; 32], usize> = HashMap::new();
    let mut later = VecDeque::new();
    let mut rows = 0;
    while let Some(item) = waiting.pop_front() {
        if item.reply.is_closed() {
            continue;
        }
        if now.duration_since(item.queued) > WAIT_TIME_MAX {
            item.answer(Err(CommitError::Unavailable));
            continue;
        }
        let weight = item.change.weight();
        if round.len() == BATCH_MAX || (rows > 0 && rows + weight > ROWS_MAX) {
            later.push_back(item);
            break;
        }
        let scope = item.change.idempotency().map(|row| row.scope);
        if let Some(first) = scope.and_then(|scope| scopes.get(&scope)) {
            round[*first].followers.push(item);
            continue;
        }
        let touches = touches(&item.change);
        if touches.iter().any(|row| touched.contains(row)) {
            later.push_back(item);
        } else {
            touched.extend(touches);
            rows += weight;
            scopes.extend(scope.map(|scope| (scope, round.len())));
            round.push(item);
        }
    }
    while let Some(item) = later.pop_back() {
        waiting.push_front(item);
    }
    round
}

fn touches(change: &Change) -> Vec<Touched> {
    vec![match change {
        // New tokens are nobody's yet: two alike are a conflict of the transaction.
        Change::InsertCards { .. } | Change::Entry { .. } | Change::Entries { .. } => return Vec::new(),
        // New rows too.
        Change::File { .. } => return Vec::new(),
        // Two that replay the same event leave it pending.
        Change::ReplayEvents { .. } => return Vec::new(),
        Change::UpdateCards { updates, .. } => {
            return updates.iter().map(|update| Touched::Card(update.card.token.hash())).collect();
        }
        Change::EraseCard { token, .. }
        | Change::RestoreCard { token, .. }
        | Change::DestroyCard { token, .. }
        | Change::TellExpiring { token, .. } => Touched::Card(*token),
        // Its own row is new. Two under one reference: the second is told of the first.
        Change::OpenForward { reference: Some(ReferenceRow { digest, .. }), .. } => {
            Touched::Reference(*digest)
        }
        Change::OpenForward { forward, reference: None, .. } => Touched::Forward(forward.id),
        Change::RecordOutcome { id, .. } | Change::ReconcileForward { id, .. } => Touched::Forward(*id),
        Change::RequestExport { export, .. } => Touched::Export(export.id),
        Change::ApproveExport { id, .. }
        | Change::BeginExportRun { id, .. }
        | Change::EndExportRun { id, .. } => Touched::Export(*id),
        Change::SuspendWorkload { .. } | Change::ResumeWorkload { .. } => Touched::Suspensions,
        Change::PutTenant { tenant, .. } => Touched::Tenant(tenant.id.clone()),
        Change::InsertKey { key, .. } | Change::ReplaceKey { key, .. } => {
            Touched::Key(key.scope.clone(), key.purpose)
        }
    }]
}
