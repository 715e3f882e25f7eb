//! Forwards: the one door through which a card number leaves, to a proxy, for one request at one registered PSP.
//!
//! Promises: no card data is answered before its audit entries are durable, one per card. What leaves is what the route
//! declares for that method and path, and no more. Unknown, erased, expired, foreign and forbidden tokens are one answer.
//! Does not promise: that the proxy tells the truth about caller and destination (T-01); it can be held to what it said.
//! Trusts: the store for availability only; a record it altered does not open.
//! Upholds: C-04, C-05, C-08, C-09, C-13, C-45.

mod once;
mod recent;
mod reconcile;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use strongroom_domain::route::{Attribute, AttributeSet, PaymentReference};
use strongroom_domain::{ForwardId, Problem, ProblemKind, TenantId, TokenHash, WorkloadId};
use strongroom_sealing::{CardSecrets, KeyScope, Purpose, SealContext, open};

pub use self::once::reference_of;
pub use self::recent::RecentForwards;
pub use self::reconcile::Finding;
use super::card::{is_live, owner};
use super::{Asking, OperationError, Vault, policy_of};
use crate::audit::{Actor, Destination, Draft, Event, KeyRef, Object, Outcome};
use crate::authz::{
    NamedCard, OpenForward, OpenForwardSubject, Permit, RecordOutcome, RouteFacts, WantedCard,
};
use crate::sad::TakenCvc;
use crate::store::{CardRow, Change, Committed, ForwardRow, ForwardState, ReferenceRow};

/// Most cards in one forward (design §5).
pub const CARDS_MAX: usize = 8;

/// How long a forward may stay without an outcome: a proxy tries to tell for ten minutes.
const SILENT_AFTER: Duration = Duration::from_secs(900);

/// A forward a proxy asks for.
pub struct Wanted {
    /// On whose behalf: the proxy's word.
    pub caller: WorkloadId,
    /// That caller's certificate, as the proxy saw it.
    pub caller_certificate_sha256: [u8; 32],
    /// Where the caller's connection came from, as the proxy saw it.
    pub origin: Option<SocketAddr>,
    /// Where to: held against the route files.
    pub route: RouteFacts,
    /// The cards and what of each.
    pub cards: Vec<(NamedCard, AttributeSet)>,
    /// The PSP idempotency key of the attempt.
    pub attempt: Option<String>,
    /// The merchant's payment reference, where the route lets each through once.
    pub reference: Option<PaymentReference>,
}

impl Wanted {
    /// What makes two forwards one payment attempt: the same PSP idempotency key, from the same caller, for the same call
    /// at the same account. PSPs scope their keys likewise; the key alone could be brought to a second PSP.
    fn attempt_name(&self) -> Option<String> {
        let (key, route) = (self.attempt.as_deref()?, &self.route);
        let (name, account) = (&route.route().name, &route.account().name);
        // None of the parts before the key holds a line end.
        Some(format!("{}\n{name}\n{account}\n{}\n{}\n{key}", self.caller, route.method(), route.path()))
    }
}

/// An opened forward: the card data, already audited.
pub struct Opened {
    /// Its id.
    pub id: ForwardId,
    /// Whose cards.
    pub tenant: TenantId,
    /// In the order asked.
    pub cards: Vec<Released>,
}

/// What is released of one card.
pub struct Released {
    /// What was asked.
    pub attributes: AttributeSet,
    /// The opened record.
    pub secrets: CardSecrets,
    /// The verification code, if asked.
    pub cvc: Option<TakenCvc>,
}

/// How a forward ended, by the proxy's word.
pub struct Ended {
    /// Answered, not sent or unknown.
    pub state: ForwardState,
    /// Status, timings, counts: no card data.
    pub outcome: serde_json::Value,
}

