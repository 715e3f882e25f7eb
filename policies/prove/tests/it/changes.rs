//! `strongroom-policy diff`.

use crate::{Changed, diff, shipped};

#[tokio::test]
async fn nothing_widens_nothing() {
    let (code, out) = diff(&shipped()).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("nothing is permitted that was not"), "{out}");
}

#[tokio::test]
async fn what_only_takes_away_or_says_it_otherwise_widens_nothing() {
    let changed = Changed::new();
    changed
        .replace("custody.cedar", "custodian-manages-keys", "keys-by-custodians")
        .replace(
            "orchestration.cedar",
            "Role::\"support\",\n  action == Action::\"ReadCard\"",
            "Role::\"support\",\n  action in [Action::\"ReadCard\"]",
        )
        .append(
            "guardrails.cedar",
            "@id(\"no-updates\") forbid (principal, action == Action::\"UpdateCard\", resource);",
        )
        .replace("workloads.json", "[\"orchestrator\", \"owner\"]", "[\"orchestrator\"]");
    let (code, out) = diff(changed.path()).await;
    assert_eq!(code, 0, "{out}");
}

#[tokio::test]
async fn a_wider_policy_is_shown_by_a_request_it_newly_permits() {
    let changed = Changed::new();
    changed.append(
        "orchestration.cedar",
        "@id(\"support-erases\") permit (principal in Role::\"support\", action == Action::\"EraseCard\", resource is Tenant);",
    );
    let (code, out) = diff(changed.path()).await;
    assert_eq!(code, 1, "{out}");
    assert_eq!(out.matches("WIDER").count(), 1, "{out}");
    assert!(out.contains("WIDER    Action::\"EraseCard\" by a Workload on a Tenant"), "{out}");
    assert!(out.contains("by         support-erases") && out.contains("Role::\"support\""), "{out}");
}

#[tokio::test]
async fn a_loosened_guardrail_is_shown_for_every_action_it_held() {
    let changed = Changed::new();
    changed.replace("guardrails.cedar", "context.token_environment != context.environment", "false");
    let (code, out) = diff(changed.path()).await;
    assert_eq!(code, 1, "{out}");
    for action in ["ReadCard", "UpdateCard", "EraseCard", "AttachCvc", "OpenForward"] {
        assert!(out.contains(&format!("WIDER    Action::\"{action}\"")), "{action}: {out}");
    }
    assert_eq!(out.matches("WIDER").count(), 5, "{out}");
}

#[tokio::test]
async fn a_workload_bound_to_more_is_shown_by_what_it_can_do() {
    let changed = Changed::new();
    changed.replace(
        "workloads.json",
        "\"roles\": [\"checkout\"],\n      \"tenants\": { \"groups\": [\"merchants\"] }",
        "\"roles\": [\"checkout\"],\n      \"tenants\": { \"groups\": [\"*\"] }",
    );
    let (code, out) = diff(changed.path()).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("NEW      spiffe://strongroom.test/checkout can Tokenize, of tenants: *"), "{out}");
    assert!(!out.contains("WIDER") && !out.contains("orchestrator can"), "{out}");
    // The other way round it is less.
    let (old, new) = (changed.path().display().to_string(), shipped().display().to_string());
    let (code, out) = crate::run(&["diff", &old, &new, "--environment", "test"]).await;
    assert_eq!(code.unwrap(), 0, "{out}");
}

#[tokio::test]
async fn a_new_place_for_card_data_is_shown() {
    let changed = Changed::new();
    changed.replace("routes/stripe.toml", "https://api.stripe.com", "https://api2.stripe.com");
    let (code, out) = diff(changed.path()).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("stripe/default at api2.stripe.com"), "{out}");
    assert!(!out.contains("adyen"), "{out}");
}
