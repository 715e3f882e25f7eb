//! What waits is measured, and what is old is forgotten.

use std::time::Duration;

use strongroom_domain::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Ground;
use super::config::EventsConfig;
use crate::store::{EventState, Outbox, StoreError};

/// How often what waits is counted.
const MEASURE_EVERY: Duration = Duration::from_secs(15);
/// How often old events are removed.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Most rows of one removal: a few milliseconds between the commits of requests.
const FORGET_ROWS: u32 = 1_000;
/// Between two removals that find more.
const FORGET_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn measure(ground: Ground, outbox: Outbox, stop: CancellationToken) {
    let mut ticks = interval(MEASURE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for destination in outbox.destinations() {
            match ground.store.events().backlog(destination.as_str()).await {
                #[expect(clippy::cast_precision_loss, reason = "counts stop at 10,000")]
                Ok(backlog) => {
                    let name = || destination.as_str().to_owned();
                    let lag =
                        backlog.oldest.map_or(Duration::ZERO, |oldest| ground.clock.now().since(oldest));
                    metrics::gauge!("strongroom_events_pending", "destination" => name())
                        .set(backlog.pending as f64);
                    metrics::gauge!("strongroom_events_dead", "destination" => name())
                        .set(backlog.dead as f64);
                    metrics::gauge!("strongroom_events_lag_seconds", "destination" => name())
                        .set(lag.as_secs_f64());
                }
                Err(error) => tracing::warn!(%error, "events that wait were not counted"),
            }
        }
    }
}

pub(super) async fn forget(ground: Ground, config: EventsConfig, stop: CancellationToken) {
    let mut ticks = interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let forgotten = stop.run_until_cancelled(forget_old(&ground, &config)).await;
        if let Some(Err(error)) = forgotten {
            tracing::warn!(%error, "old events were not all removed; the next look tries again");
        }
    }
}

/// Also of destinations that are not configured any more: what is pending there goes when it would be neither tried nor
/// kept any longer.
async fn forget_old(ground: &Ground, config: &EventsConfig) -> Result<(), StoreError> {
    let now = ground.clock.now();
    let outbox = config.outbox();
    for destination in ground.store.events().destinations_known().await? {
        let mut rules = vec![
            (EventState::Delivered, now.minus(config.delivered())),
            (EventState::Dead, now.minus(config.dead())),
        ];
        if outbox.destination(&destination).is_none() {
            rules.push((EventState::Pending, now.minus(config.give_up() + config.dead())));
        }
        for (state, before) in rules {
            forget_all(ground, &destination, state, before).await?;
        }
    }
    Ok(())
}

async fn forget_all(
    ground: &Ground,
    destination: &str,
    state: EventState,
    before: Timestamp,
) -> Result<(), StoreError> {
    while ground.store.events().forget_events(destination, state, before, FORGET_ROWS).await?
        >= u64::from(FORGET_ROWS)
    {
        tokio::time::sleep(FORGET_PAUSE).await;
    }
    Ok(())
}
