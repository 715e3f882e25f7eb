//! `strongroom-vault audit tail|show|check|key|verify|receipt|find|blast-radius|rotate-key`: the log, for people on the vault's machine;
//! `verify` and `receipt` for anybody; `find`, `blast-radius` and `rotate-key` for clients of the API.

mod blast_radius;
mod find;
mod rotate_key;
mod served;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use self::served::{ServedArgs, ServedLog};
use super::client::ApiArgs;
use super::{CliError, ConfigArgs};
use crate::app;
use crate::audit::{self, EntryId, LogKey};
use crate::config::VaultConfig;

/// Read and check the audit log.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find entries by card, workload, route, tenant, event, outcome and time, as a client of the API.
    Find(find::Args),
    /// List which cards a workload reached, and where: every release of card data, with its entry and its index in the log.
    BlastRadius(blast_radius::Args),
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
    /// Print the public key that checkpoints of the log are signed with now. Hand it to whoever verifies.
    Key {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Give the log's signing key a successor: the next checkpoint hands over, and both verifiers follow it.
    RotateKey {
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Verify an exported or served log: every entry, tile and checkpoint. Exit status 1 if anything is wrong.
    ///
    /// Needs the folder, or a vault's URL and a client certificate of the security team, and the log's public key.
    /// `vault/verify/` has an independent program that does the same.
    Verify {
        /// The folder the log was exported to, or https://HOST[:PORT] of a vault that serves it.
        log: String,
        /// One of the log's public keys, as `audit key` prints it: the newest, if one of before may be in other hands.
        #[arg(long)]
        vkey: String,
        /// Print no progress.
        #[arg(long)]
        quiet: bool,
        #[command(flatten)]
        served: ServedArgs,
    },
    /// Verify a receipt offline: that its entries are in the log. Exit status 1 if they are not shown to be.
    ///
    /// Needs the answer of `GET /v1/audit/receipts/{id}` and the log's public key, nothing of the vault. An answer without the
    /// entries' bytes proves that they are in the tree, and not that they are this receipt's: exit status 1 unless `--hash-only`.
    Receipt {
        /// The file the answer was kept in.
        file: PathBuf,
        /// One of the log's public keys, as `audit key` prints it.
        #[arg(long)]
        vkey: String,
        /// An exported log whose hand-overs lead to a key that came after the answer.
        #[arg(long, value_name = "FOLDER")]
        log: Option<PathBuf>,
        /// Take the vault's word that entries which are not shown are this receipt's.
        #[arg(long)]
        hash_only: bool,
    },
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Find(args) => find::run(&args, out).await,
        Command::BlastRadius(args) => blast_radius::run(&args, out).await,
        Command::Tail { config, entries } => tail(&VaultConfig::read(&config.config)?, entries, out).await,
        Command::Show { config, id } => show(&VaultConfig::read(&config.config)?, &id, out).await,
        Command::Check { config } => check(&VaultConfig::read(&config.config)?, out).await,
        Command::Key { config } => {
            writeln!(out, "{}", app::log_key(&VaultConfig::read(&config.config)?).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify { log, vkey, quiet, served } => verify(log, &vkey, quiet, served, out).await,
        Command::Receipt { file, vkey, log, hash_only } => {
            receipt(&file, &vkey, log.as_deref(), hash_only, out)
        }
        Command::RotateKey { api } => rotate_key::run(&api, out).await,
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

fn receipt(
    file: &Path,
    vkey: &str,
    log: Option<&Path>,
    hash_only: bool,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let key = LogKey::parse(vkey)?;
    let hand_overs = log.map(audit::hand_overs_in).transpose()?.unwrap_or_default();
    let document = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(match audit::verify_receipt_in(&document, &key, &hand_overs) {
        Ok(verified) => {
            let places: Vec<String> = verified.entries.iter().map(|entry| entry.index.to_string()).collect();
            let (size, root) = (verified.checkpoint.size, verified.checkpoint.root);
            writeln!(out, "entries {} are in the tree of {size} entries; root {root:?}", places.join(", "))?;
            let not_shown = verified.entries.iter().filter(|entry| !entry.is_shown);
            for entry in not_shown {
                let index = entry.index;
                writeln!(
                    out,
                    "entry {index} is in the tree; that it is this receipt's entry is the vault's word"
                )?;
            }
            if hash_only || verified.is_shown() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(bad) => {
            writeln!(out, "first: {bad}")?;
            ExitCode::FAILURE
        }
    })
}

/// Entries between two lines of progress.
const PROGRESS_EVERY: u64 = 256 * 1_024;

async fn verify(
    log: String,
    vkey: &str,
    quiet: bool,
    served: ServedArgs,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let key = LogKey::parse(vkey)?;
    let progress = move |done: u64, of: u64| {
        if !quiet && (done.is_multiple_of(PROGRESS_EVERY) || done == of) {
            // Progress that cannot be shown is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{done} of {of} entries");
        }
    };
    let verified = if log.starts_with("https://") {
        let files = ServedLog::open(&log, served)?;
        tokio::task::spawn_blocking(move || audit::verify_from(&files, &key, progress)).await??
    } else {
        tokio::task::spawn_blocking(move || audit::verify(Path::new(&log), &key, progress)).await??
    };
    writeln!(
        out,
        "{} of {} entries of {} boots, {} tiles and {} checkpoints read; root {:?}",
        verified.entries,
        verified.checkpoint.size,
        verified.boots,
        verified.tiles,
        verified.checkpoints,
        verified.checkpoint.root
    )?;
    Ok(match verified.damage {
        None => ExitCode::SUCCESS,
        Some(damage) => {
            writeln!(out, "first: {damage}")?;
            ExitCode::FAILURE
        }
    })
}
