//! `strongroom-vault evidence --from --to`: the evidence bundle of a period, as a client of the API; `evidence verify` for anybody.
//!
//! Promises: a file of a bundle is written below the folder that was named, and only if it was not there.
//! Upholds: C-62.

use std::fs::{self, OpenOptions};
use std::io::{Cursor, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Subcommand;
use http::Method;
use strongroom_domain::Timestamp;
use zip::ZipArchive;

use super::CliError;
use super::client::{Api, ApiArgs, Call};
use crate::audit::{LogKey, hand_overs_in};
use crate::evidence::{self, PROOFS_BYTES_MAX, VerifiedBundle};

/// Largest bundle that is taken: tables are bounded, so what is larger is none.
const BUNDLE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Make the evidence bundle of a period, or verify one.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    api: Option<ApiArgs>,
    #[command(flatten)]
    make: Option<Make>,
}

/// Makes the bundle of a period.
#[derive(Debug, clap::Args)]
struct Make {
    /// The first moment of the period (RFC 3339).
    #[arg(long, value_parser = parse_time)]
    from: Timestamp,
    /// The first moment after it, which has passed.
    #[arg(long, value_parser = parse_time)]
    to: Timestamp,
    /// Entries of each requirement to show with their proofs, at most 500: the checkpoint says which.
    #[arg(long, default_value_t = 25)]
    sample: u32,
    /// What `strongroom-policy prove --out` wrote of the policies in force, to be in the bundle.
    #[arg(long, value_name = "FILE")]
    proofs: Option<PathBuf>,
    /// Where to: a file if it ends in `.zip`, else a folder that is made.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify an unpacked bundle offline: manifest, files, checkpoint and samples. Exit status 1 if anything is wrong.
    Verify {
        /// The bundle's folder.
        folder: PathBuf,
        /// One of the log's public keys, as `audit key` prints it.
        #[arg(long)]
        vkey: String,
        /// An exported log whose hand-overs lead to a key that came after the bundle.
        #[arg(long, value_name = "FOLDER")]
        log: Option<PathBuf>,
    },
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "not an RFC 3339 date-time".into())
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match (args.command, args.api, args.make) {
        (Some(Command::Verify { folder, vkey, log }), ..) => verify(&folder, &vkey, log.as_deref(), out),
        (None, Some(api), Some(make)) => self::make(&api, &make, out).await,
        (None, ..) => Err("say --vault and who asks, --from, --to and --out; or verify".into()),
    }
}

async fn make(api: &ApiArgs, make: &Make, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let path = format!("/v1/evidence?from={}&to={}&sample={}", make.from, make.to, make.sample);
    let (method, body) = match &make.proofs {
        None => (Method::GET, Bytes::new()),
        Some(file) => {
            let proofs = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            if proofs.len() > PROOFS_BYTES_MAX {
                return Err(format!("{} is larger than proofs of policies are", file.display()).into());
            }
            (Method::POST, proofs.into())
        }
    };
    let call = Call { method, path, headers: Vec::new(), body };
    let mut file = match Api::new(api)?.download(&call).await? {
        Ok(file) => file,
        Err(refused) => return Err(refused.refusal().into()),
    };
    let mut zip = Vec::new();
    while let Some(piece) = file.next().await? {
        if zip.len() + piece.len() > BUNDLE_BYTES_MAX {
            return Err("the answer is larger than any bundle".into());
        }
        zip.extend_from_slice(&piece);
    }
    if make.out.extension().is_some_and(|ending| ending == "zip") {
        new_file(&make.out, &zip)?;
    } else {
        unpack(&make.out, &zip)?;
    }
    writeln!(out, "{}", make.out.display())?;
    Ok(ExitCode::SUCCESS)
}

fn unpack(folder: &Path, zip: &[u8]) -> Result<(), CliError> {
    fs::create_dir(folder)
        .map_err(|error| format!("{}: {error}; name a folder that is not there", folder.display()))?;
    let mut archive = ZipArchive::new(Cursor::new(zip))?;
    for at in 0..archive.len() {
        let mut file = archive.by_index(at)?;
        let inside = file.enclosed_name().ok_or("the bundle has a file outside itself")?;
        let path = folder.join(inside);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut bytes = Vec::new();
        file.by_ref().take(BUNDLE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        new_file(&path, &bytes)?;
    }
    Ok(())
}

fn new_file(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

fn verify(
    folder: &Path,
    vkey: &str,
    log: Option<&Path>,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let key = LogKey::parse(vkey)?;
    let hand_overs = log.map(hand_overs_in).transpose()?.unwrap_or_default();
    match evidence::verify_in(folder, &key, &hand_overs) {
        Ok(VerifiedBundle { manifest, sha256, checkpoint, samples, reviews }) => {
            writeln!(
                out,
                "{} files of {} to before {} and {samples} samples and {reviews} reviews hold, under a checkpoint of {} entries; the log names this bundle {}",
                manifest.files.len(),
                manifest.period.from,
                manifest.period.until,
                checkpoint.size,
                hex::encode(sha256),
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(unsound) => {
            writeln!(out, "first: {unsound}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
