//! The command line: serve until told to stop, or check the main job once.
//!
//! What `strongroom-sandbox` prints while it serves is a shell script, comments and all: every line can be copied.

mod lines;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use strongroom_perimeter::{drain, hardening, telemetry};

use crate::check::{self, Break};
use crate::house::{House, HouseOptions, Ports};

/// Everything in one process for a first try: vault, proxy and a sandbox PSP over real mTLS.
#[derive(Debug, Parser)]
#[command(name = "strongroom-sandbox", version)]
pub struct Cli {
    /// Folder for everything: certificates, database, policies, logs. Made if it is not there [default: strongroom-data;
    /// with --check a new one that is removed afterwards].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// First of five ports on 127.0.0.1: vault api, vault ops, proxy, proxy ops, PSP; 0 for free ones [default: 7400;
    /// with --check 0].
    #[arg(long, value_name = "PORT")]
    port_base: Option<u16>,
    /// Take one random test card through checkout, vault, proxy and PSP, search what each of them recorded, print one line
    /// of JSON last, and exit: 0 if the PSP and nobody else saw the number, 1 if not, 2 if it could not be tried.
    #[arg(long)]
    check: bool,
    /// Break the world around the product first: the check must notice.
    #[arg(long = "break", value_name = "HOW", requires = "check")]
    broken: Option<BreakArgument>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BreakArgument {
    /// The route names another field as the place of the number: the PSP never gets it.
    SkipInject,
    /// A hop behind the proxy gives the orchestrator the number the PSP received.
    Echo,
}

impl From<BreakArgument> for Break {
    fn from(argument: BreakArgument) -> Self {
        match argument {
            BreakArgument::SkipInject => Self::SkipInject,
            BreakArgument::Echo => Self::Echo,
        }
    }
}

/// An error as the command line shows it: a sentence.
pub type CliError = Box<dyn std::error::Error + Send + Sync>;

const DATA_DEFAULT: &str = "strongroom-data";
const PORT_BASE_DEFAULT: u16 = 7400;

impl Cli {
    /// Runs the command. What is for the user goes to `out`.
    pub async fn run<W: Write + Send>(self, out: &mut W) -> Result<ExitCode, CliError> {
        hardening::apply()?;
        if self.check { self.check(out).await } else { self.serve(out).await }
    }

    async fn serve<W: Write + Send>(self, out: &mut W) -> Result<ExitCode, CliError> {
        let stop = drain::on_signals()?;
        let data = self.data.unwrap_or_else(|| DATA_DEFAULT.into());
        let options = HouseOptions {
            ports: ports(self.port_base.unwrap_or(PORT_BASE_DEFAULT)),
            ..HouseOptions::new(data)
        };
        let mut house = House::start(options).await?;
        telemetry::install_panic_hook();
        lines::write(out, &house)?;
        let told = stop.run_until_cancelled(house.ended()).await.is_none();
        let log = house.log_file().display().to_string();
        house.stop().await;
        if told { Ok(ExitCode::SUCCESS) } else { Err(format!("a service ended by itself: see {log}").into()) }
    }

    async fn check<W: Write + Send>(self, out: &mut W) -> Result<ExitCode, CliError> {
        let throw_away = tempfile::Builder::new().prefix("strongroom-check-").tempdir()?;
        let data = self.data.unwrap_or_else(|| throw_away.path().join("data"));
        if data.exists() && std::fs::read_dir(&data)?.next().is_some() {
            return Err(
                format!("{}: --check begins with a fresh folder; give another", data.display()).into()
            );
        }
        let findings =
            check::run(data, ports(self.port_base.unwrap_or(0)), self.broken.map(Into::into)).await?;
        for (question, answer, must_be) in findings.questions() {
            let (word, sign) =
                (if answer { "yes" } else { "no" }, if answer == must_be { "ok " } else { "BAD" });
            writeln!(out, "{sign} {question}: {word}")?;
        }
        writeln!(out, "{}", serde_json::to_string(&findings)?)?;
        Ok(if findings.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn ports(base: u16) -> Ports {
    if base == 0 { Ports::Free } else { Ports::From(base) }
}
