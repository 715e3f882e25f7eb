//! Why the store gave no answer, and what a failed write means for its transaction.

/// Why the store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away or too slow. Safe to try again.
    #[error("the store is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The database did not answer in time, or its schema changed under us. Safe to try again.
    #[error("the store is not available: {0}")]
    Away(&'static str),
    /// Too many reads wait.
    #[error("the read queue is full")]
    Full,
    /// A row does not hold what this program writes.
    #[error("the store holds a row this program did not write: {0}")]
    Corrupt(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. } => Self::Corrupt("a column of another type"),
            other => Self::Unavailable(other),
        }
    }
}

/// What a failed write means for its transaction.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is not in, and may succeed if tried again: a serialization failure, a deadlock, a busy file.
    #[error("the transaction must be tried again ({0})")]
    Retry(&'static str),
    /// It is not in: some row of it is not accepted.
    #[error("a row is not accepted")]
    Refused {
        /// Whether a row with its key is there already.
        taken: bool,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The connection is lost, and COMMIT was not sent: it is not in, or will not be.
    #[error("the connection to the store is lost")]
    Lost(#[source] StoreError),
    /// The connection was lost during COMMIT: nobody here knows.
    #[error("the connection to the store was lost during commit")]
    InDoubt(#[source] StoreError),
    /// The row that counts this boot's entries is not as this process left it. Nothing more may be written.
    #[error("the store does not hold what this process wrote")]
    Fenced,
}
