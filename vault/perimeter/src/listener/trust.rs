//! What a listener presents and whom it trusts: certificate, key, client CAs and revocation lists, as one value that is
//! replaced as a whole.
//!
//! Promises: a value in use was verified: the key fits, the certificate is in date, each list is signed and current.
//! New material that is not keeps the old in use.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use sha2::{Digest, Sha256};
use strongroom_domain::{Clock, Timestamp};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::config::TlsFiles;
use super::identity::is_authority;
use crate::tls::MaterialError;
use crate::tls::material::PemFile;
use crate::tls::revocation::{Lists, timestamp};

/// One generation of a listener's trust.
pub(crate) struct Trust {
    /// Rises with every replacement; a connection verified under another one is verified again.
    pub(crate) generation: u64,
    /// Verifies a client's chain against CAs and lists. None where the listener is public.
    pub(crate) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// What is known of the lists.
    pub(crate) lists: Lists,
    /// When our own certificate ends.
    pub(crate) not_after: Timestamp,
    /// SHA-256 of our own certificate (DER).
    pub(crate) certificate_sha256: [u8; 32],
    presents: Arc<Presents>,
    provider: Arc<CryptoProvider>,
    clock: Arc<WallClock>,
    files_sha256: [u8; 32],
}

impl Trust {
    /// Loads the first generation.
    pub(crate) fn load(files: &TlsFiles, clock: &Arc<dyn Clock>) -> Result<Self, MaterialError> {
        Self::build(&Read::all(files)?, 0, clock, None)
    }

    /// Loads the next generation, or `None` where the files are as they were.
    pub(crate) fn reload(&self, read: &Read) -> Result<Option<Self>, MaterialError> {
        if read.sha256 == self.files_sha256 {
            return Ok(None);
        }
        Self::build(read, self.generation + 1, &self.clock.0, Some(&self.lists)).map(Some)
    }

    fn build(
        read: &Read,
        generation: u64,
        clock: &Arc<dyn Clock>,
        before: Option<&Lists>,
    ) -> Result<Self, MaterialError> {
        let (provider, now) = (crate::tls::provider(), clock.now());
        let (lists, verifier) = verifier(read, &provider, now, before)?;
        let (presents, not_after) = presents(read, &provider, now)?;
        let trust = Self {
            generation,
            verifier,
            lists,
            not_after,
            certificate_sha256: Sha256::digest(&presents.first.cert[0]).into(),
            presents: Arc::new(presents),
            provider,
            clock: Arc::new(WallClock(Arc::clone(clock))),
            files_sha256: read.sha256,
        };
        trust
            .server_config(trust.verifier.clone())
            .map_err(|source| MaterialError::unusable(read.certificate.path(), source))?;
        Ok(trust)
    }

    /// The configuration of one connection, around a verifier of its own. Costs a few allocations, no parsing.
    pub(crate) fn server_config(
        &self,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig, rustls::Error> {
        let builder =
            ServerConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.clock) as _)
                .with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.presents) as _);
        // The last is no protocol: https-proxy-agent 5, which comes with several PSPs' clients for Node, offers it alone to a
        // proxy it reaches by TLS, and means HTTP/1.1.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http 1.1".to_vec()];
        config.ignore_client_order = true;
        // A resumed session is not verified again, so it would outlive a revocation.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }
}

fn verifier(
    read: &Read,
    provider: &Arc<CryptoProvider>,
    now: Timestamp,
    before: Option<&Lists>,
) -> Result<(Lists, Option<Arc<dyn ClientCertVerifier>>), MaterialError> {
    let Some(client_ca) = &read.client_ca else {
        return match read.crls.first() {
            None => Ok((Lists::default(), None)),
            Some(list) => Err(MaterialError::refused(list.path(), "is a list of no client_ca_file")),
        };
    };
    let authorities = client_ca.certificates()?;
    let (mut every_list, mut lists) = (Vec::new(), Lists::default());
    for file in &read.crls {
        let in_file = file.crls()?;
        let checked = Lists::check(&in_file, &authorities, provider, now, before)
            .map_err(|reason| MaterialError::refused(file.path(), reason))?;
        lists = lists.and(checked);
        every_list.extend(in_file);
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(client_ca.roots()?), Arc::clone(provider))
            .with_crls(every_list)
            .enforce_revocation_expiration()
            .build()
            .map_err(|source| MaterialError::unusable(client_ca.path(), source))?;
    Ok((lists, Some(verifier)))
}

