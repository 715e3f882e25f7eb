//! What the proxy adds to a call to a PSP: `cargo bench -p strongroom-proxy --bench forward`.
//!
//! Vault, proxy and sandbox PSP run as three processes of their release programs, over real mTLS, with the shipped
//! policies and log files. They are run, not linked: the proxy must not be able to link what opens a card. Calls
//! through the proxy and calls to the PSP itself take turns, so that both meet the same noise.
//!
//! Promises: every counted call was answered 200 with the payment method that was asked for; anything else fails the run.
//! Does not promise: that a figure is good. It prints; it holds nobody to a time.

mod files;
mod line;
mod load;
mod nginx;
#[path = "../../../vault/benches/throughput/postgres.rs"]
mod postgres;
mod process;
mod report;
mod stall;
mod world;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use load::{Measured, Pace, Way};
use world::{StoreKind, World};

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "flags: --seconds N (60; each way of each load), --connections 1,16,64 (closed loops; none: -), --rate N (200; the open loop; half: of what the proxy did in the fastest closed loop), \
     --nginx yes (the same load on nginx, in the same minutes), --stall yes (one PSP that never answers beside another), \
     --store sqlite,postgres (each with a server of its own, or postgres=SOCKET_FOLDER of one that runs), \
     --programs FOLDER (of strongroom-vault and examples/psp; built if absent), --proxy FILE (instead of this build's)";
/// Proxy and PSP take turns this often in one measurement.
const TURNS: u32 = 5;
/// Connections that an open-loop run may use.
const OPEN_LOOP_CONNECTIONS: usize = 32;

/// What is measured besides.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) nginx: bool,
    pub(crate) stall: bool,
}

struct Flags {
    time: Duration,
    connections: Vec<usize>,
    /// None: half of what the proxy can.
    rate: Option<u32>,
    extra: Extra,
    stores: Vec<StoreKind>,
    programs: Option<PathBuf>,
    proxy: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::line(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether every call was answered as it should.
fn run() -> Result<bool, Failure> {
    let flags = flags()?;
    report::line(&report::machine());
    if flags.extra.nginx {
        report::line(&match nginx::program() {
            Some(program) => nginx::version(&program)?,
            None => {
                "nginx is not installed (Debian: nginx-light): the comparison with it is left out".to_owned()
            }
        });
    }
    let programs = flags.programs.clone().map_or_else(world::build, Ok)?;
    let mut report = Report { good: true, ..Report::default() };
    for store in &flags.stores {
        let world = World::start(store, &programs, &flags.proxy, &flags.extra)?;
        if let Some(settings) = world.store_settings()? {
            report::line(&settings);
        }
        measure(&flags, store, &world, &mut report)?;
    }
    report::table(&report.rows, &report.nginx, &report.stalls);
    Ok(report.good)
}

#[derive(Default)]
struct Report {
    rows: Vec<String>,
    nginx: Vec<String>,
    stalls: Vec<String>,
    good: bool,
}

fn measure(flags: &Flags, store: &StoreKind, world: &World, report: &mut Report) -> Result<(), Failure> {
    load::take_turns(world, Pace::Closed(16), Duration::from_secs(1))?; // connections, key caches
    let mut fastest = 0.0_f64;
    let mut one = |pace| {
        let (before, nginx_before) = (world.cpu_seconds()?, world.nginx_cpu_seconds()?);
        let measured = load::take_turns(world, pace, flags.time / TURNS)?;
        let cpu = world.cpu_seconds()?.map_each(before, |after, before| after - before);
        let nginx_cpu = world.nginx_cpu_seconds()? - nginx_before;
        report.good &= measured.iter().all(|(_, measured)| measured.others.is_empty());
        report.rows.push(report::row(store, pace, &measured, cpu, world.rss_kib()?));
        report::line(&report.rows[report.rows.len() - 1]);
        report.nginx.extend(report::nginx_row(store, pace, &measured, nginx_cpu));
        Ok::<_, Failure>(measured[1].1.rate())
    };
    for connections in &flags.connections {
        fastest = fastest.max(one(Pace::Closed(*connections))?);
    }
    let rate = flags.rate.unwrap_or_else(|| (fastest / 2.0).max(1.0) as u32);
    let open = Pace::Open { rate, connections: OPEN_LOOP_CONNECTIONS };
    one(open)?;
    if let Some(stalled) = &world.stalled {
        let (both, pressed) = stall::compare(world, stalled, open, flags.time)?;
        report.good &= pressed.others == 0 && both.iter().all(|measured| measured.others.is_empty());
        report.stalls.push(report::stall_row(store, open, &both, &pressed));
    }
    Ok(())
}

fn flags() -> Result<Flags, Failure> {
    let mut flags = Flags {
        time: Duration::from_secs(60),
        connections: vec![1, 16, 64],
        rate: Some(200),
        extra: Extra::default(),
        stores: vec![StoreKind::Sqlite, StoreKind::Postgres(None)],
        programs: None,
        proxy: env!("CARGO_BIN_EXE_strongroom-proxy").into(),
    };
    let mut given = std::env::args().skip(1).filter(|flag| flag != "--bench");
    while let Some(flag) = given.next() {
        let value = given.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--seconds" => flags.time = Duration::from_secs(value.parse()?),
            "--programs" => flags.programs = Some(value.into()),
            "--proxy" => flags.proxy = value.into(),
            "--connections" if value == "-" => flags.connections = Vec::new(),
            "--rate" if value == "half" => flags.rate = None,
            "--rate" => flags.rate = Some(value.parse()?),
            "--nginx" => flags.extra.nginx = value == "yes",
            "--stall" => flags.extra.stall = value == "yes",
            "--connections" => {
                flags.connections = value.split(',').map(str::parse).collect::<Result<_, _>>()?
            }
            "--store" => flags.stores = value.split(',').map(store).collect::<Result<_, _>>()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(flags)
}

fn store(text: &str) -> Result<StoreKind, Failure> {
    match text.split_once('=') {
        None if text == "sqlite" => Ok(StoreKind::Sqlite),
        None if text == "postgres" => Ok(StoreKind::Postgres(None)),
        Some(("postgres", folder)) => Ok(StoreKind::Postgres(Some(folder.into()))),
        _ => Err(USAGE.into()),
    }
}

/// Everything measured of one pace: direct, through the proxy and, where it runs, through nginx.
type EachWay = Vec<(Way, Measured)>;
