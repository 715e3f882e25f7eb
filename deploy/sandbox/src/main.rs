//! `strongroom-sandbox`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use strongroom_sandbox::cli::Cli;

/// Memory is wiped when it is given back, as in both services.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Neither the check's yes nor its no: it could not be made.
const EXIT_UNABLE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let mut out = std::io::stdout();
    match Cli::parse().run(&mut out).await {
        Ok(code) => code,
        Err(error) => {
            // Nowhere is left to report that standard error is closed.
            let _ = writeln!(std::io::stderr(), "strongroom-sandbox: {error}");
            ExitCode::from(EXIT_UNABLE)
        }
    }
}
