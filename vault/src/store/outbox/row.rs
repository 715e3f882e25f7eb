//! Rows of the outbox, as values.

use std::fmt;
use std::sync::Arc;

use sha2::Digest as _;
use strongroom_domain::{TenantId, Timestamp, TokenHash};
use uuid::Uuid;

use super::CardEventKind;

/// Name of a destination: 1 to 63 lower-case letters, digits and hyphens, beginning and ending with none of the last.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DestinationName(Arc<str>);

/// Not a destination's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to 63 lower-case letters, digits and hyphens")]
pub struct InvalidDestinationName;

impl DestinationName {
    /// ```
    /// # use strongroom_vault::store::DestinationName;
    /// assert!(DestinationName::parse("platform-eu").is_ok());
    /// assert!(DestinationName::parse("-walk").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidDestinationName> {
        // The grammar is that of a tenant's name.
        TenantId::parse(text).map(|_| Self(text.into())).map_err(|_| InvalidDestinationName)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for DestinationName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Where an event stands with one destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventState {
    /// It is to be delivered.
    Pending,
    /// The destination took it.
    Delivered,
    /// It was given up.
    Dead,
}

impl EventState {
    /// As the store and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Dead].into_iter().find(|state| state.as_str() == text)
    }
}

/// One event as one destination is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// Which card.
    pub token: TokenHash,
    /// Its place among the card's events: rises with each, and begins at 1 with its creation.
    pub sequence: u64,
    /// Whose card.
    pub tenant: TenantId,
    /// What happened.
    pub kind: CardEventKind,
    /// Facts, as JSON.
    pub data: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Where it stands.
    pub state: EventState,
    /// When it is tried next; when it was delivered or given up.
    pub due_at: Timestamp,
    /// When it is given up.
    pub give_up_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last attempt met, if it was not delivered.
    pub met: Option<String>,
}

impl EventRow {
    /// Its id: the same for every attempt, replay and destination, and no other event's, also after a restore of the
    /// database: first 16 bytes of `SHA-256("strongroom/event/v1" 00 ‖ token hash ‖ u64be sequence ‖ u64be occurred_at, µs)`
    /// as a UUID of version 8 (RFC 9562).
    #[must_use]
    pub fn id(&self) -> Uuid {
        let mut hash = sha2::Sha256::new();
        hash.update(b"strongroom/event/v1\0");
        hash.update(self.token.as_bytes());
        hash.update(self.sequence.to_be_bytes());
        hash.update(self.occurred_at.unix_micros().to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(first).into_uuid()
    }

    /// Its place in a list.
    #[must_use]
    pub const fn place(&self) -> EventPlace {
        EventPlace { due_at: self.due_at, token: self.token, sequence: self.sequence }
    }
}

/// Where a list of events goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPlace {
    /// When it is or was due.
    pub due_at: Timestamp,
    /// Which card.
    pub token: TokenHash,
    /// Which of its events.
    pub sequence: u64,
}

/// Which events are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventFilter {
    /// Of this destination.
    pub destination: DestinationName,
    /// In this state.
    pub state: EventState,
    /// Of this tenant's cards; of anybody's if none.
    pub tenant: Option<TenantId>,
    /// That happened at this time or later.
    pub from: Option<Timestamp>,
    /// That happened before this time.
    pub until: Option<Timestamp>,
    /// That are or were due before this time.
    pub due_before: Option<Timestamp>,
}

/// The right to deliver to one destination, until it ends or another holder has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// To which.
    pub destination: String,
    /// Rises with every holder: what a former holder writes under a lower one is refused.
    pub fence: u64,
    /// How far a walk came; none at its beginning.
    pub place: Option<TokenHash>,
}

/// What became of one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Which card.
    pub token: TokenHash,
    /// Which of its events.
    pub sequence: u64,
    /// How it stands now.
    pub now: Settlement,
}

/// How an event stands after an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// It was taken.
    Delivered,
    /// It is tried again at this time; the card's later events wait for it.
    Postponed(Timestamp, String),
    /// It is not tried any more.
    GivenUp(String),
}

impl Settled {
    /// State, time and what was met, as the store writes them.
    pub(in crate::store) fn written(&self, now: Timestamp) -> (&'static str, i64, Option<&str>) {
        match &self.now {
            Settlement::Delivered => (EventState::Delivered.as_str(), now.unix_micros(), None),
            Settlement::Postponed(due, met) => (EventState::Pending.as_str(), due.unix_micros(), Some(met)),
            Settlement::GivenUp(met) => (EventState::Dead.as_str(), now.unix_micros(), Some(met)),
        }
    }

    /// When it is tried again, if it is.
    pub(in crate::store) fn postponed(&self) -> Option<Timestamp> {
        match &self.now {
            Settlement::Postponed(due, _) => Some(*due),
            Settlement::Delivered | Settlement::GivenUp(_) => None,
        }
    }
}

/// What waits for one destination. Counts stop at [`Backlog::COUNTED_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// Pending events.
    pub pending: u64,
    /// When the oldest of those that were counted happened.
    pub oldest: Option<Timestamp>,
    /// Events given up and not replayed.
    pub dead: u64,
}

impl Backlog {
    /// Most rows that are counted: more is as alarming, and counting costs.
    pub const COUNTED_MAX: u32 = 10_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_documented_construction() {
        let mut row = EventRow {
            token: TokenHash::from_bytes([7; 32]),
            sequence: 3,
            tenant: TenantId::parse("acme").unwrap(),
            kind: CardEventKind::Erased,
            data: "{}".into(),
            occurred_at: Timestamp::from_unix_micros(1_795_000_000_000_000),
            state: EventState::Pending,
            due_at: Timestamp::from_unix_micros(0),
            give_up_at: Timestamp::from_unix_micros(0),
            attempts: 0,
            met: None,
        };
        // Python: uuid.UUID(bytes=sha256(b"strongroom/event/v1\0" + bytes([7])*32 + pack(">QQ", 3, 1795000000000000)).digest()[:16])
        // with its version set to 8 and its variant to RFC 9562.
        assert_eq!(row.id().to_string(), "8984d330-cf54-81c2-9812-119a0db25608");
        let before = row.id();
        row.attempts = 9;
        row.state = EventState::Dead;
        assert_eq!(row.id(), before, "however often it is tried");
        row.sequence = 4;
        assert_ne!(row.id(), before);
    }
}
