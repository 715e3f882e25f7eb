//! How much each data key sealed, counted here and written in steps: a row for each key in each transaction would
//! cost as much as the cards.
//!
//! Does not promise: exactness. A process that is killed forgets less than one step for each key; the limit leaves room.

use std::collections::HashMap;

use strongroom_domain::DataKeyId;

use crate::store::change::{Change, Committed};

/// Uses of one key that are written together.
const STEP: u64 = 1_024;

/// Uses not written yet.
#[derive(Debug, Default)]
pub(super) struct KeyUses(HashMap<DataKeyId, u64>);

impl KeyUses {
    /// Counts what was committed.
    pub(super) fn add<'a>(&mut self, changes: impl Iterator<Item = &'a Change>, became: &[Committed]) {
        for (change, became) in changes.zip(became) {
            match change {
                _ if *became != Committed::Done => {}
                Change::InsertCards { cards, .. } => self.count(cards.iter().map(|card| card.data_key)),
                Change::UpdateCards { updates, .. } => {
                    self.count(updates.iter().map(|update| update.card.data_key));
                }
                _ => {}
            }
        }
    }

    fn count(&mut self, keys: impl Iterator<Item = DataKeyId>) {
        for key in keys {
            *self.0.entry(key).or_default() += 1;
        }
    }

    /// Keys with a whole step of uses; with `all`, every key.
    pub(super) fn due(&self, all: bool) -> Vec<(DataKeyId, u64)> {
        self.0.iter().filter(|(_, uses)| all || **uses >= STEP).map(|(key, uses)| (*key, *uses)).collect()
    }

    /// Forgets what was written.
    pub(super) fn written(&mut self, uses: &[(DataKeyId, u64)]) {
        for (key, _) in uses {
            self.0.remove(key);
        }
    }
}
