//! Asking the log: entries by what they name, and what a workload reached.
//!
//! Promises: every answer has its own entry, durable before it leaves (PCI DSS 10.2.1.3), which names the cards asked for
//! or shown; a tenant's reader sees entries of that tenant alone. What is shown is the log's, held against its tree.
//! Does not promise: that the index hides nothing; whoever may change the database may make it (T-38).
//! Upholds: C-04, C-58.

use std::collections::HashMap;

use strongroom_domain::{Brand, CardName, TenantId, Timestamp, TokenRef};

use super::{Asking, OperationError, Vault};
use crate::audit::{Draft, Event, Leaf, Object, Seen};
use crate::authz::{Decision, Permit, ReadAudit, ReadTenantAudit, TenantScope};
use crate::store::find::{
    EntryFilter, EntryRange, Follower, LoggedLeaf, NamedCardRow, PlacePage, UsePage, UsePlace,
};

/// Most entries of one page: an answer stays within some hundred kilobytes.
pub const ENTRIES_MAX: u32 = 100;
/// Most uses of one page of a blast radius.
pub const USES_MAX: u32 = 100;

/// A page of entries.
pub struct FoundEntries {
    /// In the order asked for. One that is not [intact](LoggedLeaf::intact) was changed in the database or removed.
    pub entries: Vec<LoggedLeaf>,
    /// What the next page comes after; none after the last.
    pub next: Option<u64>,
    /// How many entries of the log the index holds: what came later is not found yet.
    pub indexed: u64,
}

/// Whose reach is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The workload: a caller, or the proxy on whose word callers stand.
    pub workload: String,
    /// With this certificate of the caller's, by SHA-256 in hex.
    pub certificate: Option<String>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// One release of a card's data.
pub struct Use {
    /// Where its entry stands in the log.
    pub place: u64,
    /// The entry as the database holds it.
    pub logged: LoggedLeaf,
    /// What it says; none if it was changed or removed.
    pub seen: Option<Seen>,
}

/// Releases of one card's data, as far as they are on the page.
pub struct ReachedCard {
    /// The card; none if the entry was changed or removed.
    pub token: Option<TokenRef>,
    /// Its facts, if its row is there.
    pub facts: Option<NamedCardRow>,
    /// In the order of the log.
    pub uses: Vec<Use>,
}

/// A page of a blast radius.
pub struct Reached {
    /// Card by card; the last may go on on the next page.
    pub cards: Vec<ReachedCard>,
    /// What the next page comes after; none after the last.
    pub next: Option<UsePlace>,
    /// How many entries of the log the index held before it was asked for this page. Pages go by card: of all of them
    /// together, what the first says holds.
    pub indexed: u64,
}

impl ReachedCard {
    /// Its brand, where known.
    #[must_use]
    pub fn brand(&self) -> Option<Brand> {
        self.facts.as_ref().and_then(|facts| facts.brand)
    }
}

impl Vault {
    /// A page of the log.
    pub async fn find_entries(
        &self,
        asking: &Asking,
        permit: Permit<ReadAudit>,
        filter: &EntryFilter,
        range: EntryRange,
    ) -> Result<FoundEntries, OperationError> {
        self.find(asking, permit.decision(), Object::Log, filter, range).await
    }

    /// A page of what the log says of one tenant.
    pub async fn find_entries_of(
        &self,
        asking: &Asking,
        permit: Permit<ReadTenantAudit>,
        mut filter: EntryFilter,
        range: EntryRange,
    ) -> Result<FoundEntries, OperationError> {
        let (TenantScope { tenant }, decision) = permit.into_parts();
        filter.tenant = Some(tenant.clone());
        self.find(asking, &decision, Object::Tenant(tenant), &filter, range).await
    }

    async fn find(
        &self,
        asking: &Asking,
        decision: &Decision,
        object: Object,
        filter: &EntryFilter,
        range: EntryRange,
    ) -> Result<FoundEntries, OperationError> {
        let index = self.store.index();
        let indexed = index.followed(Follower::Find).await?;
        let range = EntryRange { limit: range.limit.min(ENTRIES_MAX), ..range };
        let PlacePage { places, next } = index.places(filter, range).await?;
        let mut entries = index.leaves(&places).await?;
        entries.retain(|entry| entry.intact().is_none_or(|leaf| fits(leaf, filter)));
        report_damage(&entries);
        let entry = Self::allowed(asking, Event::AuditRead, decision, object).because("find");
        let entry = entry.counting(entries.len() as u64).naming(filter.token.iter().cloned().collect());
        self.record(entry).await?;
        Ok(FoundEntries { entries, next, indexed })
    }

