//! Signatures of people: by the key of the certificate they connect with, whatever kind of key it is.
//!
//! Promises: a signature holds only if the certificate's own key made it over exactly these bytes, with the one algorithm its kind of key
//! has here.
//! Does not promise: that the certificate is anybody's. The listener has verified it where a review is filed.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;

use super::record::signed_bytes;

/// Longest signature: RSA of 8192 bits.
pub const SIGNATURE_BYTES_MAX: usize = 1_024;
/// One for each kind of key: ECDSA on the curves of NIST, Ed25519, RSA (PSS).
const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

/// Not signed by that key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Certificate,
    /// Its key did not make this signature over these bytes.
    #[error("the certificate's key did not make this signature")]
    Signature,
}

/// Nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key is of a kind this program does not sign with.
    #[error("the key is none of ECDSA P-256 or P-384, Ed25519, RSA")]
    Key,
    /// Signing failed.
    #[error("signing failed")]
    Failed,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Signs a record.
pub fn sign(record: &str, key: PrivateKeyDer<'static>) -> Result<Vec<u8>, SignError> {
    let key = provider().key_provider.load_private_key(key).map_err(|_| SignError::Key)?;
    let signer = key.choose_scheme(&SCHEMES).ok_or(SignError::Key)?;
    signer.sign(&signed_bytes(record)).map_err(|_| SignError::Failed)
}

/// Whether the key of this certificate (DER) signed this record.
pub fn verify(record: &str, signature: &[u8], certificate: &[u8]) -> Result<(), Unsigned> {
    let certificate = CertificateDer::from(certificate);
    let certificate = EndEntityCert::try_from(&certificate).map_err(|_| Unsigned::Certificate)?;
    let message = signed_bytes(record);
    let known = provider().signature_verification_algorithms.mapping;
    let algorithms = known.iter().filter(|(scheme, _)| SCHEMES.contains(scheme));
    // As TLS 1.3 does it: the first algorithm of a scheme is the one of its kind of key.
    let holds = algorithms
        .filter_map(|(_, algorithms)| algorithms.first())
        .any(|algorithm| certificate.verify_signature(*algorithm, &message, signature).is_ok());
    if holds { Ok(()) } else { Err(Unsigned::Signature) }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivatePkcs8KeyDer;

    use super::*;

    fn identity(kind: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, PrivateKeyDer<'static>) {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        (certificate.der().to_vec(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    #[test]
    fn every_kind_of_key_signs_and_no_other_key_or_text_passes() {
        let (stranger, _) = identity(&rcgen::PKCS_ECDSA_P256_SHA256);
        for kind in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let (certificate, key) = identity(kind);
            let signature = sign("{}", key).unwrap();
            assert!(signature.len() <= SIGNATURE_BYTES_MAX);
            assert_eq!(verify("{}", &signature, &certificate), Ok(()), "{kind:?}");
            assert_eq!(verify("{ }", &signature, &certificate), Err(Unsigned::Signature), "{kind:?}");
            assert_eq!(verify("{}", &signature, &stranger), Err(Unsigned::Signature), "{kind:?}");
            let mut other = signature.clone();
            let last = other.len() - 1;
            other[last] ^= 1;
            assert_eq!(verify("{}", &other, &certificate), Err(Unsigned::Signature), "{kind:?}");
            assert_eq!(verify("{}", &[], &certificate), Err(Unsigned::Signature), "{kind:?}");
            assert_eq!(verify("{}", &signature, &certificate[1..]), Err(Unsigned::Certificate), "{kind:?}");
        }
    }
}
