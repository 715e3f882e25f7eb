//! `strongroom-vault review access|log`: what is to be reviewed, and a person's signature under it, as a client of the API.
//!
//! Promises: what is signed is what was shown: the record lies in a file between the two. The key never leaves this machine.
//! Upholds: C-68.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::{Subcommand, ValueEnum};
use http::{Method, StatusCode};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::{Value, json};

use super::CliError;
use super::client::{Answer, Api, ApiArgs, Call};
use crate::review::{RECORD_BYTES_MAX, ReviewKind, ReviewRecord, Says, sign};

/// Largest answer: an access matrix of some ten thousand grants.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Review who can do what, or what is on the log, and sign for it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who can do what, by the policy bundle in force.
    Access(Review),
    /// What is on the log since the last review of it.
    Log(Review),
}

/// Shows what is to be reviewed; with --sign, signs what was shown and files it.
#[derive(Debug, clap::Args)]
struct Review {
    #[command(flatten)]
    api: ApiArgs,
    /// Write what would be signed to this file, which must not be there.
    #[arg(long, value_name = "FILE", conflicts_with = "sign")]
    out: Option<PathBuf>,
    /// Sign what this file holds, as --out wrote it, with the key of the client certificate, and file it.
    #[arg(long, value_name = "FILE", requires = "decision")]
    sign: Option<PathBuf>,
    /// What the review says.
    #[arg(long, requires = "sign")]
    decision: Option<Decision>,
    /// In words, at most 1,000 bytes: what is to be followed up. No card numbers, no tokens.
    #[arg(long, requires = "sign", default_value = "")]
    remarks: String,
}

/// What a review says.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Decision {
    /// It is as it should be.
    Approved,
    /// Something is to be followed up; --remarks say what.
    FollowUp,
}

#[derive(Deserialize)]
struct Shown {
    record: Value,
    matrix: Option<Value>,
    digest: Option<Value>,
    last: Option<String>,
    due_at: String,
    overdue: bool,
}

#[derive(Deserialize)]
struct Filed {
    number: u64,
    sha256: String,
    due_at: String,
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let (kind, review) = match args.command {
        Command::Access(review) => (ReviewKind::Access, review),
        Command::Log(review) => (ReviewKind::Log, review),
    };
    match (&review.sign, review.decision) {
        (Some(file), Some(decision)) => file_signed(kind, &review, file, decision, out).await,
        _ => show(kind, &review, out).await,
    }
}

async fn ask(api: &ApiArgs, method: Method, kind: ReviewKind, body: Bytes) -> Result<Answer, CliError> {
    let path = format!("/v1/reviews/{}", kind.as_str());
    let call = Call { method, path, headers: Vec::new(), body };
    let answer = Api::new(api)?.door_for(ANSWER_BYTES_MAX).ask(&call).await?;
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => Ok(answer),
        _ => Err(answer.refusal().into()),
    }
}

async fn show(kind: ReviewKind, review: &Review, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let answer = ask(&review.api, Method::GET, kind, Bytes::new()).await?;
    let shown: Shown = serde_json::from_slice(&answer.body)?;
    match (&shown.matrix, &shown.digest) {
        (Some(matrix), _) => tell_matrix(matrix, out)?,
        (None, Some(digest)) => tell_digest(digest, out)?,
        (None, None) => {}
    }
    let last = shown.last.as_deref().unwrap_or("never");
    let standing = if shown.overdue { "OVERDUE since" } else { "due by" };
    writeln!(out, "last reviewed {last}; {standing} {}", shown.due_at)?;
    if let Some(file) = &review.out {
        let text = serde_json::to_string_pretty(&shown.record)?;
        let mut to = OpenOptions::new().write(true).create_new(true).open(file);
        let to = to.as_mut().map_err(|error| format!("{}: {error}", file.display()))?;
        to.write_all(text.as_bytes())?;
        writeln!(
            out,
            "sign it with: review {} --sign {} --decision approved|follow-up",
            kind.as_str(),
            file.display()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_matrix(matrix: &Value, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(", ")
    };
    let rows = matrix["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    for row in rows {
        let place = match (row["account"].as_str(), row["host"].as_str(), row["caller"].as_str()) {
            (Some(account), Some(host), Some(caller)) => format!(" to {account} at {host} for {caller}"),
            _ => String::new(),
        };
        let tenants = list(&row["tenants"]);
        let of = if tenants.is_empty() { String::new() } else { format!(" of {tenants}") };
        writeln!(
            out,
            "{} ({}) {}{of}{place}",
            text(&row["workload"]),
            list(&row["roles"]),
            text(&row["action"])
        )?;
    }
    writeln!(
        out,
        "{} grants of policy bundle {} ({})",
        rows.len(),
        matrix["bundle_version"],
        text(&matrix["bundle_sha256"])
    )?;
    Ok(())
}

fn tell_digest(digest: &Value, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    for row in digest["events"].as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        writeln!(out, "{:>10}  {} {}", row["entries"].to_string(), text("event"), text("outcome"))?;
    }
    for (rule, count) in digest["findings"].as_object().into_iter().flatten() {
        writeln!(out, "{:>10}  FOUND {rule}", count.to_string())?;
    }
    writeln!(out, "entries {} to before {} of the log", digest["from"], digest["size"])?;
    Ok(())
}

async fn file_signed(
    kind: ReviewKind,
    review: &Review,
    file: &Path,
    decision: Decision,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let drawn: ReviewRecord = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not what --out wrote: {error}", file.display()))?;
    let decision = match decision {
        Decision::Approved => Says::Approved,
        Decision::FollowUp => Says::FollowUp,
    };
    let record = ReviewRecord { decision, remarks: review.remarks.clone(), ..drawn };
    let record =
        record.canonical().filter(|text| text.len() <= RECORD_BYTES_MAX).ok_or("the record is too long")?;
    ReviewRecord::parse(&record)?;
    let key = PrivateKeyDer::from_pem_file(&review.api.key)
        .map_err(|error| format!("{}: {error}", review.api.key.display()))?;
    let certificate = CertificateDer::from_pem_file(&review.api.certificate)
        .map_err(|error| format!("{}: {error}", review.api.certificate.display()))?;
    let signature = sign(&record, key)?;
    let body = json!({
        "record": STANDARD.encode(record),
        "signature": STANDARD.encode(signature),
        "certificate": STANDARD.encode(&certificate),
    });
    let answer = ask(&review.api, Method::POST, kind, body.to_string().into()).await?;
    let filed: Filed = serde_json::from_slice(&answer.body)?;
    writeln!(
        out,
        "review {} of {} is filed as {}; the next is due by {}",
        filed.number,
        kind.as_str(),
        filed.sha256,
        filed.due_at
    )?;
    Ok(ExitCode::SUCCESS)
}
