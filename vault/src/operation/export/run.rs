//! One run: cards are opened here, written down as handed over, and only then encrypted into the file that is the answer.
//!
//! Promises: each card's entry is durable before its bytes leave, so a crash says too much and never too little. The end's
//! entry, with the digests, is durable before the last bytes: a whole file never exists without it. Grant, suspension and
//! time are asked again for every batch. Plaintext is in this process only, a batch of cards at a time.
//! Does not promise: that the recipient got the file. A broken download is another run, audited again.
//! Upholds: C-04, C-33.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strongroom_domain::{Alias, AliasKind, Timestamp};
use strongroom_sealing::CardSecrets;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::encrypt::{Digest, Encrypting};
use super::gate::time_for;
use super::line::{LineBuffer, brand};
use super::manifest::{Hashed, LogReference, Manifest, Said, Tally, request_sha256};
use super::{ExportRefusal, ExportRequest, object, reference};
use crate::audit::{Draft, Event, KeyRef, Made, Object, Outcome};
use crate::authz::{ExportCards, ExportScope, Permit, Person};
use crate::operation::{Asking, OperationError, Vault, policy_of};
use crate::store::{
    AliasRow, CardFilter, CardPlace, CardRow, Change, CommitError, Committed, ExportApproval, ExportRow,
    ExportRunRow,
};

/// Cards of one batch: one commit of entries, and how much plaintext there is at a time.
const BATCH: u32 = 200;
/// Pieces of the file that wait for the network.
const PIECES_WAITING: usize = 2;
/// How long the recipient's side may take none of them.
const STALLED: Duration = Duration::from_secs(30);
/// How often a full commit queue is asked again, and how long between.
const COMMIT_TRIES: u32 = 100;
const COMMIT_PAUSE: Duration = Duration::from_millis(100);

/// A run that began: its file comes in pieces.
pub struct Begun {
    /// Its number.
    pub run: u32,
    /// Cards there were when it began.
    pub cards: u64,
    /// The file. Without a [`Piece::End`] it is not whole.
    pub pieces: mpsc::Receiver<Piece>,
}

/// A part of the file.
pub enum Piece {
    /// Ciphertext.
    Bytes(Bytes),
    /// That was all.
    End,
}

/// Everything a run needs, for as long as it goes.
struct Run {
    vault: Arc<Vault>,
    asking: Asking,
    row: ExportRow,
    request: ExportRequest,
    approval: ExportApproval,
    run: u32,
    filter: CardFilter,
    tally: Tally,
    out: mpsc::Sender<Piece>,
    _one: OwnedSemaphorePermit,
}

/// Why a run did not come to its end.
enum Broken {
    /// The other side took nothing more.
    Download,
    /// We could not or must not go on.
    Failed(OperationError),
}

impl<E: Into<OperationError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Broken {
    fn reason(&self) -> &'static str {
        match self {
            Self::Download => "download-broken",
            Self::Failed(error) => error.reason(),
        }
    }
}

impl Vault {
    /// Begins a run, if everything that was agreed to still holds. Cards leave by [`Begun::pieces`].
    pub async fn run_export(
        self: &Arc<Self>,
        asking: &Asking,
        permit: Permit<ExportCards>,
        person: Person,
    ) -> Result<Begun, OperationError> {
        self.exports.must_be_on()?;
        let (row, request) = self.export_of(&permit).await?;
        let approval = self.may_run(asking, &row, &request, &person).await?;
        let one = self.exports.begin()?;
        let filter = request.filter.cards(asking.at);
        let cards = self.store.count(&row.tenant, &filter, asking.at).await?;
        if cards > request.cards_max {
            return Err(ExportRefusal::TooManyCards.into());
        }
        self.exports.take_of_day(cards, asking.at)?;
        let run = row.runs + 1;
        let entry = Self::allowed(asking, Event::ExportRun, permit.decision(), object(&row))
            .of_export(reference(&row, Some(run)))
            .because("began")
            .counting(cards);
        let by = asking.caller.workload.clone();
        let begins = ExportRunRow { run, by, began_at: asking.at, ended_at: None, manifest: None };
        let change = Change::BeginExportRun { id: row.id, run: Box::new(begins), entry };
        if self.committer.commit(change).await? != Committed::Done {
            return Err(ExportRefusal::Busy.into()); // another replica began a run since
        }
        tracing::warn!(export = %row.id, tenant = %row.tenant, run, cards, by = %asking.caller.workload, "an export of cards runs");
        let (out, pieces) = mpsc::channel(PIECES_WAITING);
        let (vault, asking, tally) = (Arc::clone(self), asking.clone(), Tally::default());
        let task = Run { vault, asking, row, request, approval, run, filter, tally, out, _one: one };
        tokio::spawn(task.go());
        Ok(Begun { run, cards, pieces })
    }

