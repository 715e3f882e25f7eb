//! `strongroom-vault review`: shown, kept in a file, signed.

use std::process::Command;

use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_reviews_by_command_and_signs_what_was_shown() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    super::shown(&vault, "reviewer", "log").await; // something is signed
    let url = format!("https://localhost:{}", vault.address.port());
    let identity = vault.pki.client("reviewer").unwrap();
    let ca = vault.pki.ca_file();
    let [certificate, key, ca] =
        [&identity.certificate_pem_path, &identity.key_pem_path, &ca].map(|path| path.display().to_string());
    let folder = tempfile::tempdir().unwrap();
    let program = |arguments: &[&str]| {
        let who = ["--vault", &url, "--certificate", &certificate, "--key", &key, "--ca", &ca];
        let done = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"))
            .arg("review")
            .args([&arguments[..1], &who, &arguments[1..]].concat())
            .output()
            .unwrap();
        let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (done.status.code(), text.concat())
    };
    for (kind, shows) in [("access", "grants of policy bundle"), ("log", "tenant.create success")] {
        let draft = folder.path().join(kind).display().to_string();
        let (code, said) = program(&[kind]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(shows) && said.contains("last reviewed never; due by"), "{said}");
        let (code, said) = program(&[kind, "--out", &draft]);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = program(&[kind, "--out", &draft]);
        assert_ne!(code, Some(0), "what is to be signed is not written over: {said}");
        let (code, said) = program(&[kind, "--sign", &draft, "--decision", "follow-up"]);
        assert_ne!(code, Some(0), "what is to be followed up is said: {said}");
        let (code, said) =
            program(&[kind, "--sign", &draft, "--decision", "approved", "--remarks", "4242 4242 4242 4242"]);
        assert_ne!(code, Some(0), "{said}");
        let sign = [kind, "--sign", &draft, "--decision", "follow-up", "--remarks", "ask for one of them"];
        let (code, said) = program(&sign);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("review 1 of {kind} is filed as ")), "{said}");
        assert_eq!(program(&sign).0, Some(0), "twice is once");
        let entry = vault.awaited(&format!("review.{kind}"), "follow-up").await;
        assert!(said.contains(entry["obj"]["ref"].as_str().unwrap()), "{said}");
    }
    let (code, _) = program(&["access", "--decision", "approved"]);
    assert_ne!(code, Some(0), "nothing is signed that was not shown");
}
