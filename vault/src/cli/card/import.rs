//! `strongroom-vault card import` and `card update`: cards, or changes of cards, from a file or a pipe to one tenant, in
//! batches, over the API.
//!
//! Promises: killed at any moment and run again, every line is in once; bounded memory, whatever the source's size; card
//! data only in buffers that are wiped; no digit of a card in any message, state or report.
//! Does not promise: that a source is gone afterwards. It holds card numbers: destroy it (PCI DSS 3.2.1).
//! Trusts: the vault's answers for which token a line has.
//! Upholds: C-01, C-28.

mod batch;
mod card;
mod journal;
mod kind;
mod report;
mod send;
mod update;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use strongroom_domain::{Clock as _, Random as _, TenantId};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::{drain, hardening};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::folder::Folder;
use super::progress::Progress;
use super::source::{Meter, Source, SourceArgs, SourceFacts};
use crate::cli::CliError;
use crate::cli::client::{Api, ApiArgs, Patience};

use batch::{Batch, Batches};
use journal::{Acknowledged, Head, Journal, Past};
use kind::Kind;
use report::Tally;
use send::Sender;

/// Exit status: it is done, and some lines were refused.
const EXIT_REFUSED: u8 = 3;

/// Import cards.
///
/// CSV has one record a line and names in the first line; JSON lines have one object a line. Names: number, exp_month,
/// exp_year, holder, alias (the token the card has elsewhere), token (the one it has in the Strongroom it comes from),
/// expires_at, metadata.NAME (in JSON: an object `metadata`).
/// Verification codes are refused. The folder given by --state holds what is done so far, and at the end mapping.csv
/// (line, alias, token), refused.csv and report.json. OpenPGP: pipe `gpg --decrypt FILE` into `-`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Connections to the vault: batches under way at once.
    #[arg(long, default_value = "8", value_parser = parse_connections)]
    connections: NonZeroUsize,
}

/// Change cards under their tokens, as an account updater says.
///
/// CSV or JSON lines as for import. Names: token (or an alias), number, exp_month, exp_year, closed (true or false), holder, expires_at,
/// metadata.NAME, version (the change is made of no other). What a line leaves out stays. Lines are done in their order. The
/// folder given by --state holds what is done so far, and at the end updated.csv (line, token, version, changed), refused.csv
/// and report.json.
#[derive(Debug, clap::Args)]
pub(super) struct UpdateArgs {
    #[command(flatten)]
    run: RunArgs,
}

/// What both have.
#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// Whose cards they are.
    #[arg(long, value_parser = parse_tenant)]
    tenant: TenantId,
    /// Folder for state and reports; the same for every run of this import.
    #[arg(long, value_name = "FOLDER")]
    state: PathBuf,
    /// Seconds to go on without an answer before giving up.
    #[arg(long, default_value_t = 300)]
    patience_seconds: u64,
    /// Go on although an earlier run was cut off more than 23 hours ago. What was under way then may come in twice.
    #[arg(long)]
    resend: bool,
}

fn parse_tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|error| error.to_string())
}

fn parse_connections(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().ok().filter(|count: &NonZeroUsize| count.get() <= 64).ok_or("it is 1 to 64")
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    begin(Kind::Import, args.run, args.connections, out).await
}

/// One connection: changes are made in the order of their lines.
pub(super) async fn run_updates(
    args: UpdateArgs,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    begin(Kind::Update, args.run, NonZeroUsize::MIN, out).await
}

async fn begin(
    kind: Kind,
    args: RunArgs,
    connections: NonZeroUsize,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    hardening::apply()?;
    let api = Api::new(&args.api)?;
    let folder = Folder::hold(&args.state)?;
    let source = args.source.open()?;
    let (journal, past) = Journal::open(&folder, head(kind, &args, &source)?)?;
    if past.is_forgotten(SystemClock.now()) && !args.resend {
        return Err("an earlier run was cut off more than 23 hours ago. The vault may not remember the batches that were \
                    under way then and would take them twice: compare the tenant's newest cards with the mapping, then \
                    run again with --resend"
            .into());
    }
    let sender = Sender::new(api, &journal.head, Patience(Duration::from_secs(args.patience_seconds)));
    let import = Import {
        progress: Progress::new(source.facts.as_ref().map(|facts| facts.bytes), past.tally.imported),
        meter: source.meter.clone(),
        tally: past.tally.clone(),
        stop: drain::on_signals()?,
        connections: connections.get(),
        journal,
    };
    import.run(source, past, sender, &folder, out).await
}

