//! `strongroom-vault card import`, `card update` and `card export`: cards, and changes of cards, from files, and cards into
//! one, as a client of the API.

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

/// Bring cards in, change those that are there, hand them over.
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
    /// Change cards under their tokens from CSV or JSON lines of an account updater. Killed, it goes on where it was: run the
    /// same command again.
    Update(Box<import::UpdateArgs>),
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Import(args) => import::run(*args, out).await,
        Command::Export(command) => export::run(command, out).await,
        Command::Update(args) => import::run_updates(*args, out).await,
    }
}
