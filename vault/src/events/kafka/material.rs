//! What brokers are spoken to with: authorities, a certificate, a password; and the TLS of the house under the client library.
//!
//! Promises: a key or password others may open is refused; what does not fit together is refused before it is used; TLS 1.3
//! alone, since the library takes the provider of the process and that is the house's.
//! Upholds: C-11, C-42, C-54.

use std::io;
use std::path::{Path, PathBuf};

use krafka::auth::{AuthConfig, TlsConfig};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use strongroom_perimeter::secret_file::{self, SecretFileError};
use strongroom_perimeter::tls::provider;
use zeroize::Zeroizing;

use super::config::{KafkaConfig, Mechanism};

/// Largest file of certificates: a bundle of a hundred authorities is 200 KiB.
const CERTIFICATES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a Kafka cluster cannot be spoken to. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KafkaMaterialError {
    /// A key or a password.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// A file of certificates cannot be read.
    #[error("cannot read {}: check that it exists, is no larger than 16 MiB and this user may read it", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A file holds no certificates.
    #[error("{} holds no certificate in PEM form: write one there", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate, or its key.
    #[error("{} cannot be used for tls: issue it anew and check that certificate and key belong together", .0.display())]
    Unusable(PathBuf, #[source] rustls::Error),
    /// Another part of the program chose the TLS of the process.
    #[error("the tls of this process is not the house's: this is a defect of the program, report it")]
    Provider,
}

/// What was read. Whoever compares two sees whether a file changed.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    roots: Option<Vec<u8>>,
    identity: Option<Identity>,
    password: Option<Zeroizing<String>>,
}

#[derive(PartialEq, Eq)]
struct Identity {
    certificates: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Material {
    /// Reads and checks every file.
    pub(super) fn read(config: &KafkaConfig) -> Result<Self, KafkaMaterialError> {
        let roots = config.roots_file.as_deref().map(read).transpose()?;
        let identity = match (&config.certificate_file, &config.key_file) {
            (Some(certificates), Some(key)) => {
                Some(Identity { certificates: read(certificates)?, key: secret_file::read(key)? })
            }
            _ => None,
        };
        let password = config.sasl.as_ref().map(|sasl| secret_file::read_line(&sasl.password_file));
        let material = Self { roots, identity, password: password.transpose()? };
        material.check(config)?;
        Ok(material)
    }

    /// Whether TLS can be spoken with it.
    fn check(&self, config: &KafkaConfig) -> Result<(), KafkaMaterialError> {
        let mut trusted = RootCertStore::empty();
        if let (Some(text), Some(file)) = (&self.roots, &config.roots_file) {
            for certificate in certificates(text, file)? {
                trusted
                    .add(certificate)
                    .map_err(|source| KafkaMaterialError::Unusable(file.clone(), source))?;
            }
        }
        if let (Some(identity), Some(file)) = (&self.identity, &config.certificate_file) {
            let unusable = |source| KafkaMaterialError::Unusable(file.clone(), source);
            let chain = certificates(&identity.certificates, file)?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| {
                let path = config.key_file.as_deref().unwrap_or(file);
                SecretFileError::content(path, "holds no private key in PEM form: write one there")
            })?;
            ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(unusable)?
                .with_root_certificates(trusted)
                .with_client_auth_cert(chain, key)
                .map_err(unusable)?;
        }
        Ok(())
    }

    /// As the client library takes it.
    pub(super) fn auth(&self, config: &KafkaConfig) -> AuthConfig {
        let auth = match (&config.sasl, &self.password) {
            (Some(sasl), Some(password)) => {
                let sign_in = match sasl.mechanism {
                    Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256,
                    Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512,
                    Mechanism::Plain => AuthConfig::sasl_plain,
                };
                sign_in(sasl.username.as_str(), password.as_str())
            }
            _ => AuthConfig::plaintext(),
        };
        if config.plaintext {
            return auth;
        }
        let mut tls = TlsConfig::new();
        if let Some(roots) = &self.roots {
            tls = tls.with_ca_cert_pem(roots.clone());
        }
        if let Some(identity) = &self.identity {
            tls = tls.with_client_cert_pem(identity.certificates.clone(), identity.key.clone());
        }
        auth.with_tls(tls)
    }
}

/// Makes the TLS of the house that of the process, which is what the client library takes.
pub(super) fn house_tls() -> Result<(), KafkaMaterialError> {
    // It fails where one is chosen already: then that is looked at.
    let _ = CryptoProvider::clone(&provider()).install_default();
    let strong = CryptoProvider::get_default()
        .is_some_and(|chosen| chosen.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
    if strong { Ok(()) } else { Err(KafkaMaterialError::Provider) }
}

fn read(file: &Path) -> Result<Vec<u8>, KafkaMaterialError> {
    let unreadable = |source| KafkaMaterialError::Unreadable(file.to_owned(), source);
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > CERTIFICATES_BYTES_MAX {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read(file).map_err(unreadable)
}

fn certificates(text: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, KafkaMaterialError> {
    match CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(KafkaMaterialError::NoCertificate(file.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A certificate and its key, as files.
    fn issued(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let file = |kind: &str, text: &str| {
            let path = folder.join(format!("{name}.{kind}"));
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        (file("crt", &params.self_signed(&key).unwrap().pem()), file("key", &key.serialize_pem()))
    }

    fn config(certificate: &Path, key: &Path) -> KafkaConfig {
        let text = format!(
            "name = \"bus\"\nbrokers = [\"kafka.example:9093\"]\ntopic = \"cards\"\nroots_file = {certificate:?}\n\
             certificate_file = {certificate:?}\nkey_file = {key:?}\n"
        );
        toml::from_str(&text).unwrap()
    }

    fn refused(config: &KafkaConfig) -> KafkaMaterialError {
        Material::read(config).err().expect("it is refused")
    }

    #[test]
    fn what_others_may_open_or_does_not_fit_together_is_refused_and_a_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = issued(folder.path(), "writer");
        let (_, other) = issued(folder.path(), "other");
        let fitting = config(&certificate, &key);
        let first = Material::read(&fitting).unwrap();
        assert!(first == Material::read(&fitting).unwrap());
        assert!(matches!(refused(&config(&certificate, &other)), KafkaMaterialError::Unusable(..)));
        assert!(matches!(refused(&config(&key, &key)), KafkaMaterialError::NoCertificate(_)));
        assert!(matches!(refused(&config(&certificate, &certificate)), KafkaMaterialError::Secret(_)));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let told = refused(&fitting).to_string();
        assert!(told.contains("chmod 600") && !told.contains("BEGIN"), "{told}");
        issued(folder.path(), "writer");
        assert!(first != Material::read(&fitting).unwrap());
    }

    #[test]
    fn the_library_speaks_the_tls_of_the_house() {
        house_tls().unwrap();
        let chosen = CryptoProvider::get_default().unwrap();
        assert!(chosen.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
        assert_eq!(chosen.kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
    }
}
