//! `strongroom-vault audit tail|show|check`: the log, for people on the vault's machine.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, ConfigArgs};
use crate::app;
use crate::audit::{self, EntryId};
use crate::config::VaultConfig;

/// Read and check the audit log.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the newest entries, oldest first, one JSON document a line.
    Tail {
        #[command(flatten)]
        config: ConfigArgs,
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        entries: u32,
    },
    /// Print one entry.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Its id: BOOT/NUMBER, as `tail` prints it.
        id: String,
    },
    /// Read every entry; find holes, changes and entries no instance wrote. Exit status 1 if anything is wrong.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Tail { config, entries } => tail(&VaultConfig::read(&config.config)?, entries, out).await,
        Command::Show { config, id } => show(&VaultConfig::read(&config.config)?, &id, out).await,
        Command::Check { config } => check(&VaultConfig::read(&config.config)?, out).await,
    }
}

async fn tail(
    config: &VaultConfig,
    entries: u32,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let store = app::open_store(&config.store).await?;
    for entry in audit::tail(&*store, entries).await? {
        write!(out, "{} ", entry.id)?;
        out.write_all(entry.leaf.as_bytes())?;
        writeln!(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(config: &VaultConfig, id: &str, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let id = EntryId::parse(id).ok_or("an entry's id is BOOT/NUMBER, as `audit tail` prints it")?;
    let store = app::open_store(&config.store).await?;
    let leaf = audit::show(&*store, id).await?.ok_or("there is no such entry")?;
    out.write_all(leaf.as_bytes())?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

async fn check(config: &VaultConfig, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let checked = app::check_audit(config).await?;
    writeln!(
        out,
        "{} entries of {} boots read, {} wrong or missing",
        checked.entries, checked.boots, checked.bad
    )?;
    Ok(match checked.first_bad {
        None => ExitCode::SUCCESS,
        Some(bad) => {
            writeln!(out, "first: {}: {}", bad.id, bad.finding)?;
            ExitCode::FAILURE
        }
    })
}
