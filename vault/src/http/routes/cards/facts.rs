//! A card as callers see it: its token and its facts, never its number.

use serde::Serialize;
use strongroom_domain::{Alias, Timestamp};
use strongroom_sealing::Fingerprint;
use utoipa::ToSchema;

use crate::operation::tokenize::{Became, Made};
use crate::store::CardRow;

/// A card's token and facts.
#[derive(Serialize, ToSchema)]
pub struct CardFactsBody<'a> {
    /// The token: 43 characters without a digit.
    #[schema(
        example = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv",
        pattern = "^tok_(live|test)_[b-df-hj-np-tv-xz]{34}$"
    )]
    token: &'a str,
    /// Lower-case brand name, or null if the tenant keeps no facts or the brand is not known.
    brand: Option<&'static str>,
    /// First 8 digits of numbers of 16 or more, first 6 of 14 and 15; null otherwise.
    bin: Option<&'a str>,
    /// Last four digits, or null if the tenant keeps no facts.
    last4: Option<&'a str>,
    /// Number of digits, 12 to 19.
    length: Option<u8>,
    /// 1 to 12.
    exp_month: Option<u8>,
    /// 2000 to 2099.
    exp_year: Option<u16>,
    /// When the token stops to work.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When its issuer was said to have closed it: a charge will most likely be declined. Null if nobody said so.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
    /// When the card came in.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The caller's own notes.
    metadata: std::collections::BTreeMap<&'a str, &'a str>,
    /// Rises with every change.
    version: u64,
    /// Sixteen digits that lead to the card too: no card number, never Luhn-valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^9[01][0-9]{14}$", example = "9198765432100005")]
    pan_shaped: Option<&'a str>,
    /// Tokens of other vaults that lead to the card too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<&'a str>,
    /// Keyed fingerprint of the number: the same for cards of this tenant with the same number. For callers with the
    /// MatchFingerprint grant only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    fingerprint: Option<String>,
}

impl<'a> CardFactsBody<'a> {
    /// The same, with the card's other names.
    pub(super) fn named(mut self, aliases: impl IntoIterator<Item = &'a Alias>) -> Self {
        for alias in aliases {
            match alias {
                Alias::PanShaped(alias) => self.pan_shaped = Some(alias.as_str()),
                Alias::Foreign(alias) => self.aliases.push(alias.as_str()),
            }
        }
        self
    }

    /// The same, for a caller that may compare numbers.
    pub(super) fn with_fingerprint(mut self, fingerprint: Option<Fingerprint>) -> Self {
        self.fingerprint = fingerprint.map(|fingerprint| hex::encode(fingerprint.as_bytes()));
        self
    }
}

impl<'a> From<&'a Made> for CardFactsBody<'a> {
    fn from(made: &'a Made) -> Self {
        Self::from(&made.row).named(made.pan_shaped.iter().chain(&made.foreign))
    }
}

impl<'a> From<&'a CardRow> for CardFactsBody<'a> {
    fn from(row: &'a CardRow) -> Self {
        Self {
            token: row.token.as_str(),
            brand: row.brand.map(strongroom_domain::Brand::as_str),
            bin: row.facts.bin.non_empty(),
            last4: row.facts.last4.non_empty(),
            length: row.length,
            exp_month: row.facts.expiry.map(strongroom_domain::Expiry::month),
            exp_year: row.facts.expiry.map(strongroom_domain::Expiry::year),
            expires_at: row.expires_at,
            closed_at: row.closed_at,
            created_at: row.created_at,
            metadata: row.metadata.iter().collect(),
            version: row.row_version,
            pan_shaped: None,
            aliases: Vec::new(),
            fingerprint: None,
        }
    }
}

/// The body as it is stored for replays and sent: that of the first card. Of a request of one card that is refused, no
/// answer is written.
pub(super) fn write_one(became: &[Became<'_>]) -> Vec<u8> {
    let made = became.first().and_then(|became| became.as_ref().ok());
    made.map(|made| {
        serde_json::to_vec(&CardFactsBody::from(made)).expect("texts and numbers always serialize")
    })
    .unwrap_or_default()
}
