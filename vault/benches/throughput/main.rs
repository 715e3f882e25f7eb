//! How many cards a second one vault takes and opens, durably: `cargo bench -p strongroom-vault --bench throughput`.
//!
//! Starts a Postgres of its own and the vault's program as its own process, with mTLS, shipped policies and a log file,
//! and loads it from this process over keep-alive connections with distinct test-range cards. `pgbench` inserts one
//! similar row per commit at the same concurrency before and after, so that the ratio says something on a noisy machine.
//!
//! `-- --import 1000000` measures a file of so many cards coming in by `card import` instead, killed three times, and then
//! reads beside few and beside many.
//!
//! `-- --log 1000000` writes a signed log of so many entries by two replicas whose sequencer is killed three times instead, and
//! has both verifiers read it.
//!
//! `-- --find 10000000` fills the log's index with so many entries instead, and asks it.
//!
//! Promises: what it counts was acknowledged; rows and audit entries are counted afterwards and must agree, or it fails.
//! Does not promise: that a figure is good. It prints; it holds nobody to a time.

mod counts;
mod files;
mod find;
mod flags;
mod import;
mod load;
mod log;
mod postgres;
mod reference;
mod report;
mod vault;

use std::error::Error;
use std::process::ExitCode;

use flags::{Flags, StoreKind};
use load::{Call, Cards, Load, Measured, Wallet};
use report::Report;
use vault::RunningVault;

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

/// Places where memory is read on the way to the number of cards asked for.
const MEMORY_POINTS: u64 = 10;
/// Connections that fill the vault for the memory reading.
const FILL_CONNECTIONS: usize = 64;

fn main() -> ExitCode {
    let mut report = Report::default();
    match run(&mut report) {
        Ok(()) if report.disagreements() == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            report.line(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(report: &mut Report) -> Result<(), Failure> {
    let flags = Flags::parse()?;
    report.line(&report::machine());
    if let Some(entries) = flags.log {
        let folder = tempfile::Builder::new().prefix("strongroom-bench-").tempdir_in("/tmp")?;
        let server = postgres::Server::start()?;
        report.line(&server.settings()?);
        return log::run(report, entries, folder.path(), &server);
    }
    for store in &flags.stores {
        let folder = tempfile::Builder::new().prefix("strongroom-bench-").tempdir_in("/tmp")?;
        let server = match store {
            StoreKind::Postgres => Some(postgres::Server::start()?),
            StoreKind::Sqlite => None,
        };
        if let Some(server) = &server {
            report.line(&server.settings()?);
        }
        if let Some(entries) = flags.find {
            find::run(report, *store, entries, folder.path(), server.as_ref())?;
            continue;
        }
        let mut vault = RunningVault::start(folder.path(), server.as_ref())?;
        report.line(&format!("{store}: vault at rest {} KiB", vault.rss_kib()?));
        if let Some(cards) = flags.import {
            let import = import::Import {
                report,
                store: *store,
                cards,
                connections: flags.import_connections,
                folder: folder.path(),
                vault: &mut vault,
                server: server.as_ref(),
                began: std::time::Instant::now(),
            };
            import.run()?;
            vault.stop()?;
            continue;
        }
        let mut bench = Bench {
            flags: &flags,
            store: *store,
            server,
            vault,
            wallet: Wallet::default(),
            cards: Cards::default(),
        };
        bench.fill(report)?;
        for connections in &flags.connections {
            bench.measure(report, *connections)?;
        }
        report.line(&format!("{store}: vault at the end {} KiB", bench.vault.rss_kib()?));
        bench.vault.stop()?;
    }
    report.table();
    Ok(())
}

/// One store's run.
struct Bench<'a> {
    flags: &'a Flags,
    store: StoreKind,
    server: Option<postgres::Server>,
    vault: RunningVault,
    wallet: Wallet,
    cards: Cards,
}

impl Bench<'_> {
    /// Fills the vault and reads its memory on the way.
    fn fill(&mut self, report: &mut Report) -> Result<(), Failure> {
        let step = self.flags.cards / MEMORY_POINTS;
        for _ in 0..MEMORY_POINTS {
            if step > 0 {
                self.load(report, Call::Tokenize, FILL_CONNECTIONS, Load::Calls(step))?;
                let rss = self.vault.rss_kib()?;
                report.line(&format!("{}: {} cards, vault {rss} KiB", self.store, self.cards.made()));
            }
        }
        Ok(())
    }

    /// The two calls at one concurrency, each between two runs of the reference.
    fn measure(&mut self, report: &mut Report, connections: usize) -> Result<(), Failure> {
        for call in [Call::Tokenize, Call::OpenForward] {
            let before = self.reference(connections)?;
            let measured = self.load(report, call, connections, Load::For(self.flags.time))?;
            let after = self.reference(connections)?;
            report.row(self.store, call, connections, &measured, [before, after], self.vault.rss_kib()?);
        }
        Ok(())
    }

    fn load(
        &mut self,
        report: &mut Report,
        call: Call,
        connections: usize,
        load: Load,
    ) -> Result<Measured, Failure> {
        let before = self.counts()?;
        let cpu = self.vault.cpu_seconds()?;
        let mut measured = load::run(&self.vault, call, connections, load, &self.cards, &self.wallet)?;
        measured.vault_cpu = self.vault.cpu_seconds()? - cpu;
        let after = self.counts()?;
        report.compare(self.store, call, measured.acknowledged(), before, after);
        Ok(measured)
    }

    fn counts(&self) -> Result<counts::Counts, Failure> {
        match &self.server {
            Some(server) => counts::of_postgres(server),
            None => counts::of_sqlite(&self.vault.database()),
        }
    }

    /// Single-row commits a second; none without a Postgres.
    fn reference(&self, connections: usize) -> Result<Option<f64>, Failure> {
        self.server.as_ref().map(|server| reference::run(server, connections, self.flags.time)).transpose()
    }
}
