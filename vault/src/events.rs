//! Telling destinations what became of cards: CloudEvents over signed webhooks and to Kafka, from the rows of the outbox.
//!
//! Promises: at least once, in the order of each card, under an id that stays the same; to a destination that proves its
//! name, under the destination's own keys; from one replica at a time. The queue is in the
//! database: a destination that is slow, away or broken costs a bounded amount of memory and no request any time. A card whose
//! event is refused waits for it; other cards do not.
//! Does not promise: exactly once, order between cards, or order after a replay. Receivers tell by `id` and `sequence`.
//! Trusts: a destination with tokens' references and facts of the tenants it is configured for, and with nothing else.
//! Upholds: C-17, C-22, C-32, C-54.

mod attempt;
mod backoff;
mod body;
pub mod config;
mod deliver;
mod destination;
mod expiring;
mod health;
mod kafka;
mod measure;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{Clock, Environment, Random, RandomUnavailable, ids::BootId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::config::{EventsConfig, WebhookConfig};
pub use self::deliver::Deliverer;
pub use self::destination::{Destination, DestinationError};
pub use self::expiring::{Step as WalkStep, Walk};
pub use self::kafka::{KafkaConfig, KafkaMaterialError, Mechanism, SaslConfig};
use crate::store::{Committer, Outbox, Store};

/// What everything here stands on.
#[derive(Clone)]
pub struct Ground {
    /// The outbox.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
    /// `live` or `test`, as events say.
    pub environment: Environment,
    /// This process, as leases name their holder.
    pub holder: Uuid,
}

impl Ground {
    /// With a holder of its own.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        environment: Environment,
    ) -> Result<Self, RandomUnavailable> {
        let holder = BootId::generate(&*clock, &*random)?.as_uuid();
        Ok(Self { store, clock, random, environment, holder })
    }
}

/// Destinations that are ready to be told.
pub struct Events {
    config: EventsConfig,
    outbox: Outbox,
    destinations: Vec<Destination>,
}

impl Events {
    /// Reads keys and roots; connects to nothing.
    pub fn open(config: EventsConfig) -> Result<Self, DestinationError> {
        let webhooks = config.webhooks.iter().map(Destination::webhook);
        let destinations =
            webhooks.chain(config.kafka.iter().map(Destination::kafka)).collect::<Result<_, _>>()?;
        Ok(Self { outbox: config.outbox(), destinations, config })
    }

    /// Who is told of what.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Begins to deliver, until `stop`. Nothing runs where no destination is configured, but for what forgets old events.
    #[must_use]
    pub fn run(
        self,
        ground: &Ground,
        committer: &Committer,
        stop: &CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        let Self { config, outbox, destinations } = self;
        let mut tasks = vec![tokio::spawn(measure::forget(ground.clone(), config.clone(), stop.clone()))];
        if outbox.is_empty() {
            return tasks;
        }
        tasks.push(tokio::spawn(measure::measure(ground.clone(), outbox.clone(), stop.clone())));
        if config.expiring_days > 0 {
            let walk = Walk::new(ground.clone(), committer.clone(), outbox, config.expiring());
            tasks.push(tokio::spawn(walk.run(stop.clone())));
        }
        for destination in destinations {
            let deliverer = Deliverer::new(ground.clone(), destination, config.backoff());
            tasks.push(tokio::spawn(deliverer.run(stop.clone())));
        }
        tasks
    }
}

const DAY: Duration = Duration::from_secs(86_400);
