//! The certificates, judged by the verifier the listeners use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use strongroom_domain::Clock;
use strongroom_sandbox::pki::{Identity, Lifetime, MintOptions, Pki, Server, SignedBy, Usage, WORKLOADS};
use x509_parser::extensions::GeneralName;

use crate::support::HandClock;

fn verifier(pki: &Pki) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.ca_file()).unwrap()).unwrap();
    let crl = CertificateRevocationListDer::from_pem_file(pki.crl_file()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls([crl])
        .enforce_revocation_expiration()
        .build()
        .unwrap()
}

fn refusal(pki: &Pki, identity: &Identity, clock: &HandClock) -> Option<rustls::Error> {
    let now = Duration::from_secs(clock.now().unix_seconds().try_into().unwrap());
    let certificate = identity.certificate().unwrap();
    verifier(pki).verify_client_cert(&certificate, &[], UnixTime::since_unix_epoch(now)).err()
}

fn uris(identity: &Identity) -> Vec<String> {
    let der = identity.certificate().unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names = names.value.general_names.iter();
    names
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None })
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_workload_is_accepted_under_exactly_one_spiffe_id() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::now();
    let pki = Pki::open_or_create(folder.path().join("pki"), clock.clone()).unwrap();
    for workload in WORKLOADS {
        let identity = pki.client(workload).unwrap();
        assert_eq!(refusal(&pki, &identity, &clock), None, "{workload}");
        assert_eq!(uris(&identity), [format!("spiffe://strongroom.test/{workload}")]);
    }
    for entry in fs::read_dir(pki.folder()).unwrap() {
        let path = entry.unwrap().path();
        let owner_only = path.extension().is_some_and(|ending| ending == "key");
        assert_eq!(mode(&path), if owner_only { 0o600 } else { 0o644 }, "{}", path.display());
    }
    assert_eq!(mode(pki.folder()), 0o700);
}

#[test]
fn leaves_are_no_authorities_serve_one_use_and_live_at_most_90_days() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path(), HandClock::now()).unwrap();
    let clients = WORKLOADS.map(|workload| (pki.client(workload).unwrap(), true));
    let servers = Server::ALL.map(|server| (pki.server(server).unwrap(), false));
    for (identity, is_client) in clients.into_iter().chain(servers) {
        let der = identity.certificate().unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!certificate.is_ca() && certificate.basic_constraints().unwrap().is_some());
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((extended.client_auth, extended.server_auth), (is_client, !is_client));
        let validity = certificate.validity();
        assert!(validity.not_after.timestamp() - validity.not_before.timestamp() <= 90 * 86_400);
    }
}

#[test]
fn every_wrong_certificate_is_refused_for_its_own_reason() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::now();
    let pki = Pki::open_or_create(folder.path(), clock.clone()).unwrap();
    let client = MintOptions::client("orchestrator");
    for (name, options, reason) in [
        ("expired", client.clone().lifetime(Lifetime::Expired), "expired"),
        ("not-yet", client.clone().lifetime(Lifetime::NotYet), "not valid yet"),
        ("stranger", client.clone().signed_by(SignedBy::Stranger), "UnknownIssuer"),
        ("impostor", client.clone().signed_by(SignedBy::Impostor), "BadSignature"),
        ("psp", client.clone().signed_by(SignedBy::Psp), "UnknownIssuer"),
        ("server-use", client.clone().usage(Usage::Server), "extended key usage"),
    ] {
        let identity = pki.mint(name, &options).unwrap();
        let error = refusal(&pki, &identity, &clock).expect(name).to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
    let two = pki.mint("two", &client.clone().also_uri("spiffe://strongroom.test/proxy")).unwrap();
    assert_eq!(uris(&two).len(), 2, "the verifier accepts it: refusing it is the listener's own rule");
    assert!(pki.mint("../escape", &client).is_err());
}

#[test]
fn a_revoked_certificate_stays_revoked_across_restarts_and_renewals() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::now();
    let pki = Pki::open_or_create(folder.path(), clock.clone()).unwrap();
    let other = pki.client("checkout").unwrap();
    let long = Lifetime::For(Duration::from_secs(300 * 86_400));
    let identity = pki.mint("revoked", &MintOptions::client("orchestrator").lifetime(long)).unwrap();
    assert_eq!(refusal(&pki, &identity, &clock), None);
    pki.revoke(&identity).unwrap();
    let revoked = |pki: &Pki| refusal(pki, &identity, &clock).unwrap().to_string().contains("Revoked");
    assert!(revoked(&pki) && refusal(&pki, &other, &clock).is_none());
    for _ in 0..3 {
        clock.advance_days(45);
        let pki = Pki::open_or_create(folder.path(), clock.clone()).unwrap();
        assert!(revoked(&pki));
    }
}

#[test]
fn a_restart_keeps_what_is_good_and_renews_what_ends_soon() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::now();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    Pki::open_or_create(folder.path(), clock.clone()).unwrap();
    let first =
        [read("workload-ca.pem"), read("checkout.pem"), read("psp-server.pem"), read("workload-ca.crl.pem")];
    clock.advance_days(39);
    Pki::open_or_create(folder.path(), clock.clone()).unwrap();
    let same =
        [read("workload-ca.pem"), read("checkout.pem"), read("psp-server.pem"), read("workload-ca.crl.pem")];
    assert_eq!(first, same);
    clock.advance_days(2);
    let pki = Pki::open_or_create(folder.path(), clock.clone()).unwrap();
    assert_eq!(read("workload-ca.pem"), first[0]);
    for (name, old) in ["checkout.pem", "psp-server.pem", "workload-ca.crl.pem"].iter().zip(&first[1..]) {
        assert_ne!(&read(name), old, "{name}");
    }
    assert_eq!(refusal(&pki, &pki.client("checkout").unwrap(), &clock), None);
}

#[test]
fn a_damaged_or_foreign_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::now();
    Pki::open_or_create(folder.path(), clock.clone()).unwrap();
    for damage in
        ["checkout.key", "checkout.pem", "workload-ca.key", "workload-ca.pem", "workload-ca.crl.pem"]
    {
        fs::write(folder.path().join(damage), "not pem").unwrap();
        let pki = Pki::open_or_create(folder.path(), clock.clone()).unwrap();
        for workload in WORKLOADS {
            assert_eq!(refusal(&pki, &pki.client(workload).unwrap(), &clock), None, "{damage}: {workload}");
        }
    }
    // A key that is another certificate's.
    fs::copy(folder.path().join("proxy.key"), folder.path().join("checkout.key")).unwrap();
    let pki = Pki::open_or_create(folder.path(), clock).unwrap();
    assert!(pki.client_config(Some(&pki.client("checkout").unwrap()), Server::Vault).is_ok());
}
