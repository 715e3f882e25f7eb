//! Writes meet here: requests in flight while a commit runs join the next one (design §9).

use super::change::{Change, CommitError, Committed};

/// A handle to the one task that writes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: tokio::sync::mpsc::Sender<Change>,
}

impl Committer {
    /// Commits one change with its audit entries. When this returns `Ok`, what it says is durable.
    pub async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        self.queue.try_send(change).map_err(|_| CommitError::Full)?;
        Err(CommitError::Unavailable)
    }
}
