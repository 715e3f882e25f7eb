//! How fast a file comes in: `card import` as its own process against the vault as its own, at the vault's default limit
//! for imports.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_sandbox::pki::Pki;

use super::load::number;
use super::report::Report;
use super::vault::{RunningVault, TENANT};
use super::{Failure, StoreKind, counts, postgres};

/// How often memory is read.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What an import took.
struct Taken {
    time: Duration,
    vault_cpu: f64,
    import_cpu: f64,
    import_rss_kib: u64,
    vault_rss_kib: u64,
}

/// Imports so many cards and prints what it took.
pub(crate) fn run(
    report: &mut Report,
    store: StoreKind,
    cards: u64,
    folder: &Path,
    vault: &RunningVault,
    server: Option<&postgres::Server>,
) -> Result<(), Failure> {
    let source = folder.join("cards.csv");
    let mut out = BufWriter::new(std::fs::File::create(&source)?);
    writeln!(out, "number,exp_month,exp_year,holder")?;
    for n in 0..cards {
        writeln!(out, "{},12,2034,JANE Q CARDHOLDER", number(n))?;
    }
    out.into_inner()?.sync_all()?;
    let empty = size(folder, server)?;
    let taken = import(&vault.pki, vault, &source, folder)?;
    let counted = match server {
        Some(server) => counts::of_postgres(server)?,
        None => counts::of_sqlite(&vault.database())?,
    };
    let bytes = size(folder, server)? - empty;
    report.line(&format!(
        "{store}: {cards} cards imported in {:.1} s, {:.0}/s; CPU {:.0} µs a card in the vault, {:.0} in the import; \
         memory at most {} MiB in the vault, {} MiB in the import; {} bytes a card on disk with its audit entry",
        taken.time.as_secs_f64(),
        cards as f64 / taken.time.as_secs_f64(),
        taken.vault_cpu * 1e6 / cards as f64,
        taken.import_cpu * 1e6 / cards as f64,
        taken.vault_rss_kib / 1024,
        taken.import_rss_kib / 1024,
        bytes / cards.max(1),
    ));
    report.agree(store, "import", counted.cards == cards && counted.tokenized == cards);
    Ok(())
}

fn import(pki: &Pki, vault: &RunningVault, source: &Path, folder: &Path) -> Result<Taken, Failure> {
    let identity = pki.client("importer")?;
    let began = (Instant::now(), vault.cpu_seconds()?);
    let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"))
        .args(["card", "import", "--vault", &format!("https://localhost:{}", vault.address.port())])
        .arg("--certificate")
        .arg(identity.certificate_pem_path)
        .arg("--key")
        .arg(identity.key_pem_path)
        .arg("--ca")
        .arg(pki.ca_file())
        .args(["--tenant", TENANT, "--state"])
        .arg(folder.join("import"))
        .arg(source)
        .stdout(Stdio::null())
        .spawn()?;
    let mut taken =
        Taken { time: Duration::ZERO, vault_cpu: 0.0, import_cpu: 0.0, import_rss_kib: 0, vault_rss_kib: 0 };
    let status = loop {
        taken.import_rss_kib = super::vault::rss_kib_of(child.id()).unwrap_or(0).max(taken.import_rss_kib);
        taken.import_cpu = super::vault::cpu_seconds_of(child.id()).unwrap_or(taken.import_cpu);
        taken.vault_rss_kib = vault.rss_kib()?.max(taken.vault_rss_kib);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    taken.time = began.0.elapsed();
    taken.vault_cpu = vault.cpu_seconds()? - began.1;
    if status.success() { Ok(taken) } else { Err(format!("the import ended with {status}").into()) }
}

/// Bytes of the store.
fn size(folder: &Path, server: Option<&postgres::Server>) -> Result<u64, Failure> {
    if let Some(server) = server {
        return Ok(server
            .ask("CHECKPOINT; SELECT pg_database_size(current_database())")?
            .trim_start_matches("CHECKPOINT\n")
            .parse()?);
    }
    let of = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    Ok(of("vault.db") + of("vault.db-wal"))
}
