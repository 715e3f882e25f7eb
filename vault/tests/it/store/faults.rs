//! A store whose writing connection breaks as a list says, and what the committer makes of it.
//!
//! Invariants: what was answered `Done` is there; a card is there if and only if its entry is; numbers have no gap.
//! Not a goal: a store that lies about what it committed.

mod through;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strongroom_domain::{BootId, Timestamp, TokenHash};
use strongroom_vault::audit::{Leaf, check};
use strongroom_vault::operation::reaper::Reaper;
use strongroom_vault::store::{
    Batch, BootRow, CardEvent, CommitError, Committed, Outbox, Store, StoreError, WriteError, Writer,
};

use super::ground::{Ground, HOLD, TestKeys};

super::both! {
    a_commit_whose_answer_is_lost_is_looked_up;
    a_commit_in_steps_whose_answer_is_lost_is_looked_up;
    a_commit_that_ends_late_is_waited_for;
    a_broken_step_is_tried_again;
    a_store_that_stays_away_is_told_in_time;
    sixty_four_writers_through_every_fault;
    sixty_four_writers_in_steps_through_every_fault;
    a_reaper_through_every_fault_ends_each_card_once;
}

/// Longer than any answer takes on a busy machine; what is never answered is found all the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// A deadlock or serialization failure.
    Retry,
    /// The connection breaks before anything is changed.
    LostAtApply,
    /// The connection breaks before the entries are written.
    LostAtAppend,
    /// COMMIT never arrived.
    LostBeforeCommit,
    /// COMMIT arrived; its answer did not.
    LostAfterCommit,
    /// COMMIT arrived and takes its time; its answer is lost.
    LateCommit,
    /// No new connection.
    Away,
    /// Another sequencer takes the lease once this one has read the head, and keeps it.
    Overtaken,
}

/// A store with a list of faults, one for each transaction or connection.
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    /// Whether nothing is written at once.
    in_steps: bool,
}

impl FaultyStore {
    /// Puts a store with these faults in the ground's place.
    pub(crate) fn under(ground: &mut Ground, faults: &[Fault]) -> Arc<Mutex<VecDeque<Fault>>> {
        Self::put(ground, faults, false)
    }

    /// The same, and every transaction takes the long way.
    fn under_in_steps(ground: &mut Ground, faults: &[Fault]) -> Arc<Mutex<VecDeque<Fault>>> {
        Self::put(ground, faults, true)
    }

    fn put(ground: &mut Ground, faults: &[Fault], in_steps: bool) -> Arc<Mutex<VecDeque<Fault>>> {
        let faults: Arc<Mutex<VecDeque<Fault>>> = Arc::new(Mutex::new(faults.iter().copied().collect()));
        let inner = Arc::clone(&ground.store);
        ground.store = Arc::new(Self { inner, faults: Arc::clone(&faults), in_steps });
        faults
    }
}

struct FaultyWriter {
    inner: Option<Box<dyn Writer>>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    fault: Fault,
    /// Whether the transaction has met its fault already.
    has_begun: bool,
    in_steps: bool,
}

fn lost() -> WriteError {
    WriteError::Lost(StoreError::Away("a fault of the test"))
}

fn in_doubt() -> WriteError {
    WriteError::InDoubt(StoreError::Away("a fault of the test"))
}

impl FaultyWriter {
    fn next_fault(&self) -> Fault {
        self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None)
    }

    fn inner(&mut self) -> Result<&mut Box<dyn Writer>, WriteError> {
        self.inner.as_mut().ok_or_else(lost)
    }
}

#[async_trait]
impl Writer for FaultyWriter {
    async fn open_boot(&mut self, boot: &BootRow, leaf: &Leaf) -> Result<(), WriteError> {
        self.inner()?.open_boot(boot, leaf).await
    }

    async fn next_seq(&mut self, boot: BootId) -> Result<Option<u64>, WriteError> {
        self.inner()?.next_seq(boot).await
    }

    async fn at_once(
        &mut self,
        batch: &Batch<'_>,
        boot: BootId,
        from: u64,
        leaves: &[Leaf],
    ) -> Result<bool, WriteError> {
        if self.in_steps {
            return Ok(false);
        }
        self.fault = self.next_fault();
        self.has_begun = true;
        match self.fault {
            Fault::Retry => Err(WriteError::Retry("a fault of the test")),
            Fault::LostAtApply | Fault::LostAtAppend | Fault::LostBeforeCommit => {
                self.inner = None;
                Err(in_doubt())
            }
            Fault::LostAfterCommit => {
                let done = self.inner()?.at_once(batch, boot, from, leaves).await?;
                self.inner = None;
                if done { Err(in_doubt()) } else { Err(lost()) }
            }
            Fault::LateCommit => {
                self.inner()?.apply(batch).await?;
                self.inner()?.append(boot, from, leaves, batch.now).await?;
                self.commit().await.map(|()| true)
            }
            _ => self.inner()?.at_once(batch, boot, from, leaves).await,
        }
    }

