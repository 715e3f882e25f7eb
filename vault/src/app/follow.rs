//! What follows the log, apart from every request: its index.

use std::sync::Arc;

use strongroom_domain::{BootId, Clock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit::Indexer;
use crate::store::Store;

/// Those that follow.
pub(super) struct Followers {
    indexer: Indexer,
}

impl Followers {
    pub(super) fn new(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>, holder: BootId) -> Self {
        Self { indexer: Indexer::new(Arc::clone(store), Arc::clone(clock), holder) }
    }

    /// Follows until `stop`.
    pub(super) fn start(self, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(self.indexer.run(stop))
    }
}
