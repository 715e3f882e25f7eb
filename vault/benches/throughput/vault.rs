//! The vault's own program, as its own process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::client::Client;
use strongroom_sandbox::pki::{Pki, Server};

use super::{Failure, files, postgres};

/// How long a start or a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The kernel counts a process's time in these (`USER_HZ`, 100 on Linux).
const TICKS_A_SECOND: f64 = 100.0;

/// The tenant of every card.
pub(crate) const TENANT: &str = "acme";

/// A running vault with one tenant.
pub(crate) struct RunningVault {
    folder: PathBuf,
    config: PathBuf,
    ops: SocketAddr,
    process: Child,
    /// Processor time of processes that were killed.
    spent: f64,
    pub(crate) pki: Pki,
    pub(crate) address: SocketAddr,
}

impl RunningVault {
    pub(crate) fn start(folder: &Path, server: Option<&postgres::Server>) -> Result<Self, Failure> {
        let pki = Pki::open_or_create(folder.join("pki"), Arc::new(SystemClock))?;
        let [api, ops] = [files::free_address()?, files::free_address()?];
        let config = files::configuration(folder, &pki, [api, ops], server)?;
        let program = env!("CARGO_BIN_EXE_strongroom-vault");
        let migrated = Command::new(program).arg("migrate").arg("--config").arg(&config).output()?;
        if !migrated.status.success() {
            return Err(String::from_utf8_lossy(&migrated.stderr).into());
        }
        let process = serve(&config)?;
        let folder = folder.to_owned();
        let mut vault = Self { folder, config, ops, process, spent: 0.0, pki, address: api };
        vault.await_listener()?;
        vault.onboard()?;
        Ok(vault)
    }

    /// A second replica on the same store: `vault-2`.
    pub(crate) fn beside(&self) -> Result<Self, Failure> {
        let [api, ops] = [files::free_address()?, files::free_address()?];
        let config = files::second(&self.folder, &self.config, [self.address, self.ops], [api, ops])?;
        let process = serve(&config)?;
        let (pki, folder) = (self.pki_again()?, self.folder.clone());
        let mut vault = Self { folder, config, ops, process, spent: 0.0, pki, address: api };
        vault.await_listener()?;
        Ok(vault)
    }

    /// `kill -9`, and a new start on the same files.
    pub(crate) fn kill_and_start(&mut self) -> Result<(), Failure> {
        self.kill()?;
        self.start_again()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.spent = self.cpu_seconds()?;
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// A new start on the same files.
    pub(crate) fn start_again(&mut self) -> Result<(), Failure> {
        self.process = serve(&self.config)?;
        self.await_listener()
    }

    /// Its authorities and certificates, for a thread of its own.
    pub(crate) fn pki_again(&self) -> Result<Pki, Failure> {
        Ok(Pki::open_or_create(self.folder.join("pki"), Arc::new(SystemClock))?)
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    fn await_listener(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        while std::net::TcpStream::connect(self.ops).is_err()
            || std::net::TcpStream::connect(self.address).is_err()
        {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the vault ended: {status}").into());
            }
            if started.elapsed() > PATIENCE {
                return Err("the vault did not start".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn onboard(&self) -> Result<(), Failure> {
        let identity = self.pki.client("platform")?;
        let client = Client::new(&self.pki, Some(&identity), Server::Vault, self.address)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let path = format!("/v1/tenants/{TENANT}");
        let headers = [("content-type", "application/json")];
        let answer = runtime.block_on(client.send("PUT", &path, &headers, br#"{"groups":["merchants"]}"#))?;
        match answer.status() {
            200 | 201 => Ok(()),
            status => Err(format!("the tenant was not made: {status}").into()),
        }
    }

    /// The SQLite file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join("vault.db")
    }

    /// Resident memory.
    pub(crate) fn rss_kib(&self) -> Result<u64, Failure> {
        status_kib_of(self.process.id(), "VmRSS:")
    }

    /// The most memory that was resident at once since its start.
    pub(crate) fn peak_kib(&self) -> Result<u64, Failure> {
        status_kib_of(self.process.id(), "VmHWM:")
    }

    /// Processor time used so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        Ok(self.spent + cpu_seconds_of(self.process.id())?)
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        let started = Instant::now();
        while self.process.try_wait()?.is_none() {
            if started.elapsed() > PATIENCE {
                return Err("the vault did not stop".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for RunningVault {
    fn drop(&mut self) {
        // It has ended already unless the run failed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn serve(config: &Path) -> Result<Child, Failure> {
    Ok(Command::new(env!("CARGO_BIN_EXE_strongroom-vault"))
        .arg("serve")
        .arg("--config")
        .arg(config)
        .spawn()?)
}

/// A number of kilobytes the kernel tells of a process (proc(5)): `VmRSS:` now, `VmHWM:` at most.
pub(crate) fn status_kib_of(process: u32, name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory told")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Processor time a process used so far.
pub(crate) fn cpu_seconds_of(process: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name in parentheses: field 14 is user time, 15 system time (proc(5)).
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no processor time");
    Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}
