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
#[path = "../../../vault/benches/throughput/postgres.rs"]
mod postgres;
mod process;
mod report;
mod world;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use load::{Measured, Pace, Way};
use world::{StoreKind, World};

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "flags: --seconds N (60; each way of each load), --connections 1,16,64 (closed loops; none: -), --rate N (200; the open loop), \
     --store sqlite,postgres (each with a server of its own, or postgres=SOCKET_FOLDER of one that runs), \
     --programs FOLDER (of strongroom-vault and examples/psp; built if absent), --proxy FILE (instead of this build's)";
/// Proxy and PSP take turns this often in one measurement.
const TURNS: u32 = 5;
/// Connections that an open-loop run may use.
const OPEN_LOOP_CONNECTIONS: usize = 32;

struct Flags {
    time: Duration,
    connections: Vec<usize>,
    rate: u32,
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
    let programs = flags.programs.map_or_else(world::build, Ok)?;
    let (mut rows, mut good) = (Vec::new(), true);
    for store in &flags.stores {
        let world = World::start(store, &programs, &flags.proxy)?;
        if let Some(settings) = world.store_settings()? {
            report::line(&settings);
        }
        let mut paces: Vec<Pace> =
            flags.connections.iter().map(|connections| Pace::Closed(*connections)).collect();
        paces.push(Pace::Open { rate: flags.rate, connections: OPEN_LOOP_CONNECTIONS });
        load::take_turns(&world, Pace::Closed(16), Duration::from_secs(1))?; // connections, key caches
        for pace in paces {
            let before = world.cpu_seconds()?;
            let measured = load::take_turns(&world, pace, flags.time / TURNS)?;
            let cpu = world.cpu_seconds()?.map_each(before, |after, before| after - before);
            good &= measured.iter().all(|(_, measured)| measured.others.is_empty());
            rows.push(report::row(store, pace, &measured, cpu, world.rss_kib()?));
            report::line(&rows[rows.len() - 1]);
        }
    }
    report::table(&rows);
    Ok(good)
}

fn flags() -> Result<Flags, Failure> {
    let mut flags = Flags {
        time: Duration::from_secs(60),
        connections: vec![1, 16, 64],
        rate: 200,
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
            "--rate" => flags.rate = value.parse()?,
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

/// The two ways a call goes.
const WAYS: [Way; 2] = [Way::Direct, Way::Proxy];

/// Everything measured of one pace.
type BothWays = Vec<(Way, Measured)>;
