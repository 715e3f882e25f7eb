//! What time alone brings about: late codes wiped, silent forwards closed, old answers forgotten, cards ended.

use std::sync::Arc;
use std::time::Duration;

use crate::operation::{OperationError, Vault};
use crate::review::ReviewKind;

/// How often late verification codes are wiped: a code outlives its time by no more.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often forwards and answers are looked at.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Most rows of one look: more wait a minute, and no look holds the database for long.
const TIDY_ROWS: u32 = 1_000;
/// How often cards are looked for whose time is over.
const REAP_EVERY: Duration = Duration::from_secs(60);
/// How often what should be gone is counted: one question for each tenant.
const MEASURE_EVERY: Duration = Duration::from_secs(600);
/// How often it is looked whether a review is overdue.
const REVIEWS_EVERY: Duration = Duration::from_secs(60);
/// Between two looks that find more: requests come first.
const REAP_PAUSE: Duration = Duration::from_millis(50);

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
                tracing::warn!(
                    closed,
                    "forwards whose proxy never told their outcome are now unknown: ask the psp and reconcile them \
                     (vault/docs/forwards.md); the audit log names them"
                );
                metrics::counter!("strongroom_forwards_silent_total").increment(closed);
            }
            Err(error) => {
                tracing::warn!(%error, "silent forwards were not closed; the next look tries again");
                metrics::counter!("strongroom_forwards_sweep_failures_total").increment(1);
            }
        }
        if let Err(error) = vault.store.forget_idempotent(vault.clock.now(), TIDY_ROWS).await {
            tracing::warn!(%error, "old answers were not forgotten; the next look tries again");
        }
    }
}

pub(super) async fn reap(vault: Arc<Vault>) {
    let mut ticks = tokio::time::interval(REAP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unwiped = true; // an earlier start may have destroyed and not wiped
    loop {
        ticks.tick().await;
        let reaped = reap_all(&vault).await;
        unwiped |= reaped.unwrap_or_else(|error| {
            tracing::warn!(%error, "cards whose time is over were not all ended; the next look tries again");
            metrics::counter!("strongroom_reaper_failures_total").increment(1);
            true
        });
        if unwiped {
            match vault.store.wipe_destroyed().await {
                Ok(()) => unwiped = false,
                Err(error) => {
                    tracing::warn!(%error, "what destroyed cards left behind is not wiped yet; the next look tries again")
                }
            }
        }
    }
}

/// Looks until nothing more is due. Gives whether anything was destroyed.
async fn reap_all(vault: &Vault) -> Result<bool, OperationError> {
    let mut destroyed = false;
    loop {
        let reaped = vault.reaper.look(vault.clock.now()).await?;
        destroyed |= reaped.destroyed > 0;
        for (ended, how) in
            [(reaped.expired, "expired"), (reaped.outlived, "retention"), (reaped.destroyed, "destroyed")]
        {
            metrics::counter!("strongroom_cards_reaped_total", "how" => how).increment(ended);
        }
        if !reaped.more {
            return Ok(destroyed);
        }
        tokio::time::sleep(REAP_PAUSE).await;
    }
}

pub(super) async fn measure_retention(vault: Arc<Vault>) {
    let mut ticks = tokio::time::interval(MEASURE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match vault.measure_retention().await {
            #[expect(clippy::cast_precision_loss, reason = "a count of cards is far below 2^52")]
            Ok((past_due, for_ever)) => {
                metrics::gauge!("strongroom_retention_past_due").set(past_due as f64);
                metrics::gauge!("strongroom_tenants_without_retention").set(for_ever as f64);
            }
            Err(error) => tracing::warn!(%error, "what is past its retention was not counted"),
        }
    }
}

pub(super) async fn measure_reviews(vault: Arc<Vault>) {
    let mut ticks = tokio::time::interval(REVIEWS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for kind in ReviewKind::ALL {
            match vault.review_standing(kind).await {
                Ok(standing) => {
                    let overdue = f64::from(u8::from(standing.overdue));
                    metrics::gauge!("strongroom_review_overdue", "kind" => kind.as_str()).set(overdue);
                }
                Err(error) => tracing::warn!(%error, "whether a review is overdue was not looked at"),
            }
        }
    }
}
