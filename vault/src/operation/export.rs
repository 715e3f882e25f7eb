//! Exports: a tenant's cards handed over in bulk, encrypted to one recipient key, when two different people say so.
//!
//! The deliberate exception to the one door (design §1): what a merchant needs who leaves. Off unless configured, and never
//! in `live` before people sign in with a second factor.
//!
//! Promises: no card leaves unless one person asked and another approved the very same content: tenant, filter, recipient,
//! bounds. What both said is under a MAC that only the tenant's key makes, so the database alone can bring about no export.
//! Does not promise: what the recipient does with the file. Whoever holds the recipient's identity holds the cards.
//! Trusts: the bundle for who is which person; the store to count runs.
//! Upholds: C-33.

mod encrypt;
mod gate;
mod line;
mod manifest;
mod refusal;
mod request;
mod run;

use strongroom_domain::{DataKeyId, ExportId, TenantId};
use strongroom_sealing::{HeldKey, KeyError, KeyScope, OpenError, Purpose, export_mac, export_mac_holds};

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, ExportRef, Object};
use crate::authz::{ExportCards, Permit, Person};
use crate::store::{Change, Committed, ExportApproval, ExportRow, ExportRunRow};

pub use gate::{ExportConfig, Exports};
pub use refusal::ExportRefusal;
pub use request::{ExportFilter, ExportRequest, RequestedExport};
pub use run::{Begun, Piece};

/// Most exports of one list.
pub const EXPORTS_MAX: u32 = 100;

/// An export as it is shown.
pub struct ShownExport {
    /// What was asked for and who approved it.
    pub row: ExportRow,
    /// The same, read.
    pub request: ExportRequest,
    /// Its runs.
    pub runs: Vec<ExportRunRow>,
}

impl Vault {
    /// Writes down what one person asks for. Nothing leaves before another approves it.
    pub async fn request_export(
        &self,
        asking: &Asking,
        permit: Permit<ExportCards>,
        person: Person,
        wanted: RequestedExport,
    ) -> Result<ShownExport, OperationError> {
        self.exports.must_be_on()?;
        let tenant = permit.subject().tenant.clone();
        self.tenant(&tenant).await?.ok_or(OperationError::UnknownTenant)?;
        let id = ExportId::generate(&*self.clock, &*self.random)?;
        let request =
            wanted.complete(id, self.environment, &tenant, asking, &person, &self.exports.config)?;
        let cards = self.store.count(&tenant, &request.filter.cards(asking.at), asking.at).await?;
        let key = self.export_key(&tenant).await?;
        let (text, sha256) = (request.canonical()?, request.sha256()?);
        let row = ExportRow {
            id,
            mac: export_mac(&key.key, &tenant, REQUEST, &[id.as_uuid().as_bytes(), &sha256]),
            tenant: tenant.clone(),
            request: text,
            sha256,
            requester: person.as_str().to_owned(),
            requested_at: asking.at,
            not_after: request.not_after,
            mac_key: key.id,
            approval: None,
            runs: 0,
        };
        let entry = Self::allowed(asking, Event::ExportRequest, permit.decision(), object(&row))
            .of_export(reference(&row, None))
            .counting(cards);
        match self.committer.commit(Change::RequestExport { export: Box::new(row.clone()), entry }).await? {
            Committed::Done => {
                tracing::warn!(export = %id, %tenant, cards, by = %asking.caller.workload, "somebody asks for an export of cards");
                metrics::counter!("strongroom_exports_total", "step" => "requested").increment(1);
                Ok(ShownExport { row, request, runs: Vec::new() })
            }
            _ => Err(OperationError::Defect("a new export was already there")),
        }
    }

    /// Writes down that a second person agrees to exactly this. The same word of the same person twice is no change.
    pub async fn approve_export(
        &self,
        asking: &Asking,
        permit: Permit<ExportCards>,
        person: Person,
        said: [u8; 32],
    ) -> Result<ShownExport, OperationError> {
        self.exports.must_be_on()?;
        let (mut row, request) = self.export_of(&permit).await?;
        let entry = Self::allowed(asking, Event::ExportApprove, permit.decision(), object(&row))
            .of_export(reference(&row, None));
        if said != row.sha256 {
            return Err(ExportRefusal::OtherRequest.into());
        }
        if row.requester == person.as_str() {
            return Err(ExportRefusal::SamePerson.into());
        }
        if asking.at >= row.not_after {
            return Err(ExportRefusal::Expired.into());
        }
        if let Some(approval) = &row.approval {
            if approval.person != person.as_str() {
                return Err(ExportRefusal::Approved.into());
            }
            self.record(entry.because("unchanged")).await?;
            return self.shown(row, request).await;
        }
        let key = self.export_key(&row.tenant).await?;
        let (by, at) = (asking.caller.workload.clone(), asking.at);
        let mut approval = ExportApproval {
            by,
            person: person.as_str().to_owned(),
            at,
            mac_key: key.id,
            mac: String::new(),
        };
        approval.mac = hex::encode(with_approval(&row, &approval, |step, fields| {
            export_mac(&key.key, &row.tenant, step, fields)
        }));
        let change = Change::ApproveExport {
            tenant: row.tenant.clone(),
            id: row.id,
            sha256: said,
            approval: Box::new(approval.clone()),
            entry,
        };
        match self.committer.commit(change).await? {
            Committed::Done => {
                tracing::warn!(export = %row.id, tenant = %row.tenant, by = %asking.caller.workload, "an export of cards is approved");
                metrics::counter!("strongroom_exports_total", "step" => "approved").increment(1);
                row.approval = Some(approval);
                self.shown(row, request).await
            }
            Committed::Missing => Err(OperationError::UnknownExport),
            _ => Err(ExportRefusal::Approved.into()), // somebody was faster
        }
    }

