//! What policy is shown: entities and contexts, built typed and, wherever they repeat, once at load.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entity, EntityId, EntityTypeName, EntityUid, Request, RequestValidationError,
    RestrictedExpression as Value, Schema,
};
use strongroom_domain::route::{Attribute, AttributeSet};
use strongroom_domain::{Environment, TenantId, WorkloadId};

use super::action::{ActionKind, OpenForwardSubject, Question, TenantFacts};
use super::bundle::WorkloadFacts;

/// The group every tenant is in.
const EVERY_TENANT: &str = "*";

/// The type names of the schema.
pub(super) struct Names {
    pub(super) workload_type: EntityTypeName,
    account: EntityTypeName,
    action: EntityTypeName,
    attribute: EntityTypeName,
    environment: EntityTypeName,
    forward: EntityTypeName,
    group: EntityTypeName,
    role: EntityTypeName,
    route: EntityTypeName,
    tenant: EntityTypeName,
    vault: EntityTypeName,
}

impl Names {
    pub(super) fn new() -> Self {
        let name = |text: &str| text.parse().expect("a type name of the schema is an identifier");
        Self {
            workload_type: name("Workload"),
            account: name("Account"),
            action: name("Action"),
            attribute: name("Attribute"),
            environment: name("Environment"),
            forward: name("Forward"),
            group: name("TenantGroup"),
            role: name("Role"),
            route: name("Route"),
            tenant: name("Tenant"),
            vault: name("Vault"),
        }
    }

    pub(super) fn role(&self, role: &str) -> EntityUid {
        uid(&self.role, role)
    }

    pub(super) fn action(&self, action: ActionKind) -> EntityUid {
        uid(&self.action, action.as_str())
    }

    pub(super) fn workload(&self, id: &WorkloadId) -> EntityUid {
        uid(&self.workload_type, id.as_str())
    }

    fn tenant(&self, id: &TenantId) -> EntityUid {
        uid(&self.tenant, id.as_str())
    }

    fn group(&self, name: &str) -> EntityUid {
        uid(&self.group, name)
    }

    /// A workload with its bindings.
    pub(super) fn workload_entity(&self, facts: &WorkloadFacts) -> Entity {
        let set = |uids: Vec<EntityUid>| Value::new_set(uids.into_iter().map(Value::new_entity_uid));
        let named =
            |kind, names: &mut dyn Iterator<Item = &String>| set(names.map(|name| uid(kind, name)).collect());
        let mut attributes = HashMap::from([
            ("groups".to_owned(), named(&self.group, &mut facts.tenants.groups.iter())),
            ("tenants".to_owned(), set(facts.tenants.ids.iter().map(|id| self.tenant(id)).collect())),
            ("routes".to_owned(), named(&self.route, &mut facts.routes.iter())),
            ("accounts".to_owned(), named(&self.account, &mut facts.accounts.iter())),
            ("callers".to_owned(), set(facts.callers.iter().map(|id| self.workload(id)).collect())),
        ]);
        if let Some(person) = &facts.person {
            attributes.insert("person".to_owned(), Value::new_string(person.as_str().to_owned()));
        }
        let roles = facts.roles.iter().map(|role| self.role(role)).collect();
        Entity::new(self.workload(&facts.id), attributes, roles).expect("sets of names and a name evaluate")
    }

