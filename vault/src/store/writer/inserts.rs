//! Which cards of a batch come in: decided here for both drivers, from what the database holds inside the transaction.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Batch, NewCard};
use crate::store::change::Committed;
use crate::store::rows::IdempotencyRow;

/// What the database holds that decides.
pub(in crate::store) struct Held {
    /// The data keys that still seal.
    pub(in crate::store) usable: HashSet<Uuid>,
    /// Answers under the batch's idempotency scopes.
    pub(in crate::store) answers: HashMap<[u8; 32], IdempotencyRow>,
}

/// What is to be written.
pub(in crate::store) struct Winners<'a> {
    pub(in crate::store) cards: Vec<&'a NewCard<'a>>,
    pub(in crate::store) answers: Vec<&'a IdempotencyRow>,
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

    /// Says which cards come in. A taken scope comes before every other reason: the first answer under a key is given
    /// again whatever happened since.
    pub(in crate::store) fn decide(&'a self, held: Held, became: &mut [Committed]) -> Winners<'a> {
        let Held { usable, mut answers } = held;
        let mut winners = Winners { cards: Vec::with_capacity(self.cards.len()), answers: Vec::new() };
        for insert in &self.inserts {
            let cards = &self.cards[insert.cards.clone()];
            if let Some(row) = insert.idempotency.and_then(|row| answers.remove(&row.scope)) {
                became[insert.at] = Committed::Replay(row);
            } else if cards.iter().all(|new| usable.contains(&new.card.data_key.as_uuid())) {
                winners.cards.extend(cards);
                winners.answers.extend(insert.idempotency);
            } else {
                became[insert.at] = Committed::KeyNotActive;
            }
        }
        winners
    }
}
