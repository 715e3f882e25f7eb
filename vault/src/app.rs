//! Wires the vault: the one module that knows everything else.
//!
//! Promises: everything is read and checked before anything is bound; a start that fails leaves nothing bound.

mod apart;
mod follow;
mod log;
mod open;
mod refusals;
mod reload;
mod suspended;
mod upkeep;

pub use log::log_key;
pub use open::{check_audit, migrate, open_store};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use strongroom_domain::{Clock, Random};
use strongroom_perimeter::listener::{ListenError, Listener};
use strongroom_perimeter::ops::{Ops, Readiness};
use strongroom_sealing::{KeyRing, Kms};
use tokio_util::sync::CancellationToken;

use crate::audit::{BucketExport, Sequencer};
use crate::authz::{Authorizer, BundleError, PolicySource, Suspended};
use crate::config::VaultConfig;
use crate::events::{self, DestinationError, Events};
use crate::http;
use crate::operation::console::Console;
use crate::operation::export::Exports;
use crate::operation::forward::RecentForwards;
use crate::operation::limits::Limits;
use crate::operation::limits::guesses::Guesses;
use crate::operation::reaper::Reaper;
use crate::operation::tenant::Directory;
use crate::operation::{InFlight, Vault};
use crate::sad::{CvcShelf, CvcShelfConfig};
use crate::store::{AuditedKeys, CardReader, CommitterTask, SchemaError, StartError as LogError, StoreError};