    /// Whether the two who agreed still are who they were and may still do it.
    async fn both_may_still(
        &self,
        row: &ExportRow,
        request: &ExportRequest,
        approval: &ExportApproval,
    ) -> Result<(), OperationError> {
        let (authorizer, facts) = (self.authorizer.load_full(), self.tenant_facts(&row.tenant).await?);
        for (by, person) in [(&request.requested_by, &row.requester), (&approval.by, &approval.person)] {
            let is_still = authorizer.person_of(by).is_some_and(|held| held.as_str() == person.as_str());
            // Asked, not spent: what is done is done by the caller's own permit.
            let scope = ExportScope { tenant: row.tenant.clone(), export: Some(row.id) };
            if !is_still || authorizer.decide::<ExportCards>(by, scope, &facts).is_err() {
                return Err(ExportRefusal::NoLongerTheirs.into());
            }
        }
        Ok(())
    }

    /// The approval, if this person may run this export now.
    async fn may_run(
        &self,
        asking: &Asking,
        row: &ExportRow,
        request: &ExportRequest,
        person: &Person,
    ) -> Result<ExportApproval, OperationError> {
        let approval = row.approval.clone().ok_or(ExportRefusal::NotApproved)?;
        if asking.at >= row.not_after {
            return Err(ExportRefusal::Expired.into());
        }
        if row.runs >= self.exports.config.runs_max {
            return Err(ExportRefusal::RunsUsedUp.into());
        }
        if person.as_str() != row.requester && person.as_str() != approval.person {
            return Err(ExportRefusal::NotTheirs.into());
        }
        self.both_may_still(row, request, &approval).await?;
        Ok(approval)
    }
}

impl Run {
    /// Goes to the end or breaks; either is written down.
    async fn go(mut self) {
        let made = self.file().await;
        let ended = match made {
            Ok((last, file)) => match self.end("complete", Some(&file)).await {
                Ok(()) => self.send_last(last).await,
                Err(error) => Err(Broken::Failed(error)),
            },
            Err(broken) => {
                if let Err(error) = self.end(broken.reason(), None).await {
                    tracing::error!(export = %self.row.id, run = self.run, %error, "the end of a run was not written");
                }
                Err(broken)
            }
        };
        let how = match &ended {
            Ok(()) => "complete",
            Err(Broken::Download) => "download-broken",
            Err(Broken::Failed(error)) => {
                tracing::error!(export = %self.row.id, run = self.run, error = error as &dyn std::error::Error, "a run of an export broke");
                "failed"
            }
        };
        metrics::counter!("strongroom_export_runs_total", "how" => how).increment(1);
        tracing::warn!(export = %self.row.id, run = self.run, cards = self.tally.cards, how, "an export of cards ended");
    }

    /// The whole file but its last bytes, sent as it comes to be.
    async fn file(&mut self) -> Result<(Bytes, Digest), Broken> {
        let defect = |_| OperationError::Defect("an age file is written into memory");
        let recipient = super::request::recipient(&self.request.recipient)
            .ok_or(OperationError::Defect("the recipient was one when it was asked for"))?;
        let mut out = Encrypting::to(&recipient).map_err(defect)?;
        let (mut lines, mut after, began) = (LineBuffer::new(), None, Instant::now());
        loop {
            let permit = self.still_allowed().await?;
            let (cards, next) = self.batch(after, &permit).await?;
            for card in &cards {
                let line = lines.write(&card.row, &card.secrets, card.alias.as_ref()).map_err(defect)?;
                self.tally.lines.update(line);
                out.write(line).map_err(defect)?;
            }
            drop(cards);
            let piece = out.take();
            if !piece.is_empty() {
                self.send(Piece::Bytes(piece)).await?;
            }
            let Some(next) = next else { return Ok(out.finish().map_err(defect)?) };
            after = Some(next);
            sleep_until(began + time_for(self.tally.cards, self.vault.exports.config.cards_per_second)).await;
        }
    }

    /// Both people's grants, the tenant and the time, as they are now.
    async fn still_allowed(&self) -> Result<Permit<ExportCards>, OperationError> {
        if self.vault.clock.now() >= self.row.not_after {
            return Err(ExportRefusal::Expired.into());
        }
        let authorizer = self.vault.authorizer.load_full();
        let facts = self.vault.tenant_facts(&self.row.tenant).await?;
        let scope = ExportScope { tenant: self.row.tenant.clone(), export: Some(self.row.id) };
        let permit = authorizer.decide(&self.asking.caller.workload, scope, &facts)?;
        let approval = self.row.approval.as_ref().ok_or(ExportRefusal::NotApproved)?;
        self.vault.both_may_still(&self.row, &self.request, approval).await?;
        Ok(permit)
    }

