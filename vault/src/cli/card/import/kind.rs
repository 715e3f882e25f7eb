//! What a run does with the lines of its source: bring cards in, or change those that are there.

use serde::{Deserialize, Serialize};
use strongroom_domain::TenantId;
use zeroize::Zeroizing;

use super::card::{self, Bounded, CARD_BYTES_MAX, Card};
use super::update::{self, Update};
use crate::cli::card::fields::{Fault, Fields, Name};

/// What becomes of each line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A new card.
    #[default]
    Import,
    /// A card under its token that is changed.
    Update,
}

impl Kind {
    /// What a line may hold.
    pub(super) fn allowed(self) -> fn(&Name) -> bool {
        match self {
            Self::Import => card::is_allowed,
            Self::Update => update::is_allowed,
        }
    }

    /// What the body begins with.
    pub(super) fn head(self) -> &'static [u8] {
        match self {
            Self::Import => b"{\"cards\":[",
            Self::Update => b"{\"updates\":[",
        }
    }

    /// Where a batch goes.
    pub(super) fn path(self, tenant: &TenantId) -> String {
        match self {
            Self::Import => format!("/v1/tenants/{tenant}/cards/batch"),
            Self::Update => format!("/v1/tenants/{tenant}/cards/updates"),
        }
    }

    /// The status of a line that is done.
    pub(super) const fn done_status(self) -> u16 {
        match self {
            Self::Import => 201,
            Self::Update => 200,
        }
    }

    /// What is said of lines that are done.
    pub(super) const fn done(self) -> &'static str {
        match self {
            Self::Import => "imported",
            Self::Update => "updated",
        }
    }

    /// Who refused a line before anything was sent.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Update => "update",
        }
    }

    /// The list of what was done, beside the state.
    pub(super) const fn list(self) -> &'static str {
        match self {
            Self::Import => "mapping.csv",
            Self::Update => "updated.csv",
        }
    }

    /// A line as what is sent.
    pub(super) fn read(self, line: u64, fields: &Fields) -> Result<Item, Fault> {
        Ok(match self {
            Self::Import => Item::Card(Card::read(line, fields)?),
            Self::Update => Item::Update(Update::read(line, fields)?),
        })
    }
}

/// What is sent for a line.
pub(super) enum Item {
    /// A new card.
    Card(Card),
    /// A change of one.
    Update(Update),
}

impl Item {
    /// As JSON, at the end of `out`, which never grows. `false`: it has no room there, and `out` is as it was.
    pub(super) fn write(&self, out: &mut Zeroizing<Vec<u8>>) -> bool {
        let before = out.len();
        let room = out.capacity().min(before + CARD_BYTES_MAX);
        let mut bounded = Bounded { out, room };
        let written = match self {
            Self::Card(card) => card.members(&mut bounded),
            Self::Update(update) => update.members(&mut bounded),
        };
        if written.is_err() {
            out.truncate(before);
        }
        written.is_ok()
    }

    /// The name of a card that must not stand twice in one call: changes of one card are made in the order of their lines.
    pub(super) fn changed(&self) -> Option<&str> {
        match self {
            Self::Card(_) => None,
            Self::Update(update) => Some(&update.token),
        }
    }

    /// What the mapping calls the card: a name it has elsewhere.
    pub(super) fn alias(&self) -> Option<&String> {
        match self {
            Self::Card(card) => card.known_as(),
            Self::Update(_) => None,
        }
    }

    /// What is changed.
    pub(super) fn what(&self) -> Option<&'static str> {
        match self {
            Self::Card(_) => None,
            Self::Update(update) => update.what(),
        }
    }
}
