//! One entry before it is numbered: a [`Draft`] and the values it is made of.
//!
//! The field names are those of `vault/docs/audit-format.md`.
//!
//! Promises: nothing of a card fits in. Texts are constants, checked names, or [`Label`]s and [`super::Reason`]s, which are searched for card numbers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use strongroom_domain::route::{AccountName, AttributeSet, RouteName};
use strongroom_domain::{
    BootId, DataKeyId, ExportId, ForwardId, RequestId, TenantId, Timestamp, TokenRef, WorkloadId,
};

use super::event::Event;
use super::finding::FindingRef;
use super::label::Label;
use super::layout::LogFile;
use super::receipt::{ReceiptId, Receipts};
use super::suspension::SuspensionRef;

/// One entry, not yet numbered. What PCI DSS 10.2.2 asks for are arguments of its constructors; the rest is added.
#[derive(Clone, Debug)]
#[must_use = "a draft that is not committed is an event nobody logged"]
pub struct Draft {
    pub(super) ts: Timestamp,
    pub(super) evt: Event,
    pub(super) out: Outcome,
    pub(super) rsn: Option<&'static str>,
    pub(super) actor: Actor,
    pub(super) src: Option<Source>,
    pub(super) obj: Object,
    pub(super) dst: Option<Box<Destination>>,
    pub(super) req: Option<Req>,
    pub(super) pol: Option<Pol>,
    pub(super) key: Option<KeyRef>,
    pub(super) asserted_by: Option<WorkloadId>,
    pub(super) change: Option<CardChange>,
    pub(super) export: Option<ExportRef>,
    pub(super) finding: Option<Box<FindingRef>>,
    pub(super) suspension: Option<Box<SuspensionRef>>,
    pub(super) n: Option<u64>,
    pub(super) cards: Vec<TokenRef>,
    receipts: Option<Receipts>,
}

impl Draft {
    /// An event somebody caused over the network.
    pub const fn by_peer(
        ts: Timestamp,
        evt: Event,
        out: Outcome,
        actor: Actor,
        src: Source,
        obj: Object,
    ) -> Self {
        Self::of(ts, evt, out, actor, Some(src), obj)
    }

    /// An event this service caused itself, or a person at its console: the origin is the instance.
    pub const fn by_service(ts: Timestamp, evt: Event, out: Outcome, obj: Object) -> Self {
        Self::of(ts, evt, out, Actor::Service, None, obj)
    }

    const fn of(
        ts: Timestamp,
        evt: Event,
        out: Outcome,
        actor: Actor,
        src: Option<Source>,
        obj: Object,
    ) -> Self {
        Self {
            ts,
            evt,
            out,
            rsn: None,
            actor,
            src,
            obj,
            dst: None,
            req: None,
            pol: None,
            key: None,
            asserted_by: None,
            change: None,
            export: None,
            finding: None,
            suspension: None,
            n: None,
            cards: Vec::new(),
            receipts: None,
        }
    }

    /// Why: a word of this program.
    pub fn because(mut self, reason: &'static str) -> Self {
        self.rsn = Some(reason);
        self
    }

    /// About another object: many entries of one request begin alike.
    pub fn about(mut self, object: Object) -> Self {
        self.obj = object;
        self
    }

    /// Where card data went.
    pub fn to(mut self, destination: Destination) -> Self {
        self.dst = Some(Box::new(destination));
        self
    }

    /// In which request.
    pub fn in_request(mut self, req: Req) -> Self {
        self.req = Some(req);
        self
    }

    /// By which policies.
    pub fn by_policy(mut self, pol: Pol) -> Self {
        self.pol = Some(pol);
        self
    }

    /// With which data key.
    pub fn with_key(mut self, key: KeyRef) -> Self {
        self.key = Some(key);
        self
    }

    /// On whose word: the actor is what this workload said, not what a certificate showed.
    pub fn asserted_by(mut self, workload: WorkloadId) -> Self {
        self.asserted_by = Some(workload);
        self
    }

