//! Which cards of a batch are changed: decided here for both drivers, from what the database holds inside the transaction.
//!
//! Promises: a card is changed at the version its change was made for, or not at all.

use std::collections::{HashMap, HashSet};

use strongroom_domain::{AliasHash, TokenHash};
use uuid::Uuid;

use super::{Batch, Claim, Update};
use crate::store::change::{CardUpdate, Committed};
use crate::store::rows::{AliasRow, IdempotencyRow};

/// What the database holds that decides.
pub(in crate::store) struct HeldCards {
    /// The data keys that still seal.
    pub(in crate::store) usable: HashSet<Uuid>,
    /// Answers under the batch's idempotency scopes.
    pub(in crate::store) answers: HashMap<[u8; 32], IdempotencyRow>,
    /// Tenant and version of the cards that are neither hidden nor over.
    pub(in crate::store) versions: HashMap<TokenHash, (String, u64)>,
    /// The card of each alias.
    pub(in crate::store) aliases: HashMap<AliasHash, TokenHash>,
}

/// What is to be written.
#[derive(Default)]
pub(in crate::store) struct Updated<'a> {
    pub(in crate::store) cards: Vec<&'a CardUpdate>,
    pub(in crate::store) answers: Vec<&'a IdempotencyRow>,
    pub(in crate::store) aliases: Vec<&'a AliasRow>,
}

impl<'a> Batch<'a> {
    /// Every card to change.
    pub(in crate::store) fn updated(&self) -> impl Iterator<Item = &'a CardUpdate> + '_ {
        self.updates.iter().flat_map(|update| update.updates)
    }

    /// The data keys they are sealed with.
    pub(in crate::store) fn resealing_keys(&self) -> Vec<Uuid> {
        let keys: HashSet<Uuid> = self.updated().map(|update| update.card.data_key.as_uuid()).collect();
        keys.into_iter().collect()
    }

    /// The idempotency scopes they come under.
    pub(in crate::store) fn update_scopes(&self) -> Vec<&'a [u8]> {
        self.updates.iter().filter_map(|update| Some(update.idempotency?.scope.as_slice())).collect()
    }

    /// The aliases to add to them.
    pub(in crate::store) fn update_aliases(&self) -> Vec<AliasHash> {
        self.updated().flat_map(|update| &update.aliases).map(|row| row.alias.hash()).collect()
    }

    /// Says which cards are changed. A taken scope comes before every other reason.
    pub(in crate::store) fn decide_updates(&self, held: HeldCards, became: &mut [Committed]) -> Updated<'a> {
        let HeldCards { usable, mut answers, versions, mut aliases } = held;
        let mut updated = Updated::default();
        for update in &self.updates {
            if let Some(row) = update.idempotency.and_then(|row| answers.remove(&row.scope)) {
                became[update.at] = Committed::Replay(row);
            } else if !update.updates.iter().all(|card| usable.contains(&card.card.data_key.as_uuid())) {
                became[update.at] = Committed::KeyNotActive;
            } else if !are_as_expected(update, &versions) || !are_free_for(update, &aliases) {
                became[update.at] = Committed::Conflict;
            } else {
                let names = update.updates.iter().flat_map(|card| &card.aliases);
                for row in names {
                    if aliases.insert(row.alias.hash(), row.token).is_none() {
                        updated.aliases.push(row);
                    }
                }
                updated.cards.extend(update.updates);
                updated.answers.extend(update.idempotency);
            }
        }
        updated
    }
}

impl<'a> Updated<'a> {
    /// The fingerprints that are to lead to these cards, each once, in one order for every replica.
    pub(in crate::store) fn claims(&self) -> Vec<Claim<'a>> {
        let claims = self.cards.iter().filter(|update| update.claims).filter_map(|update| {
            let (tenant, token) = (&update.card.tenant, update.card.token.hash());
            Some(Claim { tenant, fingerprint: update.card.fingerprint?, token, from: None })
        });
        let mut claims: Vec<_> = claims.collect();
        claims.sort_by(|one, other| key(one).cmp(&key(other)));
        claims.dedup_by(|one, other| key(one) == key(other));
        claims
    }
}

fn key<'c>(claim: &'c Claim<'_>) -> (&'c str, &'c [u8; 32]) {
    (claim.tenant.as_str(), claim.fingerprint.as_bytes())
}

fn are_as_expected(update: &Update<'_>, versions: &HashMap<TokenHash, (String, u64)>) -> bool {
    let mut own = HashSet::new();
    update.updates.iter().all(|update| {
        let token = update.card.token.hash();
        own.insert(token)
            && versions.get(&token).is_some_and(|(tenant, version)| {
                *tenant == update.card.tenant.as_str() && *version == update.expected_version()
            })
    })
}

fn are_free_for(update: &Update<'_>, aliases: &HashMap<AliasHash, TokenHash>) -> bool {
    let names = update.updates.iter().flat_map(|update| &update.aliases);
    names.into_iter().all(|row| aliases.get(&row.alias.hash()).is_none_or(|held| *held == row.token))
}