    /// One export with its runs.
    pub async fn show_export(
        &self,
        asking: &Asking,
        permit: Permit<ExportCards>,
    ) -> Result<ShownExport, OperationError> {
        let (row, request) = self.export_of(&permit).await?;
        let entry = Self::allowed(asking, Event::ExportRead, permit.decision(), object(&row));
        let entry = entry.of_export(reference(&row, None));
        let shown = self.shown(row, request).await?;
        self.record(entry).await?;
        Ok(shown)
    }

    /// A tenant's exports, newest first, the last [`EXPORTS_MAX`].
    pub async fn list_exports(
        &self,
        asking: &Asking,
        permit: Permit<ExportCards>,
    ) -> Result<Vec<ShownExport>, OperationError> {
        let tenant = permit.subject().tenant.clone();
        let mut exports = Vec::new();
        for row in self.store.exports(&tenant, EXPORTS_MAX).await? {
            let request = self.verified(&row).await?;
            exports.push(self.shown(row, request).await?);
        }
        let entry = Self::allowed(asking, Event::ExportRead, permit.decision(), Object::Tenant(tenant));
        self.record(entry.counting(exports.len() as u64)).await?;
        Ok(exports)
    }

    async fn shown(&self, row: ExportRow, request: ExportRequest) -> Result<ShownExport, OperationError> {
        let runs = self.store.export_runs(row.id).await?;
        Ok(ShownExport { row, request, runs })
    }

    /// The export a permit speaks of, and that what is stored of it is what people said.
    async fn export_of(
        &self,
        permit: &Permit<ExportCards>,
    ) -> Result<(ExportRow, ExportRequest), OperationError> {
        let subject = permit.subject();
        let id = subject.export.ok_or(OperationError::UnknownExport)?;
        let row = self.store.export(&subject.tenant, id).await?.ok_or(OperationError::UnknownExport)?;
        let request = self.verified(&row).await?;
        Ok((row, request))
    }

    /// Refuses a row whose content is not what its MACs say: a person is told.
    async fn verified(&self, row: &ExportRow) -> Result<ExportRequest, OperationError> {
        let tampered = || OperationError::Unsealed(OpenError::Tampered);
        let request = ExportRequest::parse(&row.request).ok_or_else(tampered)?;
        let is_its_own = request.id == row.id
            && request.tenant == row.tenant
            && request.environment == self.environment
            && request.person.as_str() == row.requester
            && request.not_after == row.not_after
            && request.sha256()? == row.sha256;
        let key = self.export_key_by(row, row.mac_key).await?;
        let id = row.id.as_uuid();
        let fields: [&[u8]; 2] = [id.as_bytes(), &row.sha256];
        if !is_its_own || !export_mac_holds(&key.key, &row.tenant, REQUEST, &fields, &row.mac) {
            return Err(tampered());
        }
        if let Some(approval) = &row.approval {
            let key = self.export_key_by(row, approval.mac_key).await?;
            let mut mac = [0; 32];
            hex::decode_to_slice(&approval.mac, &mut mac).map_err(|_| tampered())?;
            let holds =
                |step: &str, fields: &[&[u8]]| export_mac_holds(&key.key, &row.tenant, step, fields, &mac);
            if !with_approval(row, approval, holds) || approval.person == row.requester {
                return Err(tampered());
            }
        }
        Ok(request)
    }

    async fn export_key(&self, tenant: &TenantId) -> Result<HeldKey, OperationError> {
        Ok(self.keys.active(&KeyScope::Tenant(tenant.clone()), Purpose::Fingerprint).await?)
    }

    async fn export_key_by(&self, row: &ExportRow, id: DataKeyId) -> Result<HeldKey, OperationError> {
        match self.keys.by_id(&KeyScope::Tenant(row.tenant.clone()), Purpose::Fingerprint, id).await {
            Ok(key) => Ok(key),
            Err(KeyError::Unknown) => Err(OperationError::Unsealed(OpenError::Tampered)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Steps of the MACs.
const REQUEST: &str = "request";
const APPROVAL: &str = "approval";

/// What an approval's MAC covers: the request, whose word it is and when.
fn with_approval<T>(row: &ExportRow, approval: &ExportApproval, mac: impl FnOnce(&str, &[&[u8]]) -> T) -> T {
    let at = approval.at.unix_micros().to_be_bytes();
    let (by, person) = (approval.by.as_str().as_bytes(), approval.person.as_bytes());
    mac(APPROVAL, &[row.id.as_uuid().as_bytes(), &row.sha256, by, person, &at])
}

fn object(row: &ExportRow) -> Object {
    Object::Export { id: row.id, tenant: row.tenant.clone() }
}

fn reference(row: &ExportRow, run: Option<u32>) -> ExportRef {
    ExportRef { id: row.id, request_sha256: row.sha256, run, made: None }
}
