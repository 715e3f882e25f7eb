//! Reads of cards meet here: look-ups in flight while a query runs join the next one (design §9).

use strongroom_domain::TokenHash;

use super::StoreError;
use super::rows::CardRow;

/// A handle to the task that reads cards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CardReader {
    queue: tokio::sync::mpsc::Sender<Vec<TokenHash>>,
}

impl CardReader {
    /// The cards of these tokens, in the order asked; `None` where there is no such token. Hidden and expired cards
    /// are among them: what they mean is the operation's to say.
    pub async fn cards(&self, tokens: Vec<TokenHash>) -> Result<Vec<Option<CardRow>>, StoreError> {
        self.queue.try_send(tokens).map_err(|_| StoreError::Full)?;
        Err(StoreError::Full)
    }
}
