//! Pinned keys: beyond a valid chain, one of the keys in it must be known.
//!
//! Promises: a certificate is verified as without pins, and then by a path that holds a pinned key: the PSP's own, an
//! intermediate's or the root's. Only keys of the verified path count: what else a server sends along does not.
//! Does not promise: that a stolen key of the PSP is noticed.
//! Upholds: C-48.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// No key of the verified path is pinned.
#[derive(Debug, thiserror::Error)]
#[error("no key of the certificate's path is pinned")]
struct Unpinned;

/// Verifies by the roots, then by the pins.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    by_roots: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    pins: BTreeSet<[u8; 32]>,
}

impl PinnedVerifier {
    /// A verifier; `pins` is not empty.
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        pins: BTreeSet<[u8; 32]>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let algorithms = provider.signature_verification_algorithms;
        let by_roots = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider).build()?;
        Ok(Self { by_roots, roots, algorithms, pins })
    }

    fn is_pinned(&self, path: &VerifiedPath<'_>) -> bool {
        let holds = |spki: &[u8]| self.pins.contains(&<[u8; 32]>::from(Sha256::digest(spki)));
        holds(&path.end_entity().subject_public_key_info())
            || path.intermediate_certificates().any(|one| holds(&one.subject_public_key_info()))
            || holds(&spki_of(path.anchor()))
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.by_roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let unpinned = || Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Unpinned))));
        let leaf = EndEntityCert::try_from(end_entity).map_err(|_| unpinned())?;
        let pinned = |path: &VerifiedPath<'_>| {
            if self.is_pinned(path) { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
        };
        leaf.verify_for_usage(
            self.algorithms.all,
            &self.roots.roots,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&pinned),
        )
        .map_err(|_| unpinned())?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.by_roots.root_hint_subjects()
    }
}

/// A root's public key as DER: roots are kept without the outer SEQUENCE (X.690 §8.1.3).
fn spki_of(anchor: &TrustAnchor<'_>) -> Vec<u8> {
    let content = anchor.subject_public_key_info.as_ref();
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![0x30];
    match significant {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            der.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}

/// Whether a connection failed for want of a pinned key.
#[must_use]
pub fn is_unpinned(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) if other.is::<Unpinned>())
}

#[cfg(test)]
mod tests;
