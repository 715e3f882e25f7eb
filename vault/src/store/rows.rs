//! What the store keeps, as values.

mod forward;

use serde::{Deserialize, Serialize};
use strongroom_domain::route::{AccountName, AttributeSet, RouteName};
use strongroom_domain::{
    Alias, BootId, Brand, CardFacts, DataKeyId, ExportId, FactsKept, ForwardId, Metadata, TenantId,
    Timestamp, Token, TokenHash, TokenRef, WorkloadId,
};
use strongroom_sealing::Fingerprint;

pub use self::forward::{ForwardGrounds, Holder, PspSays, Reconciled, ReferenceRow};
use crate::audit::{EntryId, InstanceId, Leaf};

/// One card: facts in the open, the rest sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardRow {
    /// Its token.
    pub token: Token,
    /// Whose it is.
    pub tenant: TenantId,
    /// The sealed record, from `strongroom_sealing::seal` only. Empty once destroyed.
    pub record: Vec<u8>,
    /// The data key that sealed it.
    pub data_key: DataKeyId,
    /// What is readable without opening.
    pub facts: CardFacts,
    /// Brand by the number's prefix; none if the tenant keeps no facts.
    pub brand: Option<Brand>,
    /// Length of the number; none if the tenant keeps no facts.
    pub length: Option<u8>,
    /// Version of the row, bound into the seal. Begins at 1.
    pub row_version: u64,
    /// The version its present number came with.
    pub number_version: u64,
    /// When the token stops to work.
    pub expires_at: Option<Timestamp>,
    /// The owner's own texts.
    pub metadata: Metadata,
    /// When it was tokenized.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was hidden.
    pub deleted_at: Option<Timestamp>,
    /// When its issuer was said to have closed it.
    pub closed_at: Option<Timestamp>,
    /// When a hidden card is to be destroyed.
    pub destroy_after: Option<Timestamp>,
    /// Keyed fingerprint of its number, if the tenant asks for them and the card is not hidden.
    pub fingerprint: Option<Fingerprint>,
}

/// Another name of a card. It leads nowhere unless its MAC holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AliasRow {
    /// The name, unique in the vault.
    pub alias: Alias,
    /// Whose card it leads to.
    pub tenant: TenantId,
    /// Which.
    pub token: TokenHash,
    /// The tenant's data key of purpose `fingerprint` its MAC is made with.
    pub mac_key: DataKeyId,
    /// Binds everything else, from `strongroom_sealing::alias_mac`.
    pub mac: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
}

/// One tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantRow {
    /// Its name.
    pub id: TenantId,
    /// How it wants to be served.
    pub settings: TenantSettings,
    /// Whether it is served.
    pub status: TenantStatus,
    /// Rises by one with every change. Begins at 1.
    pub version: u64,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// How a tenant wants to be served.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// The tenant groups that grants are given to, sorted.
    pub groups: Vec<String>,
    /// Which facts of a number are kept in the open.
    pub facts: FactsKept,
    /// Token formats the tenant may ask for.
    pub formats: Vec<TokenFormat>,
    /// What a second tokenization of one number gives.
    pub dedupe: Dedupe,
    /// Whether fingerprints of numbers are kept, for callers with the MatchFingerprint grant.
    #[serde(skip_serializing_if = "is_false")]
    pub fingerprints: bool,
    /// Brands accepted; none means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brands: Option<Vec<Brand>>,
    /// How long cards are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// A form of token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenFormat {
    /// `tok_live_…`, `tok_test_…`.
    Token,
    /// Beside the token, sixteen digits that are no card number.
    #[serde(rename = "pan_shaped")]
    PanShaped,
}

/// For settings that are not written unless they say something: the release before does not know them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a second tokenization of one number gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dedupe {
    /// A new token.
    #[default]
    Off,
    /// The token the number has already.
    ReturnExisting,
}

/// How long cards are kept and why (PCI DSS 3.2.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days after the last change.
    pub days: u32,
    /// The business reason.
    pub reason: String,
}

/// Not a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRetention {
    /// No period, or one that is none.
    #[error("retention is not 1 to 3650 days")]
    Days,
    /// No reason, or one that cannot be shown.
    #[error("reason is not 1 to 200 bytes of text without control characters, card numbers or tokens")]
    Reason,
}

impl Retention {
    /// Longest period: ten years. Keeping for longer is keeping for ever.
    pub const DAYS_MAX: u32 = 3_650;
    /// Longest reason in bytes: a sentence for an assessor.
    pub const REASON_BYTES_MAX: usize = 200;

