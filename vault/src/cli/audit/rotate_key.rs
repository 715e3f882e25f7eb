//! `strongroom-vault audit rotate-key`: the log's signing key gets a successor, as a client of the API.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::cli::CliError;
use crate::cli::client::{Api, ApiArgs, Call, Patience};

/// How long to wait for a vault that is away or busy: a person waits too.
const PATIENCE: Patience = Patience(Duration::from_secs(30));
const PATH: &str = "/v1/keys/audit-signing/successor";

pub(super) async fn run(api: &ApiArgs, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let call = Call { method: Method::POST, path: PATH.into(), headers: Vec::new(), body: Bytes::new() };
    let answer = PATIENCE.ask(&mut Api::new(api)?.door(), &call).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal().into());
    }
    let told: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| CliError::from("the vault answered something that is not JSON"))?;
    let text = |name: &str| told[name].as_str().unwrap_or("-").to_owned();
    writeln!(out, "{} {}, in the place of {}", text("successor"), text("state"), text("former"))?;
    writeln!(out, "the next checkpoint hands over: `audit key` prints the key then")?;
    Ok(ExitCode::SUCCESS)
}
