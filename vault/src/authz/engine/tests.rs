//! Decisions, permits and refusals of the loaded engine.

use std::sync::Arc;

use strongroom_domain::route::Attribute;
use strongroom_domain::{Environment, ForwardId, TokenHash};

use super::*;
use crate::authz::action::Shape;
use crate::authz::fixture::{
    Dry, Files, claim, files, load, load_with, merchant, tenant, wanted, with, workload,
};
use crate::authz::{
    AttachCvc, CardScope, ForwardFacts, ManageKeys, ManageTenant, NamedCard, OpenForward, OpenForwardSubject,
    ReadCard, RecordOutcome, TenantFacts, TenantScope, Tokenize, WantedCard,
};

fn scope(id: &str) -> TenantScope {
    TenantScope { tenant: tenant(id) }
}

fn forward(authorizer: &Authorizer, cards: Vec<WantedCard>) -> OpenForwardSubject {
    let sha256 = authorizer.routes().find("psp").unwrap().route.sha256;
    let asked = [Attribute::Number].into_iter().collect();
    let route = authorizer.check_route(&claim(&sha256, asked)).unwrap();
    OpenForwardSubject { caller: workload("orchestrator"), tenant: tenant("acme"), route, cards }
}

#[test]
fn a_permit_carries_its_subject_and_the_decision() {
    let authorizer = load(&files()).unwrap();
    let permit =
        authorizer.decide::<Tokenize>(&workload("checkout"), scope("acme"), &merchant("acme")).unwrap();
    assert_eq!(permit.subject(), &scope("acme"));
    assert_eq!(permit.workload(), &workload("checkout"));
    assert_eq!(permit.decision().policy_ids, ["checkout-puts-cards-in"]);
    assert_eq!(&permit.decision().bundle_sha256, authorizer.bundle_sha256());
    let again =
        authorizer.decide::<Tokenize>(&workload("checkout"), scope("acme"), &merchant("acme")).unwrap();
    assert_ne!(again.decision().id, permit.decision().id);
    let (subject, decision) = again.into_parts();
    assert_eq!((subject, decision.bundle_version), (scope("acme"), 1));
}

#[test]
fn a_refusal_says_why_and_is_a_decision_too() {
    let authorizer = load(&files()).unwrap();
    let denied = authorizer.decide::<Tokenize>(&workload("stranger"), scope("acme"), &merchant("acme"));
    let denied = denied.unwrap_err();
    assert_eq!((denied.reason, denied.decision.policy_ids.len()), ("unknown-workload", 0));
    assert_eq!(denied.to_string(), "denied: unknown-workload");
    let denied = authorizer.decide::<ManageKeys>(&workload("checkout"), (), &()).unwrap_err();
    assert_eq!(denied.reason, "no-policy");
    let mut suspended = merchant("acme");
    suspended.suspended = true;
    let denied = authorizer.decide::<Tokenize>(&workload("checkout"), scope("acme"), &suspended).unwrap_err();
    assert_eq!(
        (denied.reason, denied.decision.policy_ids),
        ("guardrail", vec!["suspended-tenants-rest".into()])
    );
}

#[test]
fn facts_of_another_tenant_decide_nothing() {
    let authorizer = load(&files()).unwrap();
    let denied = authorizer.decide::<Tokenize>(&workload("checkout"), scope("globex"), &merchant("acme"));
    assert_eq!(denied.unwrap_err().reason, "facts-of-another-tenant");
}

#[test]
fn merchant_501_needs_no_policy() {
    let authorizer = load(&files()).unwrap();
    let decided = authorizer.decide::<Tokenize>(&workload("checkout"), scope("m-501"), &merchant("m-501"));
    assert!(decided.is_ok());
    let unknown = TenantFacts::unknown(tenant("m-502"));
    let decided = authorizer.decide::<Tokenize>(&workload("checkout"), scope("m-502"), &unknown);
    assert_eq!(decided.unwrap_err().reason, "guardrail");
    assert!(authorizer.decide::<ManageTenant>(&workload("platform"), scope("m-502"), &unknown).is_ok());
}

