//! `strongroom-vault workload suspend|resume|list`: who may do nothing for now, as a client of the API.
//!
//! Upholds: C-64.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};
use strongroom_domain::WorkloadId;

use super::CliError;
use super::client::{Api, ApiArgs, Call, Door, Patience};

/// How long to wait for a vault that is away or busy: a person waits too.
const PATIENCE: Patience = Patience(Duration::from_secs(30));

/// Suspend workloads, let them go on, and see who is suspended.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Refuse a workload everything, on every replica within five seconds, until `resume`.
    Suspend(Change),
    /// Let a suspended workload go on.
    Resume(Change),
    /// List who is suspended, since when, by whom and why.
    List {
        #[command(flatten)]
        api: ApiArgs,
    },
}

#[derive(Debug, clap::Args)]
struct Change {
    #[command(flatten)]
    api: ApiArgs,
    /// The workload, as the policy bundle names it: spiffe://DOMAIN/PATH or dns:NAME.
    #[arg(value_parser = parse_workload)]
    workload: WorkloadId,
    /// Why, in a sentence: it stands on the log.
    #[arg(long, value_name = "SENTENCE")]
    reason: String,
}

fn parse_workload(text: &str) -> Result<WorkloadId, String> {
    WorkloadId::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Suspend(change) => {
            let told = change.ask("/v1/suspensions").await?;
            writeln!(out, "suspended: {}", line(&told))?;
        }
        Command::Resume(change) => {
            let told = change.ask("/v1/suspensions/lift").await?;
            writeln!(out, "goes on; it was suspended: {}", line(&told))?;
        }
        Command::List { api } => {
            let told = ask(&mut Api::new(&api)?.door(), Method::GET, "/v1/suspensions", None).await?;
            for suspension in told["suspensions"].as_array().into_iter().flatten() {
                writeln!(out, "{}", line(suspension))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Change {
    async fn ask(&self, path: &str) -> Result<Value, CliError> {
        let wanted = json!({ "workload": self.workload, "reason": self.reason });
        ask(&mut Api::new(&self.api)?.door(), Method::POST, path, Some(&wanted)).await
    }
}

/// One suspension as a line: what a person wrote comes last and quoted.
fn line(suspension: &Value) -> String {
    let text = |name: &str| suspension[name].as_str();
    let by = match (text("by"), text("rule")) {
        (Some(person), _) => format!("by {person}"),
        (None, rule) => format!("by the rule {}", rule.unwrap_or("-")),
    };
    let why = text("reason").map(|reason| format!(" because {reason:?}")).unwrap_or_default();
    format!("{} since {} {by}{why}", text("workload").unwrap_or("-"), text("since").unwrap_or("-"))
}

async fn ask(door: &mut Door, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CliError> {
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let answer = PATIENCE.ask(door, &Call { method, path: path.into(), headers: Vec::new(), body }).await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer.body).unwrap_or_else(|| answer.refusal()).into());
    }
    serde_json::from_slice(&answer.body).map_err(|_| "the vault answered something that is not JSON".into())
}

/// The problem with its detail: whether it was the name or the last of its role matters at night.
fn refusal(body: &[u8]) -> Option<String> {
    let told: Value = serde_json::from_slice(body).ok()?;
    Some(format!("the vault refused with {}: {}", told["status"], told["detail"].as_str()?))
}
