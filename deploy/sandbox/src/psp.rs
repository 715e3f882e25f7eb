//! The sandbox PSP: a stand-in for the other side, speaking Stripe's form API, Braintree's transactions in XML, Authorize.Net's in
//! JSON and XML, Adyen's, CyberSource's and Nuvei's payments and a small JSON API over its own TLS.
//!
//! It is *the* place where a card number may lie on disk: its log records every request it read, whole, before it acts,
//! so that checks can search what really arrived. Both its files are for their owner only (mode 0600).
//!
//! Promises: a number decides what happens ([`cards`]); the same `Idempotency-Key` gets the same answer and never a second
//! payment; payments, and answers under a key, survive a restart; no identifier holds a digit.
//! Does not promise: durability (its files are written, not synced), or any more of those PSPs than its README
//! lists.
//! Trusts: nobody with real card data. A number that is no test number is declined.

pub mod cards;

mod adyen;
mod answer;
mod authorize_net;
mod braintree;
mod call;
mod card;
mod cybersource;
mod deliver;
mod desk;
mod ledger;
mod log;
mod nuvei;
mod payments;
mod request;
mod server;
mod stripe;
mod xml;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{Clock, Random, RandomUnavailable};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pki::{Identity, PkiError};
use desk::Shared;

/// How a sandbox PSP runs.
#[derive(Clone, Debug)]
pub struct PspConfig {
    /// Where it listens; port 0 for any.
    pub address: SocketAddr,
    /// Its certificate and key.
    pub identity: Identity,
    /// Folder of its log and its state.
    pub folder: PathBuf,
    /// The one API key it takes; any if absent.
    pub api_key: Option<String>,
    /// How long it thinks over [`cards::SLOW`].
    pub slow: Duration,
}

impl PspConfig {
    /// Any loopback port, any API key, three seconds for the slow card.
    #[must_use]
    pub fn new(identity: Identity, folder: impl Into<PathBuf>) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            identity,
            folder: folder.into(),
            api_key: None,
            slow: Duration::from_secs(3),
        }
    }
}

/// Why the PSP does not start.
#[derive(Debug, thiserror::Error)]
pub enum PspError {
    /// Its certificate cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// TLS refuses its certificate.
    #[error("tls refuses the certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// A file cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The state was written by something else, or damaged.
    #[error("line {line} of {} cannot be read: move the file away to begin anew", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl PspError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }
}

/// A running sandbox PSP. Dropping it stops it.
pub struct Psp {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Psp {
    /// Reads its state, listens and serves.
    pub async fn start(
        config: PspConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, PspError> {
        let tls = server::tls(&config.identity)?;
        let shared = Arc::new(Shared::open(&config, clock, random)?);
        let listening = TcpListener::bind(config.address).await;
        let listener = listening.map_err(|error| PspError::Listen(config.address, error))?;
        let address = listener.local_addr().map_err(|error| PspError::Listen(config.address, error))?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(server::serve(listener, tls, shared.clone(), stop.clone(), tasks.clone()));
        tasks.close();
        Ok(Self { address, shared, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL. The certificate is for `localhost` and both loopback addresses.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many requests of each kind it has read since it started: `POST /v1/payment_intents/{id}/confirm` → 2.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counts()
    }

    /// The log of every request: JSON lines with the whole body. Holds card numbers.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        self.shared.log_file()
    }

    /// Stops listening, lets what is under way finish for a moment, then goes.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Psp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
