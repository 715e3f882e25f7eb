//! What a route itself says of a forward, before any policy: code, so that no policy can loosen it.

use std::sync::Arc;

use strongroom_domain::TenantId;
use strongroom_domain::route::{Account, AllowedCall, AttributeSet, Call, Route};

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
        let account = planned.accounts.iter().find(|account| account.name.as_str() == claim.account);
        let account = account.ok_or("unknown-account")?;
        if route.upstream.host != claim.host {
            return Err("other-host");
        }
        let Some(Call::Allowed(allowed)) = route.call(claim.method, claim.path) else {
            return Err("call-not-listed");
        };
        let call =
            route.allow.iter().position(|call| std::ptr::eq(call, allowed)).ok_or("call-not-listed")?;
        if claim.attributes.is_empty() || !claim.attributes.is_within(allowed.attributes()) {
            return Err("attribute-not-allowed");
        }
        Ok(Self {
            route: Arc::clone(route),
            account: Arc::clone(account),
            call,
            method: claim.method.to_owned(),
            path: claim.path.to_owned(),
            bundle_sha256,
        })
    }

    #[expect(dead_code, reason = "no forward is decided yet")]
    /// Whether the account serves the tenant and these facts are of the bundle that decides.
    pub(super) fn must_serve(&self, tenant: &TenantId, bundle_sha256: &[u8; 32]) -> Result<(), &'static str> {
        if self.bundle_sha256 != *bundle_sha256 {
            return Err("bundle-changed");
        }
        if self.account.serves(tenant) { Ok(()) } else { Err("account-of-another-tenant") }
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
        &self.route.upstream.host
    }
}
