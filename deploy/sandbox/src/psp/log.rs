//! The log of every request, whole: what checks search to learn what really arrived.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use strongroom_domain::Timestamp;

use super::request::Received;

/// Opens a file for appending that only its owner may read, whoever made it.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

pub(super) struct RequestLog {
    pub(super) path: PathBuf,
    file: Mutex<File>,
}

impl RequestLog {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = Mutex::new(open_private(&path)?);
        Ok(Self { path, file })
    }

    /// One line, written when this returns: nothing is buffered in the process.
    pub(super) fn record(&self, request: &Received, peer: SocketAddr, at: Timestamp) -> io::Result<()> {
        use base64::Engine as _;
        let headers: Vec<(&str, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut line = serde_json::json!({
            "at": at,
            "peer": peer,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": headers,
        });
        match std::str::from_utf8(&request.body) {
            Ok(text) => line["body"] = text.into(),
            Err(_) => {
                line["body_base64"] = base64::engine::general_purpose::STANDARD.encode(&request.body).into();
            }
        }
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
    }
}