    /// What a card's row became.
    pub fn changing(mut self, change: CardChange) -> Self {
        self.change = Some(change);
        self
    }

    /// Of which export.
    pub fn of_export(mut self, export: ExportRef) -> Self {
        self.export = Some(export);
        self
    }

    /// How many.
    pub fn counting(mut self, n: u64) -> Self {
        self.n = Some(n);
        self
    }

    /// Which cards, where one entry is about many.
    pub fn naming(mut self, cards: Vec<TokenRef>) -> Self {
        self.cards = cards;
        self
    }

    /// For this request's receipts.
    pub fn receipted(mut self, receipts: Receipts) -> Self {
        self.receipts = Some(receipts);
        self
    }

    /// It is durable, and stands there.
    pub(crate) fn stands_at(&self, entry: super::EntryId) {
        if let Some(receipts) = &self.receipts {
            receipts.note(entry);
        }
    }

    /// What happened.
    #[must_use]
    pub const fn event(&self) -> Event {
        self.evt
    }

    /// How it ended.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.out
    }
}

/// How it ended (`out`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Denied,
    /// It was allowed and did not work.
    Failure,
}

impl Outcome {
    /// As `out` writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }
}

/// Who (`actor`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// A service with an mTLS identity.
    Workload {
        /// Its SPIFFE ID or DNS name.
        id: WorkloadId,
        /// SHA-256 of the certificate it showed; none if another workload speaks for it (`asserted_by`).
        cert_sha256: Option<[u8; 32]>,
    },
    /// A person with a client certificate.
    Human {
        /// The person's identity.
        id: WorkloadId,
        /// SHA-256 of the certificate shown.
        cert_sha256: [u8; 32],
        /// Whether a second factor was shown too.
        mfa: bool,
    },
    /// Nobody known: refused before or at identification.
    Unidentified {
        /// SHA-256 of the certificate shown, if one was.
        cert_sha256: Option<[u8; 32]>,
    },
    /// This instance itself.
    Service,
}

/// From where (`src`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The peer's address and port.
    pub peer: SocketAddr,
    /// The TLS session, if one came to be.
    pub tls: Option<Tls>,
}

impl Source {
    /// The peer's address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.peer.ip()
    }
}

/// A TLS session (`tls`): names as IANA registers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Protocol version.
    pub version: &'static str,
    /// Cipher suite.
    pub suite: &'static str,
    /// Key exchange group.
    pub group: &'static str,
}

/// On what (`obj`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Object {
    /// A card, by its token's reference.
    Token {
        /// Its token's reference.
        token: TokenRef,
        /// Its tenant, where known.
        tenant: Option<TenantId>,
    },
    /// A tenant.
    Tenant(TenantId),
    /// A forward.
    Forward {
        /// Its id.
        id: ForwardId,
        /// Its tenant, where known.
        tenant: Option<TenantId>,
    },
    /// An export.
    Export {
        /// Its id.
        id: ExportId,
        /// Its tenant.
        tenant: TenantId,
    },
    /// A data key.
    Key {
        /// Its id.
        id: DataKeyId,
        /// Its tenant; none for the service's own.
        tenant: Option<TenantId>,
        /// What it is for.
        purpose: &'static str,
    },
    /// A start of this instance.
    Boot(BootId),
    /// A listener, by its configured role: `api`, `ops`.
    Listener(&'static str),
    /// An operation, by its route template: what a caller asked for before any object was known.
    Operation(&'static str),
    /// The log itself.
    Log,
    /// A file of the log, as it is served.
    LogFile(LogFile),
    /// Entries of the log, by their receipt.
    Receipt {
        /// Its id.
        id: ReceiptId,
        /// Whose they are, where they are one tenant's.
        tenant: Option<TenantId>,
    },
    /// An evidence bundle, by the hash of its manifest.
    Evidence([u8; 32]),
    /// A workload: what was done to it, not what it did.
    Workload(WorkloadId),
    /// A review, by the hash of what was signed.
    Review([u8; 32]),
    /// The configuration, the policy bundle, the schema…: a word of this program.
    Service(&'static str),
}

/// Where card data went (`dst`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The route.
    pub route: RouteName,
    /// The PSP account the route was used with.
    pub account: AccountName,
    /// Host name of the upstream: a property of the route.
    pub host: Arc<str>,
    /// Its port, where known.
    pub port: Option<u16>,
    /// HTTP method, as the route lists the call.
    pub method: Arc<str>,
    /// Path pattern, as the route lists the call: what a caller filled in for `{id}` is not logged.
    pub path: Arc<str>,
    /// The forward, once it has an id.
    pub forward: Option<ForwardId>,
    /// What of the card was asked for.
    pub attributes: AttributeSet,
}

/// In which request (`req`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Req {
    /// The request's id.
    pub id: RequestId,
    /// W3C trace context, where the caller sent one.
    pub traceparent: Option<Label>,
    /// The idempotency scope, where the caller sent a key.
    pub idem_ref: Option<IdempotencyRef>,
}

