//! What the log says of one forward: the entries of its release, of its outcome and of what was found out later.
//!
//! The row of a forward says when each was written, to the microsecond: that is where the entries are looked for.
//!
//! Promises: what is shown of the log is held against its tree; a tenant's reader gets its own tenant's forwards alone.
//! Does not promise: entries that were not indexed yet, or whose times the row, which is no evidence, tells wrongly.
//! Trusts: the row for where to look, and for nothing that is shown.

use std::time::Duration;

use strongroom_domain::{ForwardId, TenantId, Timestamp};

use crate::audit::{Event, Object, Seen};
use crate::authz::{Permit, ReadAudit, ReadTenantAudit};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::ForwardRow;
use crate::store::find::{EntryFilter, EntryRange, Follower, LoggedLeaf};

/// Entries of one microsecond and event that are looked through: batches of a busy tenant.
const ENTRIES_LOOKED_AT: u32 = 200;

/// Who reads.
pub enum LogReader {
    /// Whoever reads the whole log.
    All(Permit<ReadAudit>),
    /// Whoever reads what it says of one tenant.
    Tenant(Permit<ReadTenantAudit>),
}

/// What the log says of a forward.
pub struct Explained {
    /// In the order of the log. One that is not [intact](LoggedLeaf::intact) was changed in the database or removed.
    pub entries: Vec<LoggedLeaf>,
    /// How many entries of the log can be found: what came later is not among them.
    pub indexed: u64,
}

impl Vault {
    /// What the log says of a tenant's forward.
    pub async fn explain_forward(
        &self,
        asking: &Asking,
        reader: LogReader,
        tenant: &TenantId,
        id: ForwardId,
    ) -> Result<Explained, OperationError> {
        let decision = match &reader {
            LogReader::All(permit) => permit.decision(),
            LogReader::Tenant(permit) if permit.subject().tenant == *tenant => permit.decision(),
            LogReader::Tenant(_) => {
                return Err(OperationError::Defect("a permit was spent on another tenant"));
            }
        };
        let row = self.store.forward(id).await?.filter(|row| row.tenant == *tenant);
        let row = row.ok_or(OperationError::UnknownForward)?;
        let indexed = self.store.index().followed(Follower::Find).await?;
        let mut entries = Vec::new();
        for (event, at) in moments(&row) {
            entries.extend(self.entries_of_moment(&row, event, at).await?);
        }
        let object = Object::Forward { id, tenant: Some(tenant.clone()) };
        let entry = Self::allowed(asking, Event::AuditRead, decision, object);
        self.record(entry.because("forward").counting(entries.len() as u64).naming(row.cards)).await?;
        Ok(Explained { entries, indexed })
    }

    async fn entries_of_moment(
        &self,
        row: &ForwardRow,
        event: Event,
        at: Timestamp,
    ) -> Result<Vec<LoggedLeaf>, OperationError> {
        let filter = EntryFilter {
            tenant: Some(row.tenant.clone()),
            verb: Some(event.as_str().to_owned()),
            from: Some(at),
            until: Some(at.plus(Duration::from_micros(1))),
            ..EntryFilter::default()
        };
        let range = EntryRange { newest_first: false, after: None, limit: ENTRIES_LOOKED_AT };
        let (mut found, _) = self.entries_that_fit(&filter, range).await?;
        let id = row.id.to_string();
        found.retain(|entry| {
            entry.intact().is_none_or(|leaf| Seen::of(leaf).is_some_and(|seen| is_about(&seen, &id)))
        });
        Ok(found)
    }
}

fn moments(row: &ForwardRow) -> impl Iterator<Item = (Event, Timestamp)> {
    let closed = row.closed_at.map(|at| (Event::ForwardOutcome, at));
    let said = row.reconciled.as_ref().map(|said| (Event::ForwardReconcile, said.at));
    [Some((Event::PanForward, row.opened_at)), closed, said].into_iter().flatten()
}

fn is_about(seen: &Seen, id: &str) -> bool {
    let is_released = seen.dst.as_ref().and_then(|dst| dst.forward_id.as_deref()) == Some(id);
    is_released || (seen.obj.r#type == "forward" && seen.obj.r#ref == id)
}
