//! The task that owns the writing connection.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::Clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::round::{self, Item};
use super::uses::KeyUses;
use super::{BATCH_MAX, LogIdentity, Outbox, QUEUE_MAX, StoreError, WAIT_TIME_MAX, WriteError};
use crate::audit::{Draft, EntryId, Event, Leaf, Object, Outcome};
use crate::store::Store;
use crate::store::change::{Change, CommitError, Committed};
use crate::store::outbox::CardEvent;
use crate::store::writer::{Batch, Writer};

/// How long one step of a transaction may take before the connection is given up.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a batch is tried again on a store that is away before its callers are told: within what a caller waits.
const RETRY_TIME_MAX: Duration = Duration::from_secs(2);
/// How long it is tried again on a store that answers, but is in contention: another replica's transaction was in the way,
/// and the next try finds what it left.
const CONTENDED_TIME_MAX: Duration = WAIT_TIME_MAX;
/// First pause between tries: a deadlock's other side needs a commit's time.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(2);
/// Longest pause between tries: a database that came back is found within this.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Everything the task owns.
pub(super) struct Task {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    identity: LogIdentity,
    outbox: Outbox,
    queue: mpsc::Receiver<Item>,
    stop: CancellationToken,
    waiting: VecDeque<Item>,
    writer: Option<Box<dyn Writer>>,
    /// The next entry's number, as far as is known to be durable.
    next_seq: u64,
    /// What the next number is if a commit whose answer was lost is in.
    next_seq_if_in: Option<u64>,
    uses: KeyUses,
}

/// Why a batch was given up.
enum GivenUp {
    /// Some row of it is not accepted.
    Refused { taken: bool },
    /// The store is away.
    Away,
    /// The store does not hold what this process wrote.
    Fenced,
}

/// What reconnecting found.
enum Settled {
    /// Nothing was in doubt, or it is not in.
    NotIn,
    /// The commit whose answer was lost is in.
    In,
}

/// What a transaction makes of its changes once it commits.
struct Prepared {
    became: Vec<Committed>,
    /// The number of the first entry.
    first_seq: u64,
    uses: Vec<(strongroom_domain::DataKeyId, u64)>,
}

