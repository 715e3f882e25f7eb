//! Which cards of a batch come in: decided here for both drivers, from what the database holds inside the transaction.
//!
//! Requests are looked at in their order, and what an earlier one takes is taken for the later ones: of a thousand
//! requests with one number in one transaction, the first makes the card.

use std::collections::{HashMap, HashSet};

use strongroom_domain::{AliasHash, TenantId, TokenHash};
use strongroom_sealing::Fingerprint;
use uuid::Uuid;

use super::{Batch, Insert, NewCard};
use crate::store::change::Committed;
use crate::store::rows::{AliasRow, IdempotencyRow};

/// What the database holds that decides.
pub(in crate::store) struct Held<'a> {
    /// The data keys that still seal.
    pub(in crate::store) usable: HashSet<Uuid>,
    /// Answers under the batch's idempotency scopes.
    pub(in crate::store) answers: HashMap<[u8; 32], IdempotencyRow>,
    /// What the batch's names lead to.
    pub(in crate::store) names: HeldNames<'a>,
}

/// What names lead to.
#[derive(Default)]
pub(in crate::store) struct HeldNames<'a> {
    /// The card of each fingerprint, and whether it is neither hidden nor over.
    pub(in crate::store) fingerprints: HashMap<(&'a TenantId, Fingerprint), (TokenHash, bool)>,
    /// The card of each alias.
    pub(in crate::store) aliases: HashMap<AliasHash, TokenHash>,
}

/// A fingerprint that is to lead to a new card.
pub(in crate::store) struct Claim<'a> {
    pub(in crate::store) tenant: &'a TenantId,
    pub(in crate::store) fingerprint: Fingerprint,
    pub(in crate::store) token: TokenHash,
    /// The card it led to, which is hidden or over.
    pub(in crate::store) from: Option<TokenHash>,
}

/// What is to be written.
#[derive(Default)]
pub(in crate::store) struct Winners<'a> {
    pub(in crate::store) cards: Vec<&'a NewCard<'a>>,
    pub(in crate::store) answers: Vec<&'a IdempotencyRow>,
    pub(in crate::store) claims: Vec<Claim<'a>>,
    pub(in crate::store) aliases: Vec<&'a AliasRow>,
}

impl<'a> Batch<'a> {
    /// The data keys its cards are sealed with.
    pub(in crate::store) fn sealing_keys(&self) -> Vec<Uuid> {
        let keys: HashSet<Uuid> = self.cards.iter().map(|new| new.card.data_key.as_uuid()).collect();
        keys.into_iter().collect()
    }

    /// The idempotency scopes its cards come under.
    pub(in crate::store) fn scopes(&self) -> Vec<&'a [u8]> {
        self.inserts.iter().filter_map(|insert| Some(insert.idempotency?.scope.as_slice())).collect()
    }

    /// The fingerprints that decide, once each and in one order for every replica.
    pub(in crate::store) fn fingerprints(&self) -> Vec<(&'a TenantId, Fingerprint)> {
        let mut all: Vec<_> = self.inserts.iter().flat_map(|insert| self.fingerprints_of(insert)).collect();
        all.sort_unstable_by(|one, other| (one.0, one.1.as_bytes()).cmp(&(other.0, other.1.as_bytes())));
        all.dedup();
        all
    }

    fn fingerprints_of(&self, insert: &Insert<'a>) -> Vec<(&'a TenantId, Fingerprint)> {
        let known = insert.names.known.iter().map(|known| (&known.tenant, known.fingerprint));
        let claimed = self.cards[insert.cards.clone()].iter().filter(|_| insert.names.unique);
        let claimed = claimed.filter_map(|new| Some((&new.card.tenant, new.card.fingerprint?)));
        known.chain(claimed).collect()
    }

    /// The aliases to add, once each and in one order for every replica.
    pub(in crate::store) fn aliases(&self) -> Vec<AliasHash> {
        let aliases = self.inserts.iter().flat_map(|insert| &insert.names.aliases);
        let mut all: Vec<_> = aliases.map(|row| row.alias.hash()).collect();
        all.sort_unstable_by_key(|hash| *hash.as_bytes());
        all.dedup();
        all
    }

    /// Says which cards come in. A taken scope comes before every other reason: the first answer under a key is given
    /// again whatever happened since.
    pub(in crate::store) fn decide(&'a self, held: Held<'a>, became: &mut [Committed]) -> Winners<'a> {
        let Held { usable, mut answers, mut names } = held;
        let mut winners = Winners::default();
        for insert in &self.inserts {
            let cards = &self.cards[insert.cards.clone()];
            if let Some(row) = insert.idempotency.and_then(|row| answers.remove(&row.scope)) {
                became[insert.at] = Committed::Replay(row);
            } else if !cards.iter().all(|new| usable.contains(&new.card.data_key.as_uuid())) {
                became[insert.at] = Committed::KeyNotActive;
            } else if !names.are_free_for(insert, cards) {
                became[insert.at] = Committed::Conflict;
            } else {
                names.take(insert, cards, &mut winners);
                winners.cards.extend(cards);
                winners.answers.extend(insert.idempotency);
            }
        }
        winners
    }
}

impl<'a> HeldNames<'a> {
    fn are_free_for(&self, insert: &Insert<'_>, cards: &[NewCard<'_>]) -> bool {
        let leads_to = |tenant, fingerprint| self.fingerprints.get(&(tenant, fingerprint)).copied();
        let mut own = HashSet::new();
        let claims_are_free = cards.iter().filter(|_| insert.names.unique).all(|new| {
            new.card.fingerprint.is_none_or(|fingerprint| {
                own.insert(fingerprint)
                    && !leads_to(&new.card.tenant, fingerprint).is_some_and(|(_, is_live)| is_live)
            })
        });
        claims_are_free
            && insert
                .names
                .known
                .iter()
                .all(|known| leads_to(&known.tenant, known.fingerprint) == Some((known.token, true)))
            && self.aliases_are_free_for(insert)
    }

    fn aliases_are_free_for(&self, insert: &Insert<'_>) -> bool {
        let mut own = HashMap::new();
        insert.names.aliases.iter().all(|row| {
            let hash = row.alias.hash();
            let holder = self.aliases.get(&hash).copied().unwrap_or(row.token);
            holder == row.token && *own.entry(hash).or_insert(row.token) == row.token
        })
    }

    fn take(&mut self, insert: &Insert<'a>, cards: &'a [NewCard<'a>], winners: &mut Winners<'a>) {
        for new in cards.iter().filter(|_| insert.names.unique) {
            let Some(fingerprint) = new.card.fingerprint else { continue };
            let (tenant, token) = (&new.card.tenant, new.hash);
            let from = self.fingerprints.insert((tenant, fingerprint), (token, true));
            let from = from.map(|(from, _)| from);
            winners.claims.push(Claim { tenant, fingerprint, token, from });
        }
        for row in &insert.names.aliases {
            if self.aliases.insert(row.alias.hash(), row.token).is_none() {
                winners.aliases.push(row);
            }
        }
    }
}
