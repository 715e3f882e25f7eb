//! Making an authority: `strongroom-proxy ca create`.
//!
//! Promises: the certificate permits exactly the hosts given and no other name or address, and servers alone; nothing is
//! overwritten; the key file is for its owner only from its first byte.
//! Upholds: C-36.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints,
};
use strongroom_domain::Timestamp;
use zeroize::Zeroizing;

use super::{CLOCK_SKEW, date};

/// RFC 6761: never a host. Permitted where no host is a name, because a kind of name without a subtree is permitted whole.
const NOBODY: &str = "invalid";

/// Why no authority was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is nothing to be an authority for.
    #[error("no route, so no host to make an authority for")]
    NoHost,
    /// A defect, or a host that no certificate can name.
    #[error("the certificate cannot be made")]
    Certificate(#[source] rcgen::Error),
    /// A file is there already, or cannot be written.
    #[error("{}: cannot be written; nothing is overwritten, so move an old authority away first", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The files of a new authority.
#[derive(Debug)]
pub struct Created {
    /// What callers trust.
    pub certificate: PathBuf,
    /// What the proxy keeps.
    pub key: PathBuf,
}

/// Makes an authority for these hosts in a folder.
pub fn create(
    hosts: &BTreeSet<String>,
    folder: &Path,
    now: Timestamp,
    life: Duration,
) -> Result<Created, CreateError> {
    if hosts.is_empty() {
        return Err(CreateError::NoHost);
    }
    let key = KeyPair::generate().map_err(CreateError::Certificate)?;
    let certificate = params(hosts, now, life)
        .and_then(|params| params.self_signed(&key))
        .map_err(CreateError::Certificate)?;
    let created = Created { certificate: folder.join("connect-ca.pem"), key: folder.join("connect-ca.key") };
    write(&created.key, 0o600, &Zeroizing::new(key.serialize_pem()))?;
    write(&created.certificate, 0o644, &certificate.pem())?;
    Ok(created)
}

pub(super) fn params(
    hosts: &BTreeSet<String>,
    now: Timestamp,
    life: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Strongroom CONNECT authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(constraints(hosts));
    params.not_before = date(now.minus(CLOCK_SKEW)).ok_or(rcgen::Error::Time)?;
    params.not_after = date(now.plus(life)).ok_or(rcgen::Error::Time)?;
    Ok(params)
}

fn constraints(hosts: &BTreeSet<String>) -> NameConstraints {
    let mut constraints = NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: Vec::new() };
    let (mut names, mut addresses) = (0_usize, 0_usize);
    for host in hosts {
        constraints.permitted_subtrees.push(match host.parse::<IpAddr>() {
            Ok(address) => {
                addresses += 1;
                let bits = if address.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits))
            }
            Err(_) => {
                names += 1;
                GeneralSubtree::DnsName(host.clone())
            }
        });
    }
    if names == 0 {
        constraints.permitted_subtrees.push(GeneralSubtree::DnsName(NOBODY.into()));
    }
    if addresses == 0 {
        let every = [CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16])];
        constraints.excluded_subtrees.extend(every.into_iter().map(GeneralSubtree::IpAddress));
    }
    constraints
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), CreateError> {
    let failed = |source| CreateError::File { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
