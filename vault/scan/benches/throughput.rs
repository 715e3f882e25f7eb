//! How fast one core searches, and how often chance looks like a card. Prints; asserts nothing.
//!
//! `cargo bench -p strongroom-scan -- [FOLDER…]`: made texts, and then the files of each folder as one text. Each line stands beside
//! a reference over the same bytes in the same second: counting line ends with `memchr`, which is as fast as reading gets. Both are
//! processor time of one thread.

#![expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use strongroom_scan::{Encoding, Finding, Stream};

/// Of each made text: more than any cache holds.
const BYTES: usize = 256 << 20;
/// The best of so many: what the machine does besides only ever adds.
const ROUNDS: usize = 5;

fn main() {
    let folders: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    println!("{:<28} {:>9} {:>9} {:>9} {:>7}  {:>9}", "text", "MB", "scan MB/s", "memchr", "ratio", "found");
    for (name, text) in made() {
        measure(name, &text);
    }
    for folder in &folders {
        let mut text = Vec::new();
        collect(Path::new(folder), &mut text);
        measure(folder, &text);
    }
    println!();
    chance();
}

fn made() -> [(&'static str, Vec<u8>); 6] {
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let words =
        b"the vault answers with a token and the facts of the card; nothing else leaves it, whoever asks. ";
    let prose = words.iter().copied().cycle().take(BYTES).collect();
    let random = (0..BYTES / 8).flat_map(|_| noise.next().to_le_bytes()).collect();
    let base64 = (0..BYTES).map(|_| BASE64[(noise.next() >> 58) as usize]).collect();
    let log = fill(|text| {
        let (time, id, took) = (noise.next() % 86_400_000, noise.next(), noise.next() % 90_000);
        let _ = writeln!(
            text,
            "{{\"timestamp\":\"2026-11-29T{:02}:{:02}:{:02}.{:03}Z\",\"level\":\"INFO\",\"request_id\":\"{id:016x}\",\"status\":201,\"bytes\":{},\"micros\":{took}}}",
            time / 3_600_000,
            time / 60_000 % 60,
            time / 1_000 % 60,
            time % 1_000,
            id % 5_000,
        );
    });
    let numbers = fill(|text| {
        let _ = writeln!(
            text,
            "{},{},{}",
            noise.next() % 100_000,
            noise.next() % 10_000,
            noise.next() % 1_000_000_000
        );
    });
    let digits = fill(|text| {
        let _ = writeln!(text, "{:016}", noise.next() % 10_000_000_000_000_000);
    });
    [
        ("prose", prose),
        ("random bytes", random),
        ("random base64", base64),
        ("log lines (JSON)", log),
        ("columns of numbers", numbers),
        ("16 random digits a line", digits),
    ]
}

fn fill(mut line: impl FnMut(&mut Vec<u8>)) -> Vec<u8> {
    let mut text = Vec::with_capacity(BYTES + 256);
    while text.len() < BYTES {
        line(&mut text);
    }
    text
}

fn measure(name: &str, text: &[u8]) {
    let (mut scan, mut reference, mut found) = (f64::INFINITY, f64::INFINITY, Vec::new());
    for _ in 0..ROUNDS {
        let begun = processor_seconds();
        let lines = memchr::memchr_iter(b'\n', std::hint::black_box(text)).count();
        std::hint::black_box(lines);
        reference = reference.min(processor_seconds() - begun);
        found.clear();
        let begun = processor_seconds();
        let mut stream = Stream::default();
        text.chunks(64 * 1024).for_each(|piece| stream.push(piece, &mut found));
        stream.finish(&mut found);
        scan = scan.min(processor_seconds() - begun);
    }
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "{name:<28} {megabytes:>9.1} {:>9.0} {:>9.0} {:>7.3}  {:>9} {}",
        megabytes / scan,
        megabytes / reference,
        reference / scan,
        found.len(),
        kinds(&found)
    );
}

/// Time this thread has had a core: what others do beside it does not count (proc(5), `schedstat`).
fn processor_seconds() -> f64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// How many of each brand and manner.
fn kinds(found: &[Finding]) -> String {
    let mut kinds: BTreeMap<(&str, Encoding, bool, bool), usize> = BTreeMap::new();
    for finding in found {
        *kinds
            .entry((finding.brand.as_str(), finding.encoding, finding.separated, finding.is_test))
            .or_default() += 1;
    }
    let told = kinds.iter().map(|((brand, encoding, separated, is_test), count)| {
        let (grouped, test) = (if *separated { " grouped" } else { "" }, if *is_test { " test" } else { "" });
        format!("{count} {brand} {}{grouped}{test}", encoding.as_str())
    });
    told.collect::<Vec<_>>().join(", ")
}

/// How many of a million random runs are taken for a card, by length.
fn chance() {
    let mut noise = Noise(0xD1B5_4A32_D192_ED03);
    println!("of a million random runs of digits are taken for a card:");
    for length in 12..=19_usize {
        let mut stream = Stream::default();
        let mut found = Vec::new();
        for _ in 0..1_000_000 {
            let digits = noise.next() % 10_u64.pow(length.min(19) as u32);
            stream.push(format!("{digits:0length$}\n").as_bytes(), &mut found);
        }
        stream.finish(&mut found);
        println!("  {length} digits: {} (one in {:.0})", found.len(), 1e6 / found.len() as f64);
    }
}

fn collect(path: &Path, text: &mut Vec<u8>) {
    let Ok(facts) = fs::symlink_metadata(path) else { return };
    if facts.is_dir() {
        let Ok(entries) = fs::read_dir(path) else { return };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths.iter().for_each(|path| collect(path, text));
    } else if facts.is_file()
        && let Ok(bytes) = fs::read(path)
    {
        text.extend_from_slice(&bytes);
        text.push(b'\n');
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// SplitMix64: the same texts in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
