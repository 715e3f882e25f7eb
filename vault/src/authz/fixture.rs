//! The shipped policies with a route and an account, as files in memory, for the tests of `authz`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use strongroom_domain::route::{Attribute, AttributeSet};
use strongroom_domain::{
    Clock, Environment, Random, RandomUnavailable, TenantId, Timestamp, TokenHash, WorkloadId,
};

use super::{Authorizer, BundleError, NamedCard, PolicySource, RouteClaim, TenantFacts, WantedCard};

pub(super) type Files = BTreeMap<String, String>;

macro_rules! shipped {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../policies/", $name)))),*]
    };
}

pub(super) const ROUTE: &str = r#"
[route.psp]
upstream = "https://psp.example"
hosts = ["psp.proxy.internal"]
credential = { header = "authorization", scheme = "Bearer" }
[[route.psp.allow]]
method = "POST"
path = "/cards/{id}"
body = "json"
inject = [{ at = "/number", value = "number" }, { at = "/exp", value = "exp", format = "MM/YY" }]
[[route.psp.pass]]
method = "GET"
path = "/cards/{id}"
"#;

pub(super) fn files() -> Files {
    let shipped = shipped!(
        "bundle.toml",
        "schema.cedarschema",
        "workloads.json",
        "checkout.cedar",
        "orchestration.cedar",
        "proxy.cedar",
        "platform.cedar",
        "security.cedar",
        "custody.cedar",
        "export.cedar",
        "review.cedar",
        "guardrails.cedar"
    );
    let mut files: Files = shipped.into_iter().map(|(path, text)| (path.into(), text.into())).collect();
    // The shipped version rises with every change; tests count from one.
    files.insert("bundle.toml".into(), "version = 1\n".into());
    files.insert("routes/psp.toml".into(), ROUTE.into());
    let account = "tenants = [\"*\"]\ncredential_file = \"psp.key\"\n";
    files.insert("accounts/psp/default.toml".into(), account.into());
    let account = "tenants = [\"globex\"]\ncredential_file = \"globex.key\"\n";
    files.insert("accounts/psp/globex.toml".into(), account.into());
    files
}

/// The same with one file's text replaced in one place.
pub(super) fn with(path: &str, from: &str, to: &str) -> Files {
    let mut files = files();
    let text = files.get_mut(path).unwrap();
    assert!(text.contains(from), "{path} has no {from}");
    *text = text.replacen(from, to, 1);
    files
}

pub(super) fn source(files: &Files) -> PolicySource {
    PolicySource::Files(files.iter().map(|(path, text)| (path.clone(), text.clone())).collect())
}

pub(super) fn load(files: &Files) -> Result<Authorizer, BundleError> {
    load_with(files, Arc::new(Counting(AtomicU8::new(0))))
}

pub(super) fn load_with(files: &Files, random: Arc<dyn Random>) -> Result<Authorizer, BundleError> {
    Authorizer::load(&source(files), Environment::Test, Arc::new(Noon), random)
}

pub(super) fn workload(name: &str) -> WorkloadId {
    WorkloadId::parse(&format!("spiffe://strongroom.test/{name}")).unwrap()
}

pub(super) fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

pub(super) fn merchant(id: &str) -> TenantFacts {
    TenantFacts { id: tenant(id), groups: vec!["merchants".into()], suspended: false }
}

pub(super) fn claim<'a>(sha256: &'a [u8; 32], attributes: AttributeSet) -> RouteClaim<'a> {
    RouteClaim {
        route: "psp",
        route_sha256: sha256,
        account: "default",
        method: "POST",
        path: "/cards/c_1",
        host: "psp.example",
        attributes,
    }
}

pub(super) fn wanted(attributes: &[Attribute]) -> WantedCard {
    let card = NamedCard { token: TokenHash::from_bytes([7; 32]), environment: Environment::Test };
    WantedCard { card, attributes: attributes.iter().copied().collect() }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }
}

struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        out.fill(self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

/// A source that has run dry.
pub(super) struct Dry;

impl Random for Dry {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomUnavailable> {
        Err(RandomUnavailable)
    }
}
