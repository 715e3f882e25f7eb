//! What an entry says, read back for those who follow the log.
//!
//! Promises: members this program does not know are passed over, so that entries of the next release are read too; what
//! is no entry is read as none.

use serde::Deserialize;
use strongroom_domain::{Timestamp, TokenRef};

use super::Leaf;

/// The members of an entry that are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Seen {
    /// When.
    pub ts: Timestamp,
    /// What happened.
    pub evt: String,
    /// How it ended.
    pub out: String,
    /// Why.
    pub rsn: Option<String>,
    /// Of which boot.
    pub boot_id: String,
    /// Its number there.
    pub instance_seq: u64,
    /// Who.
    pub actor: SeenActor,
    /// On whose word.
    pub asserted_by: Option<String>,
    /// On what.
    pub obj: SeenObject,
    /// Where card data went.
    pub dst: Option<SeenDestination>,
    /// Of which export.
    pub export: Option<SeenExport>,
    /// Other cards it names.
    #[serde(default)]
    cards: Vec<String>,
    /// What was found, if it is a finding.
    pub finding: Option<serde_json::Value>,
}

/// Who.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct SeenActor {
    /// `workload`, `human`, `unidentified` or `system`.
    pub r#type: String,
    /// SPIFFE ID or DNS name, or `-`.
    pub id: String,
    /// SHA-256 of the certificate shown.
    pub cert_sha256: Option<String>,
}

/// On what.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct SeenObject {
    /// Its kind.
    pub r#type: String,
    /// Its name.
    pub r#ref: String,
    /// Whose it is.
    pub tenant: Option<String>,
}

/// Where card data went.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct SeenDestination {
    /// The route.
    pub route_id: String,
    /// The account there.
    pub account: String,
    /// The upstream.
    pub host: String,
    /// The forward, once it has an id.
    pub forward_id: Option<String>,
    /// What of the card.
    #[serde(default)]
    pub attributes: Vec<String>,
}

/// Of which export.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct SeenExport {
    /// Its id.
    pub id: String,
}

impl Seen {
    /// Reads an entry's bytes.
    #[must_use]
    pub fn of(leaf: &Leaf) -> Option<Self> {
        serde_json::from_slice(leaf.as_bytes()).ok()
    }

    /// The card it is about, if it is about one.
    #[must_use]
    pub fn token(&self) -> Option<TokenRef> {
        (self.obj.r#type == "token").then(|| TokenRef::parse(&self.obj.r#ref)).flatten()
    }

    /// Every card it names.
    pub fn tokens(&self) -> impl Iterator<Item = TokenRef> {
        self.token().into_iter().chain(self.cards.iter().filter_map(|text| TokenRef::parse(text)))
    }

    /// Whether card data was released by it: to the proxy for a call, or to the recipient of an export.
    #[must_use]
    pub fn released(&self) -> bool {
        self.out == "success" && (self.evt == "pan.forward" || self.is_export())
    }

    /// Whether it is of a card that was handed over in an export.
    #[must_use]
    pub fn is_export(&self) -> bool {
        self.evt == "pan.export"
    }

    /// Whether this workload did it, or its word stands behind it.
    #[must_use]
    pub fn is_by(&self, workload: &str) -> bool {
        self.actor.id == workload || self.asserted_by.as_deref() == Some(workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_later_release_is_read_and_what_is_none_is_not() {
        let text = r#"{"actor":{"id":"-","type":"system","new":1},"boot_id":"b","evt":"e","instance_seq":7,"later":{},"obj":{"ref":"x","type":"log"},"out":"success","ts":"2026-11-21T07:35:22.123456Z","v":1}"#;
        let seen = Seen::of(&Leaf::from_bytes(text.into())).unwrap();
        assert_eq!((seen.evt.as_str(), seen.token(), seen.released()), ("e", None, false));
        for none in ["", "{}", "[]", &text.replace("\"out\"", "\"other\"")] {
            assert_eq!(Seen::of(&Leaf::from_bytes(none.into())), None, "{none}");
        }
    }
}
