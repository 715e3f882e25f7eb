//! What follows the log, apart from every request: its index, the rules, and what sends their findings.

use std::sync::Arc;

use strongroom_domain::{BootId, Clock};
use tokio_util::sync::CancellationToken;

use super::apart::{Apart, Urgency};
use super::{StartError, open};
use crate::audit::Indexer;
use crate::config::VaultConfig;
use crate::operation::Vault;
use crate::store::Committer;
use crate::watch::{FindingsFile, Suspend, Syslog, Watcher};

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
        Ok(Self { indexer, watcher, syslog })
    }

    /// Follows until `stop`; what the rules found by then is written.
    pub(super) fn start(self, vault: &Arc<Vault>, stop: CancellationToken) -> std::io::Result<Apart> {
        let Self { indexer, watcher, syslog } = self;
        let suspender: Arc<dyn Suspend> = Arc::<Vault>::clone(vault);
        let watcher = watcher.suspending(suspender);
        Apart::start("log-followers", Urgency::AfterRequests, move || async move {
            let sending = async {
                if let Some(syslog) = syslog {
                    syslog.run(stop.clone()).await;
                }
            };
            tokio::join!(indexer.run(stop.clone()), watcher.run(stop.clone()), sending);
        })
    }
}
