//! The proxy's own certificate authority: what lets it answer inside a tunnel in a PSP's name.
//!
//! Promises: an authority that is used is constrained to the names of route hosts (RFC 5280 §4.2.1.10) and to servers
//! (§4.2.1.12) by its own certificate, so that a stolen key makes no certificate for anything else that callers would take;
//! its key file is nobody else's to read; a leaf
//! is made for one registered host, lives a day and no longer than its authority, and has a key that never leaves memory.
//! Does not promise: that callers trust it. They are given its certificate, and nothing else should be.
//! Trusts: whoever holds the key file.
//! Upholds: C-36.

mod create;

pub use create::{CreateError, Created, create};

use std::collections::HashMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType,
};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use strongroom_domain::Timestamp;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

/// How long a leaf lives.
const LEAF_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before its end a leaf is no longer given out: longer than any connection lives.
const LEAF_RESERVE: Duration = Duration::from_secs(8 * 60 * 60);
/// How far a caller's clock may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
/// Bits of a file's mode that let others than its owner read or change it.
const FOREIGN_BITS: u32 = 0o077;
/// A key in PEM is under 2 KiB.
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Why an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read.
    #[error("{}: cannot be read; check that it exists and this user may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is in a file does not serve.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
}

/// Why there is no certificate for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// The authority may not speak for this host.
    #[error("the connect authority is not for this host; make a new one with `strongroom-proxy ca create`")]
    NotPermitted,
    /// It has ended, or ends within minutes.
    #[error("the connect authority has ended; make a new one with `strongroom-proxy ca create`")]
    Ended,
    /// A defect.
    #[error("a certificate cannot be made")]
    Defect,
}

/// A certificate authority for route hosts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    leaves: Mutex<HashMap<String, Leaf>>,
}

struct Leaf {
    tls: Arc<ServerConfig>,
    good_until: Timestamp,
}

