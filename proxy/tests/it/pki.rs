//! Throw-away certificates: one CA for the house, one for the PSP.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use sha2::{Digest as _, Sha256};

/// A certificate and its key as files.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A CA and the folder its leaves are written to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
    folder: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file, folder: folder.to_owned() }
    }

    /// A server certificate for a DNS name and 127.0.0.1.
    pub(crate) fn server(&self, name: &str) -> Files {
        let sans =
            vec![SanType::DnsName(name.try_into().unwrap()), SanType::IpAddress([127, 0, 0, 1].into())];
        self.leaf(name, sans, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate for a workload of `strongroom.test`.
    pub(crate) fn client(&self, workload: &str) -> Files {
        let uri = format!("spiffe://strongroom.test/{workload}");
        let sans = vec![SanType::URI(uri.as_str().try_into().unwrap())];
        self.leaf(workload, sans, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn leaf(&self, name: &str, sans: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> Files {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.subject_alt_names = sans;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files {
            certificate: self.folder.join(format!("{name}.leaf.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        keep_private(&files.key);
        files
    }
}

/// SHA-256 of a certificate's public key, as routes pin it.
pub(crate) fn pin(certificate: &Path) -> String {
    let pem = std::fs::read(certificate).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    hex::encode(Sha256::digest(pem.parse_x509().unwrap().public_key().raw))
}

/// Others may not open a secret, or it is refused.
pub(crate) fn keep_private(path: &Path) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}