impl Task {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        identity: LogIdentity,
        outbox: Outbox,
        writer: Box<dyn Writer>,
        queue: mpsc::Receiver<Item>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            clock,
            identity,
            outbox,
            queue,
            stop,
            waiting: VecDeque::new(),
            writer: Some(writer),
            next_seq: 1,
            next_seq_if_in: None,
            uses: KeyUses::default(),
        }
    }

    pub(super) async fn run(mut self) {
        while self.receive().await {
            let round = round::next(&mut self.waiting, Instant::now());
            if round.is_empty() {
                continue;
            }
            match self.commit(round).await {
                Ok(()) => {}
                Err(GivenUp::Fenced) => return self.give_up(),
                Err(GivenUp::Away | GivenUp::Refused { .. }) => {
                    if let Err(GivenUp::Fenced) = self.outlast().await {
                        return self.give_up();
                    }
                }
            }
        }
        self.last_entry().await;
    }

    /// Takes what waits; waits if nothing does. False: nothing more will come.
    async fn receive(&mut self) -> bool {
        let mut arrived = Vec::new();
        if self.waiting.is_empty() {
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    return true;
                }
                count = self.queue.recv_many(&mut arrived, BATCH_MAX) => {
                    if count == 0 {
                        return false;
                    }
                }
            }
        }
        self.waiting.extend(arrived);
        while self.waiting.len() < BATCH_MAX {
            match self.queue.try_recv() {
                Ok(item) => self.waiting.push_back(item),
                Err(_) => break,
            }
        }
        let depth = QUEUE_MAX.saturating_sub(self.queue.capacity()) + self.waiting.len();
        metrics::gauge!("strongroom_commit_queue_depth").set(depth as f64);
        true
    }

    /// Commits a round; a refused part is halved until the refused change stands alone.
    async fn commit(&mut self, round: Vec<Item>) -> Result<(), GivenUp> {
        let mut parts = vec![round];
        while let Some(mut items) = parts.pop() {
            match self.write(&items, false).await {
                Ok(became) => {
                    for (item, became) in items.into_iter().zip(became) {
                        self.waiting.extend(item.answer(Ok(became)));
                    }
                }
                Err(GivenUp::Refused { taken }) if items.len() == 1 => {
                    let result = if taken { Ok(Committed::Conflict) } else { Err(CommitError::Refused) };
                    for item in items {
                        self.waiting.extend(item.answer(result.clone()));
                    }
                }
                Err(GivenUp::Refused { .. }) => {
                    let second = items.split_off(items.len() / 2);
                    parts.push(second);
                    parts.push(items);
                }
                Err(error) => {
                    for item in items.into_iter().chain(parts.into_iter().flatten()) {
                        item.answer(Err(CommitError::Unavailable));
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// One transaction, tried until it is known to be in, refused, or the time for it is over.
    async fn write(&mut self, items: &[Item], last: bool) -> Result<Vec<Committed>, GivenUp> {
        let started = Instant::now();
        let mut pause = RETRY_PAUSE_MIN;
        let mut unsure = None;
        loop {
            let result = match self.settle().await {
                Ok(Settled::In) if unsure.is_some() => Ok(()),
                Ok(_) => self.attempt(items, last, &mut unsure).await,
                Err(error) => Err(error),
            };
            let time_max = match &result {
                Err(WriteError::Retry(_)) => CONTENDED_TIME_MAX,
                _ => RETRY_TIME_MAX,
            };
            match result {
                Ok(()) => {
                    let done: Prepared = unsure.take().expect("a committed attempt left what became of it");
                    self.uses.written(&done.uses);
                    self.uses.add(items.iter().map(|item| &item.change), &done.became);
                    self.tell_places(items, &done);
                    metrics::histogram!("strongroom_commit_batch_size").record(items.len() as f64);
                    metrics::histogram!("strongroom_commit_seconds").record(started.elapsed().as_secs_f64());
                    return Ok(done.became);
                }
                Err(WriteError::Refused { taken, source }) => {
                    tracing::warn!(
                        error = &source as &dyn std::error::Error,
                        size = items.len(),
                        "a change is refused"
                    );
                    count_retry("refused");
                    return Err(GivenUp::Refused { taken });
                }
                Err(WriteError::Fenced) => return Err(GivenUp::Fenced),
                Err(error) => self.note(&error),
            }
            if started.elapsed() + pause > time_max {
                return Err(GivenUp::Away);
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Changes, writes entries, commits: at once, if that may be. Afterwards `unsure` says what became of the changes if
    /// they are in.
    async fn attempt(
        &mut self,
        items: &[Item],
        last: bool,
        unsure: &mut Option<Prepared>,
    ) -> Result<(), WriteError> {
        *unsure = None;
        let mut writer = self.writer.take().ok_or(WriteError::Lost(StoreError::Away("not connected")))?;
        let uses = self.uses.due(last);
        let batch = Batch::of(items.iter().map(|item| &item.change), self.clock.now(), &uses);
        let became = vec![Committed::Done; batch.len];
        if batch.is_plain() && self.events(items, &became).is_empty() {
            let leaves = self.leaves(items, &became);
            self.expect(&leaves);
            *unsure = Some(Prepared { became, first_seq: self.next_seq, uses: Vec::new() });
            let written = within(writer.at_once(&batch, self.identity.boot, self.next_seq, &leaves)).await;
            if !matches!(written, Ok(false)) {
                return self.end(written.map(|_| ()), writer, unsure);
            }
            (*unsure, self.next_seq_if_in) = (None, None);
        }
        self.in_steps(writer, &batch, items, unsure).await
    }

    /// Begins, changes, writes entries, commits.
    async fn in_steps(
        &mut self,
        mut writer: Box<dyn Writer>,
        batch: &Batch<'_>,
        items: &[Item],
        unsure: &mut Option<Prepared>,
    ) -> Result<(), WriteError> {
        let prepared = match self.prepare(writer.as_mut(), batch, items).await {
            Ok(prepared) => prepared,
            Err(error) => {
                let alive = !matches!(error, WriteError::Lost(_) | WriteError::InDoubt(_));
                if alive && within(writer.roll_back()).await.is_ok() {
                    self.writer = Some(writer);
                }
                return Err(error);
            }
        };
        if self.next_seq_if_in.is_none() {
            // Nothing happened, so there is nothing to make durable.
            within(writer.roll_back()).await?;
            self.writer = Some(writer);
            *unsure = Some(Prepared { uses: Vec::new(), ..prepared });
            return Ok(());
        }
        *unsure = Some(prepared);
        let committed = within(writer.commit()).await;
        let is_undone = !matches!(committed, Ok(()) | Err(WriteError::Lost(_) | WriteError::InDoubt(_)));
        if is_undone && within(writer.roll_back()).await.is_err() {
            (*unsure, self.next_seq_if_in) = (None, None);
            return committed;
        }
        self.end(committed, writer, unsure)
    }

    /// What a commit's answer means for what is known.
    fn end(
        &mut self,
        committed: Result<(), WriteError>,
        writer: Box<dyn Writer>,
        unsure: &mut Option<Prepared>,
    ) -> Result<(), WriteError> {
        match committed {
            Ok(()) => {
                self.next_seq = self.next_seq_if_in.take().unwrap_or(self.next_seq);
                self.writer = Some(writer);
                Ok(())
            }
            Err(WriteError::Lost(source) | WriteError::InDoubt(source)) => Err(WriteError::InDoubt(source)),
            Err(undone) => {
                (*unsure, self.next_seq_if_in) = (None, None);
                self.writer = Some(writer);
                Err(undone)
            }
        }
    }

    /// Notes the next number as it is if these entries are in.
    fn expect(&mut self, leaves: &[Leaf]) {
        self.next_seq_if_in = (!leaves.is_empty()).then(|| self.next_seq + leaves.len() as u64);
    }

    /// Everything of a transaction but its end. Leaves in `next_seq_if_in` the next number, if entries were written.
    async fn prepare(
        &mut self,
        writer: &mut dyn Writer,
        batch: &Batch<'_>,
        items: &[Item],
    ) -> Result<Prepared, WriteError> {
        let became = within(writer.apply(batch)).await?;
        let events = self.events(items, &became);
        if !events.is_empty() {
            within(writer.tell(&self.outbox, &events)).await?;
        }
        let leaves = self.leaves(items, &became);
        if !leaves.is_empty() {
            within(writer.append(self.identity.boot, self.next_seq, &leaves, batch.now)).await?;
        }
        self.expect(&leaves);
        Ok(Prepared { became, first_seq: self.next_seq, uses: batch.uses.to_vec() })
    }

    /// What is told of what happened; nothing where nobody listens.
    fn events<'a>(&self, items: &'a [Item], became: &[Committed]) -> Vec<CardEvent<'a>> {
        if self.outbox.is_empty() {
            return Vec::new();
        }
        let done = items.iter().zip(became).filter(|(_, became)| **became == Committed::Done);
        done.flat_map(|(item, _)| CardEvent::of(&item.change)).collect()
    }

    /// The entries of what happened, numbered and authenticated.
    fn leaves(&self, items: &[Item], became: &[Committed]) -> Vec<Leaf> {
        let numbered = self.numbered(self.next_seq, items, became);
        numbered
            .map(|(id, draft)| Leaf::seal(draft, &self.identity.instance, id, &self.identity.mac))
            .collect()
    }

    /// The drafts of what happened, each with its place.
    fn numbered<'a>(
        &self,
        first_seq: u64,
        items: &'a [Item],
        became: &'a [Committed],
    ) -> impl Iterator<Item = (EntryId, &'a Draft)> + use<'a> {
        let boot = self.identity.boot;
        let done = items.iter().zip(became).filter(|(_, became)| **became == Committed::Done);
        let drafts = done.flat_map(|(item, _)| item.change.entries());
        (first_seq..).zip(drafts).map(move |(seq, draft)| (EntryId { boot, seq }, draft))
    }

    /// Tells each request where its entries stand, now that they are durable.
    fn tell_places(&self, items: &[Item], done: &Prepared) {
        self.numbered(done.first_seq, items, &done.became).for_each(|(id, draft)| draft.stands_at(id));
    }

    /// Sees to a connection, and that what an earlier one left in doubt is known.
    async fn settle(&mut self) -> Result<Settled, WriteError> {
        if self.writer.is_some() {
            return Ok(Settled::NotIn);
        }
        let connect = async { self.store.writer().await.map_err(WriteError::Lost) };
        let mut writer = within(connect).await?;
        let found = within(writer.next_seq(self.identity.boot)).await?;
        let settled = match found {
            Some(found) if found == self.next_seq => Settled::NotIn,
            Some(found) if Some(found) == self.next_seq_if_in => Settled::In,
            _ => return Err(WriteError::Fenced),
        };
        self.next_seq = found.unwrap_or(self.next_seq);
        self.next_seq_if_in = None;
        self.writer = Some(writer);
        Ok(settled)
    }

    /// Waits for the store to come back; whoever asks meanwhile is told at once.
    async fn outlast(&mut self) -> Result<(), GivenUp> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            match self.settle().await {
                Ok(_) => return Ok(()),
                Err(WriteError::Fenced) => return Err(GivenUp::Fenced),
                Err(error) => self.note(&error),
            }
            self.turn_away();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    fn turn_away(&mut self) {
        while let Ok(item) = self.queue.try_recv() {
            self.waiting.push_back(item);
        }
        for item in self.waiting.drain(..) {
            item.answer(Err(CommitError::Unavailable));
        }
    }

    /// Ends: this process cannot tell any more what the log holds.
    fn give_up(mut self) {
        tracing::error!(
            boot = %self.identity.boot,
            next_seq = self.next_seq,
            "the store does not hold the audit entries this process wrote: it was restored, failed over with loss, or \
             altered; nothing more is committed, restart the service and check the log"
        );
        self.queue.close();
        self.turn_away();
    }

    /// `audit.stop`.
    async fn last_entry(&mut self) {
        let now = self.clock.now();
        let entry =
            Draft::by_service(now, Event::AuditStop, Outcome::Success, Object::Boot(self.identity.boot));
        let (reply, _) = tokio::sync::oneshot::channel();
        let item = Item::new(Change::Entry { entry }, reply, Instant::now());
        if self.write(&[item], true).await.is_err() {
            tracing::error!("the audit log's last entry was not written: the store is away");
        }
    }

    fn note(&self, error: &WriteError) {
        let reason = match error {
            WriteError::Retry(reason) => reason,
            WriteError::Lost(_) => "lost",
            WriteError::InDoubt(_) => "in-doubt",
            WriteError::Refused { .. } => "refused",
            WriteError::Fenced => "fenced",
        };
        tracing::warn!(error = error as &dyn std::error::Error, reason, "a transaction is tried again");
        count_retry(reason);
    }
}

fn count_retry(reason: &'static str) {
    metrics::counter!("strongroom_commit_retries_total", "reason" => reason).increment(1);
}

/// Gives a step its time. A step that takes longer has lost its connection.
async fn within<T>(step: impl Future<Output = Result<T, WriteError>>) -> Result<T, WriteError> {
    timeout(STEP_TIME_MAX, step)
        .await
        .unwrap_or(Err(WriteError::Lost(StoreError::Away("a step took too long"))))
}
