//! What a data key is for, whose it is, and how it is named to the KMS and kept in the store.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use strongroom_domain::{DataKeyId, Environment, TenantId, Timestamp};

/// How long a data key seals: its originator-usage period (SP 800-57 part 1 §5.3.6). Afterwards it only opens.
pub const SEALS_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Fingerprint keys seal until they are re-keyed: a new key would forget which cards are known.
const FINGERPRINT_SEALS_FOR: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// What a data key is for. One key, one purpose (SP 800-57 part 1 §5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// Seals card records.
    Card,
    /// Fingerprints card numbers.
    Fingerprint,
    /// Digests the bodies of idempotent requests.
    Idempotency,
    /// Authenticates audit entries. The service's own.
    AuditSigning,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::Card, Self::Fingerprint, Self::Idempotency, Self::AuditSigning];

    /// As formats and the store write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Fingerprint => "fingerprint",
            Self::Idempotency => "idempotency",
            Self::AuditSigning => "audit-signing",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }

    /// How long a key of this purpose is the active one.
    #[must_use]
    pub const fn seals_for(self) -> Duration {
        match self {
            Self::Fingerprint => FINGERPRINT_SEALS_FOR,
            Self::Card | Self::Idempotency | Self::AuditSigning => SEALS_FOR,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose key it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyScope {
    /// The service's own.
    Service,
    /// One tenant's.
    Tenant(TenantId),
}

impl KeyScope {
    /// `-` or the tenant. No tenant is called `-`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Service => "-",
            Self::Tenant(tenant) => tenant.as_str(),
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "-" { Some(Self::Service) } else { TenantId::parse(text).ok().map(Self::Tenant) }
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name a key is wrapped under: the KMS's encryption context. A wrapped key moved to another tenant, purpose or
/// id does not unwrap.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyContext {
    /// Live or test.
    pub environment: Environment,
    /// Whose.
    pub scope: KeyScope,
    /// What for.
    pub purpose: Purpose,
    /// Which.
    pub key_id: DataKeyId,
}

impl KeyContext {
    /// Names and values of the encryption context (design §4, "Keys").
    #[must_use]
    pub fn pairs(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("app", "strongroom".to_owned()),
            ("environment", self.environment.to_string()),
            ("tenant", self.scope.to_string()),
            ("purpose", self.purpose.to_string()),
            ("key_id", self.key_id.to_string()),
        ])
    }

    /// The same as RFC 8785 JSON.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        serde_json_canonicalizer::to_vec(&self.pairs()).expect("a map of strings has a canonical form")
    }
}

/// Where a key is in its life (SP 800-57 part 1 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyState {
    /// Made, not yet used.
    PreActivation,
    /// Seals and opens.
    Active,
    /// Stopped by a custodian: neither seals nor opens until it is resumed.
    Suspended,
    /// Only opens.
    Deactivated,
    /// Known or suspected to be known to others. Only opens, so that records can be re-encrypted away from it.
    Compromised,
    /// Gone.
    Destroyed,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::PreActivation,
        Self::Active,
        Self::Suspended,
        Self::Deactivated,
        Self::Compromised,
        Self::Destroyed,
    ];

    /// As the store and the key inventory write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreActivation => "pre-activation",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether a key in this state may seal.
    #[must_use]
    pub const fn seals(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether a key in this state may open what it sealed.
    #[must_use]
    pub const fn opens(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated | Self::Compromised)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A data key as the store keeps it: wrapped by the KMS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrappedKey {
    /// Its name, in records and in the encryption context.
    pub id: DataKeyId,
    /// Whose.
    pub scope: KeyScope,
    /// What for.
    pub purpose: Purpose,
    /// The KMS's blob. Its length is the provider's affair.
    pub wrapped: Vec<u8>,
    /// Which provider wrapped it: [`crate::Kms::provider`].
    pub provider: String,
    /// The KMS key it is wrapped under. For the inventory, and a hint among keys the configuration trusts.
    pub kms_key: String,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops sealing.
    pub seals_until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
        }
        for state in KeyState::ALL {
            assert_eq!(KeyState::parse(state.as_str()), Some(state));
            assert!(!state.seals() || state.opens());
        }
        for scope in [KeyScope::Service, KeyScope::Tenant(TenantId::parse("acme").unwrap())] {
            assert_eq!(KeyScope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Purpose::parse("Card"), None);
        assert_eq!(KeyState::parse(""), None);
        assert_eq!(KeyScope::parse("--"), None);
    }

    #[test]
    fn the_context_is_the_vectors_bytes() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/wrapped_key.json")).unwrap();
        let case = &vectors["cases"][0];
        let context = KeyContext {
            environment: Environment::Test,
            scope: KeyScope::parse(case["context"]["tenant"].as_str().unwrap()).unwrap(),
            purpose: Purpose::Card,
            key_id: DataKeyId::parse(case["context"]["key_id"].as_str().unwrap()).unwrap(),
        };
        assert_eq!(context.canonical(), case["context_bytes"].as_str().unwrap().as_bytes());
        assert_eq!(serde_json::to_value(context.pairs()).unwrap(), case["context"]);
    }
}