/// Why the vault does not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that only shows itself when used.
    #[error("{0}")]
    Config(String),
    /// The key file of the file KMS.
    #[error(transparent)]
    FileKms(#[from] strongroom_sealing::kms::file::FileKmsError),
    /// The settings of AWS KMS.
    #[error(transparent)]
    AwsKms(#[from] strongroom_sealing::kms::aws::AwsKmsConfigError),
    /// The database.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The policy bundle.
    #[error("the policy bundle is not valid: {0}")]
    Bundle(#[from] BundleError),
    /// The key that authenticates audit entries.
    #[error(
        "the KMS gave no key to begin the audit log with: {0}; check that it is reachable and allows this service its key"
    )]
    Keys(#[from] strongroom_sealing::KeyError),
    /// The audit log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The signed log's head.
    #[error("the store does not answer for the signed log")]
    Store(#[from] StoreError),
    /// Who is suspended.
    #[error(
        "who is suspended cannot be read: {0}; check the database, and the rights of schema 13 (migrations/README.md)"
    )]
    Suspensions(#[source] StoreError),
    /// A destination of events.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The api listener.
    #[error("api: {0}")]
    Listen(#[from] ListenError),
    /// The ops listener.
    #[error("ops: cannot listen on {address}: {source}; choose a free address of this host")]
    Ops {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The folder the log is exported to.
    #[error("audit.folder {folder}: {source}; name a folder this service may write to")]
    LogFolder {
        /// The configured folder.
        folder: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file findings are appended to.
    #[error("watch.findings_file {file}: {source}; name a file this service may append to")]
    FindingsFile {
        /// The configured file.
        file: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The syslog server findings are sent to.
    #[error("watch.syslog: {0}")]
    Syslog(#[source] crate::watch::SyslogError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] strongroom_domain::RandomUnavailable),
}

/// A vault that is bound and ready to serve.
pub struct App {
    vault: Arc<Vault>,
    kms: Arc<dyn Kms>,
    policies: PolicySource,
    log: CommitterTask,
    sequencer: Sequencer,
    followers: follow::Followers,
    bucket: Option<BucketExport>,
    listener: Listener,
    ops: Ops,
    metrics: PrometheusHandle,
    refusals: refusals::Refusals,
    events: Events,
}

impl App {
    /// Reads everything, opens the store, begins the audit log, and binds.
    pub async fn start(
        config: VaultConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: PrometheusHandle,
    ) -> Result<Self, StartError> {
        let accepted = config.accepted_numbers().map_err(StartError::Config)?;
        let policies = PolicySource::Folder(config.policies.folder.clone());
        let suspended = Arc::<Suspended>::default();
        let authorizer =
            Authorizer::load(&policies, config.environment, Arc::clone(&clock), Arc::clone(&random))?
                .refusing(Arc::clone(&suspended));
        let events = Events::open(config.events.clone())?;
        let kms = open::open_kms(&config, &random).await?;
        let store = open_store(&config.store).await?;
        let log::Begun { committer, task: log, sequencer, bucket, signers } =
            log::begin(&config, &kms, &store, &clock, &random, events.outbox()).await?;
        let followers = follow::Followers::open(&config, &committer, &clock, sequencer.holder()).await?;
        let evidence = log::evidence(&config, signers)?;
        let audited = AuditedKeys::new(Arc::clone(&store), committer.clone(), Arc::clone(&clock));
        let ring = config.keys.ring().map_err(StartError::Config)?;
        let keys = KeyRing::new(
            Arc::clone(&kms),
            Arc::new(audited),
            Arc::clone(&clock),
            Arc::clone(&random),
            config.environment,
            ring,
        );
        let (observer, refusals) = refusals::channel(committer.clone(), Arc::clone(&clock));
        let listener = Listener::bind(config.api.clone(), Arc::clone(&clock), Arc::clone(&random))?;
        let listener = listener.named("vault").observed_by(Arc::new(observer));
        let ops = Ops::bind(&config.ops)
            .map_err(|source| StartError::Ops { address: config.ops.address, source })?;
        let cvcs = CvcShelfConfig {
            ttl: Duration::from_secs(config.cards.cvc_seconds),
            ..CvcShelfConfig::default()
        };
        let guesses = Guesses::new(config.limits.dedupe_numbers_per_day, Arc::clone(&clock), &*random)?;
        let retention = config.retention().map_err(StartError::Config)?;
        let reaper = Reaper::new(Arc::clone(&store), committer.clone(), config.erase_hold());
        let vault = Arc::new(Vault {
            environment: config.environment,
            accepted,
            keys,
            reader: CardReader::start(Arc::clone(&store)),
            store,
            committer,
            authorizer: ArcSwap::from_pointee(authorizer),
            suspended,
            cvcs: CvcShelf::new(cvcs, Arc::clone(&clock)),
            limits: Limits::new(config.limits, Arc::clone(&clock)),
            guesses,
            exports: Exports::new(config.export, config.environment),
            tenants: Directory::new(Arc::clone(&clock)),
            recent_forwards: RecentForwards::default(),
            in_flight: InFlight::default(),
            reaper,
            retention,
            erase_hold: config.erase_hold(),
            outbox: events.outbox(),
            evidence: Arc::new(evidence),
            console: Console::default(),
            clock,
            random,
        });
        vault.read_suspensions().await.map_err(StartError::Suspensions)?;
        Ok(Self {
            vault,
            kms,
            policies,
            log,
            sequencer,
            bucket,
            followers,
            listener,
            ops,
            metrics,
            refusals,
            events,
        })
    }

    /// Where the api listens.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Where probes and metrics are.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn ops_address(&self) -> std::io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until `stop`, then drains, commits what waits and ends the audit log.
    pub async fn run(self, stop: CancellationToken) -> std::io::Result<()> {
        let Self {
            vault,
            kms,
            policies,
            log,
            sequencer,
            bucket,
            followers,
            listener,
            ops,
            metrics,
            refusals,
            events,
        } = self;
        let (readiness, background) = (readiness(&vault, kms, &stop), CancellationToken::new());
        let tasks = [
            tokio::spawn(refusals.write()),
            tokio::spawn(reload::poll(Arc::clone(&vault), policies)),
            tokio::spawn(upkeep::sweep_codes(Arc::clone(&vault))),
            tokio::spawn(upkeep::tidy(Arc::clone(&vault))),
            tokio::spawn(upkeep::reap(Arc::clone(&vault))),
            tokio::spawn(upkeep::measure_retention(Arc::clone(&vault))),
            tokio::spawn(suspended::poll(Arc::clone(&vault))),
            tokio::spawn(upkeep::measure_reviews(Arc::clone(&vault))),
        ];
        let sequenced = CancellationToken::new();
        let logging = log::run(sequencer, bucket, sequenced.clone())?;
        let unfollowed = CancellationToken::new();
        let following = followers.start(&vault, unfollowed.clone())?;
        let delivering = deliver(&vault, events, &stop)?;
        let ops = tokio::spawn(ops.serve(readiness, metrics, background.clone()));
        let ended = vault.committer.clone();
        let stop_if_ended = stop.clone();
        let watch = tokio::spawn(async move {
            ended.ended().await;
            stop_if_ended.cancel(); // nothing can be audited any more, so nothing may be served
        });
        listener.serve(http::router(Arc::clone(&vault)), stop).await;
        watch.abort();
        futures_util::future::join_all(delivering).await;
        unfollowed.cancel();
        following.ended().await; // a defect of it leaves a lease that ends by itself
        log.stop().await;
        sequenced.cancel(); // its last step takes `audit.stop` in
        logging.ended().await; // how it ended is told where it runs
        background.cancel();
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        match ops.await {
            Ok(served) => served,
            Err(_) => Ok(()), // it was ended with everything else
        }
    }
}

/// Delivers events until `stop`.
fn deliver(
    vault: &Vault,
    events: Events,
    stop: &CancellationToken,
) -> std::io::Result<Vec<tokio::task::JoinHandle<()>>> {
    let (store, clock, random) =
        (Arc::clone(&vault.store), Arc::clone(&vault.clock), Arc::clone(&vault.random));
    let ground = events::Ground::new(store, clock, random, vault.environment);
    Ok(events.run(&ground.map_err(std::io::Error::other)?, &vault.committer, stop))
}

fn readiness(vault: &Arc<Vault>, kms: Arc<dyn Kms>, stop: &CancellationToken) -> Readiness {
    let (store, log) = (Arc::clone(vault), Arc::clone(vault));
    Readiness::new()
        .check("store", move || {
            let vault = Arc::clone(&store);
            async move { vault.store.ping().await.map_err(|_| "does not answer") }
        })
        .check("audit", move || {
            let running = log.committer.is_running();
            async move { if running { Ok(()) } else { Err("nothing can be written") } }
        })
        .check("kms", move || {
            let kms = Arc::clone(&kms);
            async move { kms.check().await.map_err(|error| error.as_str()) }
        })
        .until(stop)
}
