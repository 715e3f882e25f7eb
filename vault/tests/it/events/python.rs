//! The receiver that shares no code with the vault, as a process; and environments of libraries for such processes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::ground::Certificate;

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// How long a line may take on a busy machine.
const LINE_TIME_MAX: Duration = Duration::from_secs(60);

/// A running receiver.
pub(super) struct PythonReceiver {
    child: Child,
    lines: mpsc::Receiver<String>,
    pub(super) port: u16,
}

impl PythonReceiver {
    pub(super) fn start(certificate: &Certificate, secret: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/events/receiver.py");
        let mut child = Command::new(environment("event-receiver", REQUIREMENTS).join("bin/python"))
            .arg(script)
            .args([&certificate.chain, &certificate.key])
            .arg(secret)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| drop(told.send(line)))
        });
        let port = lines.recv_timeout(LINE_TIME_MAX).unwrap().parse().unwrap();
        Self { child, lines, port }
    }

    /// The next event that holds; what was refused before it is counted.
    pub(super) fn next(&self) -> (Value, u32) {
        let mut refused = 0;
        loop {
            let line = self.lines.recv_timeout(LINE_TIME_MAX).unwrap();
            let told: Value = serde_json::from_str(&line).unwrap();
            if told["refused"].is_null() {
                return (told, refused);
            }
            refused += 1;
        }
    }

    /// Waits until something was refused.
    pub(super) fn refusal(&self) -> String {
        let line = self.lines.recv_timeout(LINE_TIME_MAX).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        told["refused"].as_str().unwrap_or_else(|| panic!("{told} was taken")).to_owned()
    }
}

impl Drop for PythonReceiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A virtual environment with these libraries. Tests run as processes of their own: one installs, the others wait.
pub(crate) fn environment(name: &str, wanted: &str) -> PathBuf {
    let cache = crate::crash::setting("STRONGROOM_TEST_CACHE");
    let cache = cache.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = cache.join(name);
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let environment = folder.join("venv");
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return environment;
    }
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, wanted).unwrap();
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    let pip = environment.join("bin/pip");
    run(Command::new(pip)
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&requirements));
    fs::write(&installed, wanted).unwrap();
    environment
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
