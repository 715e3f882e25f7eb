//! What follows the log, apart from every request: its index, and the rules.

use std::sync::Arc;

use strongroom_domain::{BootId, Clock};
use tokio_util::sync::CancellationToken;

use super::apart::{Apart, Urgency};
use super::{StartError, open};
use crate::audit::Indexer;
use crate::config::VaultConfig;
use crate::store::Committer;
use crate::watch::{FindingsFile, Watcher};

/// Those that follow.
pub(super) struct Followers {
    indexer: Indexer,
    watcher: Watcher,
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
        let indexer = Indexer::new(Arc::clone(&store), Arc::clone(&clock), holder);
        let watcher = Watcher::new(store, committer.clone(), clock, holder, rules, file);
        Ok(Self { indexer, watcher })
    }

    /// Follows until `stop`; what the rules found by then is written.
    pub(super) fn start(self, stop: CancellationToken) -> std::io::Result<Apart> {
        let Self { indexer, watcher } = self;
        Apart::start("log-followers", Urgency::AfterRequests, move || async move {
            tokio::join!(indexer.run(stop.clone()), watcher.run(stop));
        })
    }
}
