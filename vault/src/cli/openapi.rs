//! `strongroom-vault openapi`: the contract, as it is committed.

use std::io::Write;
use std::process::ExitCode;

use super::CliError;

pub(super) fn run(out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    out.write_all(crate::http::openapi::committed_form()?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
