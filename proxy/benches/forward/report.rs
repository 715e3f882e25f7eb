//! What is printed.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::BothWays;
use super::load::{Measured, Pace};
use super::world::{Pair, StoreKind};

const HEAD: &str = "| store | load | through the proxy/s | p50, p99 ms | direct/s | p50, p99 ms | added p50, p99 ms | proxy, vault CPU µs/call | proxy, vault RSS MiB | not answered 200 |\n\
                    |---|---|---|---|---|---|---|---|---|---|";

/// Prints at once.
pub(crate) fn line(text: &str) {
    // Nowhere is left to say that standard output is closed.
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// One measurement as a row.
pub(crate) fn row(
    store: &StoreKind,
    pace: Pace,
    both: &BothWays,
    cpu: Pair<f64>,
    rss_kib: Pair<u64>,
) -> String {
    let load = match pace {
        Pace::Closed(connections) => format!("{connections} connections"),
        Pace::Open { rate, .. } => format!("{rate}/s, open loop"),
    };
    let (direct, proxied) = (&both[0].1, &both[1].1);
    let both_percentiles =
        |measured: &Measured| format!("{:.2}, {:.2}", measured.percentile(0.50), measured.percentile(0.99));
    let added = |share| proxied.percentile(share) - direct.percentile(share);
    let calls = proxied.count().max(1) as f64;
    format!(
        "| {store} | {load} | {:.0} | {} | {:.0} | {} | {:.2}, {:.2} | {:.0}, {:.0} | {:.1}, {:.1} | {} |",
        proxied.rate(),
        both_percentiles(proxied),
        direct.rate(),
        both_percentiles(direct),
        added(0.50),
        added(0.99),
        cpu.proxy * 1e6 / calls,
        cpu.vault * 1e6 / calls,
        rss_kib.proxy as f64 / 1024.0,
        rss_kib.vault as f64 / 1024.0,
        others(both),
    )
}

/// All measurements.
pub(crate) fn table(rows: &[String]) {
    line(&format!("\n{HEAD}\n{}", rows.join("\n")));
}

fn others(both: &BothWays) -> String {
    let mut counted: BTreeMap<u16, usize> = BTreeMap::new();
    for status in both.iter().flat_map(|(_, measured)| &measured.others) {
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
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.split_once(':'));
        values.next().map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
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
