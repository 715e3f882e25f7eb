//! What is measured on this machine: the program, the configuration, the certificates it is configured with.
//!
//! Promises: keys are never opened: only files the configuration names as certificates, authorities and revocation lists are read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use strongroom_domain::Timestamp;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use crate::config::VaultConfig;

/// The running program, also if its file was replaced since.
const SELF: &str = "/proc/self/exe";
/// Read at once.
const CHUNK: usize = 64 * 1024;

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Measured {
    /// SHA-256 of the running program's file; none if this system does not show it.
    pub program_sha256: Option<String>,
    /// Certificates and revocation lists of the configuration.
    pub certificates: Vec<CertificateRow>,
    /// Files of the configuration that could not be read now.
    pub unreadable: Vec<String>,
}

/// A certificate or revocation list of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CertificateRow {
    /// What it is for.
    pub role: &'static str,
    /// The file it stands in.
    pub file: String,
    /// Its subject; of a revocation list its issuer.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Its serial number, in hex.
    pub serial: String,
    /// SHA-256 of it.
    pub sha256: String,
    /// Algorithm of its public key, as an object identifier.
    pub key_algorithm: String,
    /// Bits of its public key.
    pub key_bits: usize,
    /// Algorithm it is signed with, as an object identifier.
    pub signature_algorithm: String,
    /// Valid from; of a revocation list: made at.
    pub not_before: Timestamp,
    /// Valid until; of a revocation list: the next is due.
    pub not_after: Option<Timestamp>,
}

/// Measures. Blocks: not for a thread that serves.
pub(super) fn measure(config: &VaultConfig) -> Measured {
    let mut measured = Measured { program_sha256: None, certificates: Vec::new(), unreadable: Vec::new() };
    measured.program_sha256 = sha256_of(Path::new(SELF)).ok();
    let api = &config.api;
    measured.read("api listener", &api.certificate_file);
    for named in &api.certificates {
        measured.read("api listener, by name", &named.certificate_file);
    }
    measured.read("authority of callers", &api.client_ca_file);
    for file in &api.crl_files {
        measured.read("revocation list of callers", file);
    }
    if let crate::config::StoreConfig::Postgres(postgres) = &config.store
        && let Some(file) = &postgres.ca_file
    {
        measured.read("authority of the database", file);
    }
    if let Some(file) = config.audit.bucket.as_ref().and_then(|bucket| bucket.roots_file.as_ref()) {
        measured.read("authority of the log's bucket", file);
    }
    if let Some(tls) = config.watch.syslog.as_ref().and_then(|syslog| syslog.tls.as_ref()) {
        measured.read("shown to the syslog server", &tls.certificate_file);
        measured.read("authority of the syslog server", &tls.ca_file);
        for file in &tls.crl_files {
            measured.read("revocation list of the syslog server", file);
        }
    }
    measured
}

impl Measured {
    fn read(&mut self, role: &'static str, file: &Path) {
        let shown = file.display().to_string();
        let Ok(text) = std::fs::read(file) else {
            self.unreadable.push(shown);
            return;
        };
        let certificates = CertificateDer::pem_slice_iter(&text)
            .filter_map(Result::ok)
            .filter_map(|der| certificate(role, &shown, &der));
        let lists = CertificateRevocationListDer::pem_slice_iter(&text)
            .filter_map(Result::ok)
            .filter_map(|der| list(role, &shown, &der));
        let before = self.certificates.len();
        self.certificates.extend(certificates.chain(lists));
        if self.certificates.len() == before {
            self.unreadable.push(shown);
        }
    }
}

fn certificate(role: &'static str, file: &str, der: &[u8]) -> Option<CertificateRow> {
    let (_, read) = X509Certificate::from_der(der).ok()?;
    let key = read.public_key();
    Some(CertificateRow {
        role,
        file: file.to_owned(),
        subject: read.subject().to_string(),
        issuer: read.issuer().to_string(),
        serial: read.raw_serial_as_string().replace(':', ""),
        sha256: hex::encode(Sha256::digest(der)),
        key_algorithm: key.algorithm.algorithm.to_id_string(),
        key_bits: key.parsed().map_or(0, |key| key.key_size()),
        signature_algorithm: read.signature_algorithm.algorithm.to_id_string(),
        not_before: Timestamp::from_unix_seconds(read.validity().not_before.timestamp()),
        not_after: Some(Timestamp::from_unix_seconds(read.validity().not_after.timestamp())),
    })
}

fn list(role: &'static str, file: &str, der: &[u8]) -> Option<CertificateRow> {
    let (_, read) = CertificateRevocationList::from_der(der).ok()?;
    let number = read.crl_number().map(|number| number.to_str_radix(16)).unwrap_or_default();
    Some(CertificateRow {
        role,
        file: file.to_owned(),
        subject: read.issuer().to_string(),
        issuer: read.issuer().to_string(),
        serial: number,
        sha256: hex::encode(Sha256::digest(der)),
        key_algorithm: String::new(),
        key_bits: 0,
        signature_algorithm: read.signature_algorithm.algorithm.to_id_string(),
        not_before: Timestamp::from_unix_seconds(read.last_update().timestamp()),
        not_after: read.next_update().map(|next| Timestamp::from_unix_seconds(next.timestamp())),
    })
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&chunk[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const FULL: &str = include_str!("../../../deploy/config/vault.full.toml");

    #[test]
    fn the_authority_of_the_logs_bucket_is_measured() {
        let mut config = VaultConfig::parse(Path::new("vault.toml"), FULL).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        config.audit.bucket.as_mut().unwrap().roots_file = Some(PathBuf::from(&file));
        let shown = file.display().to_string();
        assert!(measure(&config).unreadable.contains(&shown), "it is not there yet");
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        std::fs::write(&file, authority.pem()).unwrap();
        let measured = measure(&config);
        let rows: Vec<_> = measured.certificates.iter().filter(|row| row.file == shown).collect();
        assert_eq!((rows.len(), rows[0].role), (1, "authority of the log's bucket"));
    }
}
