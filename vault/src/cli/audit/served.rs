//! A log that a vault serves, read file by file as a client of the API.
//!
//! Promises: a file that was not read whole is an error, never a file that is not there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::runtime::Handle;

use crate::audit::LogFiles;
use crate::cli::CliError;
use crate::cli::client::{Api, ApiArgs, Call, Door};

/// Largest file: a bundle of the longest entries is 16 MiB, a file of the history about 20.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a file is asked for: connections end with their age.
const TRIES_MAX: usize = 3;

/// Who asks, where a log is served.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ServedArgs {
    /// The client certificate and its intermediates, PEM: for a log at https://HOST.
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"])]
    certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The authorities the vault's certificate must lead to, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    ca: Option<PathBuf>,
    /// Revocation lists the vault's certificate is checked against, PEM.
    #[arg(long = "crl", value_name = "FILE", requires = "certificate")]
    crls: Vec<PathBuf>,
}

/// The files behind one connection.
pub(super) struct ServedLog {
    url: PathBuf,
    door: Mutex<Door>,
    runtime: Handle,
}

impl ServedLog {
    /// Reads the certificate; connects with the first file.
    pub(super) fn open(url: &str, args: ServedArgs) -> Result<Self, CliError> {
        let (Some(certificate), Some(key), Some(ca)) = (args.certificate, args.key, args.ca) else {
            return Err("a log at https://HOST is read with --certificate, --key and --ca".into());
        };
        let api = Api::new(&ApiArgs { vault: url.to_owned(), certificate, key, ca, crls: args.crls })?;
        let door = Mutex::new(api.door_for(FILE_BYTES_MAX));
        Ok(Self { url: url.into(), door, runtime: Handle::current() })
    }
}

impl LogFiles for ServedLog {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = format!("/v1/audit/log/{}", path.display());
        let call = Call { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() };
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = 1;
        let answer = loop {
            match self.runtime.block_on(door.ask(&call)) {
                Ok(answer) => break answer,
                Err(_) if tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(io::Error::other(error)),
            }
        };
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body.to_vec())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(io::Error::other(answer.refusal())),
        }
    }

    fn place(&self) -> PathBuf {
        self.url.clone()
    }

    fn grows(&self) -> bool {
        true
    }
}
