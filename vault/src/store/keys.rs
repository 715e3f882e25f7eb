//! The key store the sealing crate asks for.

use strongroom_domain::{DataKeyId, TenantId, Timestamp};

/// What a data key is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// Seals cards.
    Card,
    /// Fingerprints numbers.
    Fingerprint,
    /// Digests requests.
    Idempotency,
    /// Derives the MACs of audit entries.
    AuditSigning,
}

impl Purpose {
    /// As contexts and the store write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Fingerprint => "fingerprint",
            Self::Idempotency => "idempotency",
            Self::AuditSigning => "audit-signing",
        }
    }
}

/// Whose a data key is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyScope {
    /// The service's own.
    Service,
    /// A tenant's.
    Tenant(TenantId),
}

/// NIST SP 800-57 part 1 §7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each variant is a state of SP 800-57")]
pub enum KeyState {
    PreActivation,
    Active,
    Suspended,
    Deactivated,
    Compromised,
    Destroyed,
}

/// A data key as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrappedKey {
    /// Its id.
    pub id: DataKeyId,
    /// Whose it is.
    pub scope: KeyScope,
    /// What it is for.
    pub purpose: Purpose,
    /// The wrapped bytes.
    pub wrapped: Vec<u8>,
    /// Which KMS provider wrapped it.
    pub provider: String,
    /// Under which key there.
    pub kms_key: String,
    /// Its state.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it seals.
    pub seals_until: Timestamp,
}
