//! Which grant an entry shows the use of.

use super::entry::Entry;
use crate::audit::Event;
use crate::authz::{AccessRow, ActionKind};

/// A grant that was used.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) principal: String,
    pub(super) action: ActionKind,
    pub(super) caller: Option<String>,
    pub(super) account: Option<String>,
}

/// The grant this entry shows the use of; none where it shows none.
pub(super) fn used(entry: &Entry<'_>) -> Option<Used> {
    let event = Event::ALL.iter().find(|event| event.as_str() == entry.evt)?;
    let action = action_of(*event, entry.rsn.as_deref())?;
    if entry.actor.id == "-" {
        return None; // the service itself
    }
    let actor = entry.actor.id.to_string();
    match (action, &entry.asserted_by, &entry.dst) {
        (ActionKind::OpenForward, Some(proxy), Some(to)) => Some(Used {
            principal: proxy.to_string(),
            action,
            caller: Some(actor),
            account: Some(format!("{}/{}", to.route_id, to.account)),
        }),
        (ActionKind::OpenForward, ..) => None,
        (ActionKind::RecordOutcome, Some(proxy), _) => {
            Some(Used { principal: proxy.to_string(), action, caller: None, account: None })
        }
        _ => Some(Used { principal: actor, action, caller: None, account: None }),
    }
}

/// The grant an event is the use of. No `_`: a new event is a decision.
fn action_of(event: Event, reason: Option<&str>) -> Option<ActionKind> {
    match event {
        Event::PanTokenize => Some(ActionKind::Tokenize),
        Event::PanLookup | Event::PanList => Some(ActionKind::ReadCard),
        Event::PanMatch => Some(ActionKind::MatchFingerprint),
        Event::PanForward => Some(ActionKind::OpenForward),
        Event::ForwardOutcome => Some(ActionKind::RecordOutcome),
        Event::ForwardReconcile => Some(ActionKind::ReconcileForward),
        Event::ForwardRead => Some(ActionKind::ReadForward),
        Event::PanExport
        | Event::ExportRequest
        | Event::ExportApprove
        | Event::ExportRun
        | Event::ExportRead => Some(ActionKind::ExportCards),
        Event::RecordShred => (reason == Some("hidden")).then_some(ActionKind::EraseCard),
        Event::RecordUpdate => Some(ActionKind::UpdateCard),
        Event::RecordRestore => Some(ActionKind::RestoreCard),
        Event::EventsRead | Event::EventsReplay => Some(ActionKind::ManageEvents),
        Event::TenantCreate | Event::TenantChange | Event::TenantRead => Some(ActionKind::ManageTenant),
        Event::WorkloadSuspend => Some(ActionKind::SuspendWorkload),
        Event::WorkloadResume => Some(ActionKind::ResumeWorkload),
        Event::RetentionRead | Event::EvidenceMake | Event::SuspensionRead | Event::EvidenceRead => {
            Some(ActionKind::ReadEvidence)
        }
        Event::AuditRead if reason == Some("digest") => Some(ActionKind::ReviewLog),
        Event::AuditRead | Event::AuditVerify => Some(ActionKind::ReadAudit),
        Event::ReviewAccess | Event::ReviewRead => Some(ActionKind::ReviewAccess),
        Event::ReviewLog => Some(ActionKind::ReviewLog),
        // By the service itself it is nobody's grant.
        Event::DekCreate => Some(ActionKind::ManageKeys),
        // A replay tells what was answered before: no grant is used.
        Event::IdempotencyReplay
        | Event::PanUnexpected
        | Event::CardExpiring
        | Event::DekDestroy
        | Event::ConfigReload
        | Event::PolicyActivate
        | Event::AuthzDeny
        | Event::AuthnFail
        | Event::TokenUnknown
        | Event::TokenCrossTenant
        | Event::TlsReject
        | Event::RateLimited
        | Event::AuditStart
        | Event::AuditStop
        | Event::DbMigrate
        | Event::ContextMismatch
        | Event::AnomalyFound
        | Event::Tamper => None,
    }
}

/// The key under which the use of a row of the access review is counted; none where no entry tells it.
pub(super) fn key_of(row: &AccessRow) -> Option<super::tally::GrantUse> {
    let action = match row.action {
        // An import tokenizes: its entries are those.
        ActionKind::Import => ActionKind::Tokenize,
        // That the log was read is told, not by which of its grants.
        ActionKind::ReadReceipt | ActionKind::ReadTenantAudit => ActionKind::ReadAudit,
        // No entry is written for these as such.
        ActionKind::AttachCvc | ActionKind::OpenCaptureSession => return None,
        other => other,
    };
    Some(super::tally::GrantUse {
        principal: row.workload.as_str().to_owned(),
        action,
        caller: row.caller.as_ref().map(|caller| caller.as_str().to_owned()),
        account: row.account.clone(),
    })
}
