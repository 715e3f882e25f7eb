//! Why a house does not stand.

use std::io;
use std::path::{Path, PathBuf};

use strongroom_domain::RandomUnavailable;

use crate::client::NoAnswer;
use crate::pki::PkiError;
use crate::psp::PspError;

/// Why a house does not start. Each message says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    /// A file or folder of the data folder.
    #[error("cannot use {}: {source}; choose another folder with --data", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Ports beyond the last.
    #[error("port base {0} leaves no room for five ports; choose one below 65532 with --port-base")]
    Ports(u16),
    /// Certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Another process uses the data folder.
    #[error("{} is in use by another process; stop it, or choose another folder with --data", .0.display())]
    InUse(PathBuf),
    /// The sandbox PSP cannot listen: it takes its port first, so a second sandbox ends here.
    #[error("sandbox psp: {0}; choose other ports with --port-base")]
    PspPort(PspError),
    /// The sandbox PSP.
    #[error("sandbox psp: {0}")]
    Psp(PspError),
    /// The vault's configuration.
    #[error("vault: {0}")]
    VaultConfig(#[from] strongroom_vault::config::ConfigError),
    /// The vault.
    #[error("vault: {0}")]
    Vault(#[from] Box<strongroom_vault::app::StartError>),
    /// The proxy's configuration.
    #[error("proxy: {0}")]
    ProxyConfig(#[from] Box<strongroom_proxy::config::ConfigError>),
    /// The proxy.
    #[error("proxy: {}", told(.0.as_ref()))]
    Proxy(#[from] Box<strongroom_proxy::app::StartError>),
    /// The proxy's connect authority.
    #[error("connect authority: {0}")]
    Connect(#[from] strongroom_proxy::authority::CreateError),
    /// Logs and metrics.
    #[error(transparent)]
    Telemetry(#[from] strongroom_perimeter::telemetry::TelemetryError),
    /// A listener does not know its own address.
    #[error("a listener has no address: {0}")]
    Address(io::Error),
    /// The vault did not answer.
    #[error("onboarding the first tenant: {0}")]
    NoAnswer(#[from] Box<NoAnswer>),
    /// The vault refused.
    #[error("onboarding the first tenant: the vault answered {0}")]
    Onboarding(u16),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl HouseError {
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }
}

impl From<PspError> for HouseError {
    fn from(error: PspError) -> Self {
        if matches!(error, PspError::Listen(..)) { Self::PspPort(error) } else { Self::Psp(error) }
    }
}

impl From<strongroom_vault::app::StartError> for HouseError {
    fn from(error: strongroom_vault::app::StartError) -> Self {
        Self::Vault(Box::new(error))
    }
}

impl From<strongroom_proxy::app::StartError> for HouseError {
    fn from(error: strongroom_proxy::app::StartError) -> Self {
        Self::Proxy(Box::new(error))
    }
}

impl From<strongroom_proxy::config::ConfigError> for HouseError {
    fn from(error: strongroom_proxy::config::ConfigError) -> Self {
        Self::ProxyConfig(Box::new(error))
    }
}

impl From<NoAnswer> for HouseError {
    fn from(error: NoAnswer) -> Self {
        Self::NoAnswer(Box::new(error))
    }
}

/// An error with its sources, outermost first: the proxy's messages do not repeat theirs.
fn told(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