    /// A page of what a workload reached: cards, and where the data of each went.
    pub async fn reach(
        &self,
        asking: &Asking,
        permit: Permit<ReadAudit>,
        reach: &Reach,
        after: Option<UsePlace>,
        limit: u32,
    ) -> Result<Reached, OperationError> {
        let index = self.store.index();
        let indexed = index.followed(Follower::Find).await?;
        let window = (reach.from, reach.until);
        let UsePage { uses, next } = index.uses(&reach.workload, window, after, limit.min(USES_MAX)).await?;
        let places: Vec<u64> = uses.iter().map(|one| one.place).collect();
        let entries = index.leaves(&places).await?;
        report_damage(&entries);
        let mut cards = by_card(entries, reach);
        let tokens: Vec<TokenRef> = cards.iter().filter_map(|card| card.token.clone()).collect();
        let facts = index.named_cards(&tokens).await?;
        let mut facts: HashMap<_, _> = facts.into_iter().map(|row| (row.token.clone(), row)).collect();
        for card in &mut cards {
            card.facts = card.token.as_ref().and_then(|token| facts.remove(token));
        }
        let shown = cards.iter().map(|card| card.uses.len() as u64).sum();
        let entry: Draft = Self::allowed(asking, Event::AuditRead, permit.decision(), Object::Log);
        self.record(entry.because("blast-radius").counting(shown).naming(tokens)).await?;
        Ok(Reached { cards, next, indexed })
    }

    /// The reference of a card by any of its names. To a `reader` of one tenant, another tenant's alias is one nobody has.
    pub async fn reference_of_name(
        &self,
        name: &str,
        reader: Option<&TenantId>,
    ) -> Result<Option<TokenRef>, OperationError> {
        if let Some(reference) = TokenRef::parse(name) {
            return Ok(Some(reference));
        }
        let Ok(name) = CardName::parse(name) else { return Ok(None) };
        let named = match reader {
            Some(tenant) => self.resolve_within(tenant, &[name]).await?,
            None => self.resolve(&[name]).await?,
        };
        Ok(named.first().map(|card| card.token.token_ref()))
    }
}

/// The index finds cards by half of their reference, and it may lie: the entry itself says whether it fits.
pub(super) fn fits(leaf: &Leaf, filter: &EntryFilter) -> bool {
    let Some(seen) = Seen::of(leaf) else { return filter.token.is_none() && filter.tenant.is_none() };
    let same = |wanted: Option<&str>, is: Option<&str>| wanted.is_none_or(|wanted| Some(wanted) == is);
    same(filter.tenant.as_ref().map(TenantId::as_str), seen.obj.tenant.as_deref())
        && same(filter.verb.as_deref(), Some(&seen.evt))
        && same(filter.outcome.as_deref(), Some(&seen.out))
        && same(filter.route.as_deref(), seen.dst.as_ref().map(|dst| dst.route_id.as_str()))
        && filter.workload.as_ref().is_none_or(|workload| seen.is_by(workload))
        && filter.from.is_none_or(|from| seen.ts >= from)
        && filter.until.is_none_or(|until| seen.ts < until)
        && filter.token.as_ref().is_none_or(|token| seen.tokens().any(|named| named == *token))
}

/// What a workload reached, card by card. The places come in the order of cards.
fn by_card(entries: Vec<LoggedLeaf>, reach: &Reach) -> Vec<ReachedCard> {
    let mut cards: Vec<ReachedCard> = Vec::new();
    for logged in entries {
        let seen = logged.intact().and_then(Seen::of);
        if seen.as_ref().is_some_and(|seen| !is_reached(seen, reach)) {
            continue;
        }
        let token = seen.as_ref().and_then(Seen::token);
        let one = Use { place: logged.place, logged, seen };
        match cards.last_mut() {
            Some(card) if card.token == token => card.uses.push(one),
            _ => cards.push(ReachedCard { token, facts: None, uses: vec![one] }),
        }
    }
    cards
}

fn is_reached(seen: &Seen, reach: &Reach) -> bool {
    let shown = seen.actor.cert_sha256.as_ref();
    let certificate = reach.certificate.as_ref();
    seen.released()
        && seen.is_by(&reach.workload)
        && reach.from.is_none_or(|from| seen.ts >= from)
        && reach.until.is_none_or(|until| seen.ts < until)
        && certificate.is_none_or(|wanted| shown == Some(wanted))
}

pub(super) fn report_damage(entries: &[LoggedLeaf]) {
    for damaged in entries.iter().filter(|entry| entry.intact().is_none()) {
        metrics::counter!("strongroom_log_damaged_reads_total").increment(1);
        tracing::error!(
            place = damaged.place,
            "an entry of the log is not the one in its tree: run `audit verify` and call your incident team"
        );
    }
}
