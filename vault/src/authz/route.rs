//! What a route itself says of a forward, before any policy: code, so that no policy can loosen it.

use std::sync::Arc;

use strongroom_domain::route::{Account, AllowedCall, AttributeSet, Call, Route};
use strongroom_domain::{scan, token};

use super::action::OpenForwardSubject;
use super::bundle::Routes;

/// What a proxy claims about the call it is to make.
#[derive(Clone, Copy, Debug)]
pub struct RouteClaim<'a> {
    /// Route name.
    pub route: &'a str,
    /// SHA-256 of the route file the proxy holds.
    pub route_sha256: &'a [u8; 32],
    /// Account name.
    pub account: &'a str,
    /// HTTP method, upper case.
    pub method: &'a str,
    /// Path below the route, without query.
    pub path: &'a str,
    /// Host the proxy is connected to.
    pub host: &'a str,
    /// Everything asked for, of any card.
    pub attributes: AttributeSet,
}

/// A claim the route files bear out. Made only by [`super::Authorizer::check_route`].
#[derive(Clone, Debug)]
pub struct RouteFacts {
    route: Arc<Route>,
    account: Arc<Account>,
    call: usize,
    method: String,
    path: String,
    bundle_sha256: [u8; 32],
}

impl RouteFacts {
    /// Holds the claim against the route files. The answer is the reason of a denial.
    pub(super) fn check(
        routes: &Routes,
        bundle_sha256: [u8; 32],
        claim: &RouteClaim<'_>,
    ) -> Result<Self, &'static str> {
        let planned = routes.find(claim.route).ok_or("unknown-route")?;
        let route = &planned.route;
        if route.sha256 != *claim.route_sha256 {
            return Err("other-route-file");
        }
        let account = planned.account(claim.account).ok_or("unknown-account")?;
        if account.upstream(route).0 != claim.host {
            return Err("other-host");
        }
        // A path is kept with the forward: what stands for `{id}` is the proxy's word.
        if scan::holds_pan(claim.path) || token::holds_token_shape(claim.path.as_bytes()) {
            return Err("card-data-in-path");
        }
        let Some(Call::Allowed(allowed)) = route.call(claim.method, claim.path) else {
            return Err("call-not-listed");
        };
        let call =
            route.allow.iter().position(|call| std::ptr::eq(call, allowed)).ok_or("call-not-listed")?;
        if claim.attributes.is_empty() || !claim.attributes.is_within(allowed.attributes()) {
            return Err("attribute-not-allowed");
        }
        let (route, account) = (Arc::clone(route), Arc::clone(account));
        let (method, path) = (claim.method.to_owned(), claim.path.to_owned());
        Ok(Self { route, account, call, method, path, bundle_sha256 })
    }

    /// One call of a route to one of its accounts, without a claim: for asking, not for deciding.
    pub(super) fn of_call(
        route: &Arc<Route>,
        account: &Arc<Account>,
        call: usize,
        bundle_sha256: [u8; 32],
    ) -> Self {
        let listed = &route.allow[call];
        let (method, path) = (listed.method.clone(), listed.path.as_str().to_owned());
        let (route, account) = (Arc::clone(route), Arc::clone(account));
        Self { route, account, call, method, path, bundle_sha256 }
    }

    /// Whether a forward of these facts can be decided at all: by this bundle, to an account of its tenant, for cards
    /// of which no more is asked than the call declares.
    pub(super) fn must_fit(
        &self,
        subject: &OpenForwardSubject,
        bundle_sha256: &[u8; 32],
    ) -> Result<(), &'static str> {
        if self.bundle_sha256 != *bundle_sha256 {
            return Err("bundle-changed");
        }
        if subject.cards.is_empty() {
            return Err("no-card");
        }
        if !self.account.serves(&subject.tenant) {
            return Err("account-of-another-tenant");
        }
        if !subject.attributes().is_within(self.call().attributes()) {
            return Err("attribute-not-allowed");
        }
        Ok(())
    }

    /// The route.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The call as the route lists it.
    #[must_use]
    pub fn call(&self) -> &AllowedCall {
        &self.route.allow[self.call]
    }

    /// HTTP method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Path below the route.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The only host these cards may go to.
    #[must_use]
    pub fn host(&self) -> &str {
        self.account.upstream(&self.route).0
    }

    /// The only port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.account.upstream(&self.route).1
    }
}
