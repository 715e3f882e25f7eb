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

/// What a look at the folder found.
struct Looked {
    /// Of the files, if they could be read.
    sha256: Option<[u8; 32]>,
    /// Nothing if they are what they were.
    bundle: Result<Option<Authorizer>, BundleError>,
}

pub(super) async fn poll(vault: Arc<Vault>, source: PolicySource) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut seen = Some(*vault.authorizer.load().bundle_sha256());
    let mut refused = None;
    loop {
        ticks.tick().await;
        let looked = look(&vault, source.clone(), seen).await;
        seen = looked.sha256;
        match looked.bundle {
            Ok(None) => refused = None,
            Ok(Some(bundle)) => {
                refused = None;
                if !activate(&vault, bundle).await {
                    seen = None;
                }
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

/// Reading and parsing take tens of milliseconds of CPU: not on a thread that serves, and only what is new is parsed.
async fn look(vault: &Arc<Vault>, source: PolicySource, seen: Option<[u8; 32]>) -> Looked {
    let (environment, clock, random) =
        (vault.environment, Arc::clone(&vault.clock), Arc::clone(&vault.random));
    let suspended = Arc::clone(&vault.suspended);
    let look = tokio::task::spawn_blocking(move || {
        let sha256 = match source.sha256() {
            Ok(sha256) => sha256,
            Err(error) => return Looked { sha256: None, bundle: Err(error) },
        };
        let is_new = seen != Some(sha256);
        let load = || Authorizer::load(&source, environment, clock, random);
        let bundle = is_new.then(|| load().map(|bundle| bundle.refusing(suspended))).transpose();
        Looked { sha256: Some(sha256), bundle }
    });
    look.await.unwrap_or_else(|_| {
        let error = BundleError { file: ".".into(), what: "reading it ended with a defect".into() };
        Looked { sha256: None, bundle: Err(error) }
    })
}

/// Puts a bundle in force if it may be. False: it may be, and is to be tried again.
async fn activate(vault: &Vault, next: Authorizer) -> bool {
    let present = vault.authorizer.load_full();
    if next.bundle_sha256() == present.bundle_sha256() {
        return true;
    }
    let (old, new) = (present.bundle(), next.bundle());
    if !new.may_replace(old) {
        let what = "the policy bundle on disk has no higher version than the one in force, which stays";
        tracing::error!(version = new.version, in_force = old.version, "{what}");
        metrics::counter!("strongroom_policy_reload_failures_total").increment(1);
        return true;
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
        metrics::counter!("strongroom_policy_reload_failures_total").increment(1);
        return false;
    }
    tracing::info!(version = new.version, alarm = diff.is_alarm(), ?diff, "a new policy bundle is in force");
    if diff.is_alarm() {
        metrics::counter!("strongroom_policy_alarms_total").increment(1);
    }
    vault.authorizer.store(Arc::new(next));
    true
}
