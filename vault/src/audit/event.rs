//! The closed list of events.

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = ($name:literal, $requirement:literal),)*) => {
        /// What happened. Anything that is not here is not logged; anything logged is here.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Event { $($(#[$doc])* $variant,)* }

        impl Event {
            /// Every event, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in `evt`.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// The PCI DSS 4.0.1 requirement that asks for it.
            #[must_use]
            pub const fn requirement(self) -> &'static str { match self { $(Self::$variant => $requirement,)* } }
        }
    };
}

events! {
    /// A card was exchanged for a token.
    PanTokenize = ("pan.tokenize", "10.2.1.1"),
    /// Facts of a card were read; never the number.
    PanLookup = ("pan.lookup", "10.2.1.1"),
    /// A page of a tenant's cards was read: facts, never numbers; `n` cards, named by `cards`.
    PanList = ("pan.list", "10.2.1.1"),
    /// Cards were found by the fingerprint of their number; never the number.
    PanMatch = ("pan.match", "10.2.1.1"),
    /// Card data was released to the proxy for one route.
    PanForward = ("pan.forward", "10.2.1.1"),
    /// The proxy said what became of a forward.
    ForwardOutcome = ("forward.outcome", "10.2.1.1"),
    /// Somebody said what the PSP says of a forward whose outcome was unknown (`rsn` `answered` or `never-arrived`).
    ForwardReconcile = ("forward.reconcile", "10.2.1.1"),
    /// A forward's story was read.
    ForwardRead = ("forward.read", "10.2.1.1"),
    /// A card was handed over, encrypted to the recipient of an export.
    PanExport = ("pan.export", "10.2.1.1"),
    /// Somebody asked for an export.
    ExportRequest = ("export.request", "10.2.1.2"),
    /// A second person approved an export.
    ExportApprove = ("export.approve", "10.2.1.2"),
    /// A run of an export began or ended.
    ExportRun = ("export.run", "10.2.1.2"),
    /// Exports were read.
    ExportRead = ("export.read", "10.2.1.2"),
    /// A card number was found where none belongs.
    PanUnexpected = ("pan.unexpected", "12.10.7"),
    /// A card was hidden (`rsn` `hidden`, `expired`, `retention`) or destroyed after its hold (`rsn` `destroyed`).
    RecordShred = ("record.shred", "10.2.1.7"),
    /// A card was changed under its token (`rsn` `number-changed` or `details-changed`).
    RecordUpdate = ("record.update", "10.2.1.1"),
    /// A hidden card was shown again within its hold.
    RecordRestore = ("record.restore", "10.2.1.7"),
    /// It was told that a card comes near its end.
    CardExpiring = ("card.expiring", "10.2.1.1"),
    /// Events of cards, as destinations are told of them, were listed.
    EventsRead = ("events.read", "10.2.1.2"),
    /// Events were put in line again for a destination.
    EventsReplay = ("events.replay", "10.2.1.2"),
    /// A tenant came to be.
    TenantCreate = ("tenant.create", "10.2.1.7"),
    /// A tenant's settings or status changed.
    TenantChange = ("tenant.change", "10.2.1.2"),
    /// A tenant's settings were read.
    TenantRead = ("tenant.read", "10.2.1.2"),
    /// What tenants keep, and what of it should be gone, was read.
    RetentionRead = ("retention.read", "10.2.1.2"),
    /// A data key was made.
    DekCreate = ("dek.create", "10.2.1.7"),
    /// A data key was destroyed.
    DekDestroy = ("dek.destroy", "10.2.1.7"),
    /// Configuration, certificates, policies or routes were read anew.
    ConfigReload = ("config.reload", "10.2.1.2"),
    /// A policy bundle came into force.
    PolicyActivate = ("policy.activate", "10.2.1.2"),
    /// The log was read.
    AuditRead = ("audit.read", "10.2.1.3"),
    /// The log was checked.
    AuditVerify = ("audit.verify", "10.2.1.3"),
    /// A rule found something in the log (`rsn` says which rule, `finding` what).
    AnomalyFound = ("anomaly.found", "10.4.1.1"),
    /// A workload was suspended (`rsn` `by-rule` or `by-person`), or was not (`rsn` says why).
    WorkloadSuspend = ("workload.suspend", "10.2.1.5"),
    /// A suspension was lifted.
    WorkloadResume = ("workload.resume", "10.2.1.5"),
    /// Suspensions in force were read.
    SuspensionRead = ("suspension.read", "10.2.1.2"),
    /// Evidence was made from the log.
    EvidenceMake = ("evidence.make", "10.2.1.3"),
    /// A person acknowledged that access was reviewed (`rsn` says what came of it).
    ReviewAccess = ("review.access", "7.2.4"),
    /// A person acknowledged that the log was reviewed (`rsn` says what came of it).
    ReviewLog = ("review.log", "10.4.1"),
    /// The access matrix was shown to be reviewed.
    ReviewRead = ("review.read", "10.2.1.2"),
    /// The access review (`rsn` `access`) or the inventory of keys (`rsn` `keys`) was looked at.
    EvidenceRead = ("evidence.read", "10.2.1.3"),
    /// Policy refused an identified caller.
    AuthzDeny = ("authz.deny", "10.2.1.4"),
    /// A caller could not be identified.
    AuthnFail = ("authn.fail", "10.2.1.4"),
    /// A token that leads nowhere: unknown, expired or erased.
    TokenUnknown = ("token.unknown", "10.2.1.4"),
    /// A token of another tenant.
    TokenCrossTenant = ("token.cross_tenant", "10.2.1.4"),
    /// A TLS handshake was refused.
    TlsReject = ("tls.reject", "10.2.1.4"),
    /// A limit on card data was reached.
    RateLimited = ("rate.limited", "10.2.1.4"),
    /// A stored answer was given again under its idempotency key.
    IdempotencyReplay = ("idempotency.replay", "10.2.1.1"),
    /// An instance started; a new `boot_id` begins at `instance_seq` 0.
    AuditStart = ("audit.start", "10.2.1.6"),
    /// An instance stopped in order; nothing follows under its `boot_id`.
    AuditStop = ("audit.stop", "10.2.1.6"),
    /// The store's schema was made or changed.
    DbMigrate = ("db.migrate", "10.2.1.7"),
    /// A record was not where it was sealed for.
    ContextMismatch = ("context_mismatch", "11.5.2"),
    /// A record, a wrapped key or an entry was altered.
    Tamper = ("tamper", "11.5.2"),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Event::ALL.len());
    }
}
