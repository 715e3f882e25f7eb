//! What to measure.

use std::fmt;
use std::time::Duration;

use super::Failure;

const USAGE: &str = "flags: --seconds N (60), --connections 16,64, --store postgres,sqlite, --cards N (100000; filled before, memory is read on the way), --import N (instead: a file of so many cards by `card import`, killed three times, and reads beside them), --import-connections N (the command's own), --log N (instead: a signed log of so many entries by two replicas on one Postgres, whose sequencer is killed three times, and what verifies it), --find N (instead: an index of so many entries of the log, and how long questions take)";

/// Which store the vault runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreKind {
    Postgres,
    Sqlite,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        })
    }
}

/// The command line.
pub(crate) struct Flags {
    pub(crate) time: Duration,
    pub(crate) connections: Vec<usize>,
    pub(crate) stores: Vec<StoreKind>,
    pub(crate) cards: u64,
    /// Cards of the import that is measured instead of calls.
    pub(crate) import: Option<u64>,
    /// Batches it has under way at once.
    pub(crate) import_connections: Option<u64>,
    /// Entries of the index that is asked instead.
    pub(crate) find: Option<u64>,
    /// Entries of the signed log that is written and verified instead.
    pub(crate) log: Option<u64>,
}

impl Flags {
    pub(crate) fn parse() -> Result<Self, Failure> {
        let mut flags = Self {
            time: Duration::from_secs(60),
            connections: vec![16, 64],
            stores: vec![StoreKind::Postgres, StoreKind::Sqlite],
            cards: 100_000,
            import: None,
            import_connections: None,
            find: None,
            log: None,
        };
        let mut given = std::env::args().skip(1).filter(|flag| flag != "--bench");
        while let Some(flag) = given.next() {
            let value = given.next().ok_or(USAGE)?;
            match flag.as_str() {
                "--seconds" => flags.time = Duration::from_secs(value.parse()?),
                "--cards" => flags.cards = value.parse()?,
                "--import-connections" => flags.import_connections = Some(value.parse()?),
                "--log" => flags.log = Some(value.parse()?),
                "--find" => flags.find = Some(value.parse()?),
                "--import" => flags.import = Some(value.parse()?),
                "--connections" => {
                    flags.connections = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--store" => flags.stores = value.split(',').map(store).collect::<Result<_, _>>()?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(flags)
    }
}

fn store(name: &str) -> Result<StoreKind, Failure> {
    match name {
        "postgres" => Ok(StoreKind::Postgres),
        "sqlite" => Ok(StoreKind::Sqlite),
        _ => Err(USAGE.into()),
    }
}
