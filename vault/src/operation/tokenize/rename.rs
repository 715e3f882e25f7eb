//! What a request's numbers and aliases lead to already, and what becomes of those that do.
//!
//! Promises: a fingerprint row that was altered below this program does not lead to another card: the card is opened and
//! its number compared.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use strongroom_domain::alias::PanShaped;
use strongroom_domain::{Alias, AliasHash, CardFacts, FactsKept, Pan, TokenHash};
use strongroom_sealing::{Fingerprint, OpenError};

use super::{CardDraft, Drafted, Order, deduplicates};
use crate::operation::card::is_live;
use crate::operation::{OperationError, Vault};
use crate::store::CardRow;

/// Most aliases drawn for one card. Even with half of them taken, 255 requests in 256 find a free one.
pub(in crate::operation) const DRAWS_MAX: u8 = 8;

/// The card a number has already.
pub(super) struct Known {
    pub(super) row: CardRow,
    /// The sixteen digits it has already, if a card of the request asks for some.
    pub(super) pan_shaped: Option<Alias>,
}

impl Vault {
    /// The live cards the drafts' numbers have already, where the tenant deduplicates. Counts the others as tried; one
    /// too many is refused.
    pub(super) async fn known(
        &self,
        order: &Order<'_>,
        drafts: &mut [Drafted],
    ) -> Result<HashMap<Fingerprint, Known>, OperationError> {
        let mut known = HashMap::new();
        if !deduplicates(order.tenant) {
            return Ok(known);
        }
        let numbers: HashSet<_> = drafts.iter().flatten().filter_map(|draft| draft.fingerprint).collect();
        let numbers: Vec<_> = numbers.into_iter().collect();
        let now = self.clock.now();
        let found = self.reader.known(&order.tenant.id, &numbers).await?;
        for (number, row) in numbers.into_iter().zip(found) {
            if let Some(row) = row.filter(|row| is_live(row, now)) {
                known.insert(number, Known { row, pan_shaped: None });
            }
        }
        for draft in drafts {
            let Ok(card) = draft else { continue };
            if self.tries_are_spent(order, card) {
                *draft = Err(self.refused_guess());
                continue;
            }
            if let Some(number) = card.fingerprint
                && let Some(found) = known.get(&number)
                && !self.is_the_number(order, card, found).await?
            {
                known.remove(&number);
            }
            match card.fingerprint.and_then(|number| known.get_mut(&number)) {
                Some(known) => {
                    if card.pan_shaped.is_some() && known.pan_shaped.is_none() {
                        let aliases = self.aliases_of(known.row.token.hash()).await?;
                        known.pan_shaped =
                            aliases.into_iter().find(|alias| matches!(alias, Alias::PanShaped(_)));
                    }
                    card.guess = None;
                }
                None => {
                    if self.try_number(order, card).is_err() {
                        *draft = Err(self.refused_guess());
                    }
                }
            }
        }
        Ok(known)
    }

    /// Whether this caller has tried as many numbers of this BIN and last four as it may: known or new, none is answered.
    fn tries_are_spent(&self, order: &Order<'_>, draft: &CardDraft) -> bool {
        let caller = &order.asking.caller.workload;
        !order.imports
            && draft.guess.is_none()
            && draft.fingerprint.is_some()
            && self.guesses.are_spent(
                caller,
                &order.tenant.id,
                shown_digits(&draft.secrets.pan).as_bytes(),
                draft.fingerprint,
            )
    }

    /// Counts and tells a try that is refused.
    pub(in crate::operation) fn refused_guess(&self) -> OperationError {
        metrics::counter!("strongroom_dedupe_numbers_refused_total").increment(1);
        tracing::warn!("one caller tries many numbers of one BIN and last four; refused");
        OperationError::GuessLimited
    }

