//! The importing process: started, watched, killed.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::vault::{TENANT, cpu_seconds_of, status_kib_of};
use super::{Failure, Import};

/// How often memory, processor time and progress are read.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// More than the longest line of the state: a hundred cards.
const TAIL_BYTES: u64 = 128 * 1024;
/// How a line of the state begins.
const BATCH: &str = "{\"batch\":{\"number\":";
/// Cards of a batch.
const BATCH_CARDS: u64 = 100;

/// What it took.
#[derive(Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) time: Duration,
    pub(super) vault_cpu: f64,
    pub(super) import_cpu: f64,
    pub(super) vault_peak_kib: u64,
    pub(super) import_peak_kib: u64,
}

/// A running `card import`.
pub(super) struct Importer {
    child: Child,
    state: PathBuf,
    began: Instant,
    vault_cpu: f64,
    used: Used,
    earlier: Used,
}

impl Importer {
    /// Starts it, or starts it again, on the state of this name.
    pub(super) fn start(import: &Import<'_>, name: &str, source: &Path) -> Result<Self, Failure> {
        let identity = import.vault.pki.client("importer")?;
        let state = import.folder.join("import").join(name);
        std::fs::create_dir_all(import.folder.join("import"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
        command
            .args([
                "card",
                "import",
                "--vault",
                &format!("https://localhost:{}", import.vault.address.port()),
            ])
            .arg("--certificate")
            .arg(identity.certificate_pem_path)
            .arg("--key")
            .arg(identity.key_pem_path)
            .arg("--ca")
            .arg(import.vault.pki.ca_file())
            .args(["--tenant", TENANT, "--state"])
            .arg(&state)
            .args(import.connections.iter().flat_map(|count| ["--connections".to_owned(), count.to_string()]))
            .arg(source)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            child: command.spawn()?,
            state,
            began: Instant::now(),
            vault_cpu: import.vault.cpu_seconds()?,
            used: Used::default(),
            earlier: Used::default(),
        })
    }

    /// Waits until so many cards are acknowledged, or it ended. Gives whether it ended.
    pub(super) fn until(&mut self, import: &Import<'_>, cards: u64) -> Result<bool, Failure> {
        loop {
            self.look(import)?;
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(true)
                } else {
                    Err(format!("the import ended: {status}").into())
                };
            }
            if self.acknowledged() >= cards {
                return Ok(false);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until it ended well.
    pub(super) fn finish(mut self, import: &Import<'_>) -> Result<Used, Failure> {
        self.until(import, u64::MAX)?;
        Ok(self.used.and(self.earlier))
    }

    /// Counts what an earlier process of the same import took.
    pub(super) fn used_before(&mut self, earlier: Used) {
        self.earlier = earlier;
    }

    /// `kill -9`.
    pub(super) fn kill(mut self, import: &Import<'_>) -> Result<Used, Failure> {
        self.look(import)?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.used.and(self.earlier))
    }

    fn look(&mut self, import: &Import<'_>) -> Result<(), Failure> {
        let (process, used) = (self.child.id(), &mut self.used);
        used.import_peak_kib = status_kib_of(process, "VmHWM:").unwrap_or(0).max(used.import_peak_kib);
        used.import_cpu = cpu_seconds_of(process).unwrap_or(used.import_cpu);
        used.vault_peak_kib = import.vault.peak_kib()?.max(used.vault_peak_kib);
        used.vault_cpu = import.vault.cpu_seconds()? - self.vault_cpu;
        used.time = self.began.elapsed();
        Ok(())
    }

    /// Cards whose batches are in the state; none while it cannot be told.
    fn acknowledged(&self) -> u64 {
        let tail = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(self.state.join("state.jsonl"))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(tail)
        };
        let tail = tail().unwrap_or_default();
        let tail = String::from_utf8_lossy(&tail);
        let newest = tail.rsplit(BATCH).next().filter(|_| tail.contains(BATCH)).unwrap_or_default();
        let number = newest.split(',').next().and_then(|number| number.parse::<u64>().ok());
        number.map_or(0, |number| (number + 1) * BATCH_CARDS)
    }
}

impl Drop for Importer {
    fn drop(&mut self) {
        // It has ended already unless the run failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Used {
    /// Of one process after another.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            time: self.time + other.time,
            vault_cpu: self.vault_cpu + other.vault_cpu,
            import_cpu: self.import_cpu + other.import_cpu,
            vault_peak_kib: self.vault_peak_kib.max(other.vault_peak_kib),
            import_peak_kib: self.import_peak_kib.max(other.import_peak_kib),
        }
    }
}
