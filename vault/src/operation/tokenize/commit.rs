//! The commit of one request's cards, tried again where a key or a name changed under it.

use strongroom_sealing::{KeyScope, Purpose};

use super::once::First;
use super::place::Placed;
use super::{Drafted, Order};
use crate::operation::{OperationError, Vault};
use crate::sad::CodeOwner;
use crate::store::{Change, Committed, IdempotencyRow};

/// How often a commit is tried. A key may be retired under it once; a number may be tokenized or erased by others, and
/// an alias be taken, each seldom twice. More than an alias is drawn, so that a thin space is said to be one.
pub(in crate::operation) const ATTEMPTS_MAX: usize = 12;

/// What a commit made of it.
pub(super) enum Stored {
    New { body: Vec<u8>, owners: Vec<Option<CodeOwner>> },
    Earlier(IdempotencyRow),
}

impl Vault {
    /// Seals and commits.
    pub(super) async fn store_new(
        &self,
        order: &Order<'_>,
        drafts: &mut Vec<Drafted>,
        repeat: Option<&First>,
    ) -> Result<Stored, OperationError> {
        let scope = KeyScope::Tenant(order.tenant.id.clone());
        let asking = order.asking;
        for _ in 0..ATTEMPTS_MAX {
            let key = self.keys.active(&scope, Purpose::Card).await?;
            let known = self.known(order, drafts).await?;
            if order.is_single && drafts.first().is_some_and(Result::is_err) {
                return drafts.swap_remove(0).map(|_| Stored::New { body: Vec::new(), owners: Vec::new() });
            }
            let placed = self.place(order, &key, drafts, &known)?;
            let Placed { body, cards, names, owners, entries } = placed;
            let is_named = !names.is_empty();
            let idempotency = repeat.map(|first| Box::new(first.row(asking.at, &body)));
            match self.committer.commit(Change::InsertCards { cards, names, idempotency, entries }).await? {
                Committed::Done => {
                    let guesses = drafts.iter_mut().flatten().filter_map(|draft| draft.guess.as_mut());
                    guesses.for_each(crate::operation::limits::guesses::Guess::was_new);
                    return Ok(Stored::New { body, owners });
                }
                Committed::Replay(row) => return Ok(Stored::Earlier(row)),
                Committed::KeyNotActive => self.keys.forget(key.id),
                Committed::Conflict if is_named => self.rename(order, drafts, &known).await?,
                Committed::Conflict | Committed::Missing | Committed::Taken(_) => {
                    return Err(OperationError::Defect("a new token was already taken"));
                }
            }
        }
        Err(OperationError::Conflict)
    }
}
