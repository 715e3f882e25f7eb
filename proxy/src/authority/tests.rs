use std::os::unix::fs::PermissionsExt as _;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

fn authority(folder: &Path, hosts: &[&str]) -> Result<Authority, AuthorityError> {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    let created = create(&hosts, folder, now(), DAY * 30).unwrap();
    Authority::read(&created.certificate, &created.key, now())
}

/// Whether a caller that trusts the authority in `folder` accepts a leaf for `host`, whoever checked the host before.
fn accepts(folder: &Path, authority: &Authority, host: &str, at: Timestamp) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("connect-ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (date(now()).unwrap(), date(now().plus(DAY)).unwrap());
    let leaf = params.signed_by(&key, &authority.issuer).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.unix_millis()));
    let name = ServerName::try_from(host.to_owned()).unwrap();
    verifier.verify_server_cert(leaf.der(), &[], &name, &[], at).is_ok()
}

#[test]
fn a_stolen_authority_speaks_for_route_hosts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let named = authority(folder.path(), &["api.psp.example", "b.psp.example"]).unwrap();
    for (host, accepted) in [
        ("api.psp.example", true),
        ("b.psp.example", true),
        ("psp.example", false),
        ("c.psp.example", false),
        ("bank.example", false),
        ("10.0.0.1", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(accepts(folder.path(), &named, host, now().plus(DAY / 2)), accepted, "{host}");
        assert_eq!(named.tls_for(host, now()).is_ok(), accepted, "{host}");
    }
    let folder = tempfile::tempdir().unwrap();
    let addressed = authority(folder.path(), &["127.0.0.1"]).unwrap();
    for (host, accepted) in [("127.0.0.1", true), ("127.0.0.2", false), ("::1", false), ("a.example", false)]
    {
        assert_eq!(accepts(folder.path(), &addressed, host, now().plus(DAY / 2)), accepted, "{host}");
        assert_eq!(addressed.tls_for(host, now()).is_ok(), accepted, "{host}");
    }
}

#[test]
fn a_leaf_serves_until_it_is_near_its_end_and_never_past_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(folder.path(), &["api.psp.example"]).unwrap();
    let first = authority.tls_for("api.psp.example", now()).unwrap();
    let hour = Duration::from_secs(60 * 60);
    let later = authority.tls_for("api.psp.example", now().plus(hour * 15)).unwrap();
    assert!(Arc::ptr_eq(&first, &later));
    let renewed = authority.tls_for("api.psp.example", now().plus(hour * 17)).unwrap();
    assert!(!Arc::ptr_eq(&first, &renewed));
    let end = now().plus(DAY * 30);
    assert!(authority.tls_for("api.psp.example", end.minus(hour)).is_ok());
    assert_eq!(authority.tls_for("api.psp.example", end).err(), Some(LeafError::Ended));
}

#[test]
fn an_authority_without_constraints_or_whose_key_others_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = create(&["a.example".to_owned()].into(), folder.path(), now(), DAY).unwrap();
    let read =
        |certificate: &Path, key: &Path, at| Authority::read(certificate, key, at).unwrap_err().to_string();
    assert!(read(&made.certificate, &made.key, now().plus(DAY)).contains("has ended"));
    assert!(
        create(&["b.example".to_owned()].into(), folder.path(), now(), DAY).is_err(),
        "nothing is overwritten"
    );

    let pair = KeyPair::from_pem(&std::fs::read_to_string(&made.key).unwrap()).unwrap();
    let other = folder.path().join("other.pem");
    for (is_ca, constrained, says) in
        [(true, false, "not constrained"), (false, true, "no certificate authority")]
    {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        if is_ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.name_constraints = constrained.then(|| rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("a.example".into())],
            excluded_subtrees: Vec::new(),
        });
        std::fs::write(&other, params.self_signed(&pair).unwrap().pem()).unwrap();
        let refused = read(&other, &made.key, now());
        assert!(refused.contains(says), "{refused}");
    }

    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    for (usages, is_taken) in
        [(vec![], false), (vec![Any], false), (vec![ServerAuth, ClientAuth], false), (vec![ServerAuth], true)]
    {
        let mut params = create::params(&["a.example".to_owned()].into(), now(), DAY).unwrap();
        params.extended_key_usages = usages;
        std::fs::write(&other, params.self_signed(&pair).unwrap().pem()).unwrap();
        let read = Authority::read(&other, &made.key, now());
        assert_eq!(read.is_ok(), is_taken);
        assert!(read.err().is_none_or(|refused| refused.to_string().contains("more than servers")));
    }

    let foreign = folder.path().join("foreign.key");
    std::fs::write(&foreign, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    std::fs::set_permissions(&foreign, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(read(&made.certificate, &foreign, now()).contains("not the key"));
    std::fs::set_permissions(&made.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(read(&made.certificate, &made.key, now()).contains("chmod 600"));
}
