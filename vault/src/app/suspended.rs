//! Reading who is suspended, so that it is in force on every replica.
//!
//! Promises: a read that fails changes nothing and is told; the next comes a second later.
//! Upholds: C-64.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::operation::Vault;
use crate::operation::suspension::{IN_FORCE_WITHIN, READ_EVERY};

pub(super) async fn poll(vault: Arc<Vault>) {
    let mut reads = interval(READ_EVERY);
    reads.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        reads.tick().await;
        let read = timeout(IN_FORCE_WITHIN, vault.read_suspensions()).await;
        let failed = match &read {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store does not answer".to_owned(),
        };
        metrics::counter!("strongroom_suspensions_unread_total").increment(1);
        tracing::warn!(
            failed,
            "who is suspended was not read; who was stays so, and the next read tries again"
        );
    }
}
