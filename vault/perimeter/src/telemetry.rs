//! What the service tells: JSON lines to stdout or a file, and numbers for Prometheus.
//!
//! Promises: every line passes the scrubber last; a panic is logged by its place, never by its payload; crates that are not
//! ours are heard from `warn` up only, whatever the level, because below it they print buffers.
//! Does not promise: that a line which reached the operating system is on disk.
//! Upholds: C-20.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use strongroom_domain::Clock;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

pub mod scrub;

use scrub::ScrubbedLines;

/// What is told, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Least important lines of our own crates that are written.
    pub level: Level,
    /// File to append to (mode 0600); stdout without it.
    pub file: Option<PathBuf>,
}

/// How much is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is wrong and a person is needed.
    Error,
    /// Something was refused or will go wrong.
    Warn,
    /// One line for each request, and what operators do.
    #[default]
    Info,
    /// What the service decides on the way.
    Debug,
    /// Everything.
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Telemetry did not come up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: check that its folder exists and this user may write there", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else in this process collects lines already.
    #[error("telemetry was started twice in one process")]
    Lines(#[from] SetGlobalDefaultError),
    /// Something else in this process collects numbers already, or the buckets are wrong.
    #[error("the metrics recorder cannot be installed")]
    Numbers(#[from] BuildError),
}

/// Starts logs, metrics and the panic hook for the whole process. Call it once, before anything is served.
pub fn init(config: &TelemetryConfig, clock: Arc<dyn Clock>) -> Result<PrometheusHandle, TelemetryError> {
    let lines = match &config.file {
        Some(file) => ScrubbedLines::new(
            open(file).map_err(|source| TelemetryError::File { file: file.clone(), source })?,
        ),
        None => ScrubbedLines::new(io::stdout()),
    };
    let numbers = recorder()?;
    tracing::subscriber::set_global_default(subscriber(config.level, lines, clock))?;
    install_panic_hook();
    scrub::register();
    Ok(numbers)
}

/// The collector of lines that [`init`] installs, for a test that installs its own.
pub fn subscriber(
    level: Level,
    lines: ScrubbedLines,
    clock: Arc<dyn Clock>,
) -> impl tracing::Subscriber + Send + Sync {
    let ours =
        Targets::new().with_default(LevelFilter::WARN.min(level.into())).with_target("strongroom", level);
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_timer(Now(clock))
        .with_writer(lines)
        .with_filter(ours);
    Registry::default().with(layer)
}

/// Upper bounds of time histograms in seconds: 0.1 ms (an answer from memory) to 10 s (a PSP on a bad day).
const BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Installs the process's metrics recorder. [`init`] does; the sandbox and benchmarks call it alone.
pub fn recorder() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().set_buckets(BUCKETS)?.install_recorder()
}

/// Logs where a panic happened. The payload may hold anything, so it is not looked at.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location();
        tracing::error!(
            file = place.map(std::panic::Location::file),
            line = place.map(std::panic::Location::line),
            thread = std::thread::current().name(),
            "panicked"
        );
        metrics::counter!("strongroom_panics_total").increment(1);
    }));
}

fn open(file: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(file)
}

struct Now(Arc<dyn Clock>);

impl FormatTime for Now {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", self.0.now())
    }
}
