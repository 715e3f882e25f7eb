//! KMS servers from PyPI: installed once, started on a free loopback port, stopped with the test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// moto imports half of boto at its first start.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Another process may take the free port before the server does.
const STARTS_MAX: usize = 3;

pub(crate) struct Emulator {
    child: Child,
    port: u16,
}

impl Emulator {
    pub(crate) fn roto() -> Self {
        Self::start("roto-server", |port| vec!["--ephemeral".into(), "--port".into(), port])
    }

    pub(crate) fn moto() -> Self {
        Self::start("moto_server", |port| vec!["--host".into(), "127.0.0.1".into(), "--port".into(), port])
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn start(program: &str, arguments: impl Fn(String) -> Vec<String>) -> Self {
        let program = environment().join("bin").join(program);
        for _ in 0..STARTS_MAX {
            let port = free_port();
            let child = Command::new(&program)
                .args(arguments(port.to_string()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
            let mut emulator = Self { child, port };
            if emulator.answers() {
                return emulator;
            }
        }
        panic!("{} does not answer on a loopback port", program.display());
    }

    fn answers(&mut self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // By its own process id; it holds nothing worth an orderly end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn cache() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "where tests keep what they installed is not configuration"
    )]
    let named = std::env::var("STRONGROOM_TEST_CACHE");
    named.map_or_else(|_| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
}

/// The virtual environment with the servers. Tests run as processes of their own: one installs, the others wait.
/// A Python environment with everything in `requirements.txt`.
pub(crate) fn environment() -> PathBuf {
    let folder = cache().join("kms-emulators");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let environment = folder.join("venv");
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
        return environment;
    }
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).unwrap();
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    let pip = environment.join("bin").join("pip");
    run(Command::new(&pip)
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&requirements));
    fs::write(&installed, REQUIREMENTS).unwrap();
    environment
}

fn run(command: &mut Command) {
    let program = Path::new(command.get_program()).to_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {}: {error}; install python3 (3.10 or newer) with venv", program.display())
    });
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed: {told}", program.display());
}
