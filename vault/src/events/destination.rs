//! One destination: its name, its bounds, and the way there.
//!
//! Promises: whatever the way, an attempt ends within the destination's time, and a key that cannot be read anew leaves the
//! one in use.
//! Upholds: C-32, C-54.

use std::time::Duration;

use strongroom_domain::Timestamp;
use strongroom_perimeter::outbound::InvalidHost;
use strongroom_perimeter::tls::MaterialError;
use strongroom_sealing::WebhookKeyError;

use super::attempt::Attempt;
use super::config::WebhookConfig;
use super::kafka::{Kafka, KafkaConfig, KafkaMaterialError};
use super::webhook::Webhook;
use crate::store::{DestinationName, EventRow};

/// Why a destination cannot be told anything. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// A key.
    #[error("events.webhooks {0}: {1}")]
    Key(DestinationName, #[source] WebhookKeyError),
    /// The roots.
    #[error("events.webhooks {0}: {1}")]
    Roots(DestinationName, #[source] MaterialError),
    /// The host.
    #[error("events.webhooks {0}: {1}")]
    Host(DestinationName, #[source] InvalidHost),
    /// The url.
    #[error("events.webhooks {0}: {1}")]
    Url(DestinationName, String),
    /// What a Kafka cluster is spoken to with.
    #[error("events.kafka {0}: {1}")]
    Kafka(DestinationName, #[source] KafkaMaterialError),
}

/// A destination that can be told.
pub struct Destination {
    pub(super) name: DestinationName,
    pub(super) timeout: Duration,
    pub(super) at_once: usize,
    way: Way,
}

/// How a destination is told. Everything else about it is the same.
enum Way {
    Webhook(Webhook),
    Kafka(Box<Kafka>),
}

impl Destination {
    /// Reads keys and roots; connects to nothing.
    pub fn webhook(config: &WebhookConfig) -> Result<Self, DestinationError> {
        Ok(Self {
            name: config.name.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            at_once: config.at_once,
            way: Way::Webhook(Webhook::open(config)?),
        })
    }

    /// Reads certificates and the password; connects to nothing.
    pub fn kafka(config: &KafkaConfig) -> Result<Self, DestinationError> {
        let kafka = Kafka::open(config);
        Ok(Self {
            name: config.name.clone(),
            timeout: config.timeout(),
            at_once: config.at_once,
            way: Way::Kafka(Box::new(
                kafka.map_err(|error| DestinationError::Kafka(config.name.clone(), error))?,
            )),
        })
    }

    /// Tells it of one event, within its time.
    pub(super) async fn attempt(&self, event: &EventRow, body: Vec<u8>, now: Timestamp) -> Attempt {
        match &self.way {
            Way::Webhook(webhook) => webhook.attempt(&event.id().to_string(), body, now).await,
            Way::Kafka(kafka) => kafka.attempt(&event.token.token_ref(), body, now).await,
        }
    }

    /// Reads the keys anew. If they cannot be read, those in use stay.
    pub(super) async fn read_keys(&mut self) -> Result<(), String> {
        match &mut self.way {
            Way::Webhook(webhook) => webhook.read_keys().await,
            Way::Kafka(kafka) => kafka.read_keys().await,
        }
    }

    /// Ends what connections there are in order.
    pub(super) async fn end(&self) {
        match &self.way {
            Way::Webhook(_) => {} // they end when they are dropped
            Way::Kafka(kafka) => kafka.end().await,
        }
    }
}
