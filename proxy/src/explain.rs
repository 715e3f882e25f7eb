//! Explaining a request: what would become of it, without the vault, the PSP, card data or a secret.
//!
//! Promises: by the code that forwards ([`crate::forward::outline`]); every secret of the account is a word, and what
//! the caller brought as one is not shown; only a caller who may use the route is told.
//! Does not promise: what only the vault or the PSP knows: it is listed in `not_asked`.
//! Upholds: C-50.

pub mod cli;
pub mod message;
mod shown;
mod text;
mod verb;

pub use shown::Explanation;
pub use verb::{PATH, answer};

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use strongroom_domain::{CardName, RandomUnavailable, RequestId, Timestamp, WorkloadId};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::{Caller, RequestInfo, TlsFacts};
use tokio::time::Instant;

use crate::forward::{Order, outline};
use crate::inject::Known;
use crate::protect::Admitted;
use crate::route::{Destination, Target};

/// What is known of a card by its name.
pub type Facts<'a> = &'a dyn Fn(&CardName) -> Option<Known>;

/// Explains one request at its destination.
pub fn explain(mut order: Order, facts: Facts<'_>, now: Timestamp) -> Explanation {
    let id: RequestId = order.info.id;
    let destination = order.target.destination.clone();
    let method = order.method.clone();
    let target = order.target.path_and_query.clone();
    let mut explanation = Explanation::of(&destination, method.as_str(), &target);
    match outline(&mut order, facts, now) {
        Ok(outline) => explanation.goes(&destination, &outline, facts),
        Err(failure) => explanation.refused(&failure, id),
    }
    explanation
}

/// Who asks, where nobody says so.
const NOBODY: &str = "spiffe://strongroom.invalid/nobody";

/// A request nobody in particular makes, for commands that look at it and send nothing.
pub(crate) fn anonymous(
    target: Target<Destination>,
    parts: Parts,
    body: Bytes,
) -> Result<Order, RandomUnavailable> {
    let caller = Caller {
        workload: WorkloadId::parse(NOBODY).expect("the name is a constant SPIFFE ID"),
        certificate_sha256: [0; 32],
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        tls: TlsFacts { version: "none", suite: "none", group: "none" },
    };
    let info = RequestInfo::generate(&HeaderMap::new(), &SystemClock, &SystemRandom::new())?;
    Ok(order(target, parts, body, caller, info))
}

/// A request that was read from a message, at the destination it names.
fn order(
    target: Target<Destination>,
    mut parts: Parts,
    body: Bytes,
    caller: Caller,
    info: RequestInfo,
) -> Order {
    let admitted = Admitted::to_look(&mut parts.headers, Instant::now());
    Order { target, method: parts.method, headers: parts.headers, body, caller, info, admitted }
}