    /// Opens the known card and compares its number. `false`: it was given another one while it was looked for.
    async fn is_the_number(
        &self,
        order: &Order<'_>,
        draft: &CardDraft,
        known: &Known,
    ) -> Result<bool, OperationError> {
        let secrets = self.unseal(&known.row).await?;
        if secrets.pan.same_as(&draft.secrets.pan) {
            return Ok(true);
        }
        // The fingerprint is looked up before the card is read. If it leads there again and the card is at the version
        // that was read, it did so at that version, where the number is another: the row was altered.
        let number: Vec<_> = draft.fingerprint.into_iter().collect();
        let again = self.store.known(&order.tenant.id, &number).await?;
        let is_same =
            |row: &CardRow| row.token == known.row.token && row.row_version == known.row.row_version;
        if again.iter().any(|(_, row)| is_same(row)) {
            return Err(OperationError::Unsealed(OpenError::Tampered));
        }
        Ok(false)
    }

    fn try_number(&self, order: &Order<'_>, draft: &mut CardDraft) -> Result<(), OperationError> {
        let (None, Some(number), false) = (&draft.guess, draft.fingerprint, order.imports) else {
            return Ok(());
        };
        let shown = shown_digits(&draft.secrets.pan);
        let caller = &order.asking.caller.workload;
        let guess = self.guesses.begin(caller, &order.tenant.id, shown.as_bytes(), number);
        draft.guess = Some(guess.map_err(|_| OperationError::GuessLimited)?);
        Ok(())
    }

    /// After a name was taken under the commit: draws other aliases for those that are taken, and refuses cards whose
    /// foreign alias leads to another card.
    pub(super) async fn rename(
        &self,
        order: &Order<'_>,
        drafts: &mut [Drafted],
        known: &HashMap<Fingerprint, Known>,
    ) -> Result<(), OperationError> {
        let names: Vec<AliasHash> = drafts.iter().flatten().flat_map(CardDraft::aliases).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut taken: HashMap<AliasHash, TokenHash> = HashMap::new();
        for names in names.chunks(crate::store::CARDS_READ_MAX) {
            let rows = self.store.aliases(names).await?;
            taken.extend(rows.into_iter().map(|row| (row.alias.hash(), row.token)));
        }
        for draft in drafts {
            let Ok(card) = draft else { continue };
            let known =
                card.fingerprint.filter(|_| deduplicates(order.tenant)).and_then(|number| known.get(&number));
            let token = known.map_or_else(|| card.token.hash(), |known| known.row.token.hash());
            match self.rename_one(card, token, &mut taken) {
                Ok(()) => {}
                Err(error @ (OperationError::AliasTaken | OperationError::AliasSpaceThin)) => {
                    *draft = Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn rename_one(
        &self,
        card: &mut CardDraft,
        token: TokenHash,
        taken: &mut HashMap<AliasHash, TokenHash>,
    ) -> Result<(), OperationError> {
        if let Some(foreign) = &card.foreign {
            let holder = taken.entry(Alias::Foreign(foreign.clone()).hash()).or_insert(token);
            if *holder != token {
                return Err(OperationError::AliasTaken);
            }
        }
        let Some((drawn, draws)) = &mut card.pan_shaped else { return Ok(()) };
        match taken.entry(Alias::PanShaped(drawn.clone()).hash()) {
            Entry::Occupied(_) => {}
            Entry::Vacant(free) => {
                free.insert(token);
                return Ok(());
            }
        }
        metrics::counter!("strongroom_alias_collisions_total").increment(1);
        if *draws >= DRAWS_MAX {
            return Err(OperationError::AliasSpaceThin);
        }
        *drawn = PanShaped::for_number(self.environment, &card.secrets.pan, &*self.random)?;
        *draws += 1;
        Ok(())
    }
}

impl CardDraft {
    fn aliases(&self) -> Vec<AliasHash> {
        let drawn = self.pan_shaped.as_ref().map(|(drawn, _)| Alias::PanShaped(drawn.clone()).hash());
        let foreign = self.foreign.clone().map(|foreign| Alias::Foreign(foreign).hash());
        drawn.into_iter().chain(foreign).collect()
    }
}

/// BIN and last four: what whoever guesses a number knows of it.
pub(in crate::operation) fn shown_digits(pan: &Pan) -> String {
    let facts = CardFacts::of(pan, None, FactsKept::BinAndLast4);
    [facts.bin.as_str(), facts.last4.as_str()].concat()
}
