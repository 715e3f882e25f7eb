//! The settings of a listener.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::limits::Limits;

/// A listener of a configuration file.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port.
    pub address: SocketAddr,
    /// The server's certificate and its intermediates, PEM, leaf first.
    pub certificate_file: PathBuf,
    /// Its private key, PEM (PKCS #8, SEC 1 or PKCS #1).
    pub key_file: PathBuf,
    /// Further certificates, each for clients that ask for a name it bears: a PSP's own, for SDKs that keep it whatever
    /// they connect to. Whoever asks for no such name gets the first.
    #[serde(default)]
    pub certificates: Vec<NamedCertificate>,
    /// The CA certificates callers' certificates must lead to, PEM. An intermediate with a revocation list of its own
    /// belongs here too.
    pub client_ca_file: PathBuf,
    /// Revocation lists, PEM, one of every CA or none at all. Empty where certificates live hours (SPIFFE).
    #[serde(default)]
    pub crl_files: Vec<PathBuf>,
    /// DNS names accepted as identities of callers that have no SPIFFE ID; they become `dns:name`.
    #[serde(default)]
    pub dns_identities: Vec<String>,
    /// Bounds; every default is the secure one.
    #[serde(default)]
    pub limits: Limits,
}

/// A listener for callers outside the house: webhooks and forms of others. Server authentication, and a client certificate
/// only where a CA for it is named.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicListenerConfig {
    /// Address and port.
    pub address: SocketAddr,
    /// The server's certificate and its intermediates, PEM, leaf first.
    pub certificate_file: PathBuf,
    /// Its private key, PEM (PKCS #8, SEC 1 or PKCS #1).
    pub key_file: PathBuf,
    /// Further certificates, each for clients that ask for a name it bears.
    #[serde(default)]
    pub certificates: Vec<NamedCertificate>,
    /// The CA certificates callers' certificates must lead to, PEM. Without it nobody is asked for one, and no request has a
    /// [`crate::Caller`].
    pub client_ca_file: Option<PathBuf>,
    /// Revocation lists, PEM, one of every CA or none at all.
    #[serde(default)]
    pub crl_files: Vec<PathBuf>,
    /// DNS names accepted as identities of callers that have no SPIFFE ID; they become `dns:name`.
    #[serde(default)]
    pub dns_identities: Vec<String>,
    /// Bounds; every default is the secure one.
    #[serde(default)]
    pub limits: Limits,
}

/// A certificate presented by name (RFC 6066 §3).
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCertificate {
    /// The certificate and its intermediates, PEM, leaf first. Its DNS names say who gets it.
    pub certificate_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

/// The files of a listener, as reloads read them.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) certificates: Vec<NamedCertificate>,
    /// Absent only where a listener is public.
    pub(crate) client_ca_file: Option<PathBuf>,
    pub(crate) crl_files: Vec<PathBuf>,
}

impl ListenerConfig {
    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
            certificates: self.certificates.clone(),
            client_ca_file: Some(self.client_ca_file.clone()),
            crl_files: self.crl_files.clone(),
        }
    }
}

impl PublicListenerConfig {
    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
            certificates: self.certificates.clone(),
            client_ca_file: self.client_ca_file.clone(),
            crl_files: self.crl_files.clone(),
        }
    }
}
