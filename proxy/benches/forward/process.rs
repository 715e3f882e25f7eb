//! A program running beside this one.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::Failure;

/// How long a start may take on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// The kernel counts a process's time in these (`USER_HZ`, 100 on Linux).
const TICKS_A_SECOND: f64 = 100.0;

pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let started = command.spawn();
        Ok(Self(started.map_err(|error| format!("{}: {error}", command.get_program().display()))?))
    }

    /// Waits until it listens.
    pub(crate) fn listening(mut self, address: SocketAddr) -> Result<Self, Failure> {
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.0.try_wait()? {
                return Err(format!("a service ended before it listened: {status}").into());
            }
            if started.elapsed() > START_TIME_MAX {
                return Err("a service did not listen in time".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(self)
    }

    /// Resident memory.
    pub(crate) fn rss_kib(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Processor time used so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        Self::cpu_seconds_of(self.0.id())
    }

    /// The same of any process.
    pub(crate) fn cpu_seconds_of(id: u32) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // After the name in parentheses: field 14 is user time, 15 system time (proc(5)).
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no processor time");
        Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // All state is in the folder that goes next.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
