//! A call as far as it goes without the vault and the PSP: planned, filled with words, encrypted and signed with nothing.
//!
//! Promises: what is refused here is refused there and the other way round, up to where the vault is asked, because it is
//! the same code; no secret of the account is in reach of any of it.
//! Upholds: C-50.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use strongroom_domain::route::Call;
use strongroom_domain::{CardName, Timestamp};

use super::plan::{self, Planned};
use super::{Order, take_headers};
use crate::inject::{self, Explained, Known, ReleasedCard};
use crate::rescue::Failure;
use crate::sign::{Canonical, Message, SignError, jwe};

/// What would be sent, with words for card data and secrets.
pub struct Outline<'a> {
    /// What the route says of the call.
    pub call: Call<'a>,
    /// Which places get what, where the call has any.
    pub explained: Option<Explained>,
    /// The headers, but for the signature itself.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What would be signed.
    pub strings: Vec<Canonical>,
    /// The PSP's idempotency key.
    pub attempt: Option<String>,
}

/// Runs a call up to where it would connect. The account's secrets are taken out of it first.
pub fn outline<'a>(
    order: &'a mut Order,
    known: &dyn Fn(&CardName) -> Option<Known>,
    now: Timestamp,
) -> Result<Outline<'a>, Failure> {
    let order = without_secrets(order);
    let mut planned = Planned::new(order)?;
    let attempt = plan::attempt(&order.target.destination.route, &planned.headers).map(str::to_owned);
    let explained = match planned.call {
        Call::Allowed(call) => {
            // Without a token there is no plan, but still places whose content is not to be shown.
            let plan =
                planned.plan.take().map_or_else(|| inject::plan(call, &order.headers, &planned.body), Ok)?;
            let known: Vec<_> = plan.wanted().iter().map(|wanted| known(&wanted.name)).collect();
            let mut explained = plan.explain(call, &known)?;
            take_headers(&mut planned.headers, std::mem::take(&mut explained.headers));
            planned.body = Bytes::from(std::mem::take(&mut explained.body));
            Some(explained)
        }
        Call::Passed(_) => None,
    };
    let call = planned.call;
    let (headers, body, strings) = seal(order, planned, now)?;
    Ok(Outline { call, explained, headers, body, strings, attempt })
}

/// The cards a request names, for whoever may look their facts up.
pub fn names(order: &mut Order) -> Vec<CardName> {
    let plan = Planned::new(without_secrets(order)).ok().and_then(|planned| planned.plan);
    plan.map(|plan| plan.wanted().into_iter().map(|wanted| wanted.name).collect()).unwrap_or_default()
}

/// The body that would be sent if every card of the request were this one: for examples, with a test card. Encrypted and
/// signed with nothing.
pub fn rehearse(
    order: &mut Order,
    card: &dyn Fn() -> ReleasedCard,
    now: Timestamp,
) -> Result<Bytes, Failure> {
    let order = without_secrets(order);
    let mut planned = Planned::new(order)?;
    if let Some(plan) = planned.plan.take() {
        let cards: Vec<_> = plan.wanted().iter().map(|_| card()).collect();
        let injected = plan.inject(&cards)?;
        take_headers(&mut planned.headers, injected.headers);
        planned.body = Bytes::from_owner(injected.body);
    }
    Ok(seal(order, planned, now)?.1)
}

/// The order, with stand-ins in the place of the account's secrets.
fn without_secrets(order: &mut Order) -> &Order {
    order.target.destination = Arc::new(order.target.destination.without_secrets());
    order
}

/// As [`super::seal`], with nobody's keys.
fn seal(
    order: &Order,
    planned: Planned<'_>,
    now: Timestamp,
) -> Result<(HeaderMap, Bytes, Vec<Canonical>), SignError> {
    let Planned { call, mut headers, keys, form, mut body, .. } = planned;
    if let Call::Allowed(call) = call
        && let Some(encryption) = &call.encryption
    {
        body = jwe::stand_in(encryption, &body, &mut headers)?;
    }
    let mut strings = Vec::new();
    if let (Some(signer), Some(form)) = (&keys.signer, &form) {
        let target = order.target.path_and_query.as_str();
        let mut message = Message { method: &order.method, target, headers: &mut headers, body };
        strings = signer.canonical(form, &mut message, now)?;
        body = message.body;
    }
    Ok((headers, body, strings))
}