/// What is presented, and when the first of it ends.
fn presents(
    read: &Read,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<(Presents, Timestamp), MaterialError> {
    let (first, mut not_after, _) = own(&read.certificate, &read.key, provider, now)?;
    let mut named = Vec::with_capacity(read.named.len());
    for (certificate, key) in &read.named {
        let (key, ends, names) = own(certificate, key, provider, now)?;
        if names.is_empty() {
            return Err(MaterialError::refused(
                certificate.path(),
                "it bears no dns name, so nobody can ask for it",
            ));
        }
        not_after = not_after.min(ends);
        named.push((names, key));
    }
    Ok((Presents { first, named }, not_after))
}

/// A certificate of our own with its key: in date, nobody's authority. Also when it ends and its DNS names.
fn own(
    certificate: &PemFile,
    key: &PemFile,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<(Arc<CertifiedKey>, Timestamp, Vec<String>), MaterialError> {
    let file = certificate.path();
    let chain = certificate.certificates()?;
    let (_, leaf) =
        X509Certificate::from_der(&chain[0]).map_err(|source| MaterialError::unusable(file, source))?;
    let (not_before, not_after) =
        (timestamp(leaf.validity().not_before), timestamp(leaf.validity().not_after));
    if is_authority(&leaf) {
        return Err(MaterialError::refused(
            file,
            "its first certificate is a ca's; put the server's own certificate first",
        ));
    }
    if not_after <= now {
        return Err(MaterialError::refused(file, "the certificate has expired; issue it anew"));
    }
    if now < not_before {
        return Err(MaterialError::refused(file, "the certificate is not valid yet; check the clock"));
    }
    let names = dns_names(&leaf);
    let key = CertifiedKey::from_der(chain, key.private_key()?, provider)
        .map_err(|source| MaterialError::unusable(key.path(), source))?;
    Ok((Arc::new(key), not_after, names))
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let extension = leaf.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

/// Every file, read once, and a hash over all of them.
pub(crate) struct Read {
    certificate: PemFile,
    key: PemFile,
    named: Vec<(PemFile, PemFile)>,
    client_ca: Option<PemFile>,
    crls: Vec<PemFile>,
    pub(crate) sha256: [u8; 32],
}

impl Read {
    pub(crate) fn all(files: &TlsFiles) -> Result<Self, MaterialError> {
        let certificate = PemFile::read(&files.certificate_file)?;
        let key = PemFile::read(&files.key_file)?;
        let named = files.certificates.iter().map(|one| {
            Ok::<_, MaterialError>((PemFile::read(&one.certificate_file)?, PemFile::read(&one.key_file)?))
        });
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let client_ca = files.client_ca_file.as_deref().map(PemFile::read).transpose()?;
        let crls = files.crl_files.iter().map(|file| PemFile::read(file)).collect::<Result<Vec<_>, _>>()?;
        let mut hash = Sha256::new();
        let pairs = named.iter().flat_map(|(certificate, key)| [certificate, key]);
        for file in [&certificate, &key].into_iter().chain(&client_ca).chain(pairs).chain(&crls) {
            hash.update((file.text().len() as u64).to_be_bytes());
            hash.update(file.text());
        }
        Ok(Self { certificate, key, named, client_ca, crls, sha256: hash.finalize().into() })
    }
}

/// The certificate every client gets, unless it asks for a name another one bears.
struct Presents {
    first: Arc<CertifiedKey>,
    named: Vec<(Vec<String>, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Presents {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let bears = |name: &String| asked.as_deref().is_some_and(|asked| covers(name, asked));
        let found = self.named.iter().find(|(names, _)| names.iter().any(bears));
        Some(Arc::clone(found.map_or(&self.first, |(_, key)| key)))
    }
}

/// RFC 9525 §6.3: a `*` stands for one whole first label.
fn covers(name: &str, asked: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => {
            asked.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == parent)
        }
        None => name == asked,
    }
}

impl fmt::Debug for Presents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presents(..)")
    }
}

/// Our clock, as rustls asks for it.
struct WallClock(Arc<dyn Clock>);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock(..)")
    }
}

/// A timestamp as rustls takes it.
pub(crate) fn unix_time(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(time.unix_millis()))
}