    /// ```
    /// # use strongroom_vault::store::Retention;
    /// assert!(Retention::new(400, "chargebacks").is_ok());
    /// assert!(Retention::new(0, "chargebacks").is_err());
    /// assert!(Retention::new(400, "").is_err());
    /// ```
    pub fn new(days: u32, reason: &str) -> Result<Self, InvalidRetention> {
        if !(1..=Self::DAYS_MAX).contains(&days) {
            return Err(InvalidRetention::Days);
        }
        let shown = (1..=Self::REASON_BYTES_MAX).contains(&reason.len())
            && !reason.trim().is_empty()
            && !reason.chars().any(char::is_control)
            && !strongroom_domain::scan::holds_pan(reason)
            && !strongroom_domain::token::holds_token_shape(reason.as_bytes());
        if shown { Ok(Self { days, reason: reason.to_owned() }) } else { Err(InvalidRetention::Reason) }
    }
}

/// Whether a tenant is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    /// It is.
    Active,
    /// It is not: nothing is tokenized or forwarded.
    Suspended,
}

impl TenantStatus {
    /// As the store and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended].into_iter().find(|status| status.as_str() == text)
    }
}

/// A request that was answered under an idempotency key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyRow {
    /// SHA-256 of caller, tenant and key, each length-prefixed.
    pub scope: [u8; 32],
    /// Keyed digest of the request.
    pub digest: [u8; 32],
    /// HTTP status of the answer.
    pub status: u16,
    /// The answer: token and facts, never card data.
    pub answer: Vec<u8>,
    /// When the key may be used anew.
    pub expires_at: Timestamp,
}

/// One forward: one permitted use of card data at one route.
#[derive(Clone, PartialEq, Debug)]
pub struct ForwardRow {
    /// Its id.
    pub id: ForwardId,
    /// Whose cards.
    pub tenant: TenantId,
    /// The proxy that opened it and alone may say what became of it.
    pub proxy: WorkloadId,
    /// For whom, as the proxy says.
    pub caller: WorkloadId,
    /// Where to.
    pub route: RouteName,
    /// Under which PSP account.
    pub account: AccountName,
    /// HTTP method at the PSP.
    pub method: String,
    /// Path at the PSP.
    pub path: String,
    /// Host of the PSP.
    pub host: String,
    /// Which cards.
    pub cards: Vec<TokenRef>,
    /// What was released of them, taken together.
    pub attributes: AttributeSet,
    /// What is known of it.
    pub state: ForwardState,
    /// When card data was released.
    pub opened_at: Timestamp,
    /// When its outcome became known.
    pub closed_at: Option<Timestamp>,
    /// Status, timings and counts as the proxy told them; no card data.
    pub outcome: Option<serde_json::Value>,
    /// Why it was opened; none of those that were opened before this was kept.
    pub grounds: Option<ForwardGrounds>,
    /// What somebody found out when its outcome was unknown.
    pub reconciled: Option<Reconciled>,
}

/// What is known of a forward.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ForwardState {
    /// Card data was released; nothing more is known yet.
    Open,
    /// The PSP answered.
    Answered,
    /// Nothing was sent.
    NotSent,
    /// Something was sent, or may have been, and no whole answer came.
    Unknown,
}

impl ForwardState {
    /// As the store and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::NotSent => "not-sent",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Answered, Self::NotSent, Self::Unknown]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One export: what was asked for, and who approved it. Both are nothing unless their MACs hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportRow {
    /// Its id.
    pub id: ExportId,
    /// Whose cards.
    pub tenant: TenantId,
    /// What was asked for: canonical JSON.
    pub request: String,
    /// SHA-256 of it: what the second person approves.
    pub sha256: [u8; 32],
    /// The person who asked.
    pub requester: String,
    /// When.
    pub requested_at: Timestamp,
    /// Until when it may be approved and run.
    pub not_after: Timestamp,
    /// The tenant's data key of purpose `fingerprint` its MAC is made with.
    pub mac_key: DataKeyId,
    /// Binds it, from `strongroom_sealing::export_mac`.
    pub mac: [u8; 32],
    /// Who approved it.
    pub approval: Option<ExportApproval>,
    /// How many runs there were.
    pub runs: u32,
}

/// The second person's word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportApproval {
    /// With which identity.
    pub by: WorkloadId,
    /// Which person.
    pub person: String,
    /// When.
    pub at: Timestamp,
    /// The data key its MAC is made with.
    pub mac_key: DataKeyId,
    /// Binds it to the request, in hex.
    pub mac: String,
}

/// One run of an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportRunRow {
    /// Its number, from 1.
    pub run: u32,
    /// Who ran it.
    pub by: WorkloadId,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; none if it runs, or its process was killed.
    pub ended_at: Option<Timestamp>,
    /// What came of it: canonical JSON, no card data.
    pub manifest: Option<String>,
}

/// One audit entry as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// Where it stands.
    pub id: EntryId,
    /// Its bytes.
    pub leaf: Leaf,
}

/// One start of one instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootRow {
    /// Its id: ordered by start.
    pub boot: BootId,
    /// Which instance.
    pub instance: InstanceId,
    /// The `audit-signing` data key its MAC derives from.
    pub mac_key: DataKeyId,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last wrote.
    pub written_at: Timestamp,
    /// How many entries it wrote: the number the next one gets.
    pub next_seq: u64,
}
