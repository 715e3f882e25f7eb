//! `strongroom-vault card import|export`: cards from files and into one, as a client of the API.

mod export;
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

/// Bring cards in, and hand them over.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import cards from CSV or JSON lines. Killed, it goes on where it was: run the same command again.
    Import(Box<import::Args>),
    /// Hand a tenant's cards over, encrypted to one recipient key: two people, each step on the audit log.
    #[command(subcommand)]
    Export(export::Command),
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Import(args) => import::run(*args, out).await,
        Command::Export(command) => export::run(command, out).await,
    }
}
