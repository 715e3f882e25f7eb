//! A signed log of many entries, written under load by two replicas on one Postgres whose sequencer is killed three times; then
//! everything that verifies reads it.
//!
//! Promises: what it prints of the log is counted in the database and in the exported folder, and every verifier must agree on
//! size and root, or it fails.
//! Does not promise: that a lag is the sequencer's alone: an entry's time is that of its request, before its commit.

mod head;
mod lag;
mod verifiers;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::load::{self, Call, Cards, Load, Measured, Target, Wallet};
use super::report::Report;
use super::vault::RunningVault;
use super::{Failure, StoreKind, postgres};
use head::Head;

/// Connections, half of them to each replica.
const CONNECTIONS: usize = 32;
/// How often the sequencer is killed.
const KILLS: u64 = 3;
/// How long a takeover may take before the run is given up: the lease is 5 seconds.
const TAKEOVER_TIME_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One kill, and what followed.
pub(crate) struct Takeover {
    /// The tree when the sequencer was killed, and at the first checkpoint of the next one.
    pub(crate) sizes: [u64; 2],
    /// From the kill to that checkpoint.
    took: Duration,
}

/// Writes, kills, verifies.
pub(crate) fn run(
    report: &mut Report,
    entries: u64,
    folder: &Path,
    server: &postgres::Server,
) -> Result<(), Failure> {
    let first = RunningVault::start(folder, Some(server))?;
    let second = first.beside()?;
    let mut vaults = [first, second];
    let mut head = Head::connect(server.socket_folder())?;
    let began = Instant::now();
    let (measured, takeovers) = written(report, entries, &mut vaults, &mut head)?;
    let took = began.elapsed();
    report.line(&format!(
        "log: {} cards acknowledged in {:.1} s, {:.0}/s, p50 {:.2} ms, p99 {:.2} ms; {} connections broke; {CONNECTIONS} connections",
        measured.acknowledged(),
        took.as_secs_f64(),
        measured.rate(),
        measured.percentile(0.50),
        measured.percentile(0.99),
        measured.others.len(),
    ));
    let config = vaults[0].config().to_owned();
    for vault in vaults {
        report.line(&format!("log: a vault's peak {} KiB", vault.peak_kib()?));
        vault.stop()?;
    }
    told(report, folder, &config, &mut head, &takeovers)
}

/// Loads both until they wrote so many entries, and kills whichever sequences on the way.
fn written(
    report: &Report,
    entries: u64,
    vaults: &mut [RunningVault; 2],
    head: &mut Head,
) -> Result<(Measured, Vec<Takeover>), Failure> {
    let addresses = vaults.each_ref().map(|vault| vault.address).to_vec();
    let pki = vaults[0].pki_again()?;
    let (is_done, cards, wallet) = (AtomicBool::new(false), Cards::default(), Wallet::default());
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let target = Target { addresses, pki: &pki, survives: true };
            let calls = Load::Calls(entries);
            let measured = load::run_at(target, Call::Tokenize, CONNECTIONS, calls, &cards, &wallet);
            is_done.store(true, Ordering::SeqCst);
            measured
        });
        let mut takeovers = Vec::new();
        for kill in 1..=KILLS {
            while head.size()? < entries * kill / (KILLS + 1) && !is_done.load(Ordering::SeqCst) {
                std::thread::sleep(LOOK_EVERY);
            }
            takeovers.push(killed(report, kill, vaults, head)?);
        }
        let measured = loading.join().map_err(|_| "the load ended with a defect")??;
        Ok((measured, takeovers))
    })
}

/// Kills the sequencer, waits until the other signs, and starts the killed one again.
fn killed(
    report: &Report,
    kill: u64,
    vaults: &mut [RunningVault; 2],
    head: &mut Head,
) -> Result<Takeover, Failure> {
    let (holder, instance) = head.leader()?;
    let victim = &mut vaults[usize::from(instance == "vault-2")];
    let began = Instant::now();
    victim.kill()?;
    let before = head.newest()?;
    let after = loop {
        let newest = head.newest()?;
        if newest > before && head.leader()?.0 != holder {
            break newest;
        }
        if began.elapsed() > TAKEOVER_TIME_MAX {
            return Err("nobody took over".into());
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let took = began.elapsed();
    victim.start_again()?;
    report.line(&format!(
        "log: kill {kill}: {instance} at {before} entries; the other signed {after} after {:.2} s",
        took.as_secs_f64()
    ));
    Ok(Takeover { sizes: [before, after], took })
}

/// What is in the database and in the folders, and what each verifier says of it.
fn told(
    report: &mut Report,
    folder: &Path,
    config: &Path,
    head: &mut Head,
    takeovers: &[Takeover],
) -> Result<(), Failure> {
    let (entries, boots) = head.counts()?;
    let checkpoints = head.checkpoints()?;
    let mut folders = ["signed-log", "signed-log-2"].map(|name| folder.join(name)).to_vec();
    folders.sort_by_key(|folder| std::cmp::Reverse(size_of(folder)));
    let newest = &folders[0];
    let took: Vec<String> =
        takeovers.iter().map(|takeover| format!("{:.2}", takeover.took.as_secs_f64())).collect();
    report.line(&format!(
        "log: {entries} entries of {boots} boots, {} checkpoints, {} takeovers ({} s), exported as far as {}",
        checkpoints.len(),
        takeovers.len(),
        took.join(", "),
        size_of(newest),
    ));
    let lag = lag::measure(newest, &checkpoints, takeovers)?;
    report.line(&format!("log: from an entry's time to its checkpoint's: {lag}"));
    let vkey = verifiers::vkey(config)?;
    let all = verifiers::all(newest, &vkey)?;
    let mut agree = size_of(newest) == entries;
    for ran in &all {
        report.line(&format!("log: {ran}"));
        agree &= ran.agrees_with(&all[0]) && ran.entries == entries;
    }
    if all.len() < verifiers::COUNT {
        report.line("log: no verifier that others published installs here: it takes Python 3.12 or newer as `python3.12` or later");
    }
    // The replica that did not sign last: as far as it came.
    let other = verifiers::ours(&folders[1], &vkey)?;
    report.line(&format!("log: the other replica's folder: {other}"));
    report.agree(StoreKind::Postgres, "log", agree && other.entries == size_of(&folders[1]));
    Ok(())
}

/// Size of the newest checkpoint of a folder; 0 if there is none.
fn size_of(folder: &Path) -> u64 {
    let note = std::fs::read_to_string(folder.join("checkpoint")).unwrap_or_default();
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}
