//! Whether a bundle's schema describes what this vault asks. Checked once, at load, with one question of each shape, so
//! that deciding need not check again and no policy is ever evaluated against a shape it was not validated for.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use cedar_policy::{Entities, Schema};
use strongroom_domain::route::{Account, Attribute, Route};
use strongroom_domain::{Environment, TenantId, TokenHash, WorkloadId};

use super::action::{
    ActionKind, ForwardFacts, NamedCard, OpenForwardSubject, Question, Shape, TenantFacts, WantedCard,
};
use super::bundle::{Bundle, BundleError, WorkloadFacts};
use super::entities::Vocabulary;
use super::route::RouteFacts;

const SCHEMA: &str = "schema.cedarschema";

const SAMPLE_ROUTE: &str = r#"
[route.sample]
upstream = "https://psp.example"
credential = { header = "authorization" }
[[route.sample.allow]]
method = "POST"
path = "/pay"
body = "json"
inject = [{ at = "/number", value = "number" }]
"#;

pub(super) fn check(bundle: &Bundle, vocabulary: &Vocabulary) -> Result<(), BundleError> {
    let schema = &bundle.policies.schema;
    check_actions(schema, vocabulary)?;
    let tenant = TenantFacts { id: sample_tenant(), groups: vec!["sample".into()], suspended: false };
    let entities = bundle.workloads.values().map(|facts| vocabulary.names.workload_entity(facts));
    let entities = entities.chain([vocabulary.names.tenant_entity(&tenant), sample_workload(vocabulary)]);
    Entities::from_entities(entities, Some(schema)).map_err(|error| mismatch("entities", &error))?;
    let subject = sample_forward();
    let opened = ForwardFacts { opened_by: subject.caller.clone() };
    for kind in ActionKind::ALL {
        let question = match kind.shape() {
            Shape::Tenant => Question::Tenant(&tenant),
            Shape::Card => Question::Card { tenant: &tenant, environment: Environment::Test },
            Shape::Forward => Question::Forward { tenant: &tenant, subject: &subject },
            Shape::Outcome => Question::Outcome(&opened),
            Shape::Service => Question::Service,
        };
        let principal = vocabulary.names.workload(&subject.caller);
        vocabulary
            .request(&principal, &vocabulary.names.action(*kind), &question, Some(schema))
            .map_err(|error| mismatch(kind.as_str(), &*error))?;
    }
    Ok(())
}

/// The schema's actions are exactly the vault's.
fn check_actions(schema: &Schema, vocabulary: &Vocabulary) -> Result<(), BundleError> {
    let listed: BTreeSet<String> = schema.actions().map(ToString::to_string).collect();
    let asked: BTreeSet<String> =
        ActionKind::ALL.iter().map(|kind| vocabulary.names.action(*kind).to_string()).collect();
    match (listed.difference(&asked).next(), asked.difference(&listed).next()) {
        (Some(action), _) => Err(BundleError::new(SCHEMA, format!("{action} is no action of this vault"))),
        (None, Some(action)) => Err(BundleError::new(SCHEMA, format!("{action} is missing"))),
        (None, None) => Ok(()),
    }
}

fn mismatch(what: &str, error: &dyn Error) -> BundleError {
    let mut told = format!("does not describe what this vault asks: {what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    BundleError::new(SCHEMA, told)
}

fn sample_tenant() -> TenantId {
    TenantId::parse("sample").expect("a lower-case word is a tenant's name")
}

fn sample_caller() -> WorkloadId {
    WorkloadId::parse("spiffe://sample/sample").expect("this is a SPIFFE ID")
}

/// A workload with every binding filled, so that each attribute's type is seen.
fn sample_workload(vocabulary: &Vocabulary) -> cedar_policy::Entity {
    let names = || BTreeSet::from(["sample".to_owned()]);
    let facts = WorkloadFacts {
        id: sample_caller(),
        person: super::bundle::Person::parse("sample"),
        about: String::new(),
        roles: BTreeSet::new(),
        tenants: super::bundle::BoundTenants { groups: names(), ids: BTreeSet::from([sample_tenant()]) },
        routes: names(),
        accounts: names(),
        callers: BTreeSet::from([sample_caller()]),
    };
    vocabulary.names.workload_entity(&facts)
}

fn sample_forward() -> OpenForwardSubject {
    let route = Route::parse("sample", SAMPLE_ROUTE, Environment::Test).expect("the sample is a route");
    let account = Account::parse("sample", "tenants = [\"*\"]\ncredential_file = \"sample\"", &route)
        .expect("the sample is an account");
    let card = NamedCard { token: TokenHash::from_bytes([0; 32]), environment: Environment::Test };
    OpenForwardSubject {
        caller: sample_caller(),
        tenant: sample_tenant(),
        route: RouteFacts::of_call(&Arc::new(route), &Arc::new(account), 0, [0; 32]),
        cards: vec![WantedCard { card, attributes: [Attribute::Number].into_iter().collect() }],
    }
}
