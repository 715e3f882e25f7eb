//! What two people agree to, word by word, and the hash the second of them says.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strongroom_domain::{
    Brand, Environment, ExportId, Problem, ProblemKind, TenantId, Timestamp, WorkloadId, scan, token,
};

use super::{Asking, ExportConfig, OperationError};
use crate::authz::Person;
use crate::store::CardFilter;

/// Longest an export may be open, from the request on.
const OPEN_SECONDS_MAX: u64 = 24 * 3_600;
/// Longest purpose in bytes: a sentence for an assessor.
const PURPOSE_BYTES_MAX: usize = 200;
/// What stands before the content in its hash.
const LABEL: &[u8] = b"strongroom/export-request/v1\0";

/// An export as it was asked for. Everything that matters is in here, so everything that matters is in its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// Its id: two requests never have one hash.
    pub id: ExportId,
    /// `live` or `test`.
    pub environment: Environment,
    /// Whose cards.
    pub tenant: TenantId,
    /// Which of them.
    pub filter: ExportFilter,
    /// The age recipient the file is encrypted to.
    pub recipient: String,
    /// Most cards.
    pub cards_max: u64,
    /// Until when it may be approved and run.
    pub not_after: Timestamp,
    /// Why, in a sentence.
    pub purpose: String,
    /// Who asked, by which identity.
    pub requested_by: WorkloadId,
    /// The person.
    pub person: Person,
    /// When.
    pub requested_at: Timestamp,
}

/// Which cards of the tenant. Hidden and expired ones never are among them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportFilter {
    /// Of this brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// That came in after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// That came in before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
}

/// What a person says when asking.
#[derive(Debug)]
pub struct RequestedExport {
    /// Which cards.
    pub filter: ExportFilter,
    /// To whom.
    pub recipient: String,
    /// How many at most.
    pub cards_max: u64,
    /// Until when; a day if left out.
    pub not_after: Option<Timestamp>,
    /// Why.
    pub purpose: String,
}

impl RequestedExport {
    /// Checks every part and puts the whole request together.
    pub(super) fn complete(
        self,
        id: ExportId,
        environment: Environment,
        tenant: &TenantId,
        asking: &Asking,
        person: &Person,
        config: &ExportConfig,
    ) -> Result<ExportRequest, OperationError> {
        let latest = asking.at.plus(std::time::Duration::from_secs(OPEN_SECONDS_MAX));
        let not_after = self.not_after.unwrap_or(latest);
        if not_after <= asking.at || not_after > latest {
            return Err(invalid("not_after is not within the next 24 hours", "/not_after"));
        }
        if !(1..=config.cards_max).contains(&self.cards_max) {
            return Err(invalid("cards_max is not from 1 to the vault's own export.cards_max", "/cards_max"));
        }
        if recipient(&self.recipient).is_none() {
            return Err(invalid("recipient is not an age recipient (age1…)", "/recipient"));
        }
        if !is_purpose(&self.purpose) {
            let detail =
                "purpose is not 1 to 200 bytes of text without control characters, card numbers or tokens";
            return Err(invalid(detail, "/purpose"));
        }
        self.filter.check()?;
        Ok(ExportRequest {
            id,
            environment,
            tenant: tenant.clone(),
            filter: self.filter,
            recipient: self.recipient,
            cards_max: self.cards_max,
            not_after,
            purpose: self.purpose,
            requested_by: asking.caller.workload.clone(),
            person: person.clone(),
            requested_at: asking.at,
        })
    }
}

fn is_purpose(text: &str) -> bool {
    (1..=PURPOSE_BYTES_MAX).contains(&text.len())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control)
        && !scan::holds_pan(text)
        && !token::holds_token_shape(text.as_bytes())
}

fn invalid(detail: &'static str, pointer: &'static str) -> OperationError {
    OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail).at(pointer))
}

/// The recipient, if the text is one in its one spelling.
pub(super) fn recipient(text: &str) -> Option<age::x25519::Recipient> {
    let recipient: age::x25519::Recipient = text.parse().ok()?;
    (recipient.to_string() == text).then_some(recipient)
}

