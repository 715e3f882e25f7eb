//! Two people and a third, one of them with two identities; a recipient.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use strongroom_sandbox::client::Exchange;
use strongroom_sandbox::pki::Pki;

use crate::service::{Service, sqlite};

pub(super) const EXPORTS: &str = "/v1/tenants/acme/exports";

/// Exporters: person `one` by two identities, `two`, and `three`; and a service that is none.
pub(crate) fn people() -> Value {
    let exporter = |name: &str, person: Option<&str>| {
        json!({
            "id": format!("spiffe://strongroom.test/{name}"), "person": person, "roles": ["exporter"],
            "tenants": { "groups": ["merchants"] },
        })
    };
    json!([
        exporter("exporter-one", Some("one")),
        exporter("exporter-one-too", Some("one")),
        exporter("exporter-two", Some("two")),
        exporter("exporter-three", Some("three")),
        exporter("exporter-service", None),
    ])
}

pub(super) const ON: &str = "[export]\nenabled = true\n";

/// A vault where they may export, on SQLite.
pub(super) async fn start(settings: &str) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    start_on(folder, &store, settings).await
}

pub(super) async fn start_on(folder: tempfile::TempDir, store: &str, settings: &str) -> Service {
    let vault = Service::start_granting_on(folder, store, &people(), settings).await;
    vault.onboard("acme").await;
    vault
}

/// What `person` asks for: everything, to this recipient.
pub(super) fn wanted(to: &age::x25519::Identity) -> Value {
    json!({ "recipient": to.to_public().to_string(), "cards_max": 1_000, "purpose": "moving house" })
}

pub(super) async fn request(vault: &Service, who: &str, wanted: &Value) -> Exchange {
    vault.send(who, "POST", EXPORTS, Some(wanted)).await
}

pub(super) async fn approve(vault: &Service, who: &str, id: &str, sha256: &str) -> Exchange {
    let path = format!("{EXPORTS}/{id}/approval");
    vault.send(who, "PUT", &path, Some(&json!({ "sha256": sha256 }))).await
}

pub(super) async fn run(vault: &Service, who: &str, id: &str) -> Exchange {
    vault.send(who, "POST", &format!("{EXPORTS}/{id}/runs"), None).await
}

/// Asked for by the first, approved by the second. Gives the id.
pub(super) async fn agreed(vault: &Service, wanted: &Value) -> String {
    let asked = request(vault, "exporter-one", wanted).await;
    assert_eq!(asked.status(), 201, "{}", asked.json());
    let (id, sha256) = names(&asked.json());
    let approved = approve(vault, "exporter-two", &id, &sha256).await;
    assert_eq!(approved.status(), 200, "{}", approved.json());
    id
}

/// Id and hash of an export.
pub(super) fn names(export: &Value) -> (String, String) {
    let text = |name: &str| export[name].as_str().unwrap().to_owned();
    (text("id"), text("sha256"))
}

/// Refused with this status and type, and on the log with this reason.
pub(super) async fn assert_refused(
    vault: &Service,
    answer: &Exchange,
    status: u16,
    kind: &str,
    reason: &str,
) {
    let problem = answer.json();
    assert_eq!(
        (answer.status(), problem["type"].as_str().unwrap()),
        (status, format!("urn:strongroom:problem:{kind}").as_str()),
        "{problem}"
    );
    let entry = vault.entries().await.pop().unwrap();
    assert_eq!((&entry["out"], &entry["rsn"]), (&json!("denied"), &json!(reason)), "{entry}");
}

/// The cards of an age file, if it opens to its end.
pub(super) fn open(file: &[u8], identity: &age::x25519::Identity) -> Option<Vec<Value>> {
    let decryptor = age::Decryptor::new(file).ok()?;
    let mut reader = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).ok()?;
    let mut text = String::new();
    reader.read_to_string(&mut text).ok()?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// How many whole lines can be read of a file that may be cut.
pub(super) fn lines_of_cut(file: &[u8], identity: &age::x25519::Identity) -> usize {
    let Ok(decryptor) = age::Decryptor::new(file) else { return 0 };
    let mut reader = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).unwrap();
    let (mut text, mut buffer) = (Vec::new(), [0; 4_096]);
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Writes an identity where `card import` reads it.
pub(super) fn keep_identity(identity: &age::x25519::Identity, path: &Path) {
    use age::secrecy::ExposeSecret as _;
    #[expect(clippy::disallowed_methods, reason = "a test writes its own identity file")]
    std::fs::write(path, identity.to_string().expose_secret()).unwrap();
}

/// The command line, as one workload, in a folder. Its outputs go to pipes.
pub(super) fn command(pki: &Pki, port: u16, who: &str, args: &[&str], folder: &Path) -> Command {
    let identity = pki.client(who).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
    command.args(args).args(["--vault", &format!("https://localhost:{port}")]);
    command.arg("--certificate").arg(identity.certificate_pem_path);
    command.arg("--key").arg(identity.key_pem_path).arg("--ca").arg(pki.ca_file());
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: exit status and both outputs.
pub(super) async fn ended(mut command: Command) -> (i32, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), told)
}

/// What follows a name in what a command printed.
pub(super) fn told(output: &str, name: &str) -> String {
    let line =
        output.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {output}"));
    line[name.len()..].trim().to_owned()
}
