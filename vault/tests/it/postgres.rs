//! A Postgres server of its own for one test: made by `initdb` in a temporary folder, reached over a Unix socket there,
//! `fsync` and `synchronous_commit` on, gone with the value.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_vault::store::{PostgresOptions, PostgresTls};
use tempfile::TempDir;

/// How long a start may take on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct PostgresServer {
    folder: TempDir,
    user: Option<(u32, u32)>,
    process: Option<Child>,
    tls_port: Option<u16>,
}

impl PostgresServer {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("strongroom-pg-").tempdir_in("/tmp").unwrap();
        let user = ordinary_user();
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut server = Self { folder, user, process: None, tls_port: None };
        let made = server
            .command("initdb")
            .args(["--auth=trust", "--username=strongroom", "--encoding=UTF8", "--no-sync", "-D"])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.restart();
        server
    }

    /// Starts it again after [`Self::kill`]. Backends of a killed server may hold its memory for a moment.
    pub(crate) fn restart(&mut self) {
        let started = Instant::now();
        loop {
            let mut process = self
                .command("postgres")
                .arg("-D")
                .arg(self.data())
                .arg("-k")
                .arg(self.folder.path())
                .args(["-c", "fsync=on", "-c", "synchronous_commit=on"])
                .args(["-c", "max_connections=40", "-c", "shared_buffers=128MB"])
                .args(self.listening())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while process.try_wait().unwrap().is_none() {
                if self.is_ready() {
                    self.process = Some(process);
                    return;
                }
                assert!(started.elapsed() < START_TIME_MAX, "postgres did not start");
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(started.elapsed() < START_TIME_MAX, "postgres did not start");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// `kill -9`, its backends with it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = process.id();
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            process.kill().unwrap();
            for child in children.unwrap_or_default().split_whitespace() {
                // Some are gone already, of grief for their parent.
                let _ = Command::new("kill").args(["-9", child]).stderr(Stdio::null()).status();
            }
            process.wait().unwrap();
        }
    }

    /// Stops it in order: everything it holds is written.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let stopped = Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
            assert!(stopped.success());
            process.wait().unwrap();
        }
    }

    /// What follows `[store]` in a vault's configuration.
    pub(crate) fn store_config(&self) -> String {
        let options = self.options();
        format!(
            "driver = \"postgres\"\nhost = {:?}\nport = {}\nuser = {:?}\ndatabase = {:?}\ntls = \"off\"",
            options.host, options.port, options.user, options.database
        )
    }

    /// How to connect.
    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions {
            host: self.folder.path().to_str().unwrap().to_owned(),
            port: self.tls_port.unwrap_or(5432),
            user: "strongroom".into(),
            password: None,
            database: "postgres".into(),
            tls: PostgresTls::Off,
            readers_max: 4,
        }
    }

    /// Gives it a certificate for `localhost` and a TCP port. Gives its authority's certificate, and a stranger's.
    pub(crate) fn serve_tls(&mut self) -> [PathBuf; 2] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let [own, stranger] = [(); 2].map(|()| authority());
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = leaf.signed_by(&key, &own.1).unwrap();
        let files = [
            ("server.crt", certificate.pem(), 0o644),
            ("server.key", key.serialize_pem(), 0o600),
            ("authority.pem", own.0, 0o644),
            ("stranger.pem", stranger.0, 0o644),
        ];
        let [_, _, authority, stranger] = files.map(|(name, text, mode)| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            if let Some((uid, gid)) = self.user {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
            path
        });
        self.kill();
        self.tls_port = Some(port);
        self.restart();
        [authority, stranger]
    }

    /// Its authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// How to connect over TCP, after [`Self::serve_tls`].
    pub(crate) fn tcp_options(&self) -> PostgresOptions {
        PostgresOptions { host: "localhost".into(), ..self.options() }
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn listening(&self) -> Vec<String> {
        let Some(port) = self.tls_port else { return vec!["-c".into(), "listen_addresses=".into()] };
        let folder = self.folder.path().display();
        let settings = [
            "listen_addresses=localhost".to_owned(),
            format!("port={port}"),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={folder}/server.crt"),
            format!("ssl_key_file={folder}/server.key"),
        ];
        settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect()
    }

    fn is_ready(&self) -> bool {
        let ready = self
            .command("pg_isready")
            .args(["-p", &self.tls_port.unwrap_or(5432).to_string(), "-h"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        ready.unwrap().success()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binary(program));
        command.current_dir(self.folder.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A certificate authority of one test.
fn authority() -> (String, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, rcgen::Issuer::new(params, key))
}

/// Postgres refuses to run as root: there it runs as `postgres`, elsewhere as whoever runs the test.
fn ordinary_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| (id(&["-u", "postgres"]).unwrap(), id(&["-g", "postgres"]).unwrap()))
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