impl Vault {
    /// The tenant whose cards these are, and the rows. Every reason not to find them is the same answer.
    pub async fn find_cards(
        &self,
        asking: &Asking,
        wanted: &Wanted,
    ) -> Result<(TenantId, Vec<CardRow>), OperationError> {
        let hashes: Vec<TokenHash> = wanted.cards.iter().map(|(card, _)| card.token).collect();
        let distinct: HashSet<_> = hashes.iter().collect();
        if hashes.is_empty() || hashes.len() > CARDS_MAX || distinct.len() != hashes.len() {
            let detail = "a forward names one to eight different tokens";
            return Err(OperationError::Request(
                Problem::because(ProblemKind::InvalidRequest, detail).at("/cards"),
            ));
        }
        let found = self.reader.cards(hashes).await?;
        let live = |row: Option<CardRow>| {
            row.filter(|row| is_live(row, asking.at)).ok_or(OperationError::UnknownToken)
        };
        let rows = found.into_iter().map(live).collect::<Result<Vec<_>, _>>()?;
        let tenant = rows[0].tenant.clone();
        if rows.iter().any(|row| row.tenant != tenant) {
            return Err(OperationError::UnknownToken);
        }
        Ok((tenant, rows))
    }

    /// Opens the records, writes the entries, and only then gives the card data.
    pub async fn open_forward(
        &self,
        asking: &Asking,
        permit: Permit<OpenForward>,
        wanted: &Wanted,
        rows: Vec<CardRow>,
    ) -> Result<Opened, OperationError> {
        if !is_about(permit.subject(), wanted, &rows) {
            return Err(OperationError::Defect("a permit was spent on another forward"));
        }
        let hashes: Vec<TokenHash> = wanted.cards.iter().map(|(card, _)| card.token).collect();
        self.limits.forward(&wanted.caller, &hashes).map_err(|_| OperationError::RateLimited)?;
        let id = ForwardId::generate(&*self.clock, &*self.random)?;
        let reference = self.keyed_reference(&permit.subject().tenant, wanted).await?;
        let released = self.release(id, wanted, &rows).await;
        let opened = match released {
            Ok(cards) => self
                .commit_forward(asking, &permit, wanted, (id, reference), &rows)
                .await
                .map(|tenant| Opened { id, tenant, cards }),
            Err(error) => Err(self.rather_taken(&permit.subject().tenant, wanted, reference, error).await),
        };
        if opened.is_err() {
            self.cvcs.give_back(id); // nothing left this process
        }
        opened
    }

    async fn release(
        &self,
        id: ForwardId,
        wanted: &Wanted,
        rows: &[CardRow],
    ) -> Result<Vec<Released>, OperationError> {
        let mut released = Vec::with_capacity(rows.len());
        for ((_, attributes), row) in wanted.cards.iter().zip(rows) {
            let secrets = self.unseal(row).await?;
            let lacks = |attribute, present: bool| attributes.contains(attribute) && !present;
            if lacks(Attribute::Exp, secrets.expiry.is_some())
                || lacks(Attribute::Holder, secrets.holder.is_some())
            {
                return Err(OperationError::AttributeUnavailable);
            }
            let cvc = if attributes.contains(Attribute::Cvc) {
                let taken = self.cvcs.take(owner(row), id, wanted.attempt_name().as_deref());
                Some(taken.ok_or(OperationError::AttributeUnavailable)?)
            } else {
                None
            };
            released.push(Released { attributes: *attributes, secrets, cvc });
        }
        Ok(released)
    }

    pub(super) async fn unseal(&self, row: &CardRow) -> Result<CardSecrets, OperationError> {
        let scope = KeyScope::Tenant(row.tenant.clone());
        let key = self.keys.by_id(&scope, Purpose::Card, row.data_key).await?;
        let context = SealContext {
            environment: self.environment,
            tenant: &row.tenant,
            token: row.token.hash(),
            data_key: row.data_key,
            facts: &row.facts,
            row_version: row.row_version,
            expires_at: row.expires_at,
        };
        Ok(open(&key.key, &context, &row.record)?)
    }