/// First 16 hex digits of an idempotency scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdempotencyRef([u8; 8]);

impl IdempotencyRef {
    /// From the scope idempotency rows are stored under.
    #[must_use]
    pub fn of_scope(scope: &[u8; 32]) -> Self {
        let mut reference = [0; 8];
        reference.copy_from_slice(&scope[..8]);
        Self(reference)
    }

    pub(super) fn hex(self) -> String {
        hex::encode(self.0)
    }
}

/// By which policies (`pol`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pol {
    /// Ids of the policies that decided; empty when none allowed.
    pub id: Vec<Label>,
    /// The bundle's version, where it has one.
    pub rev: Option<u64>,
    /// SHA-256 of the bundle.
    pub sha256: [u8; 32],
}

/// With which keys (`key`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRef {
    /// The data key.
    pub dek_id: DataKeyId,
    /// The KMS key that wraps it, where known.
    pub kek_ref: Option<Arc<str>>,
    /// That key's version, where the provider tells.
    pub kek_ver: Option<u64>,
}

impl KeyRef {
    /// A data key alone.
    #[must_use]
    pub const fn of(dek_id: DataKeyId) -> Self {
        Self { dek_id, kek_ref: None, kek_ver: None }
    }
}

/// What a card's row became (`change`): finds a row that was rolled back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardChange {
    /// The row's version now.
    pub row_version: u64,
    /// SHA-256 of the sealed record now.
    pub record_sha256: [u8; 32],
}

impl CardChange {
    /// The state of a row that holds this sealed record at this version.
    #[must_use]
    pub fn of(row_version: u64, record: &[u8]) -> Self {
        use sha2::Digest as _;
        Self { row_version, record_sha256: sha2::Sha256::digest(record).into() }
    }
}

/// Of which export an entry is (`export`): what two people agreed to, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExportRef {
    /// Its id.
    pub id: ExportId,
    /// SHA-256 of what was asked for: tenant, filter, recipient, bounds.
    pub request_sha256: [u8; 32],
    /// Which run of it.
    pub run: Option<u32>,
    /// SHA-256 of the file and of the manifest, at the end of a run.
    pub made: Option<Made>,
}

/// What a run made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// SHA-256 of the encrypted file.
    pub file_sha256: [u8; 32],
    /// SHA-256 of the manifest.
    pub manifest_sha256: [u8; 32],
}

/// A running copy of the vault, as configuration names it (`iid`): 1 to 63 lower-case letters, digits and inner hyphens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InstanceId(Arc<str>);

/// Not an instance's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("instance is not 1 to 63 lower-case letters, digits and inner hyphens")]
pub struct InvalidInstanceId;

impl InstanceId {
    /// ```
    /// # use strongroom_vault::audit::InstanceId;
    /// assert!(InstanceId::parse("vault-1").is_ok());
    /// assert!(InstanceId::parse("Vault 1").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidInstanceId> {
        TenantId::parse(text).map(|name| Self(name.as_str().into())).map_err(|_| InvalidInstanceId)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