#[test]
fn without_randomness_nothing_is_permitted() {
    let authorizer = load_with(&files(), Arc::new(Dry)).unwrap();
    let denied = authorizer.decide::<Tokenize>(&workload("checkout"), scope("acme"), &merchant("acme"));
    assert_eq!(denied.unwrap_err().reason, "no-randomness");
}

#[test]
fn a_grant_is_asked_about_before_any_look_up() {
    let authorizer = load(&files()).unwrap();
    assert!(authorizer.admit::<OpenForward>(&workload("proxy")).is_ok());
    assert_eq!(authorizer.admit::<OpenForward>(&workload("orchestrator")).unwrap_err().reason, "no-policy");
    assert_eq!(authorizer.admit::<ReadCard>(&workload("stranger")).unwrap_err().reason, "unknown-workload");
}

#[test]
fn a_token_of_the_other_environment_is_refused() {
    let authorizer = load(&files()).unwrap();
    let card = |environment| CardScope {
        tenant: tenant("acme"),
        card: NamedCard { token: TokenHash::from_bytes([1; 32]), environment },
    };
    let decide = |environment| {
        authorizer.decide::<AttachCvc>(&workload("checkout"), card(environment), &merchant("acme"))
    };
    assert!(decide(Environment::Test).is_ok());
    assert_eq!(decide(Environment::Live).unwrap_err().decision.policy_ids, ["tokens-of-this-environment"]);
}

#[test]
fn a_forward_releases_what_was_decided_and_one_live_token_spoils_it() {
    let authorizer = load(&files()).unwrap();
    let cards = vec![wanted(&[Attribute::Number, Attribute::Exp]), wanted(&[Attribute::Number])];
    let decide = |cards| {
        let subject = forward(&authorizer, cards);
        authorizer.decide::<OpenForward>(&workload("proxy"), subject, &merchant("acme"))
    };
    let permit = decide(cards.clone()).unwrap();
    assert_eq!(permit.decision().policy_ids, ["proxy-forwards-for-orchestrators"]);
    assert_eq!(permit.subject().route.host(), "psp.example");
    assert_eq!(permit.into_subject().cards, cards);
    let mut mixed = cards;
    mixed[1].card.environment = Environment::Live;
    assert_eq!(decide(mixed).unwrap_err().decision.policy_ids, ["tokens-of-this-environment"]);
    assert_eq!(decide(Vec::new()).unwrap_err().reason, "no-card");
}

/// The claim said `number`; the cards then ask for more. Code refuses it, and where code is left out the guardrail does.
#[test]
fn cards_cannot_ask_for_more_than_the_call_declares() {
    let authorizer = load(&files()).unwrap();
    let greedy = || forward(&authorizer, vec![wanted(&[Attribute::Number, Attribute::Cvc])]);
    let denied = authorizer.decide::<OpenForward>(&workload("proxy"), greedy(), &merchant("acme"));
    assert_eq!(denied.unwrap_err().reason, "attribute-not-allowed");
    let (subject, facts) = (greedy(), merchant("acme"));
    let question = Question::Forward { tenant: &facts, subject: &subject };
    let verdict = authorizer.ask_policy(&workload("proxy"), ActionKind::OpenForward, &question);
    assert_eq!((verdict.allowed, verdict.policy_ids), (false, vec!["only-declared-attributes".into()]));
    let unguarded = with(
        "guardrails.cedar",
        "unless { context.declared.containsAll(context.attributes) }",
        "when { false }",
    );
    let unguarded = load(&unguarded).unwrap();
    assert!(unguarded.ask_policy(&workload("proxy"), ActionKind::OpenForward, &question).allowed);
}

