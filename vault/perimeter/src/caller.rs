//! Who is calling: the identity mTLS has established, as every request carries it.
//!
//! Promises: a `Caller` in a request's extensions was made from a verified client certificate that was in date and not
//! revoked when the request arrived.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use strongroom_domain::{Problem, ProblemKind, WorkloadId};

use crate::problem::ProblemResponse;
use crate::request::RequestInfo;

/// The peer of an mTLS connection. Handlers take it as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its name: a SPIFFE ID, or `dns:` and a configured host name.
    pub workload: WorkloadId,
    /// SHA-256 of its certificate (DER).
    pub certificate_sha256: [u8; 32],
    /// The address it connected from.
    pub peer: SocketAddr,
    /// What the connection negotiated.
    pub tls: TlsFacts,
}

/// What a connection negotiated, as logs, audit entries and evidence show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFacts {
    /// Protocol version: `TLSv1_3`.
    pub version: &'static str,
    /// Cipher suite: `TLS13_AES_256_GCM_SHA384`.
    pub suite: &'static str,
    /// Key exchange group: `X25519MLKEM768`.
    pub group: &'static str,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ProblemResponse;

    /// The caller of this request; `internal` where the router is served without the listener (a defect).
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ProblemResponse(Problem::new(ProblemKind::Internal), RequestInfo::id_of(parts)))
    }
}
