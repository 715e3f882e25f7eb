//! `strongroom-vault migrate`: the one command, with the bootstrap of a new store, that touches the schema.

use std::io::Write;
use std::process::ExitCode;

use super::{CliError, ConfigArgs};
use crate::app;
use crate::config::VaultConfig;

pub(super) async fn run(args: &ConfigArgs, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let config = VaultConfig::read(&args.config)?;
    let added = app::migrate(&config).await?;
    if added.is_empty() {
        writeln!(out, "the schema is up to date")?;
    }
    for version in added {
        writeln!(out, "schema version {version} is in place")?;
    }
    Ok(ExitCode::SUCCESS)
}
