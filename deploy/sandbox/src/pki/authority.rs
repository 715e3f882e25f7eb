//! One root: it signs leaves and its revocation list.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use strongroom_domain::Timestamp;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use zeroize::Zeroizing;

use super::mint::{MintOptions, Usage};
use super::{Identity, LEAF_DAYS, RENEW_BEFORE_DAYS, files, provider};

/// How long a root lives.
const ROOT_DAYS: i64 = 730;
const DAY_SECONDS: i64 = 86_400;

/// Why the infrastructure cannot be opened or a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not the PEM it should be.
    #[error("{} is not the pem it should be: {source}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate or a list cannot be read.
    #[error("a certificate or a revocation list cannot be parsed")]
    Unreadable,
    /// A name that is no file name.
    #[error("name is not letters, digits, dots, dashes and underscores")]
    Name,
    /// A certificate cannot be made.
    #[error("cannot make the certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// TLS refuses what was made.
    #[error("tls refuses the certificate: {0}")]
    Tls(#[from] rustls::Error),
}

impl PkiError {
    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }

    pub(super) fn pem(path: &Path, source: rustls_pki_types::pem::Error) -> Self {
        Self::Pem { path: path.to_path_buf(), source }
    }
}

pub(super) struct Authority {
    /// Common name.
    pub(super) name: &'static str,
    pub(super) certificate_file: PathBuf,
    pub(super) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Authority {
    pub(super) fn open_or_create(
        folder: &Path,
        stem: &str,
        name: &'static str,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let files = files::identity(folder, stem)?;
        if let Some(authority) = Self::open(&files, name, now) {
            return Ok(authority);
        }
        let (authority, certificate_pem, key_pem) = Self::generate(name, now)?;
        files::write_key(&files.key_pem_path, &key_pem)?;
        files::write_public(&files.certificate_pem_path, &certificate_pem)?;
        Ok(Self { certificate_file: files.certificate_pem_path, ..authority })
    }

    /// A root that is in no file.
    pub(super) fn in_memory(name: &'static str, now: Timestamp) -> Result<Self, PkiError> {
        Ok(Self::generate(name, now)?.0)
    }

    /// The root on disk, if key and certificate belong together and every leaf it signs now would end before it.
    fn open(files: &Identity, name: &'static str, now: Timestamp) -> Option<Self> {
        let key = Zeroizing::new(std::fs::read_to_string(&files.key_pem_path).ok()?);
        let key = KeyPair::from_pem(&key).ok()?;
        let certificate = files.certificate().ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        let ends = parsed.validity().not_after.timestamp();
        let needed = now.unix_seconds() + days(LEAF_DAYS + RENEW_BEFORE_DAYS);
        if ends < needed || parsed.public_key().raw != key.subject_public_key_info() {
            return None;
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        Some(Self { name, certificate_file: files.certificate_pem_path.clone(), certificate, issuer })
    }

    /// A new root, its certificate and its key as PEM.
    fn generate(name: &'static str, now: Timestamp) -> Result<(Self, String, Zeroizing<String>), PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let start = now.unix_seconds() - DAY_SECONDS;
        (params.not_before, params.not_after) = (date(start), date(start + ROOT_DAYS * DAY_SECONDS));
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let signed = params.self_signed(&key)?;
        let certificate = signed.der().clone();
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let authority = Self { name, certificate_file: PathBuf::new(), certificate, issuer };
        Ok((authority, signed.pem(), key_pem))
    }

    /// Makes a new key and a certificate over it. The serial number is drawn from the key (rcgen's default).
    pub(super) fn issue(
        &self,
        options: &MintOptions,
        common: &str,
        files: &Identity,
        now: Timestamp,
    ) -> Result<(), PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(common);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match options.usage {
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        for uri in &options.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        for name in &options.dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(options.addresses.iter().copied().map(SanType::IpAddress));
        let (start, end) = options.lifetime.bounds(now.unix_seconds());
        (params.not_before, params.not_after) = (date(start), date(end));
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        // The key first: a certificate whose key never came is noticed and made again.
        files::write_key(&files.key_pem_path, &Zeroizing::new(key.serialize_pem()))?;
        files::write_public(&files.certificate_pem_path, &certificate.pem())
    }

    /// Whether what is on disk would be accepted as what `options` asks for, now and until renewal is due.
    pub(super) fn would_accept(&self, identity: &Identity, options: &MintOptions, now: Timestamp) -> bool {
        self.accepts(identity, options, now) == Some(true)
    }

    fn accepts(&self, identity: &Identity, options: &MintOptions, now: Timestamp) -> Option<bool> {
        let certificate = identity.certificate().ok()?;
        let key = provider().key_provider.load_private_key(identity.key().ok()?).ok()?;
        CertifiedKey::new(vec![certificate.clone()], key).keys_match().ok()?;
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).ok()?;
        let roots = Arc::new(roots);
        let then = now.unix_seconds() + days(RENEW_BEFORE_DAYS);
        let then = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(then).ok()?));
        match options.usage {
            Usage::Client => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build().ok()?;
                verifier.verify_client_cert(&certificate, &[], then).ok()?;
            }
            Usage::Server => {
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().ok()?;
                for name in &options.dns {
                    let name = ServerName::try_from(name.replace('*', "any")).ok()?;
                    verifier.verify_server_cert(&certificate, &[], &name, &[], then).ok()?;
                }
            }
        }
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        Some(uris(&parsed) == options.uris)
    }

    /// Makes the revocation list anew if it is absent, another root's, or near its end. What was revoked stays so.
    pub(super) fn renew_crl(&self, path: &Path, now: Timestamp) -> Result<(), PkiError> {
        let (revoked, ends) = self.read_crl(path);
        if ends < now.unix_seconds() + days(RENEW_BEFORE_DAYS) {
            self.write_crl(path, revoked, now)?;
        }
        Ok(())
    }

    pub(super) fn revoke(
        &self,
        path: &Path,
        certificate: &CertificateDer<'_>,
        now: Timestamp,
    ) -> Result<(), PkiError> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| PkiError::Unreadable)?;
        let (mut revoked, _) = self.read_crl(path);
        let serial = SerialNumber::from_slice(parsed.raw_serial());
        if !revoked.iter().any(|entry| entry.serial_number == serial) {
            revoked.push(RevokedCertParams {
                serial_number: serial,
                revocation_time: date(now.unix_seconds()),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            });
        }
        self.write_crl(path, revoked, now)
    }

    /// What the list on disk revokes and when it ends; nothing and long ago if there is none of this root.
    fn read_crl(&self, path: &Path) -> (Vec<RevokedCertParams>, i64) {
        const NONE: (Vec<RevokedCertParams>, i64) = (Vec::new(), i64::MIN);
        let Ok(list) = CertificateRevocationListDer::from_pem_file(path) else { return NONE };
        let Ok((_, list)) = x509_parser::parse_x509_crl(&list) else { return NONE };
        let Ok((_, root)) = x509_parser::parse_x509_certificate(&self.certificate) else { return NONE };
        // The name alone does not tell one root from its successor; the key identifier does (RFC 5280 §5.2.1).
        if authority_key_id(list.extensions()).is_none_or(|id| Some(id) != subject_key_id(&root)) {
            return NONE;
        }
        let revoked = list.iter_revoked_certificates().map(|entry| RevokedCertParams {
            serial_number: SerialNumber::from_slice(entry.raw_serial()),
            revocation_time: entry.revocation_date.to_datetime(),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        (revoked.collect(), list.next_update().map_or(i64::MIN, |time| time.timestamp()))
    }

    fn write_crl(
        &self,
        path: &Path,
        revoked_certs: Vec<RevokedCertParams>,
        now: Timestamp,
    ) -> Result<(), PkiError> {
        let params = CertificateRevocationListParams {
            this_update: date(now.unix_seconds() - 300),
            next_update: date(now.unix_seconds() + days(LEAF_DAYS)),
            // Rises with every list that is written, across restarts.
            crl_number: SerialNumber::from(now.unix_millis()),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        files::write_public(path, &params.signed_by(&self.issuer)?.pem()?)
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| extension.value.general_names.iter());
    names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect()
}

fn authority_key_id(extensions: &[X509Extension<'_>]) -> Option<Vec<u8>> {
    extensions.iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn days(days: u64) -> i64 {
    i64::try_from(days).unwrap_or(i64::MAX / DAY_SECONDS).saturating_mul(DAY_SECONDS)
}

fn date(unix_seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