fn head(kind: Kind, args: &RunArgs, source: &Source) -> Result<Head, CliError> {
    let (at, mut tail) = (SystemClock.now(), [0; 10]);
    SystemRandom::new().fill(&mut tail)?;
    let import = uuid::Builder::from_unix_timestamp_millis(at.unix_millis(), &tail).into_uuid();
    let (tenant, format, source) = (args.tenant.clone(), source.format, source.facts.clone());
    Ok(Head { import, kind, tenant, format, source, at })
}

/// One run.
struct Import {
    journal: Journal,
    tally: Tally,
    progress: Progress,
    meter: Meter,
    stop: CancellationToken,
    connections: usize,
}

/// What reading the whole source gave.
struct Read {
    facts: SourceFacts,
    lines: u64,
}

impl Import {
    async fn run(
        mut self,
        source: Source,
        past: Past,
        sender: Sender,
        folder: &Folder,
        out: &mut dyn Write,
    ) -> Result<ExitCode, CliError> {
        let (batches, mut waiting) = mpsc::channel(self.connections);
        let (stop, kind) = (self.stop.clone(), self.journal.head.kind);
        let reading = tokio::task::spawn_blocking(move || read(kind, source, &past, &batches, &stop));
        let sent = self.send(&mut waiting, sender).await;
        self.progress.end();
        drop(waiting); // a reader that waits for room ends
        let read = reading.await;
        sent?;
        self.journal.rest(SystemClock.now())?;
        let Some(read) = read?? else {
            writeln!(
                out,
                "stopped after {} cards; run the same command again to go on",
                self.tally.imported
            )?;
            return Ok(ExitCode::FAILURE);
        };
        let adds_up = report::write(folder, &self.journal.head, read.facts, read.lines, &self.tally, out)?;
        Ok(match (adds_up, self.tally.refused()) {
            (true, 0) => ExitCode::SUCCESS,
            (true, _) => ExitCode::from(EXIT_REFUSED),
            (false, _) => ExitCode::FAILURE,
        })
    }

    /// Sends batches, several at once, and writes down what was answered, in order.
    async fn send(&mut self, waiting: &mut mpsc::Receiver<Batch>, sender: Sender) -> Result<(), CliError> {
        let batches = stream::poll_fn(|context| waiting.poll_recv(context));
        let answers = batches
            .map(|batch| {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(batch).await })
            })
            .buffered(self.connections)
            .ready_chunks(self.connections);
        let mut answers = std::pin::pin!(answers);
        while let Some(chunk) = answers.next().await {
            let (mut answered, mut failed) = (Vec::new(), None);
            for answer in chunk {
                match answer? {
                    Ok(batch) if failed.is_none() => answered.push(batch),
                    Ok(_) => {} // behind one that failed: asked for again by the next run
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            self.acknowledge(answered)?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// One sync for all that were answered meanwhile; a few milliseconds.
    fn acknowledge(&mut self, answered: Vec<Acknowledged>) -> Result<(), CliError> {
        let mut tally = self.tally.clone();
        answered.iter().for_each(|batch| tally.add(batch));
        tokio::task::block_in_place(|| self.journal.acknowledge(answered))?;
        self.tally = tally;
        self.progress.show(self.meter.bytes(), self.tally.imported, self.tally.refused());
        Ok(())
    }
}

/// Reads the source from its beginning, and gives on what is not acknowledged yet. `None`: told to stop before the end.
fn read(
    kind: Kind,
    source: Source,
    past: &Past,
    batches: &mpsc::Sender<Batch>,
    stop: &CancellationToken,
) -> Result<Option<Read>, CliError> {
    let mut lines = 0;
    let mut made = Batches::new(kind, source.plaintext, source.format);
    while let Some(batch) = made.next()? {
        lines += (batch.cards.len() + batch.faults.len()) as u64;
        if batch.number < past.batches {
            past.check(&batch)?;
        } else if stop.is_cancelled() || batches.blocking_send(batch).is_err() {
            return Ok(None);
        }
    }
    if made.made() < past.batches {
        return Err("the source ends before what is imported already: it is another one".into());
    }
    Ok(Some(Read { facts: source.meter.facts(), lines }))
}
