//! What time alone brings about: late codes wiped, silent forwards closed, old answers forgotten.

use std::sync::Arc;
use std::time::Duration;

use crate::operation::Vault;

/// How often late verification codes are wiped: a code outlives its time by no more.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often forwards and answers are looked at.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Most rows of one look: more wait a minute, and no look holds the database for long.
const TIDY_ROWS: u32 = 1_000;

pub(super) async fn sweep_codes(vault: Arc<Vault>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        vault.cvcs.sweep();
        #[expect(clippy::cast_precision_loss, reason = "a count of codes is far below 2^52")]
        metrics::gauge!("strongroom_cvc_held").set(vault.cvcs.len() as f64);
    }
}

pub(super) async fn tidy(vault: Arc<Vault>) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match vault.close_silent_forwards(TIDY_ROWS).await {
            Ok(0) => {}
            Ok(closed) => {
                tracing::warn!(closed, "forwards whose proxy never told their outcome are now unknown");
                metrics::counter!("strongroom_forwards_silent_total").increment(closed);
            }
            Err(error) => {
                tracing::warn!(%error, "silent forwards were not closed; the next look tries again")
            }
        }
        if let Err(error) = vault.store.forget_idempotent(vault.clock.now(), TIDY_ROWS).await {
            tracing::warn!(%error, "old answers were not forgotten; the next look tries again");
        }
    }
}
