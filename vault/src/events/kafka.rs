//! A Kafka topic as a destination: one record for each event, under its card's reference.
//!
//! Promises: a record is taken when every in-sync replica has it, and not before; a card's records are in one partition, the one
//! its reference leads to by Kafka's own murmur2, and each is sent after the one before was taken or given up; TLS 1.3 to
//! brokers whose certificates name them, by the WebPKI or by pinned roots; a topic is never made; a broker that is away costs
//! one connection attempt in a while.
//! Does not promise: that a broker's address is public. Brokers are the operator's own, and one that is named by another must
//! hold a certificate for that name before anything is sent. Nor each record once: a connection that ends leaves the last unknown.
//! Trusts: brokers with tokens' references and facts, as every destination.
//! Upholds: C-32, C-54.

mod config;
mod judge;
mod material;

use std::sync::Arc;
use std::time::Duration;

use krafka::admin::DescribeClusterOptions;
use krafka::producer::{Acks, Producer};
use krafka::{CloseOptions, Kafka as Cluster, KrafkaError, Record};
use strongroom_domain::{Timestamp, TokenRef};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use self::config::{KafkaConfig, Mechanism, SaslConfig};
pub use self::material::KafkaMaterialError;
use self::material::Material;
use super::attempt::Attempt;
use super::body::MEDIA_TYPE;

/// Name of the client in brokers' logs and quotas.
const CLIENT_ID: &str = "strongroom-vault";
/// How long a record may wait for others of its partition: what is due together goes together.
const LINGER: Duration = Duration::from_millis(5);
/// How often to ask who leads a partition, unasked for.
const METADATA_AGE_MAX: Duration = Duration::from_secs(60);
/// Largest answer of a broker: thousands of brokers and partitions.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most memory of records that wait: more than what is taken at once.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long letting go of a connection may take.
const LET_GO_TIME_MAX: Duration = Duration::from_secs(15);
/// How long ending may take when the vault stops.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// A topic that can be written to.
pub(super) struct Kafka {
    config: KafkaConfig,
    material: Material,
    /// A third of an attempt's time: for connecting, for waiting, for being acknowledged.
    third: Duration,
    connection: Mutex<Connection>,
}

/// What there is of a connection.
#[derive(Default)]
struct Connection {
    producer: Option<Arc<Producer>>,
    failed: Option<(Instant, &'static str)>,
}

impl Kafka {
    /// Reads certificates and the password; connects to nothing.
    pub(super) fn open(config: &KafkaConfig) -> Result<Self, KafkaMaterialError> {
        if !config.plaintext {
            material::house_tls()?;
        }
        Ok(Self {
            material: Material::read(config)?,
            third: config.timeout() / 3,
            connection: Mutex::default(),
            config: config.clone(),
        })
    }

    /// Writes one event, within the destination's time.
    pub(super) async fn attempt(&self, card: &TokenRef, body: Vec<u8>, now: Timestamp) -> Attempt {
        let producer = match self.producer().await {
            Ok(producer) => producer,
            Err(why) => return Attempt::Away(why),
        };
        let record = Record::new(self.config.topic.as_str(), body)
            .key(card.as_str().to_owned())
            .header("content-type", MEDIA_TYPE)
            .timestamp(i64::try_from(now.unix_millis()).unwrap_or(i64::MAX));
        let error = match producer.send(record).await {
            Ok(_) => return Attempt::Taken,
            Err(error) => error,
        };
        let came = judge::judged(&error);
        if let Attempt::Away(why) = &came {
            tracing::debug!(why, destination = %self.config.name, "a record was not taken");
            self.let_go(&producer);
        }
        came
    }

