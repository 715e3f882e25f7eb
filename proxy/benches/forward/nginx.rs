//! nginx in the proxy's place: mTLS in, TLS out to the same PSP, nothing else done. What a reverse proxy costs at the least.
//!
//! It is as careful as the proxy where that costs anything: TLS 1.3 and a revocation list in, no resumption either way, the
//! PSP's certificate verified, connections kept, a line of log for each call, the credential set by it.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::process::Process;
use super::{Failure, files};

/// How long it may take to end.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// Where packages put it; ordinary users have no sbin in their path.
const PLACES: [&str; 3] = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];

pub(crate) struct Nginx {
    master: Process,
    pub(crate) address: SocketAddr,
}

/// The program, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|place| place.is_file())
}

/// Its version, and the TLS library it was built with: one line.
pub(crate) fn version(program: &Path) -> Result<String, Failure> {
    let said = Command::new(program).arg("-V").output()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let lines =
        said.lines().filter(|line| line.starts_with("nginx version") || line.starts_with("built with"));
    Ok(lines.collect::<Vec<_>>().join(", "))
}

impl Nginx {
    /// Starts it in `folder` as whoever runs this.
    pub(crate) fn start(program: &Path, folder: &Path, psp: SocketAddr) -> Result<Self, Failure> {
        let address = files::free_address()?;
        let home = folder.join("nginx");
        std::fs::create_dir_all(&home)?;
        let config = home.join("nginx.conf");
        std::fs::write(&config, configuration(&home, &folder.join("pki"), address, psp)?)?;
        let mut command = Command::new(program);
        command.arg("-p").arg(&home).arg("-e").arg(home.join("error.log")).arg("-c").arg(&config);
        let master = Process::start(command.stdin(Stdio::null()))?;
        Ok(Self { master: master.listening(address)?, address })
    }

    /// Processor time of the master and its workers.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let master = self.master.0.id();
        let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        let workers = children.split_whitespace().map(|worker| Process::cpu_seconds_of(worker.parse()?));
        Ok(self.master.cpu_seconds()? + workers.sum::<Result<f64, Failure>>()?)
    }
}

impl Drop for Nginx {
    /// The master ends its workers when it is asked to, and leaves them behind when it is killed.
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-TERM", &self.master.0.id().to_string()]).status());
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIME_MAX && matches!(self.master.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn configuration(home: &Path, pki: &Path, address: SocketAddr, psp: SocketAddr) -> Result<String, Failure> {
    // Started by root it would work as somebody who may not read the folder; by others the directive is only a warning.
    let user = if std::fs::metadata("/proc/self")?.uid() == 0 { "user root;" } else { "" };
    let (home, pki) = (home.display(), pki.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {home}/{name};\n"))
        .collect();
    Ok(format!(
        r#"{user}
daemon off;
worker_processes auto;
pid {home}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
{temporary}    access_log {home}/access.log;
    upstream psp {{ server {psp}; keepalive 128; keepalive_requests 100000000; keepalive_time 5m; }}
    server {{
        listen {address} ssl backlog=1024;
        ssl_certificate {pki}/proxy-server.pem;
        ssl_certificate_key {pki}/proxy-server.key;
        ssl_client_certificate {pki}/workload-ca.pem;
        ssl_crl {pki}/workload-ca.crl.pem;
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        keepalive_requests 100000000;
        location / {{
            proxy_pass https://psp;
            proxy_http_version 1.1;
            proxy_set_header Host localhost;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer sk_test_bench";
            proxy_ssl_server_name on;
            proxy_ssl_name localhost;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_trusted_certificate {pki}/psp-ca.pem;
            proxy_ssl_verify on;
            proxy_ssl_session_reuse off;
        }}
    }}
}}
"#
    ))
}