impl ExportRequest {
    /// Reads the canonical form back.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// RFC 8785 JSON.
    pub fn canonical(&self) -> Result<String, OperationError> {
        serde_json_canonicalizer::to_string(self)
            .map_err(|_| OperationError::Defect("names, texts and times have a canonical form"))
    }

    /// `SHA-256("strongroom/export-request/v1" 00 ‖ RFC 8785 of it)`: what the second person says.
    pub fn sha256(&self) -> Result<[u8; 32], OperationError> {
        let mut hash = Sha256::new();
        hash.update(LABEL);
        hash.update(self.canonical()?);
        Ok(hash.finalize().into())
    }
}

impl ExportFilter {
    fn check(&self) -> Result<(), OperationError> {
        if self.brand.as_deref().is_some_and(|name| Brand::from_name(name) == Brand::Unknown) {
            return Err(invalid("brand is not one this service knows", "/filter"));
        }
        let is_empty =
            self.created_after.zip(self.created_before).is_some_and(|(after, before)| after >= before);
        if is_empty {
            return Err(invalid("created_after is not before created_before", "/filter"));
        }
        Ok(())
    }

    /// The cards of it that were there at this time.
    pub(super) fn cards(&self, at: Timestamp) -> CardFilter {
        CardFilter {
            brand: self.brand.as_deref().map(Brand::from_name),
            created_after: self.created_after,
            created_before: Some(self.created_before.map_or(at, |before| before.min(at))),
            ..CardFilter::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ExportRequest {
        ExportRequest {
            id: ExportId::parse("0190a0b0-c0d0-7e0f-8f00-112233445566").unwrap(),
            environment: Environment::Test,
            tenant: TenantId::parse("acme").unwrap(),
            filter: ExportFilter { brand: Some("visa".into()), ..ExportFilter::default() },
            recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".into(),
            cards_max: 10,
            not_after: Timestamp::from_unix_seconds(1_795_000_000),
            purpose: "moving".into(),
            requested_by: WorkloadId::parse("spiffe://strongroom.test/exporter-one").unwrap(),
            person: Person::parse("one").unwrap(),
            requested_at: Timestamp::from_unix_seconds(1_794_990_000),
        }
    }

    #[test]
    fn whatever_is_changed_is_another_hash() {
        let (held, sha256) = (request(), request().sha256().unwrap());
        // Python: sha256(b"strongroom/export-request/v1\0" + json.dumps(…, sort_keys=True, separators=(",", ":")).encode())
        assert_eq!(hex::encode(sha256), "40987546985cd53bf82f8df640acad8e5bba9fb90e476f4c65ebf838fb985ea6");
        assert_eq!(ExportRequest::parse(&held.canonical().unwrap()), Some(held.clone()));
        let later = Timestamp::from_unix_seconds(1_795_000_001);
        let changed = [
            ExportRequest {
                id: ExportId::parse("0190a0b0-c0d0-7e0f-8f00-112233445567").unwrap(),
                ..held.clone()
            },
            ExportRequest { tenant: TenantId::parse("globex").unwrap(), ..held.clone() },
            ExportRequest { environment: Environment::Live, ..held.clone() },
            ExportRequest { filter: ExportFilter::default(), ..held.clone() },
            ExportRequest { recipient: "age1other".into(), ..held.clone() },
            ExportRequest { cards_max: 11, ..held.clone() },
            ExportRequest { not_after: later, ..held.clone() },
            ExportRequest { purpose: "moving on".into(), ..held.clone() },
            ExportRequest { person: Person::parse("two").unwrap(), ..held.clone() },
        ];
        assert!(changed.iter().all(|changed| changed.sha256().unwrap() != sha256));
    }

    #[test]
    fn only_one_spelling_of_an_age_key_is_a_recipient() {
        let right = request().recipient;
        assert!(recipient(&right).is_some());
        let upper = right.to_uppercase();
        for wrong in ["", "age1", upper.as_str(), &right[..61], "ssh-ed25519 AAAA", "AGE-SECRET-KEY-1"] {
            assert!(recipient(wrong).is_none(), "{wrong}");
        }
    }
}
