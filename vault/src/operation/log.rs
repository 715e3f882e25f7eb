//! Reading the log's files over the network.
//!
//! Promises: whatever shows entries, or how far the log is, is an entry itself, durable before the answer (PCI DSS 10.2.1.3).
//! Does not promise: an entry for each tile: hashes tell nothing of what is in the log.
//! Upholds: C-56.

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, LogFile, Object, Served, serve};
use crate::authz::{Permit, ReadAudit};

impl Vault {
    /// One file of the log.
    pub async fn read_log(
        &self,
        asking: &Asking,
        permit: Permit<ReadAudit>,
        file: LogFile,
    ) -> Result<Served, OperationError> {
        let served = serve(&*self.store, file).await?.ok_or(OperationError::UnknownLogFile)?;
        if !matches!(file, LogFile::Tile(..)) {
            let entry = Self::allowed(asking, Event::AuditRead, permit.decision(), Object::LogFile(file));
            self.record(entry.counting(served.entries)).await?;
        }
        metrics::counter!("strongroom_log_served_bytes_total").increment(served.bytes.len() as u64);
        Ok(served)
    }
}