impl Authority {
    /// Reads certificate and key, and refuses what is not constrained, has ended, or can be read by others.
    pub fn read(certificate: &Path, key: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        let wrong = |path: &Path, reason| AuthorityError::Unusable { path: path.to_owned(), reason };
        let der = CertificateDer::from_pem_file(certificate)
            .map_err(|_| wrong(certificate, "holds no certificate in pem form that can be read"))?;
        let unreadable = wrong(certificate, "is no certificate that can be used");
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return Err(unreadable) };
        let (hosts, addresses) = constraints(&parsed).map_err(|reason| wrong(certificate, reason))?;
        if !is_for_servers_alone(&parsed) {
            return Err(wrong(
                certificate,
                "may sign for more than servers; make a new one with `strongroom-proxy ca create`",
            ));
        }
        let not_after = Timestamp::from_unix_seconds(parsed.validity().not_after.timestamp());
        if not_after <= now {
            return Err(wrong(certificate, "has ended; make a new one with `strongroom-proxy ca create`"));
        }
        let pair = key_pair(key)?;
        if pair.subject_public_key_info() != parsed.public_key().raw {
            return Err(wrong(key, "is not the key of the connect authority's certificate"));
        }
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(|_| unreadable)?;
        Ok(Self { issuer, not_after, hosts, addresses, leaves: Mutex::default() })
    }

    /// Whether certificates for this host would be accepted.
    #[must_use]
    pub fn permits(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.hosts.iter().any(|permitted| permitted == host),
        }
    }

    /// TLS in the name of a host. A certificate serves every tunnel to the host until it is near its end.
    pub fn tls_for(&self, host: &str, now: Timestamp) -> Result<Arc<ServerConfig>, LeafError> {
        if !self.permits(host) {
            return Err(LeafError::NotPermitted);
        }
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host).filter(|leaf| now < leaf.good_until) {
            return Ok(leaf.tls.clone());
        }
        let not_after = now.plus(LEAF_LIFE).min(self.not_after);
        // Near the authority's own end there is no reserve; a leaf is then made anew for each tunnel.
        let good_until = not_after.minus(LEAF_RESERVE).max(now);
        if not_after <= now {
            return Err(LeafError::Ended);
        }
        let tls = Arc::new(self.issue(host, now.minus(CLOCK_SKEW), not_after).ok_or(LeafError::Defect)?);
        leaves.insert(host.to_owned(), Leaf { tls: tls.clone(), good_until });
        Ok(tls)
    }

    fn issue(&self, host: &str, not_before: Timestamp, not_after: Timestamp) -> Option<ServerConfig> {
        let key = KeyPair::generate().ok()?;
        let mut params = CertificateParams::new(Vec::new()).ok()?;
        params.distinguished_name.push(DnType::CommonName, "Strongroom CONNECT");
        params.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().ok()?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date(not_before)?;
        params.not_after = date(not_after)?;
        let certificate = params.signed_by(&key, &self.issuer).ok()?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        tls(certificate.der().clone(), key).ok()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// TLS 1.3 and, because SDKs run on runtimes of every age, 1.2 with ECDHE and AEAD: the bytes travel inside mTLS 1.3, so
/// the older version is weaker for nobody. No resumption, HTTP/1.1 only, any or no SNI.
fn tls(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What the certificate lets its holder sign for; an authority for everything is refused.
fn constraints(certificate: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<IpAddr>), &'static str> {
    const NOT_OURS: &str = "is not constrained to route hosts; make one with `strongroom-proxy ca create`";
    let signs = certificate.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
    if !certificate.is_ca() || !signs {
        return Err("is no certificate authority; make one with `strongroom-proxy ca create`");
    }
    let extension = certificate.name_constraints().ok().flatten().ok_or(NOT_OURS)?;
    let permitted = extension.value.permitted_subtrees.as_deref().unwrap_or_default();
    let (mut hosts, mut addresses) = (Vec::new(), Vec::new());
    for subtree in permitted {
        match &subtree.base {
            GeneralName::DNSName(name) if !name.is_empty() => hosts.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.push(single_address(bytes).ok_or(NOT_OURS)?),
            _ => return Err(NOT_OURS),
        }
    }
    // Of a kind of name that no subtree permits, every name is permitted.
    let excluded = extension.value.excluded_subtrees.as_deref().unwrap_or_default();
    let no_address = !addresses.is_empty()
        || [8, 32].iter().all(|length| {
            excluded.iter().any(|subtree| {
                matches!(&subtree.base, GeneralName::IPAddress(bytes)
                    if bytes.len() == *length && bytes.iter().all(|byte| *byte == 0))
            })
        });
    if extension.critical && !hosts.is_empty() && no_address { Ok((hosts, addresses)) } else { Err(NOT_OURS) }
}

/// Whether what it signs is for TLS servers and nothing else: not for clients, mail or code in a host's name.
fn is_for_servers_alone(certificate: &X509Certificate<'_>) -> bool {
    let Ok(Some(usage)) = certificate.extended_key_usage() else { return false };
    let usage = usage.value;
    let more = usage.any
        || usage.client_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    usage.server_auth && !more
}

/// An address with a mask that leaves no choice.
fn single_address(bytes: &[u8]) -> Option<IpAddr> {
    let (address, mask) = bytes.split_at_checked(bytes.len() / 2)?;
    if !mask.iter().all(|byte| *byte == 0xff) {
        return None;
    }
    <[u8; 4]>::try_from(address)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from))
        .ok()
}

fn key_pair(path: &Path) -> Result<KeyPair, AuthorityError> {
    let unreadable = |source| AuthorityError::Unreadable { path: path.to_owned(), source };
    let wrong = |reason| AuthorityError::Unusable { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & FOREIGN_BITS != 0 {
        return Err(wrong("others than its owner can read or change it: chmod 600"));
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(KEY_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    KeyPair::from_pem(&text).map_err(|_| wrong("holds no private key in pem form that can be used"))
}

fn date(time: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(time.unix_seconds()).ok()
}

#[cfg(test)]
mod tests;
