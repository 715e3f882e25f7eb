//! What was there before: certificates and routes of a caller, callers of a card.
//!
//! Promises: what was asked of the store once is remembered, at most [`KNOWN_MAX`] of each kind, as long as the lease is held.
//! Trusts: the index for whether a card was used before.

use std::collections::HashSet;

use sha2::Digest as _;
use strongroom_domain::TokenRef;
use strongroom_domain::route::RouteName;

use super::rules::{Hit, Rule};
use crate::audit::Seen;
use crate::store::StoreError;
use crate::store::find::FindStore;

/// Most of one kind that are remembered.
const KNOWN_MAX: usize = 65_536;

/// What is known to be known.
#[derive(Default)]
pub(super) struct Known {
    /// Who had which card.
    cards: HashSet<(TokenRef, String)>,
    /// Digests of certificates and routes of callers.
    seen: HashSet<[u8; 32]>,
}

impl Known {
    /// A certificate or a route that this caller, known by others, never came with before.
    pub(super) async fn first_of(
        &mut self,
        index: &dyn FindStore,
        place: u64,
        seen: &Seen,
    ) -> Result<Vec<Hit>, StoreError> {
        let (mut hits, who) = (Vec::new(), seen.actor.id.as_str());
        if seen.actor.r#type == "system" || who == "-" {
            return Ok(hits);
        }
        if let Some(certificate) = &seen.actor.cert_sha256
            && self.is_another(index, ["certificate", who], certificate, place).await?
        {
            let mut sha256 = [0; 32];
            let certificate = hex::decode_to_slice(certificate, &mut sha256).ok().map(|()| sha256);
            hits.push(Hit { certificate, tenant: None, ..Hit::of(Rule::NewCertificate, place, seen) });
        }
        if let Some(dst) = seen.dst.as_ref().filter(|_| seen.released())
            && self
                .is_another(index, ["route", who], &format!("{}/{}", dst.route_id, dst.account), place)
                .await?
        {
            let route = RouteName::parse(&dst.route_id);
            hits.push(Hit { route, ..Hit::of(Rule::NewRoute, place, seen) });
        }
        Ok(hits)
    }

    /// Whether this is new of somebody who had another before.
    async fn is_another(
        &mut self,
        index: &dyn FindStore,
        [kind, who]: [&str; 2],
        what: &str,
        place: u64,
    ) -> Result<bool, StoreError> {
        let is_first = self.is_first(index, &[kind, who], place).await?;
        Ok(self.is_first(index, &[kind, who, what], place).await? && !is_first)
    }

    async fn is_first(
        &mut self,
        index: &dyn FindStore,
        parts: &[&str],
        place: u64,
    ) -> Result<bool, StoreError> {
        let mut hash = sha2::Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let name: [u8; 32] = hash.finalize().into();
        if self.seen.contains(&name) {
            return Ok(false);
        }
        if self.seen.len() >= KNOWN_MAX {
            self.seen.clear();
        }
        self.seen.insert(name);
        Ok(index.first_seen(&name, place).await? == place)
    }

    /// A card others had, and this caller never.
    pub(super) async fn new_caller(
        &mut self,
        index: &dyn FindStore,
        place: u64,
        seen: &Seen,
    ) -> Result<Option<Hit>, StoreError> {
        let Some(token) = seen.token().filter(|_| seen.released()) else { return Ok(None) };
        let pair = (token, seen.actor.id.clone());
        if self.cards.contains(&pair) {
            return Ok(None);
        }
        let (by_anybody, by_this) = index.used_before(&pair.0, &pair.1, place).await?;
        if self.cards.len() >= KNOWN_MAX {
            self.cards.clear();
        }
        let token = pair.0.clone();
        self.cards.insert(pair);
        let is_new = by_anybody && !by_this;
        Ok(is_new.then(|| Hit { token: Some(token), ..Hit::of(Rule::NewCaller, place, seen) }))
    }
}
