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

const USAGE: &str = "flags: --seconds N (60), --connections 16,64, --rate N (200), --store sqlite,postgres=SOCKET_FOLDER, \
     --programs FOLDER (of strongroom-vault and examples/psp; built if absent)";
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
        let world = World::start(store, &programs)?;
        let mut paces: Vec<Pace> =
            flags.connections.iter().map(|connections| Pace::Closed(*connections)).collect();
        paces.push(Pace::Open { rate: flags.rate, connections: OPEN_LOOP_CONNECTIONS });
        load::take_turns(&world, paces[0], Duration::from_secs(1))?; // connections, key caches
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
        connections: vec![16, 64],
        rate: 200,
        stores: vec![StoreKind::Sqlite],
        programs: None,
    };
    let mut given = std::env::args().skip(1).filter(|flag| flag != "--bench");
    while let Some(flag) = given.next() {
        let value = given.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--seconds" => flags.time = Duration::from_secs(value.parse()?),
            "--programs" => flags.programs = Some(value.into()),
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
        Some(("postgres", folder)) => Ok(StoreKind::Postgres(folder.into())),
        _ => Err(USAGE.into()),
    }
}

/// The two ways a call goes.
const WAYS: [Way; 2] = [Way::Direct, Way::Proxy];

/// Everything measured of one pace.
type BothWays = Vec<(Way, Measured)>;
