//! What is printed.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::EachWay;
use super::load::{Measured, Pace};
use super::stall::{PLACES, Pressed};
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
    each: &EachWay,
    cpu: Pair<f64>,
    rss_kib: Pair<u64>,
) -> String {
    let load = load(pace);
    let (direct, proxied) = (&each[0].1, &each[1].1);
    let percentiles =
        |measured: &Measured| format!("{:.2}, {:.2}", measured.percentile(0.50), measured.percentile(0.99));
    let added = |share| proxied.percentile(share) - direct.percentile(share);
    let calls = proxied.count().max(1) as f64;
    format!(
        "| {store} | {load} | {:.0} | {} | {:.0} | {} | {:.2}, {:.2} | {:.0}, {:.0} | {:.1}, {:.1} | {} |",
        proxied.rate(),
        percentiles(proxied),
        direct.rate(),
        percentiles(direct),
        added(0.50),
        added(0.99),
        cpu.proxy * 1e6 / calls,
        cpu.vault * 1e6 / calls,
        rss_kib.proxy as f64 / 1024.0,
        rss_kib.vault as f64 / 1024.0,
        others(each),
    )
}

fn load(pace: Pace) -> String {
    match pace {
        Pace::Closed(connections) => format!("{connections} connections"),
        Pace::Open { rate, .. } => format!("{rate}/s, open loop"),
    }
}

const NGINX_HEAD: &str = "| store | load | proxy/s | nginx/s | proxy ÷ nginx | proxy p50, p99 ms | nginx p50, p99 ms | proxy adds to nginx p50, p99 ms | nginx CPU µs/call |\n\
                          |---|---|---|---|---|---|---|---|---|";

/// Proxy and nginx side by side, if nginx was there.
pub(crate) fn nginx_row(store: &StoreKind, pace: Pace, each: &EachWay, nginx_cpu: f64) -> Option<String> {
    let (proxied, nginx) = (&each[1].1, &each.get(2)?.1);
    let percentiles = |of: &Measured| format!("{:.2}, {:.2}", of.percentile(0.50), of.percentile(0.99));
    let added = |share| proxied.percentile(share) - nginx.percentile(share);
    Some(format!(
        "| {store} | {} | {:.0} | {:.0} | {:.2} | {} | {} | {:.2}, {:.2} | {:.0} |",
        load(pace),
        proxied.rate(),
        nginx.rate(),
        proxied.rate() / nginx.rate().max(f64::MIN_POSITIVE),
        percentiles(proxied),
        percentiles(nginx),
        added(0.50),
        added(0.99),
        nginx_cpu * 1e6 / nginx.count().max(1) as f64,
    ))
}

/// What a stalled PSP at its full bulkhead cost calls at another.
pub(crate) fn stall_row(
    store: &StoreKind,
    pace: Pace,
    [alone, beside]: &[Measured; 2],
    pressed: &Pressed,
) -> String {
    let change =
        |share| (beside.percentile(share) / alone.percentile(share).max(f64::MIN_POSITIVE) - 1.0) * 100.0;
    format!(
        "one stalled psp ({PLACES} calls wait, {} more were refused with 429, {} were not), {store}, another psp at {}: \
         p50 {:.2} → {:.2} ms ({:+.0} %), p99 {:.2} → {:.2} ms ({:+.0} %), not answered 200: {} → {}",
        pressed.refused,
        pressed.others,
        load(pace),
        alone.percentile(0.50),
        beside.percentile(0.50),
        change(0.50),
        alone.percentile(0.99),
        beside.percentile(0.99),
        change(0.99),
        alone.others.len(),
        beside.others.len(),
    )
}

/// All measurements.
pub(crate) fn table(rows: &[String], nginx: &[String], stalls: &[String]) {
    line(&format!("\n{HEAD}\n{}", rows.join("\n")));
    if !nginx.is_empty() {
        line(&format!("\n{NGINX_HEAD}\n{}", nginx.join("\n")));
    }
    stalls.iter().for_each(|stall| line(&format!("\n{stall}")));
}

fn others(each: &EachWay) -> String {
    let mut counted: BTreeMap<u16, usize> = BTreeMap::new();
    for status in each.iter().flat_map(|(_, measured)| &measured.others) {
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
