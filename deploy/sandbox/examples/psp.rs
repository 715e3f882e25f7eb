//! The sandbox PSP alone, as its own process: `cargo run --release -p strongroom-sandbox --example psp -- FOLDER`.
//!
//! Makes the throw-away PKI of a whole house in `FOLDER/pki`, so that vault and proxy can be started beside it by hand or
//! by a benchmark, prints the PSP's address as its only line, and serves until its standard input ends.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::{Pki, Server};
use strongroom_sandbox::psp::{Psp, PspConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: psp FOLDER")?);
    let clock = Arc::new(SystemClock);
    let pki = Pki::open_or_create(folder.join("pki"), Arc::clone(&clock) as _)?;
    let config = PspConfig::new(pki.server(Server::Psp)?, folder.join("psp"));
    std::fs::create_dir_all(&config.folder)?;
    let psp = Psp::start(config, clock, Arc::new(SystemRandom::new())).await?;
    writeln!(std::io::stdout(), "{}", psp.address())?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    psp.stop().await;
    Ok(())
}
