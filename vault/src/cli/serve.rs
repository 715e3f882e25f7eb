//! `strongroom-vault serve`.

use std::process::ExitCode;
use std::sync::Arc;

use strongroom_domain::Clock;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::{drain, hardening, telemetry};

use super::{CliError, ConfigArgs};
use crate::app::App;
use crate::config::VaultConfig;

pub(super) async fn run(args: &ConfigArgs) -> Result<ExitCode, CliError> {
    hardening::apply()?;
    let config = VaultConfig::read(&args.config)?;
    let clock = Arc::new(SystemClock);
    let metrics = telemetry::init(&config.telemetry, Arc::clone(&clock) as Arc<dyn Clock>)?;
    let stop = drain::on_signals()?;
    let app = App::start(config, clock, Arc::new(SystemRandom::new()), metrics).await?;
    app.run(stop).await?;
    Ok(ExitCode::SUCCESS)
}
