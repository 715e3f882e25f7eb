//! Whether it is time, and who is told.

use std::time::Duration;

use serde_json::json;

use super::{file, review, said, shown, signed};
use crate::service::Service;

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reviewed_in_time_is_overdue_until_somebody_does() {
    let vault = Service::start().await;
    for kind in ["access", "log"] {
        let drawn = shown(&vault, "reviewer", kind).await;
        assert_eq!((&drawn["overdue"], &drawn["last"]), (&json!(false), &json!(null)), "{kind}");
    }
    // A digest that is as old as this one cannot be signed: more has come than was read.
    let stale = said(&shown(&vault, "reviewer", "log").await, "approved", "");
    vault.onboard("acme").await;
    let vault = vault.restart_after(DAY * 3).await;
    assert_eq!(shown(&vault, "reviewer", "log").await["overdue"], true);
    assert_eq!(shown(&vault, "reviewer", "access").await["overdue"], false);
    let exchange = file(&vault, "reviewer", "log", &signed(&vault, "reviewer", "reviewer", &stale)).await;
    assert_eq!(exchange.status(), 409, "{}", exchange.json());
    review(&vault, "reviewer", "log", "approved", "").await;
    let drawn = shown(&vault, "reviewer", "log").await;
    assert_eq!(drawn["overdue"], false);
    assert!(drawn["last"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overdue_review_is_a_finding_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Service::start_watched(folder, "").await;
    let vault = vault.restart_after(DAY * 3).await;
    let entry = vault.awaited("anomaly.found", "log-review-overdue").await;
    assert_eq!((&entry["finding"]["severity"], &entry["finding"]["limit"]), (&json!("medium"), &json!(1)));
    let found = |name: &'static str| {
        let entries = vault.entries();
        async move { entries.await.iter().filter(|entry| entry["rsn"] == name).count() }
    };
    assert_eq!(found("log-review-overdue").await, 1, "once a day");
    assert_eq!(found("access-review-overdue").await, 0);
}
