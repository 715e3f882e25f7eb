use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};
use rustls_pki_types::pem::PemObject as _;

use super::*;

/// A root, two intermediates under it, one leaf under the first.
struct Chain {
    root: Made,
    first: Made,
    second: Made,
    leaf: Made,
}

struct Made {
    der: CertificateDer<'static>,
    pin: [u8; 32],
}

fn made(certificate: &rcgen::Certificate, key: &KeyPair) -> Made {
    let der = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
    Made { der, pin: Sha256::digest(key.subject_public_key_info()).into() }
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}

fn chain() -> Chain {
    let (params, key) = authority("root");
    let root = made(&params.self_signed(&key).unwrap(), &key);
    let issuer = Issuer::new(params, key);
    let (params, key) = authority("first");
    let first = made(&params.signed_by(&key, &issuer).unwrap(), &key);
    let under_first = Issuer::new(params, key);
    let (params, key) = authority("second");
    let second = made(&params.signed_by(&key, &issuer).unwrap(), &key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["psp.example".to_owned()]).unwrap();
    let leaf = made(&leaf.signed_by(&key, &under_first).unwrap(), &key);
    Chain { root, first, second, leaf }
}

fn verify(chain: &Chain, sent: &[&Made], pins: &[[u8; 32]], name: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(chain.root.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pins = pins.iter().copied().collect();
    let verifier = PinnedVerifier::new(Arc::new(roots), provider, pins).unwrap();
    let sent: Vec<_> = sent.iter().map(|made| made.der.clone()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    // rcgen's certificates hold from 1975 to 4096.
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
    verifier.verify_server_cert(&chain.leaf.der, &sent, &name, &[], now).map(drop)
}

#[test]
fn a_key_of_the_verified_path_is_enough_and_nothing_beside_it() {
    let chain = chain();
    let sent = [&chain.first];
    let foreign = [7; 32];
    for pinned in [&chain.leaf, &chain.first, &chain.root] {
        assert!(verify(&chain, &sent, &[foreign, pinned.pin], "psp.example").is_ok());
    }
    let unpinned = |result: Result<(), Error>| {
        is_unpinned(&io::Error::new(io::ErrorKind::InvalidData, result.unwrap_err()))
    };
    assert!(unpinned(verify(&chain, &sent, &[foreign, [8; 32]], "psp.example")));
    // A valid intermediate of the same root that did not sign this chain, sent along to carry its key in.
    let sent = [&chain.second, &chain.first];
    assert!(unpinned(verify(&chain, &sent, &[foreign, chain.second.pin], "psp.example")));
}

#[test]
fn a_pinned_key_makes_no_wrong_certificate_right() {
    let chain = chain();
    let pins = [chain.leaf.pin, chain.root.pin];
    for (sent, name) in [(&[&chain.first][..], "other.example"), (&[], "psp.example")] {
        let refused = verify(&chain, sent, &pins, name).unwrap_err();
        assert!(!is_unpinned(&io::Error::new(io::ErrorKind::InvalidData, refused)));
    }
}
