//! Folding the write-ahead log into the file, beside the writer: a commit that had to wait for it would take a hundred
//! times as long as its neighbours.
//!
//! Does not promise: that the log stays small where the disk does not keep up. Past [`WAL_PAGES_MAX`](super::WAL_PAGES_MAX)
//! the writer folds it within a commit and is held back by that.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::sync::mpsc;

/// Rows changed between two foldings. Each writes about five pages of its own: 80 MiB of log, and a few seconds of the disk's
/// time at most. Fewer would fold the same pages of an index more often: a new card's place in it is anywhere.
const CHANGES: usize = 4_096;
/// How often one folding begins anew because more was written meanwhile. Each time there is less of it; once there is
/// none, the writer begins the log from its start.
const ROUNDS_MAX: usize = 8;

/// The writer's handle to the task, which ends with it.
pub(super) struct Folder {
    due: mpsc::Sender<()>,
    written: usize,
}

impl Folder {
    /// Starts the task. It connects when it first has something to do.
    pub(super) fn start(options: SqliteConnectOptions) -> Self {
        let (due, waiting) = mpsc::channel(1);
        tokio::spawn(run(options, waiting));
        Self { due, written: 0 }
    }

    /// Counts what was committed.
    pub(super) fn wrote(&mut self, changes: usize) {
        self.written += changes;
        // Full: one is under way, and another one waits already.
        if self.written >= CHANGES && self.due.try_send(()).is_ok() {
            self.written = 0;
        }
    }
}

async fn run(options: SqliteConnectOptions, mut due: mpsc::Receiver<()>) {
    let mut connection = None;
    while due.recv().await.is_some() {
        if let Err(error) = fold(&options, &mut connection).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the write-ahead log was not folded in");
            connection = None;
        }
    }
}

async fn fold(
    options: &SqliteConnectOptions,
    connection: &mut Option<SqliteConnection>,
) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(options.connect().await?),
    };
    for _ in 0..ROUNDS_MAX {
        // PASSIVE waits for nobody, and nobody waits for it.
        let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut *connection).await?;
        let (written, folded): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        if folded >= written {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection as _;

    #[tokio::test]
    async fn the_log_is_folded_in_beside_the_writer() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("folded.db"))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", "0");
        let mut writer = options.connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE things (thing blob); INSERT INTO things VALUES (randomblob(100000))")
            .execute(&mut writer)
            .await
            .unwrap();
        let size = || std::fs::metadata(folder.path().join("folded.db")).unwrap().len();
        assert!(size() < 100_000, "everything is in the log");
        let mut folder_of = Folder::start(options);
        folder_of.wrote(CHANGES - 1);
        folder_of.wrote(1);
        assert_eq!(folder_of.written, 0);
        let Folder { due, .. } = folder_of;
        // It takes the next wish only when the one before is done with.
        due.send(()).await.unwrap();
        due.send(()).await.unwrap();
        assert!(size() > 100_000, "it is in the file");
        writer.close().await.unwrap();
    }
}
