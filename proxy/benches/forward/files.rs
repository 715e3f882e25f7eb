//! The files vault and proxy start from, beside the PKI that the PSP's program makes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use strongroom_domain::Random as _;
use strongroom_perimeter::chance::SystemRandom;

use super::Failure;

/// The route of the sandbox PSP, one call of it.
const ROUTE: &str = r#"
credential = { header = "Authorization", scheme = "Bearer", refused_fields = ["key"] }
credentials = "account"
idempotency = { header = "Idempotency-Key" }

[[route.psp.allow]]
method = "POST"
path = "/v1/payment_methods"
body = "form"
inject = [
    { at = "card[number]", value = "number" },
    { at = "card[exp_month]", value = "exp", format = "M", from = "card[number]" },
    { at = "card[exp_year]", value = "exp", format = "YYYY", from = "card[number]" },
]
ids = ["id", "customer", "fingerprint"]
"#;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An address nobody listens on now.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// No limit of time or rate that the load reaches; the stalled PSP never makes the breaker open.
const UNLIMITED: &str = r#"
[route.psp.protect]
rate = { per_second = 1000000, burst = 1000000 }
caller_rate = { per_second = 1000000, burst = 1000000 }
"#;
const STALLED: &str = r#"caller_in_flight_max = 256
total_timeout_ms = 240000
breaker = { failures = 1000000 }
"#;

/// The shipped policies, the route of the PSP at `psp`, and of one that never answers.
pub(crate) fn policies(folder: &Path, psp: SocketAddr, stalled: Option<SocketAddr>) -> Result<(), Failure> {
    let policies = folder.join("policies");
    copy(&repository().join("policies"), &policies)?;
    let roots = folder.join("pki/psp-ca.pem");
    route(&policies, "psp", &roots, psp, ROUTE, UNLIMITED)?;
    if let Some(stalled) = stalled {
        let calls = format!("\nupstream_timeout_ms = 230000{ROUTE}");
        route(&policies, "stalled", &roots, stalled, &calls, &format!("{UNLIMITED}{STALLED}"))?;
    }
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key)?;
    private(&folder.join("kms.key"), &key)?;
    std::fs::create_dir_all(folder.join("secrets"))?;
    private(&folder.join("secrets/psp.key"), b"sk_test_bench\n")
}

fn route(
    policies: &Path,
    name: &str,
    roots: &Path,
    psp: SocketAddr,
    calls: &str,
    protect: &str,
) -> Result<(), Failure> {
    let port = psp.port();
    let head = format!(
        "[route.psp]\nupstream = \"https://127.0.0.1:{port}\"\nroots_file = {roots:?}\nprivate_addresses = [\"127.0.0.1\"]"
    );
    let text = format!("{head}{calls}{protect}").replace("route.psp", &format!("route.{name}"));
    std::fs::write(policies.join(format!("routes/{name}.toml")), text)?;
    let accounts = policies.join("accounts").join(name);
    std::fs::create_dir_all(&accounts)?;
    std::fs::write(accounts.join("default.toml"), "tenants = [\"*\"]\ncredential_file = \"psp.key\"\n")?;
    Ok(())
}

/// The vault's configuration: defaults, but limits per principal that one loaded identity does not reach.
pub(crate) fn vault(
    folder: &Path,
    postgres: Option<&Path>,
    [api, ops]: [SocketAddr; 2],
) -> Result<PathBuf, Failure> {
    let store = match postgres {
        None => format!("driver = \"sqlite\"\npath = {:?}", folder.join("vault.db")),
        Some(socket) => format!(
            "driver = \"postgres\"\nhost = {socket:?}\nuser = \"strongroom\"\ndatabase = \"postgres\"\ntls = \"off\""
        ),
    };
    let text = format!(
        "environment = \"test\"\ninstance = \"vault-1\"\n[api]\n{}[ops]\naddress = \"{ops}\"\n[store]\n{store}\n\
         [kms]\nprovider = \"file\"\nkey_file = {:?}\n[policies]\nfolder = {:?}\n\
         [limits]\ntokenize_per_second = 10000000\nforward_per_second = 10000000\nforward_per_day = 1000000000000\n\
         token_forwards_per_minute = 10000000\n[telemetry]\nfile = {:?}\n",
        listener(folder, api, "vault-server"),
        folder.join("kms.key"),
        folder.join("policies"),
        folder.join("vault.log"),
    );
    let path = folder.join("vault.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The proxy's configuration.
pub(crate) fn proxy(
    folder: &Path,
    [forward, ops]: [SocketAddr; 2],
    vault: SocketAddr,
    routes: &[&str],
) -> Result<PathBuf, Failure> {
    let pki = folder.join("pki");
    let text = format!(
        "environment = \"test\"\npolicies_folder = {:?}\nsecrets_folder = {:?}\nroutes = {routes:?}\n\
         [limits]\ncaller_rate = {{ per_second = 1000000, burst = 1000000 }}\n\
         [listener]\n{}[ops]\naddress = \"{ops}\"\n[vault]\nurls = [\"https://localhost:{}\"]\n\
         [vault.tls]\ncertificate_file = {:?}\nkey_file = {:?}\nca_file = {:?}\n[telemetry]\nfile = {:?}\n",
        folder.join("policies"),
        folder.join("secrets"),
        listener(folder, forward, "proxy-server"),
        vault.port(),
        pki.join("proxy.pem"),
        pki.join("proxy.key"),
        pki.join("workload-ca.pem"),
        folder.join("proxy.log"),
    );
    let path = folder.join("proxy.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}

fn listener(folder: &Path, address: SocketAddr, stem: &str) -> String {
    let pki = folder.join("pki");
    format!(
        "address = \"{address}\"\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\ncrl_files = [{:?}]\n",
        pki.join(format!("{stem}.pem")),
        pki.join(format!("{stem}.key")),
        pki.join("workload-ca.pem"),
        pki.join("workload-ca.crl.pem"),
    )
}

fn private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
