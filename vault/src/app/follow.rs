//! What follows the log, apart from every request: its index, the rules, and what sends their findings.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use strongroom_domain::{BootId, Clock, Timestamp, WorkloadId};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::apart::{Apart, Urgency};
use super::{StartError, open};
use crate::audit::Indexer;
use crate::config::VaultConfig;
use crate::operation::{OperationError, Vault};
use crate::store::Committer;
use crate::watch::{FindingsFile, Rule, Suspend, Syslog, WatchError, Watcher};

/// Those that follow.
pub(super) struct Followers {
    indexer: Indexer,
    watcher: Watcher,
    syslog: Option<Syslog>,
}

impl Followers {
    pub(super) async fn open(
        config: &VaultConfig,
        committer: &Committer,
        clock: &Arc<dyn Clock>,
        holder: BootId,
    ) -> Result<Self, StartError> {
        let open = |path: &std::path::PathBuf| {
            let unusable = |source| StartError::FindingsFile { file: path.clone(), source };
            FindingsFile::open(path).map_err(unusable)
        };
        let file = config.watch.findings_file.as_ref().map(open).transpose()?;
        let (clock, rules) = (Arc::clone(clock), config.watch.clone());
        let store = open::open_store_apart(&config.store).await?;
        let open =
            |syslog| Syslog::open(Arc::clone(&store), Arc::clone(&clock), holder, &config.instance, syslog);
        let syslog = config.watch.syslog.clone().map(open).transpose().map_err(StartError::Syslog)?;
        let indexer = Indexer::new(Arc::clone(&store), Arc::clone(&clock), holder);
        let mut watcher = Watcher::new(store, committer.clone(), clock, holder, rules, file);
        if let Some(syslog) = &syslog {
            watcher = watcher.urging(syslog.urgent());
        }
        let watcher = watcher.minding(config.reviews);
        Ok(Self { indexer, watcher, syslog })
    }

    /// Follows until `stop`; what the rules found by then is written.
    pub(super) fn start(self, vault: &Arc<Vault>, stop: CancellationToken) -> std::io::Result<Apart> {
        let Self { indexer, watcher, syslog } = self;
        let serving = OnServing { vault: Arc::clone(vault), serving: Handle::current() };
        let watcher = watcher.suspending(Arc::new(serving));
        Apart::start("log-followers", Urgency::AfterRequests, move || async move {
            let sending = syslog.map(|syslog| tokio::spawn(syslog.run(stop.clone())));
            let mut all = vec![
                ("index", tokio::spawn(indexer.run(stop.clone()))),
                ("rules", tokio::spawn(watcher.run(stop))),
            ];
            all.extend(sending.map(|sending| ("syslog", sending)));
            join_all(all.into_iter().map(watched)).await;
        })
    }
}

/// One that ends by a defect ends alone, and that is told at once.
async fn watched((what, following): (&'static str, JoinHandle<()>)) {
    if following.await.is_err() {
        metrics::counter!("strongroom_log_follower_defects_total", "what" => what).increment(1);
        tracing::error!(what, "what follows the log ended with a defect: the vault must be started again");
    }
}

/// Suspends where requests are served: what asks the database for it uses their connections, which live there.
struct OnServing {
    vault: Arc<Vault>,
    serving: Handle,
}

#[async_trait]
impl Suspend for OnServing {
    async fn suspend(
        &self,
        workload: &WorkloadId,
        rule: Rule,
        most_per_hour: u32,
        now: Timestamp,
    ) -> Result<(), WatchError> {
        let (vault, workload) = (Arc::clone(&self.vault), workload.clone());
        let suspending = async move { vault.suspend(&workload, rule, most_per_hour, now).await };
        let defect = |_| WatchError::suspending(OperationError::Defect("a suspension ended with a defect"));
        self.serving.spawn(suspending).await.unwrap_or_else(|error| Err(defect(error)))
    }
}