    /// A tenant with its groups.
    pub(super) fn tenant_entity(&self, facts: &TenantFacts) -> Entity {
        let attributes = HashMap::from([("suspended".to_owned(), Value::new_bool(facts.suspended))]);
        let mut groups: HashSet<EntityUid> = facts.groups.iter().map(|group| self.group(group)).collect();
        groups.insert(self.group(EVERY_TENANT));
        Entity::new(self.tenant(&facts.id), attributes, groups).expect("a boolean evaluates")
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The request-side vocabulary of one environment.
pub(super) struct Vocabulary {
    pub(super) names: Names,
    here: Environment,
    environments: [(Environment, Value); 2],
    in_here: Context,
    of_card: [(Environment, Context); 2],
    attributes: [(Attribute, Value); Attribute::ALL.len()],
    the_vault: EntityUid,
    a_forward: EntityUid,
}

impl Vocabulary {
    pub(super) fn new(here: Environment) -> Self {
        let names = Names::new();
        let value =
            |environment: Environment| Value::new_entity_uid(uid(&names.environment, environment.as_str()));
        let both = [Environment::Live, Environment::Test];
        let pair = |key: &str, environment| (key.to_owned(), value(environment));
        Self {
            here,
            environments: both.map(|environment| (environment, value(environment))),
            in_here: context([pair("environment", here)]),
            of_card: both
                .map(|token| (token, context([pair("environment", here), pair("token_environment", token)]))),
            attributes: Attribute::ALL.map(|attribute| {
                (attribute, Value::new_entity_uid(uid(&names.attribute, attribute.as_str())))
            }),
            the_vault: uid(&names.vault, "vault"),
            a_forward: uid(&names.forward, "forward"),
            names,
        }
    }

    /// The request for one question. Deciding does not hold it against the schema: the loader did so with one of each
    /// shape.
    pub(super) fn request(
        &self,
        principal: &EntityUid,
        action: &EntityUid,
        question: &Question<'_>,
        schema: Option<&Schema>,
    ) -> Result<Request, Box<RequestValidationError>> {
        let (resource, context) = match question {
            Question::Tenant(tenant) => (self.names.tenant(&tenant.id), self.in_here.clone()),
            Question::Card { tenant, environment } => {
                (self.names.tenant(&tenant.id), pick(&self.of_card, *environment))
            }
            Question::Forward { tenant, subject } => {
                (self.names.tenant(&tenant.id), self.forward_context(subject))
            }
            Question::Outcome(facts) => {
                let opened_by = Value::new_entity_uid(self.names.workload(&facts.opened_by));
                let here = pick(&self.environments, self.here);
                let pairs = [("environment".to_owned(), here), ("opened_by".to_owned(), opened_by)];
                (self.a_forward.clone(), context(pairs))
            }
            Question::Service => (self.the_vault.clone(), self.in_here.clone()),
        };
        Request::new(principal.clone(), action.clone(), resource, context, schema).map_err(Box::new)
    }

    fn forward_context(&self, subject: &OpenForwardSubject) -> Context {
        let (names, facts) = (&self.names, &subject.route);
        let mut tokens = subject.cards.iter().map(|wanted| wanted.card.environment);
        let token = tokens.find(|environment| *environment != self.here).unwrap_or(self.here);
        let (route, account) = (facts.route().name.as_str(), facts.account().name.as_str());
        let call = facts.call();
        context([
            ("environment".to_owned(), pick(&self.environments, self.here)),
            ("token_environment".to_owned(), pick(&self.environments, token)),
            ("caller".to_owned(), Value::new_entity_uid(names.workload(&subject.caller))),
            ("route".to_owned(), Value::new_entity_uid(uid(&names.route, route))),
            ("account".to_owned(), Value::new_entity_uid(uid(&names.account, &format!("{route}/{account}")))),
            ("method".to_owned(), Value::new_string(call.method.clone())),
            ("path".to_owned(), Value::new_string(call.path.as_str().to_owned())),
            ("attributes".to_owned(), self.set(subject.attributes())),
            ("declared".to_owned(), self.set(call.attributes())),
        ])
    }

    fn set(&self, set: AttributeSet) -> Value {
        Value::new_set(set.iter().map(|attribute| pick(&self.attributes, attribute)))
    }
}

fn context<const N: usize>(pairs: [(String, Value); N]) -> Context {
    Context::from_pairs(pairs).expect("different keys, literal values")
}

fn pick<K: PartialEq + Copy, V: Clone>(pairs: &[(K, V)], key: K) -> V {
    let found = pairs.iter().find(|(known, _)| *known == key);
    found.expect("the table has every value of its type").1.clone()
}
