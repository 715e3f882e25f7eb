//! One payment reference, one forward: what a call that is let through once brings, and what the second is told.
//!
//! Promises: of all forwards under one reference of a tenant at one account of a route, one is ever sent. A reference is kept
//! keyed, never as it is. One whose forward never left is free again.
//! Does not promise: anything of calls without card data: they come past the vault unseen.
//! Trusts: the proxy for the reference itself (T-30), the store for the row that holds it.
//! Upholds: C-45.

use strongroom_domain::route::PaymentReference;
use strongroom_domain::{FirstState, Problem, ProblemKind, TenantId};
use strongroom_sealing::{KeyScope, Purpose, reference_digest};

use super::Wanted;
use crate::authz::{OpenForward, Permit};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{ForwardGrounds, ForwardState, Holder, ReferenceRow};

impl Vault {
    /// The reference as the store keeps it.
    pub(super) async fn keyed_reference(
        &self,
        tenant: &TenantId,
        wanted: &Wanted,
    ) -> Result<Option<ReferenceRow>, OperationError> {
        let Some(reference) = &wanted.reference else { return Ok(None) };
        let key = self.keys.active(&KeyScope::Tenant(tenant.clone()), Purpose::Fingerprint).await?;
        let (route, account) = (wanted.route.route().name.as_str(), wanted.route.account().name.as_str());
        let digest = reference_digest(&key.key, tenant, route, account, reference.as_str());
        Ok(Some(ReferenceRow { digest, mac_key: key.id }))
    }

    /// A verification code that is missing may be missing because the first payment under the reference has it: then that is
    /// what the second is told.
    pub(super) async fn rather_taken(
        &self,
        tenant: &TenantId,
        wanted: &Wanted,
        reference: Option<ReferenceRow>,
        error: OperationError,
    ) -> OperationError {
        let (OperationError::AttributeUnavailable, Some(reference)) = (&error, reference) else {
            return error;
        };
        let (route, account) = (&wanted.route.route().name, &wanted.route.account().name);
        match self.store.holder(tenant, route, account, &reference.digest).await {
            Ok(Some(holder)) if holder.state != ForwardState::NotSent => taken(wanted, holder),
            Ok(_) => error,
            Err(unread) => unread.into(),
        }
    }
}

/// What the second forward under a reference is told of the first.
pub(super) fn taken(wanted: &Wanted, holder: Holder) -> OperationError {
    let first = match holder.state {
        // Nothing of it was sent, and that became known this moment: the next try finds the reference free.
        ForwardState::Open | ForwardState::NotSent => FirstState::InFlight,
        ForwardState::Answered => FirstState::Answered,
        ForwardState::Unknown => FirstState::Unknown,
    };
    let route = wanted.route.route().name.as_str().to_owned();
    metrics::counter!("strongroom_references_refused_total", "route" => route, "state" => first.as_str())
        .increment(1);
    OperationError::ReferenceTaken { forward: holder.forward, first }
}

/// What the route says of a call and what came with it, together. A call that passes through has no use for one.
pub fn reference_of(
    is_once: bool,
    reference: Option<&str>,
) -> Result<Option<PaymentReference>, OperationError> {
    let unusable = || {
        let detail = "a payment reference is 1 to 255 bytes of text without a card number or token";
        OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail).at("/reference"))
    };
    match (is_once, reference) {
        (false, Some(text)) if text.chars().count() > PaymentReference::BYTES_MAX => Err(unusable()),
        (false, _) => Ok(None),
        (true, None) => Err(OperationError::Request(Problem::new(ProblemKind::ReferenceMissing))),
        (true, Some(text)) => PaymentReference::parse(text).map(Some).map_err(|_| unusable()),
    }
}

/// Why it is opened: who asked, by which rule.
pub(super) fn grounds(asking: &Asking, permit: &Permit<OpenForward>, wanted: &Wanted) -> ForwardGrounds {
    let decision = permit.decision();
    ForwardGrounds {
        caller_cert_sha256: hex::encode(wanted.caller_certificate_sha256),
        origin: wanted.origin,
        call: wanted.route.call().path.as_str().to_owned(),
        route_sha256: hex::encode(wanted.route.route().sha256),
        policies: decision.policy_ids.clone(),
        bundle_version: decision.bundle_version,
        bundle_sha256: hex::encode(decision.bundle_sha256),
        request_id: asking.request.id.to_string(),
        at_most_once: wanted.reference.is_some(),
    }
}
