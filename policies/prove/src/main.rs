//! `strongroom-policy`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use strongroom_policy::cli::{Cli, UNDECIDED};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut out = std::io::stdout();
    match Cli::parse().run(&mut out).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nowhere is left to report that standard error is closed.
            let _ = writeln!(std::io::stderr(), "strongroom-policy: {error}");
            ExitCode::from(UNDECIDED)
        }
    }
}
