//! Sends a million synthetic references of shipped routes through the scrubber and fails if one is altered.
//!
//! `cargo run --release -p strongroom-proxy --example references [COUNT]`

use std::path::Path;
use std::process::ExitCode;

#[path = "../tests/it/references.rs"]
mod references;

#[expect(clippy::print_stdout, reason = "a program that reports")]
fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let counted = references::run(&policies, wanted);
    println!(
        "{} references in declared fields, {} of them like card numbers: {} answers altered",
        counted.references, counted.like_numbers, counted.altered
    );
    if counted.altered == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