    async fn commit_forward(
        &self,
        asking: &Asking,
        permit: &Permit<OpenForward>,
        wanted: &Wanted,
        (id, reference): (ForwardId, Option<ReferenceRow>),
        rows: &[CardRow],
    ) -> Result<TenantId, OperationError> {
        let tenant = rows[0].tenant.clone();
        let entries = rows.iter().map(|row| {
            let object = Object::Token { token: row.token.token_ref(), tenant: Some(row.tenant.clone()) };
            let destination = destination(wanted, attributes_of(wanted, row), Some(id));
            Self::forward_entry(asking, wanted, Outcome::Success, object)
                .to(destination)
                .by_policy(policy_of(permit.decision()))
                .with_key(KeyRef::of(row.data_key))
        });
        let forward = ForwardRow {
            id,
            tenant: tenant.clone(),
            proxy: asking.caller.workload.clone(),
            caller: wanted.caller.clone(),
            route: wanted.route.route().name.clone(),
            account: wanted.route.account().name.clone(),
            method: wanted.route.method().to_owned(),
            path: wanted.route.path().to_owned(),
            host: wanted.route.host().to_owned(),
            cards: rows.iter().map(|row| row.token.token_ref()).collect(),
            attributes: wanted.cards.iter().flat_map(|(_, attributes)| attributes.iter()).collect(),
            state: ForwardState::Open,
            opened_at: asking.at,
            closed_at: None,
            outcome: None,
            grounds: Some(once::grounds(asking, permit, wanted)),
            reconciled: None,
        };
        let (forward, entries) = (Box::new(forward), entries.collect());
        match self.committer.commit(Change::OpenForward { forward, reference, entries }).await? {
            Committed::Done => {
                self.recent_forwards.remember(id, asking.caller.workload.clone(), tenant.clone());
                Ok(tenant)
            }
            Committed::Taken(holder) => Err(once::taken(wanted, holder)),
            Committed::Replay(_) | Committed::KeyNotActive | Committed::Conflict | Committed::Missing => {
                Err(OperationError::Defect("a new forward was already there"))
            }
        }
    }

    /// The beginning of every entry about a forward: who it is for and where it goes are the proxy's word.
    fn forward_entry(asking: &Asking, wanted: &Wanted, outcome: Outcome, object: Object) -> Draft {
        let actor = Actor::Workload {
            id: wanted.caller.clone(),
            cert_sha256: Some(wanted.caller_certificate_sha256),
        };
        asking.entry_of(actor, Event::PanForward, outcome, object).asserted_by(asking.caller.workload.clone())
    }

    /// Writes the entries of a refused forward: one for each card it named, or one without.
    pub async fn refuse_forward(
        &self,
        asking: &Asking,
        wanted: Option<&Wanted>,
        error: OperationError,
    ) -> OperationError {
        let Some(wanted) = wanted else {
            return self
                .refuse(asking, Event::PanForward, Object::Operation("POST /v1/forwards"), error)
                .await;
        };
        let mut error = error;
        for (card, attributes) in &wanted.cards {
            let object = Object::Token { token: card.token.token_ref(), tenant: None };
            let entry = Self::forward_entry(asking, wanted, error.outcome(), object);
            error = self.write_refusal(entry.to(destination(wanted, *attributes, None)), error).await;
        }
        error
    }

    /// Writes how a forward ended. States never go back; the same word twice is no change.
    pub async fn end_forward(
        &self,
        asking: &Asking,
        permit: Permit<RecordOutcome>,
        ended: Ended,
    ) -> Result<(), OperationError> {
        let id = *permit.subject();
        let tenant = match self.recent_forwards.tenant_of(id, &asking.caller.workload) {
            Some(tenant) => tenant,
            None => self.own_forward(asking, id).await?.tenant,
        };
        let object = Object::Forward { id, tenant: Some(tenant) };
        let entry = Self::allowed(asking, Event::ForwardOutcome, permit.decision(), object)
            .because(ended.state.as_str())
            .asserted_by(asking.caller.workload.clone());
        if ended.state == ForwardState::Answered {
            self.cvcs.burn(id);
        }
        let was_not_sent = ended.state == ForwardState::NotSent;
        let proxy = asking.caller.workload.clone();
        let change = Change::RecordOutcome {
            id,
            proxy,
            state: ended.state,
            outcome: ended.outcome,
            at: asking.at,
            entry,
        };
        match self.committer.commit(change).await? {
            Committed::Done => {
                // Not before the log holds it, and not where another outcome stands: an unknown one may have been sent.
                if was_not_sent {
                    self.cvcs.give_back(id);
                }
                self.recent_forwards.forget(id);
                Ok(())
            }
            Committed::Missing => Err(OperationError::UnknownForward),
            Committed::Conflict if self.own_forward(asking, id).await?.state == ended.state => Ok(()),
            Committed::Conflict => Err(OperationError::Conflict),
            Committed::Replay(_) | Committed::KeyNotActive | Committed::Taken(_) => {
                Err(OperationError::Defect("an outcome needs neither key nor replay"))
            }
        }
    }

