//! The name a client certificate gives its holder (SPIFFE X509-SVID §2, §4; RFC 5280 §4.2).
//!
//! Promises: exactly one name, or a refusal. A certificate of an authority never names a workload.

use std::collections::BTreeSet;

use strongroom_domain::WorkloadId;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::refusal;

/// The DNS names accepted in place of a SPIFFE ID, lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DnsIdentities(BTreeSet<String>);

impl DnsIdentities {
    /// Takes names that [`WorkloadId`] accepts; returns `None` if one is not.
    pub(crate) fn parse(names: &[String]) -> Option<Self> {
        names
            .iter()
            .map(|name| WorkloadId::parse(&format!("dns:{name}")).ok().map(|_| name.clone()))
            .collect::<Option<BTreeSet<_>>>()
            .map(Self)
    }
}

/// The workload a certificate names, or the reason it names none.
pub(crate) fn identify(certificate: &[u8], allowed: &DnsIdentities) -> Result<WorkloadId, &'static str> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| refusal::IDENTITY_MALFORMED)?;
    if is_authority(&certificate) {
        return Err(refusal::CA_CERTIFICATE);
    }
    check_key_usage(&certificate)?;
    let names = certificate.subject_alternative_name().map_err(|_| refusal::IDENTITY_MALFORMED)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = names.iter().filter_map(uri).collect();
    match uris.as_slice() {
        [uri] if uri.starts_with("spiffe://") => {
            WorkloadId::parse(uri).map_err(|_| refusal::IDENTITY_MALFORMED)
        }
        [_] => Err(refusal::IDENTITY_MALFORMED),
        [] => dns_identity(names, allowed),
        _ => Err(refusal::IDENTITY_AMBIGUOUS),
    }
}

/// Whether it says of itself that it may sign certificates.
pub(crate) fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    certificate.is_ca()
        || certificate.key_usage().is_ok_and(|usage| {
            usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign())
        })
}

/// A key usage must be there and allow signatures; an extended one, where there is one, must allow clients.
fn check_key_usage(certificate: &X509Certificate<'_>) -> Result<(), &'static str> {
    let usage = certificate.key_usage().map_err(|_| refusal::KEY_USAGE)?;
    if !usage.is_some_and(|usage| usage.value.digital_signature()) {
        return Err(refusal::KEY_USAGE);
    }
    let extended = certificate.extended_key_usage().map_err(|_| refusal::KEY_USAGE)?;
    if extended.is_some_and(|extended| !extended.value.client_auth) {
        return Err(refusal::KEY_USAGE);
    }
    Ok(())
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}

fn dns_identity(names: &[GeneralName<'_>], allowed: &DnsIdentities) -> Result<WorkloadId, &'static str> {
    let mut found = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    match (found.next(), found.next()) {
        (None, _) => Err(refusal::IDENTITY_NONE),
        (Some(_), Some(_)) => Err(refusal::IDENTITY_AMBIGUOUS),
        (Some(name), None) if allowed.0.contains(name) => {
            WorkloadId::parse(&format!("dns:{name}")).map_err(|_| refusal::IDENTITY_MALFORMED)
        }
        (Some(_), None) => Err(refusal::IDENTITY_UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    };

    use super::*;

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn identity(
        names: Vec<SanType>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<String, &'static str> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let allowed = DnsIdentities::parse(&["batch.internal".into()]).unwrap();
        identify(certificate.der(), &allowed).map(|workload| workload.to_string())
    }

    #[test]
    fn one_spiffe_id_or_one_configured_dns_name_is_an_identity() {
        assert_eq!(identity(vec![uri("spiffe://a.test/b")], |_| {}).unwrap(), "spiffe://a.test/b");
        assert_eq!(
            identity(vec![uri("spiffe://a.test/b"), dns("other.internal")], |_| {}).unwrap(),
            "spiffe://a.test/b"
        );
        assert_eq!(identity(vec![dns("batch.internal")], |_| {}).unwrap(), "dns:batch.internal");
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let refused = |names| identity(names, |_| {}).unwrap_err();
        assert_eq!(refused(vec![]), refusal::IDENTITY_NONE);
        assert_eq!(refused(vec![dns("other.internal")]), refusal::IDENTITY_UNKNOWN);
        assert_eq!(refused(vec![dns("batch.internal"), dns("other.internal")]), refusal::IDENTITY_AMBIGUOUS);
        assert_eq!(refused(vec![uri("spiffe://a/b"), uri("spiffe://a/c")]), refusal::IDENTITY_AMBIGUOUS);
        assert_eq!(refused(vec![uri("spiffe://a/b"), uri("https://a/c")]), refusal::IDENTITY_AMBIGUOUS);
        assert_eq!(refused(vec![uri("https://a/c"), dns("batch.internal")]), refusal::IDENTITY_MALFORMED);
        assert_eq!(refused(vec![uri("spiffe://a")]), refusal::IDENTITY_MALFORMED);
    }

    #[test]
    fn an_authority_or_a_key_for_something_else_is_refused() {
        let refused =
            |change: fn(&mut CertificateParams)| identity(vec![uri("spiffe://a/b")], change).unwrap_err();
        assert_eq!(
            refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            refusal::CA_CERTIFICATE
        );
        assert_eq!(
            refused(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign)),
            refusal::CA_CERTIFICATE
        );
        assert_eq!(refused(|params| params.key_usages.clear()), refusal::KEY_USAGE);
        assert_eq!(
            refused(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            refusal::KEY_USAGE
        );
    }
}