    async fn apply(&mut self, batch: &Batch<'_>) -> Result<Vec<Committed>, WriteError> {
        if !std::mem::take(&mut self.has_begun) {
            self.fault = self.next_fault();
        }
        match self.fault {
            Fault::LostAtApply => {
                self.inner = None;
                Err(lost())
            }
            Fault::Retry => {
                self.inner()?.apply(batch).await?;
                Err(WriteError::Retry("a fault of the test"))
            }
            _ => self.inner()?.apply(batch).await,
        }
    }

    async fn tell(&mut self, outbox: &Outbox, events: &[CardEvent<'_>]) -> Result<(), WriteError> {
        self.inner()?.tell(outbox, events).await
    }

    async fn append(
        &mut self,
        boot: BootId,
        from: u64,
        leaves: &[Leaf],
        now: Timestamp,
    ) -> Result<(), WriteError> {
        if self.fault == Fault::LostAtAppend {
            self.inner = None;
            return Err(lost());
        }
        self.inner()?.append(boot, from, leaves, now).await
    }

    async fn commit(&mut self) -> Result<(), WriteError> {
        match self.fault {
            Fault::LostBeforeCommit => {
                self.inner = None;
                Err(in_doubt())
            }
            Fault::LostAfterCommit => {
                self.inner()?.commit().await?;
                self.inner = None;
                Err(in_doubt())
            }
            Fault::LateCommit => {
                let mut late = self.inner.take().ok_or_else(lost)?;
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    late.commit().await.unwrap();
                });
                Err(in_doubt())
            }
            _ => self.inner()?.commit().await,
        }
    }

    async fn roll_back(&mut self) -> Result<(), WriteError> {
        self.inner()?.roll_back().await
    }
}

const LOST_ANSWERS: [Fault; 3] = [Fault::LostAfterCommit, Fault::LostBeforeCommit, Fault::None];

async fn a_commit_whose_answer_is_lost_is_looked_up(mut ground: Ground) {
    FaultyStore::under(&mut ground, &LOST_ANSWERS);
    look_up_lost_answers(ground).await;
}

async fn a_commit_in_steps_whose_answer_is_lost_is_looked_up(mut ground: Ground) {
    FaultyStore::under_in_steps(&mut ground, &LOST_ANSWERS);
    look_up_lost_answers(ground).await;
}

async fn look_up_lost_answers(ground: Ground) {
    let (committer, _task, boot) = ground.committer().await;
    let key = ground.key("acme").await;
    for _ in 0..2 {
        let change = ground.insert(ground.card("acme", key), None);
        assert_eq!(committer.commit(change).await, Ok(Committed::Done));
    }
    assert_eq!(ground.count("cards").await, 2);
    assert_eq!(ground.store.entries_of(boot, 0, 100).await.unwrap().len(), 3, "nothing is written twice");
}

async fn a_commit_that_ends_late_is_waited_for(mut ground: Ground) {
    FaultyStore::under(&mut ground, &[Fault::LateCommit]);
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    for _ in 0..2 {
        let change = ground.insert(ground.card("acme", key), None);
        assert_eq!(committer.commit(change).await, Ok(Committed::Done));
    }
    assert_eq!(ground.count("cards").await, 2);
    let found = check(ground.store.as_ref(), &TestKeys).await.unwrap();
    assert_eq!((found.entries, found.first_bad), (3, None));
}

async fn a_broken_step_is_tried_again(mut ground: Ground) {
    let faults =
        [Fault::Retry, Fault::LostAtApply, Fault::LostAtAppend, Fault::Retry, Fault::Retry, Fault::None];
    FaultyStore::under(&mut ground, &faults);
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let answer = ground.answer(1, 1, "once");
    let change = ground.insert(ground.card("acme", key), Some(answer.clone()));
    assert_eq!(committer.commit(change).await, Ok(Committed::Done));
    let change = ground.insert(ground.card("acme", key), Some(answer.clone()));
    assert_eq!(committer.commit(change).await, Ok(Committed::Replay(answer)));
    assert_eq!(ground.count("cards").await, 1);
    assert!(check(ground.store.as_ref(), &TestKeys).await.unwrap().is_sound());
}

