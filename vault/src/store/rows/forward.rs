//! What is kept of a forward beside its own row's columns: under which reference, on what grounds, what was said later.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use strongroom_domain::{DataKeyId, ForwardId, Timestamp, WorkloadId};

use super::ForwardState;

/// The merchant's payment reference of a forward. Tenant, route, account and time are the forward's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReferenceRow {
    /// The reference keyed, from `strongroom_sealing::reference_digest`. The reference itself is kept nowhere.
    pub digest: [u8; 32],
    /// The tenant's data key of purpose `fingerprint` it is keyed with.
    pub mac_key: DataKeyId,
}

/// The forward that holds a payment reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its id.
    pub forward: ForwardId,
    /// What is known of it.
    pub state: ForwardState,
}

/// Why a forward was opened: who asked, and by which rule. Kept as JSON; a later release may know more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForwardGrounds {
    /// SHA-256 of the caller's certificate in hex, as the proxy says.
    pub caller_cert_sha256: String,
    /// Where the caller's connection came from, as the proxy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<SocketAddr>,
    /// The path as the route lists it.
    pub call: String,
    /// SHA-256 of the route file in hex.
    pub route_sha256: String,
    /// The policies that permitted it.
    pub policies: Vec<String>,
    /// Version of the bundle that decided.
    pub bundle_version: u64,
    /// Content hash of that bundle in hex.
    pub bundle_sha256: String,
    /// The request that opened it: finds its audit entries.
    pub request_id: String,
    /// Whether it was opened under the merchant's payment reference, once for each.
    pub at_most_once: bool,
}

/// What somebody found out of a forward whose outcome was unknown. Kept as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reconciled {
    /// What the PSP says.
    pub says: PspSays,
    /// HTTP status of the PSP's answer, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The PSP's own name of the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psp_reference: Option<String>,
    /// On whose word.
    pub by: WorkloadId,
    /// When.
    pub at: Timestamp,
}

/// What a PSP says of a forward.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PspSays {
    /// It has the payment, whatever became of it: charged or declined.
    Answered,
    /// It never had it.
    NeverArrived,
}

impl PspSays {
    /// As the API and audit entries write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NeverArrived => "never-arrived",
        }
    }

    /// What is known of the forward from then on.
    #[must_use]
    pub const fn state(self) -> ForwardState {
        match self {
            Self::Answered => ForwardState::Answered,
            Self::NeverArrived => ForwardState::NotSent,
        }
    }
}
