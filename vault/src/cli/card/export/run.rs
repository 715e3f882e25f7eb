//! Running an export: the file as it comes, then the vault's account of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use http::{HeaderName, Method};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use strongroom_perimeter::hardening;

use super::RunArgs;
use super::desk::{Desk, refusal};
use crate::cli::CliError;
use crate::cli::card::folder::private;
use crate::cli::card::progress::Progress;
use crate::cli::client::Download;

const RUN: HeaderName = HeaderName::from_static("strongroom-export-run");
const CARDS: HeaderName = HeaderName::from_static("strongroom-export-cards");
const MIB: f64 = 1_048_576.0;

/// What came.
struct Came {
    bytes: u64,
    sha256: String,
    seconds: f64,
}

pub(super) async fn run(args: RunArgs, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    hardening::apply()?;
    let (part, manifest_file) = (beside(&args.out, ".part"), beside(&args.out, ".manifest.json"));
    if args.out.exists() || manifest_file.exists() {
        return Err(format!("{} is there already: give another name", args.out.display()).into());
    }
    let mut desk = Desk::new(&args.api, &args.tenant)?;
    let call = desk.call(Method::POST, &format!("/{}/runs", args.export), None)?;
    let unusable = |error| format!("cannot write {}: {error}", part.display());
    let file = private().create(true).truncate(true).open(&part).map_err(unusable)?;
    let download = match desk.api.download(&call).await? {
        Ok(download) => download,
        Err(answer) => {
            std::fs::remove_file(&part)?;
            return Err(refusal(&answer).into());
        }
    };
    let (run, cards) = (download.number(&RUN).unwrap_or(0), download.number(&CARDS).unwrap_or(0));
    let came = receive(download, file, cards).await.map_err(|error| {
        format!(
            "run {run} broke: {error}. {} is of no use; its cards are on the audit log. Run the command again",
            part.display()
        )
    })?;
    let export = desk.export(args.export).await?;
    let manifest = export.runs.into_iter().find(|held| held.run == run).and_then(|held| held.manifest);
    let manifest = manifest.ok_or("the vault has no manifest of this run: do not use the file")?;
    if manifest["state"] != "complete"
        || manifest["file"]["sha256"] != came.sha256.as_str()
        || manifest["file"]["bytes"] != came.bytes
    {
        return Err("what came is not the file of the vault's manifest: do not use it".into());
    }
    keep(&manifest, &manifest_file)?;
    std::fs::rename(&part, &args.out)?;
    tell(&manifest, &came, &args.out, out)?;
    Ok(ExitCode::SUCCESS)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Writes what comes, and digests it.
async fn receive(mut download: Download, file: File, cards: u64) -> Result<Came, CliError> {
    let (began, mut progress) = (Instant::now(), Progress::new(None, 0));
    let (mut out, mut sha256, mut bytes) = (BufWriter::new(file), Sha256::new(), 0_u64);
    while let Some(piece) = download.next().await? {
        out.write_all(&piece)?;
        sha256.update(&piece);
        bytes += piece.len() as u64;
        progress.tell(|taken| {
            let mib = bytes as f64 / MIB;
            format!("{mib:.1} MiB of {cards} cards, {:.2} MiB/s", mib / taken.as_secs_f64().max(0.001))
        });
    }
    progress.end();
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    let sha256 = hex::encode(sha256.finalize());
    Ok(Came { bytes, sha256, seconds: began.elapsed().as_secs_f64() })
}

/// The manifest in its canonical form: its SHA-256 is on the vault's audit log.
fn keep(manifest: &Value, path: &Path) -> Result<(), CliError> {
    let text = serde_json_canonicalizer::to_vec(manifest)?;
    let mut file = private().create_new(true).open(path)?;
    file.write_all(&text)?;
    Ok(file.sync_all()?)
}

fn tell(manifest: &Value, came: &Came, path: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    let cards = manifest["cards"].as_u64().unwrap_or(0);
    let rate = cards as f64 / came.seconds.max(0.001);
    writeln!(out, "{cards} cards in {:.1} s, {rate:.0}/s, {} bytes", came.seconds, came.bytes)?;
    for (brand, count) in manifest["by_brand"].as_object().into_iter().flatten() {
        writeln!(out, "  {brand:12}{count}")?;
    }
    writeln!(out, "sha256          {}", came.sha256)?;
    writeln!(out, "file            {}", path.display())?;
    writeln!(out, "manifest        {}", beside(path, ".manifest.json").display())
}
