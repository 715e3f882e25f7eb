//! Everything that verifies a log, each as its own process: the vault's program, the one written apart from it, and one that others
//! published, if it installs here.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::vault::status_kib_of;
use super::Failure;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many there are, if all install.
pub(crate) const COUNT: usize = 3;
/// What others published, pinned.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// One verifier's word.
pub(crate) struct Ran {
    name: &'static str,
    pub(crate) entries: u64,
    root: String,
    said: String,
    took: Duration,
    peak_kib: u64,
}

impl Ran {
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        (self.entries, &self.root) == (other.entries, &other.root)
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} | {:.1} s, {:.0} entries/s, peak {:.1} MiB",
            self.name,
            self.said,
            self.took.as_secs_f64(),
            self.entries as f64 / self.took.as_secs_f64(),
            self.peak_kib as f64 / 1024.0,
        )
    }
}

/// The log's key of now.
pub(crate) fn vkey(config: &Path) -> Result<String, Failure> {
    let output = Command::new(program()).args(["audit", "key", "--config"]).arg(config).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The vault's own.
pub(crate) fn ours(folder: &Path, vkey: &str) -> Result<Ran, Failure> {
    let mut command = Command::new(program());
    command.args(["audit", "verify", "--quiet"]).arg(folder).args(["--vkey", vkey]);
    ran("strongroom-vault audit verify", &mut command)
}

/// Each of them, the vault's own first.
pub(crate) fn all(folder: &Path, vkey: &str) -> Result<Vec<Ran>, Failure> {
    let mut all = vec![ours(folder, vkey)?];
    let apart = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/verify_log.py");
    let python = installed("verify", "python3", "cryptography==50.0.2\n");
    let python = python.ok_or("python3 with venv and the package cryptography are needed")?;
    let mut command = Command::new(python);
    command.arg("-B").arg(apart).arg(folder).args(["--vkey", vkey]);
    all.push(ran("verify_log.py", &mut command)?);
    let others = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/throughput/log/others.py");
    let pythons = ["python3", "python3.14", "python3.13", "python3.12"];
    if let Some(python) = pythons.iter().find_map(|python| installed("others", python, REQUIREMENTS)) {
        let mut command = Command::new(python);
        command.arg("-B").arg(others).arg(folder).arg(vkey);
        all.push(ran("aics-tlog, published by others", &mut command)?);
    }
    Ok(all)
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_strongroom-vault")
}

/// A Python with these packages. None if this one cannot have them: it is told why.
fn installed(name: &str, python: &str, requirements: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{python}"));
    let (venv, mark) = (folder.join("venv"), folder.join("installed.txt"));
    let inside = venv.join("bin/python3");
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == requirements) {
        return Some(inside);
    }
    std::fs::create_dir_all(&folder).ok()?;
    let wanted = folder.join("requirements.txt");
    std::fs::write(&wanted, requirements).ok()?;
    let made = Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv).output().ok()?;
    let pip = Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&wanted)
        .output();
    let is_installed = made.status.success() && pip.is_ok_and(|pip| pip.status.success());
    is_installed.then(|| std::fs::write(&mark, requirements).ok())??;
    Some(inside)
}

/// Runs to the end, watching memory. What it says must begin with how many entries, and end with the root.
fn ran(name: &'static str, command: &mut Command) -> Result<Ran, Failure> {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = status_kib_of(child.id(), "VmHWM:").unwrap_or(0).max(peak_kib);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let took = began.elapsed();
    let mut said = String::new();
    child.stdout.take().ok_or("no output")?.read_to_string(&mut said)?;
    let said = said.trim().to_owned();
    if !status.success() {
        return Err(format!("{name}: {said}").into());
    }
    let entries = said.split(' ').next().and_then(|word| word.parse().ok()).ok_or("no count of entries")?;
    let root = said.rsplit(' ').next().unwrap_or_default().to_owned();
    Ok(Ran { name, entries, root, said, took, peak_kib })
}
