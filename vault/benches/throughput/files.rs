//! The files a vault starts from: certificates, key file, configuration.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use strongroom_domain::Random as _;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_sandbox::pki::{Pki, Server};

use super::Failure;
use super::postgres;

/// The policies as they are shipped.
pub(crate) fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

/// An address nobody listens on now. Below the ports systems give to outgoing connections: a client that knocks while the
/// server is away could otherwise be given the server's own.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    let mut bytes = [0; 2];
    loop {
        SystemRandom::new().fill(&mut bytes)?;
        let address = SocketAddr::from(([127, 0, 0, 1], 12_000 + u16::from_be_bytes(bytes) % 20_000));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}

/// Writes the configuration: defaults, but limits per principal that one loaded identity does not reach.
pub(crate) fn configuration(
    folder: &Path,
    pki: &Pki,
    [api, ops]: [SocketAddr; 2],
    server: Option<&postgres::Server>,
) -> Result<PathBuf, Failure> {
    let certificate = pki.server(Server::Vault)?;
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key)?;
    let key_file = folder.join("kms.key");
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key_file)?.write_all(&key)?;
    let store = match server {
        Some(server) => format!(
            "driver = \"postgres\"\nhost = {:?}\nuser = \"strongroom\"\ndatabase = \"postgres\"\ntls = \"off\"",
            server.socket_folder()
        ),
        None => format!("driver = \"sqlite\"\npath = {:?}", folder.join("vault.db")),
    };
    let text = format!(
        "environment = \"test\"\ninstance = \"vault-1\"\n\
         [api]\naddress = \"{api}\"\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\ncrl_files = [{:?}]\n\
         [ops]\naddress = \"{ops}\"\n\
         [store]\n{store}\n\
         [kms]\nprovider = \"file\"\nkey_file = {key_file:?}\n\
         [policies]\nfolder = {:?}\n\
         [limits]\ntokenize_per_second = 10000000\nforward_per_second = 10000000\nforward_per_day = 1000000000000\n\
         token_forwards_per_minute = 10000000\n\
         [audit]\nfolder = {:?}\n\
         [telemetry]\nfile = {:?}\n",
        certificate.certificate_pem_path,
        certificate.key_pem_path,
        pki.ca_file(),
        pki.crl_file(),
        policies(),
        folder.join("signed-log"),
        folder.join("vault.log"),
    );
    let path = folder.join("vault.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The configuration of a second replica beside the first: files of its own for whatever it writes.
pub(crate) fn second(
    folder: &Path,
    first: &Path,
    before: [SocketAddr; 2],
    now: [SocketAddr; 2],
) -> Result<PathBuf, Failure> {
    let mut text = std::fs::read_to_string(first)?;
    for (before, now) in before.iter().zip(now) {
        text = text.replace(&before.to_string(), &now.to_string());
    }
    for (before, now) in
        [("vault-1", "vault-2"), ("/signed-log", "/signed-log-2"), ("/vault.log", "/vault-2.log")]
    {
        text = text.replace(before, now);
    }
    let path = folder.join("vault-2.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}