    /// Reads certificates and the password anew. What cannot be used changes nothing; what changed is used from the next
    /// connection on, which is made at once.
    pub(super) async fn read_keys(&mut self) -> Result<(), String> {
        let config = self.config.clone();
        let read = tokio::task::spawn_blocking(move || Material::read(&config)).await;
        let material = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if material != self.material {
            self.material = material;
            let connection = std::mem::take(self.connection.get_mut());
            if let Some(producer) = connection.producer {
                close(producer);
            }
        }
        Ok(())
    }

    /// Ends the connection in order; what is under way on it is sent again by whoever comes next.
    pub(super) async fn end(&self) {
        let connection = std::mem::take(&mut *self.connection.lock().await);
        if let Some(producer) = connection.producer {
            let _ = producer.close_with(CloseOptions::new().timeout(END_TIME_MAX)).await;
        }
    }

    /// The connection there is, or a new one. Whoever waited while it could not be made does not try again.
    async fn producer(&self) -> Result<Arc<Producer>, &'static str> {
        let asked = Instant::now();
        let mut connection = self.connection.lock().await;
        if let Some(producer) = &connection.producer {
            return Ok(Arc::clone(producer));
        }
        if let Some((_, why)) = connection.failed.filter(|(when, _)| *when >= asked) {
            return Err(why);
        }
        let made = match timeout(self.third, self.connect()).await {
            Ok(made) => made,
            Err(_) => Err("timed-out"),
        };
        match made {
            Ok(producer) => {
                let producer = Arc::new(producer);
                *connection = Connection { producer: Some(Arc::clone(&producer)), failed: None };
                Ok(producer)
            }
            Err(why) => {
                connection.failed = Some((Instant::now(), why));
                Err(why)
            }
        }
    }

    async fn connect(&self) -> Result<Producer, &'static str> {
        let failed = |error: KrafkaError| {
            // A code of ours: what a broker says may hold what it was sent.
            let why = judge::away(&error);
            tracing::debug!(why, destination = %self.config.name, "no connection to brokers");
            why
        };
        let time = self.third - LINGER;
        let cluster = Cluster::builder(self.config.brokers.join(","))
            .client_id(CLIENT_ID)
            .security(self.material.auth(&self.config))
            .connect_timeout(time)
            .request_timeout(time)
            .metadata_max_age(METADATA_AGE_MAX)
            .max_response_size(ANSWER_BYTES_MAX)
            .allow_auto_create_topics(false)
            .connect()
            .await
            .map_err(failed)?;
        if self.config.plaintext && !stays_on_loopback(&cluster).await.map_err(failed)? {
            return Err("forbidden-address");
        }
        // Idempotent: what the library sends again within an attempt is not there twice, and overtakes nothing.
        let producer = cluster
            .producer()
            .acks(Acks::All)
            .idempotent(true)
            .linger(LINGER)
            .delivery_timeout(self.third)
            .max_block(self.third)
            .buffer_memory(WAITING_BYTES_MAX)
            .metrics_push(false);
        producer.build().await.map_err(failed)
    }

    /// The next attempt connects anew. Whoever holds the lock for longer than a moment does so already.
    fn let_go(&self, producer: &Arc<Producer>) {
        let Ok(mut connection) = self.connection.try_lock() else { return };
        if connection.producer.as_ref().is_some_and(|held| Arc::ptr_eq(held, producer)) {
            connection.producer = None;
            close(Arc::clone(producer));
        }
    }
}

/// Lets go of a connection once what is under way on it ended.
fn close(producer: Arc<Producer>) {
    tokio::spawn(async move {
        // Whatever has not been acknowledged by then is sent again over another one.
        let _ = producer.close_with(CloseOptions::new().timeout(LET_GO_TIME_MAX)).await;
    });
}

/// Whether every broker says that it is on this host: a record follows what brokers say.
async fn stays_on_loopback(cluster: &Cluster) -> Result<bool, KrafkaError> {
    let described = cluster.admin().describe_cluster(DescribeClusterOptions::default()).await?;
    Ok(described.brokers.iter().all(|broker| config::is_loopback(&broker.host)))
}