async fn a_store_that_stays_away_is_told_in_time(mut ground: Ground) {
    let faults = FaultyStore::under(&mut ground, &[]);
    let (committer, _task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    {
        let mut faults = faults.lock().unwrap();
        faults.push_back(Fault::LostAfterCommit);
        faults.extend([Fault::Away; 10_000]);
    }
    // Nobody can know: it is in, and its caller is told to ask again.
    let change = ground.insert(ground.card("acme", key), None);
    let told = tokio::time::timeout(PATIENCE, committer.commit(change)).await;
    assert_eq!(told, Ok(Err(CommitError::Unavailable)));
    let told = tokio::time::timeout(PATIENCE, committer.commit(ground.note())).await;
    assert_eq!(told, Ok(Err(CommitError::Unavailable)));
    faults.lock().unwrap().clear();
    while committer.commit(ground.note()).await != Ok(Committed::Done) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let found = check(ground.store.as_ref(), &TestKeys).await.unwrap();
    assert_eq!((found.entries, found.first_bad), (3, None));
    assert_eq!(ground.count("cards").await, 1);
}

async fn sixty_four_writers_through_every_fault(mut ground: Ground) {
    FaultyStore::under(&mut ground, &every_fault().repeat(4));
    sixty_four_writers(ground).await;
}

async fn sixty_four_writers_in_steps_through_every_fault(mut ground: Ground) {
    FaultyStore::under_in_steps(&mut ground, &every_fault().repeat(4));
    sixty_four_writers(ground).await;
}

fn every_fault() -> [Fault; 16] {
    use Fault::{
        Away, LateCommit, LostAfterCommit, LostAtAppend, LostAtApply, LostBeforeCommit, None, Retry,
    };
    [
        None,
        Retry,
        None,
        LostAtApply,
        None,
        Away,
        LostAfterCommit,
        Away,
        LostBeforeCommit,
        LostAtAppend,
        None,
        LateCommit,
        Retry,
        LostAfterCommit,
        LostAfterCommit,
        None,
    ]
}

async fn sixty_four_writers(ground: Ground) {
    let (committer, task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let ground = Arc::new(ground);
    let writers = (0..64).map(|_| {
        let (ground, committer) = (Arc::clone(&ground), committer.clone());
        tokio::spawn(async move {
            let mut done = Vec::new();
            for _ in 0..30 {
                let card = ground.card("acme", key);
                let token = card.token.hash();
                match committer.commit(ground.insert(card, Option::None)).await {
                    Ok(Committed::Done) => done.push(token),
                    Err(CommitError::Unavailable) => {}
                    other => panic!("{other:?}"),
                }
            }
            done
        })
    });
    let mut done: HashSet<TokenHash> = HashSet::new();
    for writer in futures_util::future::join_all(writers).await {
        done.extend(writer.unwrap());
    }
    task.stop().await;
    assert!(done.len() > 1_000, "{}", done.len());
    let tokens: Vec<TokenHash> = done.into_iter().collect();
    for tokens in tokens.chunks(1_000) {
        assert_eq!(ground.store.cards(tokens).await.unwrap().len(), tokens.len());
    }
    let found = check(ground.store.as_ref(), &TestKeys).await.unwrap();
    assert_eq!(found.first_bad, Option::None);
    assert_eq!(found.entries, ground.count("cards").await + 2);
}

/// Hiding and destroying, each once and with its entry, whatever breaks when.
async fn a_reaper_through_every_fault_ends_each_card_once(mut ground: Ground) {
    use Fault::{LateCommit, LostAfterCommit, LostAtAppend, LostAtApply, LostBeforeCommit, None, Retry};
    let (plain, task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let mut cards = Vec::new();
    for _ in 0..300 {
        let mut card = ground.card("acme", key);
        card.expires_at = Some(ground.clock.now_plus(60));
        assert_eq!(plain.commit(ground.insert(card.clone(), Option::None)).await, Ok(Committed::Done));
        cards.push(card.token.token_ref());
    }
    task.stop().await;
    let one_round = [LostAfterCommit, Retry, LostAtApply, None, LostBeforeCommit, LostAtAppend, LateCommit];
    FaultyStore::under(&mut ground, &one_round.repeat(3));
    let (committer, task, _) = ground.committer().await;
    let reaper = Reaper::new(Arc::clone(&ground.store), committer, HOLD);
    let (mut expired, mut destroyed) = (0, 0);
    for wait in [Duration::from_secs(61), HOLD] {
        ground.clock.go_on(wait);
        for _ in 0..40 {
            // A look that was told nothing is looked after by the next one.
            let reaped = reaper.look(ground.clock_now()).await.unwrap_or_default();
            expired += reaped.expired;
            destroyed += reaped.destroyed;
        }
    }
    task.stop().await;
    assert!(expired <= 300 && destroyed <= 300, "{expired} {destroyed}");
    let mut told: Vec<_> = ground.told_of("record.shred").await;
    told.sort_unstable();
    let mut wanted: Vec<_> = cards
        .iter()
        .flat_map(|card| ["destroyed", "expired"].map(|how| (card.to_string(), how.to_owned())))
        .collect();
    wanted.sort_unstable();
    assert_eq!(told, wanted);
    assert_eq!(check(ground.store.as_ref(), &TestKeys).await.unwrap().first_bad, Option::None);
}
