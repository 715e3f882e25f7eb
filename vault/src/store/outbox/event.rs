//! What is told of a change.

use serde_json::{Map, Value};
use strongroom_domain::{Expiry, TenantId, Timestamp, TokenHash};

use crate::store::change::Change;
use crate::store::ends::HiddenBy;
use crate::store::rows::CardRow;

/// What happened to a card.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CardEventKind {
    /// It came in.
    Created,
    /// Its number, expiry or notes changed under its token.
    Updated,
    /// Its end is near: the end of its expiry month, or of its token.
    Expiring,
    /// Its own end came: hidden, and destroyed after the hold.
    Expired,
    /// A caller erased it, or its tenant's retention ended: hidden, and destroyed after the hold.
    Erased,
    /// It was shown again within the hold.
    Restored,
    /// It was destroyed after the hold.
    Destroyed,
}

impl CardEventKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Updated,
        Self::Expiring,
        Self::Expired,
        Self::Erased,
        Self::Restored,
        Self::Destroyed,
    ];

    /// As the store and the event's type write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::Restored => "restored",
            Self::Destroyed => "destroyed",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One thing that happened to one card.
#[derive(Clone, Debug)]
pub struct CardEvent<'a> {
    /// What.
    pub kind: CardEventKind,
    /// Whose card.
    pub tenant: &'a TenantId,
    /// Which.
    pub token: TokenHash,
    /// When.
    pub at: Timestamp,
    /// Facts.
    pub data: Value,
}

impl<'a> CardEvent<'a> {
    /// What a change that was made tells of. Most tell nothing.
    pub(in crate::store) fn of(change: &'a Change) -> Vec<Self> {
        match change {
            Change::InsertCards { cards, .. } => {
                cards.iter().map(|card| Self::with_facts(CardEventKind::Created, card)).collect()
            }
            Change::UpdateCards { updates, .. } => {
                updates.iter().map(|update| Self::with_facts(CardEventKind::Updated, &update.card)).collect()
            }
            Change::EraseCard { tenant, token, at, destroy_after, by, .. } => {
                vec![Self::hidden(tenant, *token, *at, *destroy_after, by)]
            }
            Change::RestoreCard { tenant, token, at, .. } => {
                vec![Self::bare(CardEventKind::Restored, tenant, *token, *at)]
            }
            Change::DestroyCard { tenant, token, at, .. } => {
                vec![Self::bare(CardEventKind::Destroyed, tenant, *token, *at)]
            }
            Change::TellExpiring { tenant, token, expiry, expires_at, at, .. } => {
                let bare = Self::bare(CardEventKind::Expiring, tenant, *token, *at);
                vec![Self { data: ends(*expiry, *expires_at).into(), ..bare }]
            }
            Change::OpenForward { .. }
            | Change::RecordOutcome { .. }
            | Change::ReconcileForward { .. }
            | Change::PutTenant { .. }
            | Change::InsertKey { .. }
            | Change::ReplaceKey { .. }
            | Change::ReplayEvents { .. }
            | Change::RequestExport { .. }
            | Change::ApproveExport { .. }
            | Change::BeginExportRun { .. }
            | Change::EndExportRun { .. }
            | Change::SuspendWorkload { .. }
            | Change::ResumeWorkload { .. }
            | Change::File { .. }
            | Change::Entry { .. }
            | Change::Entries { .. } => Vec::new(),
        }
    }

    /// A card that came in or changed, with the facts its tenant keeps in the open.
    pub(in crate::store) fn with_facts(kind: CardEventKind, card: &'a CardRow) -> Self {
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let mut data = ends(card.facts.expiry, card.expires_at);
        data.insert("brand".into(), text(card.brand.map(strongroom_domain::Brand::as_str)));
        data.insert("bin".into(), text(card.facts.bin.non_empty()));
        data.insert("last4".into(), text(card.facts.last4.non_empty()));
        data.insert("length".into(), card.length.map_or(Value::Null, Value::from));
        data.insert("version".into(), card.row_version.into());
        let (token, at) = (card.token.hash(), card.updated_at);
        Self { kind, tenant: &card.tenant, token, at, data: data.into() }
    }

    fn hidden(
        tenant: &'a TenantId,
        token: TokenHash,
        at: Timestamp,
        destroy_after: Timestamp,
        by: &HiddenBy,
    ) -> Self {
        let (kind, reason) = match by {
            HiddenBy::Caller(_) => (CardEventKind::Erased, Some("caller")),
            HiddenBy::Retention => (CardEventKind::Erased, Some("retention")),
            HiddenBy::Expiry => (CardEventKind::Expired, None),
        };
        let mut data = Map::new();
        data.insert("destroy_after".into(), destroy_after.to_string().into());
        data.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
        Self { kind, tenant, token, at, data: data.into() }
    }

    fn bare(kind: CardEventKind, tenant: &'a TenantId, token: TokenHash, at: Timestamp) -> Self {
        Self { kind, tenant, token, at, data: Map::new().into() }
    }

    #[cfg(test)]
    pub(super) fn erased_for_test(tenant: &'a TenantId) -> Self {
        let at = Timestamp::from_unix_seconds(1);
        Self::bare(CardEventKind::Erased, tenant, TokenHash::from_bytes([1; 32]), at)
    }
}

/// When a card ends, in the API's words.
fn ends(expiry: Option<Expiry>, expires_at: Option<Timestamp>) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("exp_month".into(), expiry.map_or(Value::Null, |expiry| expiry.month().into()));
    data.insert("exp_year".into(), expiry.map_or(Value::Null, |expiry| expiry.year().into()));
    data.insert("expires_at".into(), expires_at.map_or(Value::Null, |at| at.to_string().into()));
    data
}
