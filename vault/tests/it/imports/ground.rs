//! A vault and an importer, each a process of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use strongroom_domain::Random as _;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;

use crate::crash::{Vault, door, onboard, store_of};
use crate::postgres::PostgresServer;
use crate::service::{configuration, sqlite, wanted};

/// How long anything may take on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(300);

pub(super) struct Ground {
    folder: tempfile::TempDir,
    pki: Pki,
    postgres: Option<PostgresServer>,
    vault: Vault,
    runtime: tokio::runtime::Runtime,
}

/// An import under way. Killed when dropped.
pub(super) struct Import(Child);

/// How it ended.
pub(super) struct Ended {
    pub(super) status: i32,
    /// Both of its outputs.
    pub(super) told: String,
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Ground {
    pub(super) fn on_sqlite() -> Self {
        Self::on_sqlite_with("")
    }

    /// On SQLite, with more lines in the configuration's limits.
    pub(super) fn on_sqlite_with(limits: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path());
        Self::on(folder, None, &store, limits)
    }

    pub(super) fn on_postgres() -> Self {
        let server = PostgresServer::start();
        let store = store_of(&server);
        Self::on(tempfile::tempdir().unwrap(), Some(server), &store, "")
    }

    fn on(folder: tempfile::TempDir, postgres: Option<PostgresServer>, store: &str, limits: &str) -> Self {
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let text = configuration(folder.path(), &pki, store);
        let text = text.replace("[limits]\n", &format!("[limits]\n{limits}\n"));
        let mut vault = Vault::prepare(folder.path(), "vault-1", &text);
        vault.start();
        vault.wait();
        let runtime = runtime();
        runtime.block_on(onboard(pki.folder(), &vault));
        Self { folder, pki, postgres, vault, runtime }
    }

