//! A PSP that takes requests and answers none, and what it costs calls at another PSP.
//!
//! ```text
//! in turns: the open loop alone │ every place of the stalled route taken, more refused meanwhile, the same open loop
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::line::Line;
use super::load::{self, Measured, Pace, Way};
use super::world::World;
use super::{Failure, TURNS};

/// How many calls the stalled route takes: the default of a route.
pub(crate) const PLACES: usize = 256;
/// How often one more is tried, and refused, while all are taken.
const PRESSED_EVERY: Duration = Duration::from_millis(100);
/// How long filling and emptying may take on a busy machine.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);

/// The PSP, on a thread of its own.
pub(crate) struct Stalled {
    pub(crate) address: SocketAddr,
    waiting: Arc<AtomicUsize>,
    round: watch::Sender<u64>,
}

impl Stalled {
    /// Listens under the sandbox PSP's certificate.
    pub(crate) fn start(pki: &Path) -> Result<Self, Failure> {
        let chain =
            CertificateDer::pem_file_iter(pki.join("psp-server.pem"))?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(pki.join("psp-server.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (round, rounds) = watch::channel(0);
        let stalled = Self { address: listener.local_addr()?, waiting: Arc::default(), round };
        let waiting = stalled.waiting.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(serve(listener, TlsAcceptor::from(Arc::new(config)), waiting, rounds))
        });
        Ok(stalled)
    }

    /// Closes every connection: the calls end.
    fn release(&self) -> Result<(), Failure> {
        self.round.send_modify(|round| *round += 1);
        self.until(0)
    }

    fn until(&self, number: usize) -> Result<(), Failure> {
        let began = Instant::now();
        while self.waiting.load(Ordering::SeqCst) != number {
            if began.elapsed() > SETTLE_TIME_MAX {
                return Err("the stalled psp did not get its calls, or did not get rid of them".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

async fn serve(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    waiting: Arc<AtomicUsize>,
    rounds: watch::Receiver<u64>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let (acceptor, waiting, mut rounds) = (acceptor.clone(), waiting.clone(), rounds.clone());
        rounds.mark_unchanged();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(tcp).await else { return };
            if stream.read_u8().await.is_err() {
                return;
            }
            waiting.fetch_add(1, Ordering::SeqCst);
            // The sender lives as long as the run.
            drop(rounds.changed().await);
            waiting.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// What one more call at the stalled route met while all its places were taken.
#[derive(Default)]
pub(crate) struct Pressed {
    pub(crate) refused: usize,
    pub(crate) others: usize,
}

/// The open loop alone and beside the stalled PSP, in turns.
pub(crate) fn compare(
    world: &World,
    stalled: &Stalled,
    pace: Pace,
    time: Duration,
) -> Result<([Measured; 2], Pressed), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut both, mut pressed) = ([Measured::default(), Measured::default()], Pressed::default());
    for _ in 0..TURNS {
        load::one_way(&runtime, world, Way::Proxy, pace, time / TURNS, &mut both[0])?;
        let lines = runtime.block_on(fill(world))?;
        stalled.until(PLACES)?;
        let pressing = press(world, time / TURNS, &mut pressed);
        load::one_way_beside(&runtime, world, Way::Proxy, pace, time / TURNS, &mut both[1], pressing)?;
        drop(lines);
        stalled.release()?;
    }
    both.iter_mut().for_each(Measured::sort);
    Ok((both, pressed))
}

/// Sends a call into every place and waits for no answer.
async fn fill(world: &World) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::with_capacity(PLACES);
    for at in 0..PLACES {
        let mut line = world.connect(Way::Proxy).await?;
        line.tell(world.stalled_request(at as u64).as_bytes()).await?;
        lines.push(line);
    }
    Ok(lines)
}

async fn press(world: &World, time: Duration, pressed: &mut Pressed) -> io::Result<()> {
    let until = Instant::now() + time;
    let mut line = world.connect(Way::Proxy).await?;
    while Instant::now() < until {
        let answer = line.ask(world.stalled_request(0).as_bytes()).await?;
        match answer.status {
            429 => pressed.refused += 1,
            _ => pressed.others += 1,
        }
        if answer.closes {
            line = world.connect(Way::Proxy).await?;
        }
        tokio::time::sleep(PRESSED_EVERY).await;
    }
    Ok(())
}