#[test]
fn an_account_serves_its_own_tenants_only() {
    let authorizer = load(&files()).unwrap();
    let sha256 = authorizer.routes().find("psp").unwrap().route.sha256;
    let mut claimed = claim(&sha256, [Attribute::Number].into_iter().collect());
    claimed.account = "globex";
    let route = authorizer.check_route(&claimed).unwrap();
    let mut subject = forward(&authorizer, vec![wanted(&[Attribute::Number])]);
    subject.route = route;
    let denied =
        authorizer.decide::<OpenForward>(&workload("proxy"), subject, &merchant("acme")).unwrap_err();
    assert_eq!(denied.reason, "account-of-another-tenant");
}

#[test]
fn an_account_s_own_host_is_the_only_one_it_is_opened_for() {
    let own = with(
        "accounts/psp/globex.toml",
        "credential_file",
        "upstream = \"https://globex.psp.example:8443\"\ncredential_file",
    );
    let authorizer = load(&own).unwrap();
    let sha256 = authorizer.routes().find("psp").unwrap().route.sha256;
    let check = |account: &'static str, host: &'static str| {
        let mut claimed = claim(&sha256, [Attribute::Number].into_iter().collect());
        (claimed.account, claimed.host) = (account, host);
        authorizer.check_route(&claimed).map(|route| (route.host().to_owned(), route.port()))
    };
    assert_eq!(check("globex", "globex.psp.example").unwrap(), ("globex.psp.example".to_owned(), 8443));
    assert_eq!(check("default", "psp.example").unwrap(), ("psp.example".to_owned(), 443));
    for (account, host) in [("globex", "psp.example"), ("default", "globex.psp.example")] {
        assert_eq!(check(account, host).unwrap_err().reason, "other-host", "{account} {host}");
    }
}

#[test]
fn route_facts_of_another_bundle_decide_nothing() {
    let old = load(&files()).unwrap();
    let new = load(&with("bundle.toml", "version = 1", "version = 2")).unwrap();
    let subject = forward(&old, vec![wanted(&[Attribute::Number])]);
    let denied = new.decide::<OpenForward>(&workload("proxy"), subject, &merchant("acme")).unwrap_err();
    assert_eq!((denied.reason, denied.decision.bundle_version), ("bundle-changed", 2));
}

#[test]
fn a_proxy_records_its_own_forwards() {
    let authorizer = load(&files()).unwrap();
    let id = ForwardId::parse("0190a0b0-c0d0-7e0f-8f00-112233445566").unwrap();
    let of = |opened_by: &str| ForwardFacts { opened_by: workload(opened_by) };
    assert!(authorizer.decide::<RecordOutcome>(&workload("proxy"), id, &of("proxy")).is_ok());
    let denied = authorizer.decide::<RecordOutcome>(&workload("proxy"), id, &of("proxy-2")).unwrap_err();
    assert_eq!(denied.decision.policy_ids, ["outcomes-by-their-proxy"]);
}

/// Cedar skips a policy that fails to evaluate. An overflow in a guardrail must not let the request through.
#[test]
fn a_policy_that_fails_to_evaluate_denies() {
    let mut files = files();
    let overflows = "@id(\"overflows\") forbid (principal, action == Action::\"Tokenize\", resource) \
        when { resource.suspended == false && (9223372036854775807 + (if resource.suspended then 0 else 1)) == 0 };";
    files.get_mut("guardrails.cedar").unwrap().push_str(overflows);
    let authorizer = load(&files).unwrap();
    let denied = authorizer.decide::<Tokenize>(&workload("checkout"), scope("acme"), &merchant("acme"));
    assert_eq!(denied.unwrap_err().reason, "policy-error");
}