    pub(super) fn store(&self) -> &'static str {
        if self.postgres.is_some() { "postgres" } else { "sqlite" }
    }

    /// A source of a header and lines.
    pub(super) fn source(&self, name: &str, header: &str, lines: impl Iterator<Item = String>) {
        self.source_lines(name, std::iter::once(header.to_owned()).chain(lines));
    }

    pub(super) fn source_lines(&self, name: &str, lines: impl Iterator<Item = String>) {
        let mut file = std::io::BufWriter::new(std::fs::File::create(self.folder.path().join(name)).unwrap());
        lines.for_each(|line| writeln!(file, "{line}").unwrap());
        file.flush().unwrap();
    }

    /// The import, as whoever imports.
    pub(super) fn import(&self, args: &[&str]) -> Import {
        self.import_as("importer", args)
    }

    /// Changes of cards, as an account updater.
    pub(super) fn update(&self, args: &[&str]) -> Import {
        Import(self.command("update", "updater", args).stdin(Stdio::null()).spawn().unwrap())
    }

    pub(super) fn import_as(&self, workload: &str, args: &[&str]) -> Import {
        Import(self.command("import", workload, args).stdin(Stdio::null()).spawn().unwrap())
    }

    /// The import with its source on standard input.
    pub(super) fn import_from(&self, text: Vec<u8>, args: &[&str]) -> Import {
        let mut child = self.command("import", "importer", args).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::thread::spawn(move || drop(input.write_all(&text))); // it may be killed in between
        Import(child)
    }

    /// The import with another program's output for its source.
    pub(super) fn import_piped(&self, source: ChildStdout, args: &[&str]) -> Import {
        Import(self.command("import", "importer", args).stdin(source).spawn().unwrap())
    }

    /// A file beside the source.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// No file of the vault, the importer or the source holds the number; the program itself aside.
    pub(super) fn assert_no_file_holds(&self, number: &str) {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_none_or(|name| name != "strongroom-vault") {
                    let bytes = match std::fs::read(&path) {
                        // What a database had beside it while it was open.
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                        read => read.unwrap(),
                    };
                    let found = bytes.windows(number.len()).any(|window| window == number.as_bytes());
                    assert!(!found, "{}", path.display());
                }
            }
        }
    }

    /// Without what an earlier import left.
    pub(super) fn import_anew(&self, args: &[&str]) -> Import {
        self.forget();
        self.import(args)
    }

    pub(super) fn forget(&self) {
        std::fs::remove_dir_all(self.state()).unwrap();
    }

    fn command(&self, verb: &str, workload: &str, args: &[&str]) -> Command {
        let identity = self.pki.client(workload).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
        command.args([
            "card",
            verb,
            "--vault",
            &format!("https://localhost:{}", self.vault.address().port()),
        ]);
        command
            .arg("--certificate")
            .arg(identity.certificate_pem_path)
            .arg("--key")
            .arg(identity.key_pem_path);
        command.arg("--ca").arg(self.pki.ca_file()).arg("--state").arg(self.folder.path().join(verb));
        if !args.contains(&"--tenant") {
            command.args(["--tenant", "acme"]);
        }
        command.args(args).current_dir(self.folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("import")
    }

    pub(super) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.state().join(name)).unwrap_or_default()
    }

    /// A file of what a run of updates wrote.
    pub(super) fn text_of_update(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("update").join(name)).unwrap_or_default()
    }

    /// Waits until this many updates are on the disk of whoever sends them, while it runs or has ended.
    pub(super) fn wait_for_updates(&self, update: &mut Import, updates: usize) {
        let began = Instant::now();
        while self.text_of_update("state.jsonl").matches("\"token\":").count() < updates {
            if update.0.try_wait().unwrap().is_some() {
                return;
            }
            assert!(began.elapsed() < TIME_MAX, "no progress");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Cards that are on the importer's disk with their tokens.
    pub(super) fn acknowledged(&self) -> u64 {
        self.text("state.jsonl").matches("\"token\":").count() as u64
    }

    /// Waits until this many are, while it runs.
    pub(super) fn wait_for(&self, import: &mut Import, cards: u64) {
        let began = Instant::now();
        while self.acknowledged() < cards {
            assert!(import.0.try_wait().unwrap().is_none(), "it ended by itself");
            assert!(began.elapsed() < TIME_MAX, "no progress: {} of {cards}", self.acknowledged());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9` of the vault, and its restart.
    pub(super) fn kill_vault(&mut self) {
        self.vault.kill();
        self.vault.start();
    }

    /// Stops vault and database in order. Gives the configuration.
    pub(super) fn stop(&mut self) -> PathBuf {
        self.vault.stop();
        self.vault.config().to_owned()
    }

    pub(super) fn report(&self) -> Value {
        serde_json::from_str(&self.text("report.json")).unwrap()
    }

    /// Line and token of each row.
    pub(super) fn mapping(&self) -> Vec<(u64, String)> {
        let text = self.text("mapping.csv");
        let row = |row: &str| {
            let (line, token) = (row.split(',').next().unwrap(), row.rsplit(',').next().unwrap());
            (line.parse().unwrap(), token.to_owned())
        };
        text.lines().skip(1).map(row).collect()
    }

    /// The token is the number's.
    pub(super) fn assert_opens_to(&self, token: &str, number: &str) {
        let mut door = door(self.pki.folder(), "proxy", self.vault.address());
        let body = wanted(&[token], &["number"]).to_string();
        let answer = self.runtime.block_on(door.send("POST", "/v1/forwards", &[], body)).unwrap().json();
        assert_eq!(answer["cards"][0]["number"], number, "{}", answer["type"]);
    }

    /// Nothing of a number is in what the import wrote, and it is for its owner only.
    pub(super) fn assert_writes_no_digit_of(&self, number: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        for entry in std::fs::read_dir(self.state()).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains(&number[..8]) && !text.contains(number), "{}", path.display());
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }

    /// A number below the bound.
    pub(super) fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        strongroom_perimeter::chance::SystemRandom::new().fill(&mut bytes).unwrap();
        u64::from_be_bytes(bytes) % bound
    }
}

impl Import {
    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub(super) fn end(mut self) -> Ended {
        let mut told = String::new();
        for output in [
            self.0.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read>),
            self.0.stderr.take().map(|out| Box::new(out) as Box<dyn std::io::Read>),
        ] {
            output.unwrap().read_to_string(&mut told).unwrap();
        }
        Ended { status: self.0.wait().unwrap().code().unwrap_or(-1), told }
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}
