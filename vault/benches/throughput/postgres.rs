//! A Postgres server of its own: made by `initdb` in a temporary folder as an ordinary user, reached over a Unix socket
//! there, durable as it comes.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Failure;

/// How long a start may take on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Server {
    folder: TempDir,
    user: Option<(u32, u32)>,
    process: Child,
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("strongroom-pg-").tempdir_in("/tmp")?;
        let user = ordinary_user()?;
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let data = folder.path().join("data");
        let made = command(&folder, user, "initdb")
            .args(["--auth=trust", "--username=strongroom", "--encoding=UTF8", "-D"])
            .arg(&data)
            .output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into());
        }
        let process = command(&folder, user, "postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=256MB"])
            .args(["-c", "max_wal_size=4GB"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { folder, user, process };
        let started = Instant::now();
        while server.ask("SELECT 1").is_err() {
            if server.process.try_wait()?.is_some() || started.elapsed() > START_TIME_MAX {
                return Err("postgres did not start".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Where its socket is.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// What an acknowledgement of it means.
    pub(crate) fn settings(&self) -> Result<String, Failure> {
        let names = [
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "shared_buffers",
            "max_wal_size",
        ];
        let show = |name: &&str| self.ask(&format!("SHOW {name}")).map(|value| format!("{name} {value}"));
        let values = names.iter().map(show).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("postgres: {}", values.join(", ")))
    }

    /// One value.
    pub(crate) fn ask(&self, sql: &str) -> Result<String, Failure> {
        let output =
            self.client("psql").args(["--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A client program that reaches it.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = command(&self.folder, self.user, program);
        command.arg("-h").arg(self.folder.path()).args(["-U", "strongroom"]);
        if program == "psql" {
            command.args(["-d", "postgres"]);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its children end with it; the folder goes next.
        drop(Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status());
        drop(self.process.wait());
    }
}

fn command(folder: &TempDir, user: Option<(u32, u32)>, program: &str) -> Command {
    let mut command = Command::new(binary(program));
    command.current_dir(folder.path());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Postgres refuses to run as root: there it runs as `postgres`, elsewhere as whoever runs this.
fn ordinary_user() -> Result<Option<(u32, u32)>, Failure> {
    let id = |arguments: &[&str]| -> Result<u32, Failure> {
        let output = Command::new("id").args(arguments).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))
}

/// Debian keeps server programs outside `PATH`.
fn binary(program: &str) -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    debian
        .map(|version| version.path().join("bin").join(program))
        .filter(|path| path.exists())
        .max()
        .unwrap_or_else(|| Path::new(program).to_owned())
}
