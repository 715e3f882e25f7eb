//! One peer: verified in its handshake, and again for every request for as long as its connection lives.
//!
//! Promises: a request is served only while the certificate is in date, its chain leads to a current CA and no current
//! list revokes it. The chain is verified anew whenever trust was reloaded or a list or certificate has ended.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use strongroom_domain::{Timestamp, WorkloadId};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::{DnsIdentities, identify, is_authority};
use super::refusal;
use super::trust::{Trust, unix_time};
use crate::tls::revocation::timestamp;

/// Verifies the peer of one connection: the chain as always, then that it names exactly one workload.
/// Remembers what it saw, because a failed handshake leaves nothing else to tell of.
pub(crate) struct PeerVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    dns_identities: Arc<DnsIdentities>,
    seen: OnceLock<Seen>,
}

/// What a peer presented.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) certificate_sha256: [u8; 32],
    pub(crate) identity: Result<WorkloadId, &'static str>,
}

impl PeerVerifier {
    /// A verifier; none where the listener asks nobody for a certificate.
    pub(crate) fn new(trust: &Trust, dns_identities: &Arc<DnsIdentities>) -> Option<Self> {
        let inner = trust.verifier.clone()?;
        Some(Self { inner, dns_identities: Arc::clone(dns_identities), seen: OnceLock::new() })
    }

    /// What the peer presented, if it came so far.
    pub(crate) fn seen(&self) -> Option<&Seen> {
        self.seen.get()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now);
        let identity = match &verified {
            Ok(_) => identify(end_entity, &self.dns_identities),
            Err(_) if names_an_authority(end_entity) => Err(refusal::CA_CERTIFICATE),
            Err(error) => Err(refusal::of_certificate_error(error)),
        };
        let refused = identity.is_err();
        let seen = Seen { certificate_sha256: Sha256::digest(end_entity).into(), identity };
        // A handshake presents one certificate; a second call would find the first one's answer in place.
        if self.seen.set(seen).is_err() || (refused && verified.is_ok()) {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerVerifier(..)")
    }
}

fn names_an_authority(certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| is_authority(&certificate))
}

/// A connected peer's chain, and until when the last verification of it holds.
pub(crate) struct Standing {
    chain: Vec<CertificateDer<'static>>,
    not_after: Timestamp,
    holds: Mutex<Holds>,
}

#[derive(Clone, Copy)]
struct Holds {
    generation: u64,
    /// When a list ends that the verification relied on.
    until: Option<Timestamp>,
}

impl Standing {
    /// The standing of a peer whose handshake `trust` verified. `None` for a chain that does not parse.
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>, trust: &Trust) -> Option<Self> {
        let not_after = chain.iter().map(|certificate| ends(certificate)).min()??;
        let holds = Holds { generation: trust.generation, until: trust.lists.next_update };
        Some(Self { chain, not_after, holds: Mutex::new(holds) })
    }

    /// Whether the peer may still be served; else the reason.
    pub(crate) fn check(&self, trust: &Trust, now: Timestamp) -> Result<(), &'static str> {
        if now >= self.not_after {
            return Err("expired");
        }
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if holds.generation == trust.generation && holds.until.is_none_or(|until| now < until) {
            return Ok(());
        }
        let (end_entity, intermediates) = self.chain.split_first().ok_or("certificate")?;
        let verifier = trust.verifier.as_ref().ok_or("certificate")?;
        verifier
            .verify_client_cert(end_entity, intermediates, unix_time(now))
            .map_err(|error| refusal::of_certificate_error(&error))?;
        // A list that has ended but says nothing of this peer is looked at again with the next request.
        *holds = Holds { generation: trust.generation, until: trust.lists.next_update };
        Ok(())
    }
}

fn ends(certificate: &[u8]) -> Option<Timestamp> {
    X509Certificate::from_der(certificate)
        .ok()
        .map(|(_, certificate)| timestamp(certificate.validity().not_after))
}