    /// The next cards, opened, and on the log as handed over.
    async fn batch(
        &mut self,
        after: Option<CardPlace>,
        permit: &Permit<ExportCards>,
    ) -> Result<(Vec<Opened>, Option<CardPlace>), OperationError> {
        let (vault, tenant) = (&self.vault, &self.row.tenant);
        let page = vault.store.list(tenant, &self.filter, after, BATCH, vault.clock.now()).await?;
        if self.tally.cards + page.cards.len() as u64 > self.request.cards_max {
            return Err(ExportRefusal::TooManyCards.into());
        }
        let mut cards = Vec::with_capacity(page.cards.len());
        for row in page.cards {
            let secrets = vault.unseal(&row).await?;
            cards.push(Opened { row, secrets, alias: None });
        }
        self.tally.aliases_left_out += self.add_aliases(&mut cards).await?;
        let entries: Vec<Draft> = cards.iter().map(|card| self.handed_over(&card.row, permit)).collect();
        if !entries.is_empty() {
            self.commit(Change::Entries { entries }).await?;
        }
        metrics::counter!("strongroom_export_cards_total").increment(cards.len() as u64);
        for card in &cards {
            self.tally.cards += 1;
            *self.tally.by_brand.entry(brand(&card.secrets).as_str()).or_default() += 1;
            let at = card.row.created_at;
            self.tally.newest = Some(self.tally.newest.map_or(at, |newest| newest.max(at)));
            self.tally.oldest = Some(self.tally.oldest.map_or(at, |oldest| oldest.min(at)));
        }
        Ok((cards, page.next))
    }

    /// Gives each card its oldest alias from another vault. Gives how many aliases are left out.
    async fn add_aliases(&self, cards: &mut [Opened]) -> Result<u64, OperationError> {
        if cards.is_empty() {
            return Ok(0);
        }
        let tokens: Vec<_> = cards.iter().map(|card| card.row.token.hash()).collect();
        let rows = self.vault.store.aliases_of(&tokens).await?;
        let mut left_out = 0;
        for AliasRow { alias, token, .. } in self.vault.all_hold(rows).await? {
            let card = cards.iter_mut().find(|card| card.row.token.hash() == token);
            match card {
                Some(card) if alias.kind() == AliasKind::Foreign && card.alias.is_none() => {
                    card.alias = Some(alias);
                }
                _ => left_out += 1,
            }
        }
        Ok(left_out)
    }

    fn handed_over(&self, row: &CardRow, permit: &Permit<ExportCards>) -> Draft {
        let object = Object::Token { token: row.token.token_ref(), tenant: Some(row.tenant.clone()) };
        let mut entry = self.asking.entry(Event::PanExport, Outcome::Success, object);
        entry = entry.by_policy(policy_of(permit.decision())).with_key(KeyRef::of(row.data_key));
        entry.of_export(reference(&self.row, Some(self.run)))
    }

    /// Writes how it ended, with what it made.
    async fn end(&self, state: &'static str, file: Option<&Digest>) -> Result<(), OperationError> {
        let now = self.vault.clock.now();
        let (text, manifest_sha256) = self.manifest(state, file, now).write()?;
        let mut export = reference(&self.row, Some(self.run));
        export.made = file.map(|file| Made { file_sha256: file.sha256(), manifest_sha256 });
        let outcome = if file.is_some() { Outcome::Success } else { Outcome::Failure };
        let entry = self.asking.entry(Event::ExportRun, outcome, object(&self.row));
        let entry = entry.of_export(export).because(state).counting(self.tally.cards);
        let (id, run) = (self.row.id, self.run);
        self.commit(Change::EndExportRun { id, run, at: now, manifest: text, entry }).await
    }

    fn manifest(&self, state: &'static str, file: Option<&Digest>, now: Timestamp) -> Manifest<'_> {
        Manifest {
            aliases_left_out: self.tally.aliases_left_out,
            approval: Said::of(&self.approval),
            began_at: self.asking.at,
            by_brand: &self.tally.by_brand,
            cards: self.tally.cards,
            ended_at: now,
            export: self.row.id,
            file: file.map(Hashed::file),
            lines: Hashed::lines(&self.tally),
            log: LogReference::of(self.asking.request.id),
            newest_created_at: self.tally.newest,
            oldest_created_at: self.tally.oldest,
            request: &self.request,
            request_sha256: request_sha256(&self.row),
            run: self.run,
            run_by: &self.asking.caller.workload,
            state,
            v: Manifest::VERSION,
        }
    }

    /// Commits, with patience while the queue is full: payments come first.
    async fn commit(&self, change: Change) -> Result<(), OperationError> {
        for _ in 0..COMMIT_TRIES {
            match self.vault.committer.commit(change.clone()).await {
                Ok(Committed::Done) => return Ok(()),
                Ok(_) => {
                    return Err(OperationError::Defect(
                        "a run ends once, and its entries belong to no change",
                    ));
                }
                Err(CommitError::Full) => sleep(COMMIT_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Full.into())
    }

    async fn send_last(&self, last: Bytes) -> Result<(), Broken> {
        self.send(Piece::Bytes(last)).await?;
        self.send(Piece::End).await
    }

    async fn send(&self, piece: Piece) -> Result<(), Broken> {
        match timeout(STALLED, self.out.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Broken::Download),
        }
    }
}

/// A card as it goes into the file.
struct Opened {
    row: CardRow,
    secrets: CardSecrets,
    alias: Option<Alias>,
}
