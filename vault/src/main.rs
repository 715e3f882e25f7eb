//! `strongroom-vault`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use strongroom_vault::cli::Cli;

/// Memory is wiped when it is given back: what a type cannot wipe itself does not stay behind.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

#[tokio::main]
async fn main() -> ExitCode {
    let mut out = std::io::stdout();
    match Cli::parse().run(&mut out).await {
        Ok(code) => code,
        Err(error) => {
            // Nowhere is left to report that standard error is closed.
            let _ = writeln!(std::io::stderr(), "strongroom-vault: {error}");
            ExitCode::FAILURE
        }
    }
}
