//! Why a peer was refused, in words that logs, metrics and audit entries share.

use std::io;
use std::net::SocketAddr;

use rustls::{CertificateError, Error, PeerIncompatible};

/// A peer that was refused: in its handshake, or later because its certificate no longer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeRefusal {
    /// Where it connected from.
    pub peer: SocketAddr,
    /// One of the words of [`REASONS`].
    pub reason: &'static str,
    /// SHA-256 of the certificate it presented (DER). It has not always proven to hold the key.
    pub certificate_sha256: Option<[u8; 32]>,
}

/// Told of every refusal, so that a service can write it to its audit log.
///
/// Called on the connection's task: it must not block. Whoever reaches the port can cause refusals, so it must bound what
/// it keeps of them.
pub trait HandshakeObserver: Send + Sync {
    /// A peer was refused.
    fn refused(&self, refusal: HandshakeRefusal);
}

/// The words. Tests hold each to a case; a dashboard may list them.
pub const REASONS: &[&str] = &[
    NO_CERTIFICATE,
    "unknown-ca",
    "expired",
    "not-yet-valid",
    "revoked",
    "revocation-unknown",
    "revocation-list-expired",
    "wrong-purpose",
    "bad-signature",
    "certificate",
    CA_CERTIFICATE,
    KEY_USAGE,
    IDENTITY_NONE,
    IDENTITY_AMBIGUOUS,
    IDENTITY_MALFORMED,
    IDENTITY_UNKNOWN,
    "tls-version",
    "tls-parameters",
    "not-tls",
    TIMEOUT,
];

pub(crate) const NO_CERTIFICATE: &str = "no-certificate";
pub(crate) const CA_CERTIFICATE: &str = "ca-certificate";
pub(crate) const KEY_USAGE: &str = "key-usage";
pub(crate) const IDENTITY_NONE: &str = "identity-none";
pub(crate) const IDENTITY_AMBIGUOUS: &str = "identity-ambiguous";
pub(crate) const IDENTITY_MALFORMED: &str = "identity-malformed";
pub(crate) const IDENTITY_UNKNOWN: &str = "identity-unknown";
pub(crate) const TIMEOUT: &str = "timeout";

/// The word for a failed handshake; none where the peer simply went away or refused us.
pub(crate) fn of_handshake(error: &io::Error) -> Option<&'static str> {
    of_error(error.get_ref()?.downcast_ref::<Error>()?)
}

fn of_error(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::AlertReceived(_) => return None,
        Error::NoCertificatesPresented => NO_CERTIFICATE,
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "tls-version",
        Error::InvalidMessage(_) => "not-tls",
        _ => "tls-parameters",
    })
}

/// The word for a certificate that did not verify.
pub(crate) fn of_certificate_error(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        _ => "certificate",
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "unknown-ca",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not-yet-valid",
        CertificateError::Revoked => "revoked",
        CertificateError::UnknownRevocationStatus => "revocation-unknown",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "revocation-list-expired"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "wrong-purpose",
        CertificateError::BadSignature => "bad-signature",
        _ => "certificate",
    }
}