/// A slice says what the whole set says, for every workload, action and kind of tenant.
#[test]
fn slicing_changes_no_answer() {
    let authorizer = load(&files()).unwrap();
    let whole = unsliced(&files());
    let mut suspended = merchant("acme");
    suspended.suspended = true;
    let tenants = [merchant("acme"), suspended, TenantFacts::unknown(tenant("stray"))];
    let subject = forward(&authorizer, vec![wanted(&[Attribute::Number])]);
    let mut compared = 0;
    for id in authorizer.bundle().workloads.keys() {
        for (kind, facts) in
            ActionKind::ALL.iter().flat_map(|kind| tenants.iter().map(move |facts| (kind, facts)))
        {
            let opened = ForwardFacts { opened_by: workload("proxy") };
            let question = match kind.shape() {
                Shape::Tenant => Question::Tenant(facts),
                Shape::Card => Question::Card { tenant: facts, environment: Environment::Live },
                Shape::Forward => Question::Forward { tenant: facts, subject: &subject },
                Shape::Outcome => Question::Outcome(&opened),
                Shape::Service => Question::Service,
            };
            let (sliced, full) =
                (authorizer.ask_policy(id, *kind, &question), whole.ask_policy(id, *kind, &question));
            assert_eq!((sliced.allowed, sliced.policy_ids), (full.allowed, full.policy_ids), "{id} {kind}");
            compared += 1;
        }
    }
    assert_eq!(compared, authorizer.bundle().workloads.len() * ActionKind::ALL.len() * tenants.len());
    let slice = |authorizer: &Authorizer| {
        let (_, slice) = authorizer.slice(&workload("checkout"), ActionKind::Tokenize).unwrap();
        slice.policies.policies().count()
    };
    assert!(slice(&authorizer) < slice(&whole) / 4, "{} of {}", slice(&authorizer), slice(&whole));
}

fn unsliced(files: &Files) -> Authorizer {
    let mut whole = load(files).unwrap();
    let names = &whole.vocabulary.names;
    let set = &whole.bundle.policies.set;
    let slice =
        |kind: &ActionKind| Slice { action: names.action(*kind), policies: set.clone(), permits: true };
    let slices: Arc<[Slice]> = ActionKind::ALL.iter().map(slice).collect();
    for known in whole.known.values_mut() {
        known.slices = Arc::clone(&slices);
    }
    whole
}

#[test]
fn what_was_allowed_is_allowed_again_and_nothing_beside_it() {
    let authorizer = load(&files()).unwrap();
    let (checkout, acme) = (workload("checkout"), merchant("acme"));
    let decide = |caller: &WorkloadId, facts: &TenantFacts| {
        authorizer.decide::<Tokenize>(caller, TenantScope { tenant: facts.id.clone() }, facts)
    };
    let first = decide(&checkout, &acme).unwrap();
    let again = decide(&checkout, &acme).unwrap();
    assert_eq!(again.decision().policy_ids, first.decision().policy_ids);
    assert_ne!(again.decision().id, first.decision().id, "each decision has its own name");

    let suspended = TenantFacts { suspended: true, ..merchant("acme") };
    let elsewhere = TenantFacts { groups: Vec::new(), ..merchant("acme") };
    assert_eq!(decide(&checkout, &suspended).unwrap_err().reason, "guardrail");
    assert_eq!(decide(&checkout, &elsewhere).unwrap_err().reason, "guardrail");
    assert!(decide(&workload("security"), &acme).is_err());
    assert!(decide(&checkout, &acme).is_ok());
}

#[test]
fn an_allowed_forward_says_nothing_about_another_environment_of_its_token() {
    let authorizer = load(&files()).unwrap();
    let card = |environment| WantedCard {
        card: NamedCard { token: TokenHash::from_bytes([7; 32]), environment },
        attributes: [Attribute::Number].into_iter().collect(),
    };
    let decide = |cards| {
        let subject = forward(&authorizer, cards);
        authorizer.decide::<OpenForward>(&workload("proxy"), subject, &merchant("acme"))
    };
    assert!(decide(vec![card(Environment::Test)]).is_ok());
    assert!(decide(vec![card(Environment::Test), card(Environment::Live)]).is_err());
    assert!(decide(vec![card(Environment::Live)]).is_err());
    assert!(decide(vec![card(Environment::Test)]).is_ok());
}
