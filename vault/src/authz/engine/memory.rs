//! What policy allowed before, to questions that come again with every card.
//!
//! Policy is a function of who asks, which action, and what [`super::Vocabulary::request`] and the question's entities
//! are made of; there is neither a clock nor a count in it. So an answer holds for as long as its bundle: the memory is
//! a part of the [`super::Authorizer`] and is gone with it. What was refused is not remembered, so nobody can fill it
//! with names of his own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use strongroom_domain::route::{AccountName, AttributeSet, RouteName};
use strongroom_domain::{Environment, WorkloadId};

use super::super::action::{ActionKind, OpenForwardSubject, Question, TenantFacts};

/// Most answers remembered, each under 1 KiB. A vault that meets more at once begins anew.
const ANSWERS_MAX: usize = 4_096;

/// Policies that allowed, by question.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<Asked, Vec<String>>>);

/// A question, whole: equal questions have equal answers.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Asked {
    caller: WorkloadId,
    action: ActionKind,
    about: About,
}

#[derive(PartialEq, Eq, Hash)]
enum About {
    Tenant(TenantFacts),
    Card(TenantFacts, Environment),
    Forward(TenantFacts, Box<Forwarded>),
    Outcome(WorkloadId),
    Service,
}

/// Everything of a forward that policy is shown.
#[derive(PartialEq, Eq, Hash)]
struct Forwarded {
    caller: WorkloadId,
    route: RouteName,
    account: AccountName,
    method: String,
    path: String,
    asked: AttributeSet,
    declared: AttributeSet,
    /// Whether each environment has a token among those named.
    tokens: [bool; 2],
}

impl Asked {
    pub(super) fn new(caller: &WorkloadId, action: ActionKind, question: &Question<'_>) -> Self {
        let about = match *question {
            Question::Tenant(tenant) => About::Tenant(tenant.clone()),
            Question::Card { tenant, environment } => About::Card(tenant.clone(), environment),
            Question::Forward { tenant, subject } => {
                About::Forward(tenant.clone(), Box::new(Forwarded::of(subject)))
            }
            Question::Outcome(facts) => About::Outcome(facts.opened_by.clone()),
            Question::Service => About::Service,
        };
        Self { caller: caller.clone(), action, about }
    }
}

impl Forwarded {
    fn of(subject: &OpenForwardSubject) -> Self {
        let (route, call) = (&subject.route, subject.route.call());
        let named = |environment| subject.cards.iter().any(|wanted| wanted.card.environment == environment);
        Self {
            caller: subject.caller.clone(),
            route: route.route().name.clone(),
            account: route.account().name.clone(),
            method: call.method.clone(),
            path: call.path.as_str().to_owned(),
            asked: subject.attributes(),
            declared: call.attributes(),
            tokens: [Environment::Live, Environment::Test].map(named),
        }
    }
}

impl Memory {
    /// The policies that allowed this before.
    pub(super) fn of(&self, asked: &Asked) -> Option<Vec<String>> {
        self.lock().get(asked).cloned()
    }

    /// Remembers what allowed this.
    pub(super) fn keep(&self, asked: Asked, policy_ids: Vec<String>) {
        let mut answers = self.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(asked, policy_ids);
    }

    /// No answer is half-written under this lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<Asked, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
