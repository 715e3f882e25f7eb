//! A real syslog server: Debian's rsyslog over TLS with certificates of its own, on loopback, gone with the value.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;
use strongroom_perimeter::tls::ClientTlsConfig;
use strongroom_vault::watch::{CloseNotify, SyslogConfig};
use tempfile::TempDir;

/// How rsyslog speaks TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// OpenSSL: ends a session properly.
    Ossl,
    /// GnuTLS: does not.
    Gtls,
}

/// A server, and the files of both sides.
pub(super) struct Rsyslog {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

/// A message as it came.
pub(super) struct Message {
    pub(super) head: String,
    pub(super) event: Value,
}

/// The finding's number.
pub(super) fn count(message: &Message) -> u64 {
    message.event["finding_info"]["related_events_count"].as_u64().unwrap()
}

/// An authority, and its certificate.
fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), certificate)
}

impl Rsyslog {
    pub(super) fn new(driver: Driver) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder: tempfile::tempdir().unwrap(), port, process: None };
        let (own, other) = (authority("house"), authority("another"));
        server.write("ca.pem", &own.1);
        server.write("other-ca.pem", &other.1);
        server.issue(&own.0, "server", "localhost");
        server.issue(&own.0, "vault", "vault-1");
        server.issue(&other.0, "stranger", "vault-1");
        let name = if driver == Driver::Gtls { "gtls" } else { "ossl" };
        let folder = server.folder.path().display();
        server.write(
            "rsyslog.conf",
            &format!(
                "global(workDirectory=\"{folder}\" maxMessageSize=\"128k\"\n\
                 DefaultNetstreamDriverCAFile=\"{folder}/ca.pem\"\n\
                 DefaultNetstreamDriverCertFile=\"{folder}/server.pem\"\n\
                 DefaultNetstreamDriverKeyFile=\"{folder}/server.key\")\n\
                 module(load=\"imtcp\" StreamDriver.Name=\"{name}\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"x509/certvalid\")\n\
                 template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
                 ruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{folder}/messages\" template=\"raw\") }}\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"all\")\n"
            ),
        );
        server
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, authority: &Issuer<'static, KeyPair>, file: &str, name: &str) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{file}.pem"), &params.signed_by(&key, authority).unwrap().pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// Starts it, and waits until it listens.
    pub(super) fn start(&mut self) {
        let program =
            ["/usr/sbin/rsyslogd", "/usr/bin/rsyslogd"].into_iter().find(|path| PathBuf::from(path).exists());
        let program =
            program.expect("needs rsyslog, rsyslog-openssl and rsyslog-gnutls: `.ci/run` installs them");
        let _ = std::fs::remove_file(self.path("pid"));
        let process = Command::new(program)
            .args(["-n", "-f"])
            .arg(self.path("rsyslog.conf"))
            .arg("-i")
            .arg(self.path("pid"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path("errors")).unwrap())
            .spawn()
            .unwrap();
        self.process = Some(process);
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("rsyslog does not listen: {}", std::fs::read_to_string(self.path("errors")).unwrap());
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// What came so far.
    pub(super) fn messages(&self) -> Vec<Message> {
        let text = std::fs::read_to_string(self.path("messages")).unwrap_or_default();
        let message = |line: &str| {
            let (head, event) = line.split_once("] {").unwrap_or_else(|| panic!("{line}"));
            let event = serde_json::from_str(&format!("{{{event}")).unwrap();
            Message { head: format!("{head}]"), event }
        };
        // A line that is being written has no end yet.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| message(line.trim_end()))
            .collect()
    }

    /// Waits until so many came, and no more.
    pub(super) fn wait_for(&self, count: usize) {
        for _ in 0..600 {
            let came = self.messages().len();
            assert!(came <= count, "{came} messages came");
            if came == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("only {} of {count} messages came", self.messages().len());
    }

    /// What a vault must know of it.
    pub(super) fn config(&self) -> SyslogConfig {
        self.config_of("localhost", "ca.pem", "vault")
    }

    pub(super) fn of_another_authority(&self) -> SyslogConfig {
        self.config_of("localhost", "other-ca.pem", "vault")
    }

    pub(super) fn under_another_name(&self) -> SyslogConfig {
        self.config_of("127.0.0.1", "ca.pem", "vault")
    }

    pub(super) fn shown_a_stranger(&self) -> SyslogConfig {
        self.config_of("localhost", "ca.pem", "stranger")
    }

    fn config_of(&self, host: &str, ca: &str, certificate: &str) -> SyslogConfig {
        let tls = ClientTlsConfig {
            certificate_file: self.path(&format!("{certificate}.pem")),
            key_file: self.path(&format!("{certificate}.key")),
            ca_file: self.path(ca),
            crl_files: Vec::new(),
        };
        SyslogConfig {
            server: format!("{host}:{}", self.port),
            tls: Some(tls),
            plaintext: false,
            close_notify: CloseNotify::Required,
            enterprise_number: 32_473,
            timeout_ms: 60_000,
        }
    }

    /// The server's side of TLS, for a server of the test's own.
    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        use rustls_pki_types::pem::PemObject as _;
        let chain = vec![rustls_pki_types::CertificateDer::from_pem_file(self.path("server.pem")).unwrap()];
        let key = rustls_pki_types::PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(strongroom_perimeter::tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        std::sync::Arc::new(config).into()
    }

    /// The same as a file says it.
    pub(super) fn settings(&self) -> String {
        let [certificate, key, ca] = ["vault.pem", "vault.key", "ca.pem"].map(|name| self.path(name));
        format!(
            "server = \"localhost:{}\"\ntimeout_ms = 60000\ntls = {{ certificate_file = {certificate:?}, key_file = {key:?}, ca_file = {ca:?} }}",
            self.port
        )
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.kill();
    }
}