    /// Closes forwards whose proxy never told their outcome: it crashed, and what became of them is unknown. Gives how many.
    pub async fn close_silent_forwards(&self, limit: u32) -> Result<u64, OperationError> {
        let now = self.clock.now();
        let silent = self.store.silent_forwards(now.minus(SILENT_AFTER), limit).await?;
        let changes = silent.into_iter().map(|row| {
            let object = Object::Forward { id: row.id, tenant: Some(row.tenant) };
            let entry = Draft::by_service(now, Event::ForwardOutcome, Outcome::Failure, object);
            self.committer.commit(Change::RecordOutcome {
                id: row.id,
                proxy: row.proxy,
                state: ForwardState::Unknown,
                outcome: serde_json::json!({}),
                at: now,
                entry: entry.because("silent"),
            })
        });
        let mut closed = 0;
        // Anything but `Done`: the proxy spoke after all, or another replica was faster.
        for became in join_all(changes).await {
            closed += u64::from(became? == Committed::Done);
        }
        Ok(closed)
    }

    /// One forward's story, for the proxy that opened it.
    pub async fn show_forward(
        &self,
        asking: &Asking,
        permit: Permit<RecordOutcome>,
    ) -> Result<ForwardRow, OperationError> {
        let row = self.own_forward(asking, *permit.subject()).await?;
        let object = Object::Forward { id: row.id, tenant: Some(row.tenant.clone()) };
        self.record(Self::allowed(asking, Event::ForwardRead, permit.decision(), object)).await?;
        Ok(row)
    }

    async fn own_forward(&self, asking: &Asking, id: ForwardId) -> Result<ForwardRow, OperationError> {
        let row = self.store.forward(id).await?;
        row.filter(|row| row.proxy == asking.caller.workload).ok_or(OperationError::UnknownForward)
    }
}

/// Whether the permit speaks of exactly this caller, these cards and no more of them.
fn is_about(subject: &OpenForwardSubject, wanted: &Wanted, rows: &[CardRow]) -> bool {
    let same_card =
        |((card, row), (named, attributes)): ((&WantedCard, &CardRow), &(NamedCard, AttributeSet))| {
            card.card == *named
                && card.attributes == *attributes
                && row.token.hash() == named.token
                && row.tenant == subject.tenant
        };
    subject.caller == wanted.caller
        && std::ptr::eq(subject.route.route(), wanted.route.route())
        && std::ptr::eq(subject.route.account(), wanted.route.account())
        && subject.cards.len() == wanted.cards.len()
        && rows.len() == wanted.cards.len()
        && subject.cards.iter().zip(rows).zip(&wanted.cards).all(same_card)
}

fn attributes_of(wanted: &Wanted, row: &CardRow) -> AttributeSet {
    let token = row.token.hash();
    let of_row = |(card, _): &&(NamedCard, AttributeSet)| card.token == token;
    wanted.cards.iter().find(of_row).map(|(_, attributes)| *attributes).unwrap_or_default()
}

fn destination(wanted: &Wanted, attributes: AttributeSet, forward: Option<ForwardId>) -> Destination {
    let (route, call) = (wanted.route.route(), wanted.route.call());
    Destination {
        route: route.name.clone(),
        account: wanted.route.account().name.clone(),
        host: Arc::from(wanted.route.host()),
        port: Some(wanted.route.port()),
        method: Arc::from(call.method.as_str()),
        path: Arc::from(call.path.as_str()),
        forward,
        attributes,
    }
}
