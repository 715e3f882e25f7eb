//! Revocation lists, checked before they are used: one wrong list would refuse every caller.
//!
//! Promises: a list in use is signed by a CA of its listener, is in date, and is not older than the one it replaces.

use std::collections::BTreeMap;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, CertificateRevocationListDer};
use strongroom_domain::Timestamp;
use x509_parser::prelude::{
    ASN1Time, AlgorithmIdentifier as ParsedAlgorithm, CertificateRevocationList, FromDer, X509Certificate,
};

/// What is known of the lists in use, apart from their serials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    /// `thisUpdate` of each issuer's list, by the issuer's name (DER).
    issued: BTreeMap<Vec<u8>, Timestamp>,
    /// When the first of them ends.
    pub(crate) next_update: Option<Timestamp>,
}

impl Lists {
    /// Checks lists against the CAs they belong to, the time, and the lists they replace. The error says what to do.
    pub(crate) fn check(
        lists: &[CertificateRevocationListDer<'_>],
        authorities: &[CertificateDer<'_>],
        provider: &CryptoProvider,
        now: Timestamp,
        before: Option<&Self>,
    ) -> Result<Self, &'static str> {
        let mut checked = Self::default();
        for list in lists {
            let (rest, list) = CertificateRevocationList::from_der(list)
                .map_err(|_| "it is no X.509 revocation list; issue it anew")?;
            if !rest.is_empty() {
                return Err("something follows the revocation list; issue it anew");
            }
            if !authorities.iter().any(|authority| is_signed_by(&list, authority, provider)) {
                return Err("no ca of client_ca_file signed this revocation list; take the list of that ca");
            }
            let ends =
                list.next_update().ok_or("the revocation list has no nextUpdate; issue it with one")?;
            let (issued, ends) = (timestamp(list.last_update()), timestamp(ends));
            if ends <= now {
                return Err("the revocation list is past its nextUpdate; fetch the ca's current one");
            }
            let issuer = list.issuer().as_raw().to_vec();
            if before.and_then(|before| before.issued.get(&issuer)).is_some_and(|known| issued < *known) {
                return Err("the revocation list is older than the one in use; fetch the ca's current one");
            }
            checked.issued.insert(issuer, issued);
            checked.next_update = Some(checked.next_update.map_or(ends, |first| first.min(ends)));
        }
        Ok(checked)
    }

    /// These and those of another file.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.issued.extend(other.issued);
        self.next_update = self.next_update.into_iter().chain(other.next_update).min();
        self
    }
}

/// An X.509 time as a timestamp.
pub(crate) fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_unix_seconds(time.timestamp())
}

fn is_signed_by(
    list: &CertificateRevocationList<'_>,
    authority: &CertificateDer<'_>,
    provider: &CryptoProvider,
) -> bool {
    let Ok((_, authority)) = X509Certificate::from_der(authority) else { return false };
    if authority.subject().as_raw() != list.issuer().as_raw() {
        return false;
    }
    let key = authority.public_key();
    let (of_key, of_signature) = (identifier(&key.algorithm), identifier(&list.signature_algorithm));
    provider.signature_verification_algorithms.all.iter().any(|algorithm| {
        same(algorithm.public_key_alg_id(), &of_key)
            && same(algorithm.signature_alg_id(), &of_signature)
            && algorithm
                .verify_signature(
                    &key.subject_public_key.data,
                    list.tbs_cert_list.as_ref(),
                    &list.signature_value.data,
                )
                .is_ok()
    })
}

fn same(known: AlgorithmIdentifier, found: &[u8]) -> bool {
    known.as_ref() == found
}

/// The inside of an `AlgorithmIdentifier` SEQUENCE in DER, as `rustls-pki-types` compares it. Lengths here are below 128.
fn identifier(algorithm: &ParsedAlgorithm<'_>) -> Vec<u8> {
    let oid = algorithm.algorithm.as_bytes();
    let mut der = vec![0x06, oid.len() as u8];
    der.extend_from_slice(oid);
    if let Some(parameters) = &algorithm.parameters {
        let tag = parameters.tag().0 as u8 | u8::from(parameters.header.is_constructed()) << 5;
        der.extend_from_slice(&[tag, parameters.data.len() as u8]);
        der.extend_from_slice(parameters.data);
    }
    der
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod,
        KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
    };

    use super::*;

    fn authority(key: KeyPair) -> (CertificateDer<'static>, CertificateRevocationListDer<'static>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 2, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::new(params, key)).unwrap();
        (certificate, list.der().clone())
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn lists_of_every_kind_of_ca_are_verified() {
        let provider = crate::tls::provider();
        let keys = [
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyPair::generate_for(&rcgen::PKCS_ED25519),
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048),
        ];
        for key in keys {
            let (authority_certificate, list) = authority(key.unwrap());
            let (stranger, _) = authority(KeyPair::generate().unwrap());
            let now = at("2026-01-15T00:00:00Z");
            let check = |by| Lists::check(std::slice::from_ref(&list), &[by], &provider, now, None);
            let checked = check(authority_certificate).unwrap();
            assert_eq!(checked.next_update, Some(at("2026-02-01T00:00:00Z")));
            assert!(
                check(stranger).unwrap_err().starts_with("no ca of client_ca_file"),
                "same name, other key"
            );
        }
    }

    #[test]
    fn a_list_is_used_until_it_ends_and_not_a_second_longer() {
        let (certificate, list) = authority(KeyPair::generate().unwrap());
        let check = |now| {
            Lists::check(
                std::slice::from_ref(&list),
                std::slice::from_ref(&certificate),
                &crate::tls::provider(),
                now,
                None,
            )
        };
        assert!(check(at("2026-01-31T23:59:59Z")).is_ok());
        assert!(check(at("2026-02-01T00:00:00Z")).is_err());
    }
}
