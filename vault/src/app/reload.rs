//! Policies and routes, read anew while serving.
//!
//! Promises: a bundle that does not validate, or whose version falls, changes nothing and is told; a change in force is on the log.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Draft, Event, Object, Outcome, Pol};
use crate::authz::{Authorizer, BundleDiff, BundleError, PolicySource};
use crate::operation::Vault;
use crate::store::Change;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn poll(vault: Arc<Vault>, source: PolicySource) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut refused, mut told) = (None, None);
    loop {
        ticks.tick().await;
        let loaded = load(&vault, source.clone()).await;
        match loaded {
            Ok(bundle) => {
                refused = None;
                activate(&vault, bundle, &mut told).await;
            }
            Err(error) => {
                let sentence = error.to_string();
                if refused.as_ref() != Some(&sentence) {
                    tracing::error!(%error, "the policy bundle on disk is not valid; the one in force stays");
                    metrics::counter!("strongroom_policy_reload_failures_total").increment(1);
                    refused = Some(sentence);
                }
            }
        }
    }
}

/// Parsing takes milliseconds of CPU: not on a thread that serves.
async fn load(vault: &Arc<Vault>, source: PolicySource) -> Result<Authorizer, BundleError> {
    let (environment, clock, random) =
        (vault.environment, Arc::clone(&vault.clock), Arc::clone(&vault.random));
    let load = tokio::task::spawn_blocking(move || Authorizer::load(&source, environment, clock, random));
    load.await.unwrap_or_else(|_| {
        Err(BundleError { file: ".".into(), what: "reading it ended with a defect".into() })
    })
}

async fn activate(vault: &Vault, next: Authorizer, told: &mut Option<[u8; 32]>) {
    let present = vault.authorizer.load_full();
    if next.bundle_sha256() == present.bundle_sha256() {
        return;
    }
    let (old, new) = (present.bundle(), next.bundle());
    if !new.may_replace(old) {
        if *told != Some(new.sha256) {
            let what = "the policy bundle on disk has no higher version than the one in force, which stays";
            tracing::error!(version = new.version, in_force = old.version, "{what}");
            metrics::counter!("strongroom_policy_reload_failures_total").increment(1);
        }
        *told = Some(new.sha256);
        return;
    }
    let diff = BundleDiff::between(old, new);
    let reason = if diff.is_alarm() { "destination-changed" } else { "changed" };
    let pol = Pol { id: Vec::new(), rev: Some(new.version), sha256: new.sha256 };
    let entry = Draft::by_service(
        vault.clock.now(),
        Event::PolicyActivate,
        Outcome::Success,
        Object::Service("policies"),
    )
    .because(reason)
    .by_policy(pol);
    // The new bundle is in force only once the log says so.
    if let Err(error) = vault.committer.commit(Change::Entry { entry }).await {
        tracing::error!(%error, "the new policy bundle was not activated: its entry could not be written");
        return;
    }
    tracing::info!(version = new.version, alarm = diff.is_alarm(), ?diff, "a new policy bundle is in force");
    if diff.is_alarm() {
        metrics::counter!("strongroom_policy_alarms_total").increment(1);
    }
    vault.authorizer.store(Arc::new(next));
}
