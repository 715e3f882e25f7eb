//! Reviews: that a person looked at who can do what, or at what is on the log, and answers for it (PCI DSS 7.2.4, 7.2.5.1, 10.4.1).
//!
//! Promises: a review names what was reviewed by its hash, is signed by the key of the certificate its person connects with, follows the
//! one before by number and hash, and is on the log. Whoever has record, signature and certificate verifies it alone.
//! Does not promise: that anybody read what was signed for.
//! Trusts: the policy bundle for whose identity a certificate is.
//! Upholds: C-68.

mod config;
mod digest;
mod record;
mod signature;

pub(crate) use config::due_after;
pub use config::{ReviewsConfig, Standing};
pub use digest::{DigestError, DigestEvent, LogDigest, Until, digest};
pub use record::{
    AccessSubject, InvalidRecord, LogSubject, RECORD_BYTES_MAX, REMARKS_BYTES_MAX, ReviewRecord, Says,
    access_sha256, record_sha256,
};
pub use signature::{SIGNATURE_BYTES_MAX, SignError, Unsigned, sign, verify};

use serde::{Deserialize, Serialize};

use crate::audit::Event;

/// What is reviewed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewKind {
    /// The access matrix of the policy bundle in force.
    Access,
    /// The log since the last review of it.
    Log,
}

impl ReviewKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Access, Self::Log];

    /// As records, paths and the store write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Log => "log",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The event a review of it is on the log as.
    #[must_use]
    pub const fn event(self) -> Event {
        match self {
            Self::Access => Event::ReviewAccess,
            Self::Log => Event::ReviewLog,
        }
    }
}
