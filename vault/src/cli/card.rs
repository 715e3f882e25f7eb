//! `strongroom-vault card import`: cards from files, as a client of the API.

mod fields;
mod folder;
mod import;
mod lines;
mod progress;
mod source;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

use super::CliError;

/// Bring cards in.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import cards from CSV or JSON lines. Killed, it goes on where it was: run the same command again.
    Import(Box<import::Args>),
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Import(args) => import::run(*args, out).await,
    }
}
