//! What is printed: lines while it runs, one table at the end.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::counts::Counts;
use super::flags::StoreKind;
use super::import::reads::Read;
use super::load::{Call, Measured};

const IMPORTS: &str = "| store | cards, killed three times | seconds | cards/s | vault CPU µs/card | import CPU µs/card | vault peak MiB | import peak MiB | disk bytes/card |\n\
                       |---|---|---|---|---|---|---|---|---|";
const READS: &str = "| store | read | p50 / p99 ms beside few | p50 / p99 ms beside many | p50 ratio | cards |\n\
                     |---|---|---|---|---|---|";

/// Collects and prints.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<String>,
    disagreements: usize,
    imports: Vec<String>,
    reads: Vec<String>,
}

const HEAD: &str = "| store | call | connections | acknowledged/s | p50 ms | p99 ms | single-row commits/s before, after | ratio | vault CPU µs/call | vault RSS MiB | not acknowledged |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|";

impl Report {
    /// Prints at once.
    pub(crate) fn line(&self, text: &str) {
        // Nowhere is left to say that standard output is closed.
        drop(writeln!(std::io::stdout(), "{text}"));
    }

    /// How many counts were not what was acknowledged.
    pub(crate) fn disagreements(&self) -> usize {
        self.disagreements
    }

    /// Holds the store's rows and entries against the acknowledgements.
    pub(crate) fn compare(
        &mut self,
        store: StoreKind,
        call: Call,
        acknowledged: u64,
        before: Counts,
        after: Counts,
    ) {
        let (rows, entries) = match call {
            Call::Tokenize => (after.cards - before.cards, after.tokenized - before.tokenized),
            Call::OpenForward => (after.forwards - before.forwards, after.forwarded - before.forwarded),
            _ => return, // reads leave no row
        };
        self.line(&format!(
            "{store} {}: acknowledged {acknowledged}, rows {rows}, audit entries {entries}",
            call.name()
        ));
        self.agree(store, call.name(), rows == acknowledged && entries == acknowledged);
    }

    /// Says whether rows and entries are what was acknowledged.
    pub(crate) fn agree(&mut self, store: StoreKind, what: &str, agree: bool) {
        self.disagreements += usize::from(!agree);
        self.line(&format!("{store} {what}: {}", if agree { "counts agree" } else { "counts DISAGREE" }));
    }

    /// One measurement.
    pub(crate) fn row(
        &mut self,
        store: StoreKind,
        call: Call,
        connections: usize,
        measured: &Measured,
        reference: [Option<f64>; 2],
        rss_kib: u64,
    ) {
        let (beside, ratio) = match reference {
            [Some(before), Some(after)] => (
                format!("{before:.0}, {after:.0}"),
                format!("{:.2}", measured.rate() / f64::midpoint(before, after)),
            ),
            _ => ("-".to_owned(), "-".to_owned()),
        };
        let row = format!(
            "| {store} | {} | {connections} | {:.0} | {:.2} | {:.2} | {beside} | {ratio} | {:.1} | {:.1} | {} |",
            call.name(),
            measured.rate(),
            measured.percentile(0.50),
            measured.percentile(0.99),
            measured.vault_cpu * 1e6 / measured.acknowledged().max(1) as f64,
            rss_kib as f64 / 1024.0,
            others(&measured.others),
        );
        self.line(&row);
        self.rows.push(row);
    }

    /// One import.
    pub(crate) fn import(&mut self, row: String) {
        self.line(&row);
        self.imports.push(row);
    }

    /// One kind of read, beside few cards and beside many.
    pub(crate) fn read(&mut self, store: StoreKind, few: &Read, many: &Read) {
        let [before, after] =
            [few, many].map(|read| [0.50, 0.99].map(|share| read.measured.percentile(share)));
        self.reads.push(format!(
            "| {store} | {} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} | {} to {} |",
            few.call.name(),
            before[0],
            before[1],
            after[0],
            after[1],
            after[0] / before[0],
            few.cards,
            many.cards,
        ));
    }

    /// All measurements.
    pub(crate) fn table(&self) {
        for (head, rows) in [(HEAD, &self.rows), (IMPORTS, &self.imports), (READS, &self.reads)] {
            if !rows.is_empty() {
                self.line(&format!("\n{head}\n{}", rows.join("\n")));
            }
        }
    }
}

fn others(statuses: &[u16]) -> String {
    let mut counted: BTreeMap<u16, usize> = BTreeMap::new();
    for status in statuses {
        *counted.entry(*status).or_default() += 1;
    }
    if counted.is_empty() {
        return "0".to_owned();
    }
    counted.iter().map(|(status, count)| format!("{count} × {status}")).collect::<Vec<_>>().join(", ")
}

/// The machine, in one line.
pub(crate) fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split(':').nth(1).map(str::trim).map(str::to_owned));
        value.unwrap_or_else(|| "?".to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "machine: {cores} cores of {}, {} memory, Linux {}, load {}",
        field(&cpu, "model name"),
        field(&memory, "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").trim(),
    )
}
