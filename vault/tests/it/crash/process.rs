//! Vaults that are processes of their own: started, killed, stopped.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long an orderly end may take: the drain's own limit and a little.
const STOP_TIME_MAX: Duration = Duration::from_secs(40);

/// A program with one configuration file, and perhaps its process. Killed when dropped.
pub(crate) struct Vault {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Vault {
    /// This build's program: writes the configuration, with an address for the api, and brings the schema up.
    pub(crate) fn prepare(folder: &Path, name: &str, configuration: &str) -> Self {
        let vault = Self::of(own_program(folder), folder, name, configuration);
        vault.migrate();
        vault
    }

    /// A program with its configuration; no schema yet.
    pub(crate) fn of(program: PathBuf, folder: &Path, name: &str, configuration: &str) -> Self {
        let address = quiet_address();
        let text = configuration.replacen("127.0.0.1:0", &address.to_string(), 1);
        let text = text.replace("instance = \"vault-1\"", &format!("instance = {name:?}"));
        let text = text.replace("/signed-log\"", &format!("/signed-log-{name}\""));
        let vault = Self {
            program,
            config: folder.join(format!("{name}.toml")),
            log: folder.join(format!("{name}.log")),
            address,
            child: None,
        };
        std::fs::write(&vault.config, text).unwrap();
        vault
    }

    /// Brings the schema up; gives what was said.
    pub(crate) fn migrate(&self) -> String {
        let migrated = self.command("migrate").output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        String::from_utf8_lossy(&migrated.stdout).into_owned()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Starts it, with nothing but its configuration.
    pub(crate) fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let errors = log.try_clone().unwrap();
        self.child = Some(self.command("serve").stdout(log).stderr(errors).spawn().unwrap());
    }

    /// Waits until it takes connections.
    pub(crate) fn wait(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            self.assert_running();
            assert!(started.elapsed() < START_TIME_MAX, "it does not listen: {}", self.told());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It has not ended by itself.
    pub(crate) fn assert_running(&mut self) {
        let ended = self.child.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself, {ended:?}: {}", self.told());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM: it drains, writes the log's last entry and ends well.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > STOP_TIME_MAX {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status}: {}", self.told());
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(verb).arg("--config").arg(&self.config).stdin(Stdio::null());
        command
    }

    /// The end of what it logged.
    fn told(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program under this run's own name: a build during a long run does not change what is started again.
fn own_program(folder: &Path) -> PathBuf {
    let (built, own) = (env!("CARGO_BIN_EXE_strongroom-vault"), folder.join("strongroom-vault"));
    if !own.exists() && std::fs::hard_link(built, &own).is_err() {
        std::fs::copy(built, &own).map(|_| ()).unwrap(); // another file system
    }
    own
}

/// A free port below those systems give to outgoing connections: a client that knocks while the server is away could
/// otherwise be given the server's own.
fn quiet_address() -> SocketAddr {
    let mut bytes = [0; 2];
    loop {
        strongroom_domain::Random::fill(&strongroom_perimeter::chance::SystemRandom::new(), &mut bytes)
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 12_000 + u16::from_be_bytes(bytes) % 20_000));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
