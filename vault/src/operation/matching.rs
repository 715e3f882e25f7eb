//! Comparing numbers without seeing one: the cards of one fingerprint.
//!
//! Promises: nothing but the tenant's own cards, and only for a caller with the permit to compare numbers; every card that is
//! named is on the log before the answer leaves.
//! Upholds: C-04, C-13, C-14.

use strongroom_domain::Token;
use strongroom_sealing::Fingerprint;

use super::card::is_live;
use super::{Asking, OperationError, Vault};
use crate::audit::{Event, Object};
use crate::authz::{MatchFingerprint, NamedCard, Permit};

/// Most cards of one answer: as many as a look-up names.
const CARDS_MAX: u32 = 100;

/// What is compared.
pub enum Like {
    /// Cards with this fingerprint.
    Fingerprint(Fingerprint),
    /// Cards with this card's number.
    Card(NamedCard),
}

/// The cards of one number.
pub struct Matched {
    /// Its fingerprint, if there is one.
    pub fingerprint: Option<Fingerprint>,
    /// Their tokens, oldest first.
    pub tokens: Vec<Token>,
}

impl Vault {
    /// Finds the cards of one number.
    pub async fn match_cards(
        &self,
        asking: &Asking,
        permit: Permit<MatchFingerprint>,
        like: Like,
    ) -> Result<Matched, OperationError> {
        let tenant = &permit.subject().tenant;
        self.tenant(tenant).await?.ok_or(OperationError::UnknownTenant)?;
        let fingerprint = match like {
            Like::Fingerprint(fingerprint) => Some(fingerprint),
            Like::Card(named) => {
                let row = self.store.card(tenant, named.token).await?;
                let row = row.filter(|row| is_live(row, asking.at)).ok_or(OperationError::UnknownToken)?;
                row.fingerprint
            }
        };
        let found = match fingerprint {
            Some(fingerprint) => self.store.alike(tenant, fingerprint, CARDS_MAX).await?,
            None => Vec::new(),
        };
        let tokens: Vec<Token> =
            found.into_iter().filter(|row| is_live(row, asking.at)).map(|row| row.token).collect();
        let entry = |object| Self::allowed(asking, Event::PanMatch, permit.decision(), object);
        let of = |token: &Token| Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
        let mut entries: Vec<_> = tokens.iter().map(|token| entry(of(token))).collect();
        if entries.is_empty() {
            entries.push(entry(Object::Tenant(tenant.clone())));
        }
        self.record_all(entries).await?;
        metrics::counter!("strongroom_cards_shown_total", "by" => "match").increment(tokens.len() as u64);
        Ok(Matched { fingerprint, tokens })
    }
}
