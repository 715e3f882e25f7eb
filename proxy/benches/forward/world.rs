//! PSP, vault and proxy, each its own process, and cards to send.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use strongroom_perimeter::tls::{ClientTlsConfig, client_config};
use tokio_rustls::TlsConnector;

use super::line::Line;
use super::nginx::{self, Nginx};
use super::process::Process;
use super::stall::Stalled;
use super::{Extra, Failure, Way, files, postgres};

/// Cards sent in turn, so that no token is the hot one.
const CARDS: u64 = 1_000;

/// What the vault keeps cards in.
#[derive(Clone, Debug)]
pub(crate) enum StoreKind {
    Sqlite,
    /// A Postgres of its own; or one that runs, with an empty database `postgres` and the role `strongroom`: the folder of
    /// its socket.
    Postgres(Option<PathBuf>),
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        })
    }
}

/// One number for the proxy and one for the vault.
#[derive(Clone, Copy)]
pub(crate) struct Pair<T> {
    pub(crate) proxy: T,
    pub(crate) vault: T,
}

impl<T> Pair<T> {
    pub(crate) fn map_each<U>(self, other: Self, with: impl Fn(T, T) -> U) -> Pair<U> {
        Pair { proxy: with(self.proxy, other.proxy), vault: with(self.vault, other.vault) }
    }
}

/// A card as the caller holds it and as the PSP gets it.
pub(crate) struct Card {
    token: String,
    number: String,
}

/// Everything that runs. Fields are dropped in order: the proxy first, the folder last.
pub(crate) struct World {
    proxy: Process,
    vault: Process,
    nginx: Option<Nginx>,
    _psp: Process,
    pub(crate) stalled: Option<Stalled>,
    pub(crate) cards: Vec<Card>,
    to_proxy: TlsConnector,
    to_psp: TlsConnector,
    proxy_address: SocketAddr,
    psp_address: SocketAddr,
    server: Option<postgres::Server>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn start(
        store: &StoreKind,
        programs: &Path,
        proxy: &Path,
        extra: &Extra,
    ) -> Result<Self, Failure> {
        let temporary = tempfile::Builder::new().prefix("strongroom-bench-").tempdir_in("/tmp")?;
        let folder = temporary.path();
        let mut psp = Process::start(
            Command::new(programs.join("examples/psp"))
                .arg(folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        )?;
        let psp_address = first_line(&mut psp)?.trim().parse()?;
        let stalled = extra.stall.then(|| Stalled::start(&folder.join("pki"))).transpose()?;
        files::policies(folder, psp_address, stalled.as_ref().map(|stalled| stalled.address))?;

        let [vault_api, vault_ops, forward, proxy_ops] = [(); 4].map(|()| files::free_address());
        let (vault_api, proxy_address) = (vault_api?, forward?);
        let server = match store {
            StoreKind::Postgres(None) => Some(postgres::Server::start()?),
            StoreKind::Postgres(Some(_)) | StoreKind::Sqlite => None,
        };
        let socket = match (store, &server) {
            (_, Some(server)) => Some(server.socket_folder()),
            (StoreKind::Postgres(folder), None) => folder.as_deref(),
            (StoreKind::Sqlite, None) => None,
        };
        let config = files::vault(folder, socket, [vault_api, vault_ops?])?;
        let program = programs.join("strongroom-vault");
        let migrated = Command::new(&program).args(["migrate", "--config"]).arg(&config).output()?;
        if !migrated.status.success() {
            return Err(String::from_utf8_lossy(&migrated.stderr).into());
        }
        let vault = Process::start(Command::new(&program).args(["serve", "--config"]).arg(&config))?;
        let vault = vault.listening(vault_api)?;
        let cards = stock(folder, vault_api)?;
        let routes: &[&str] = if stalled.is_some() { &["psp", "stalled"] } else { &["psp"] };
        let config = files::proxy(folder, [proxy_address, proxy_ops?], vault_api, routes)?;
        let proxy = Process::start(Command::new(proxy).args(["serve", "--config"]).arg(&config))?;
        let program = if extra.nginx { nginx::program() } else { None };
        let nginx = program.map(|program| Nginx::start(&program, folder, psp_address)).transpose()?;
        Ok(Self {
            proxy: proxy.listening(proxy_address)?,
            vault,
            nginx,
            _psp: psp,
            stalled,
            cards,
            to_proxy: connector(folder, "orchestrator", "workload-ca.pem")?,
            to_psp: connector(folder, "orchestrator", "psp-ca.pem")?,
            proxy_address,
            psp_address,
            server,
            _folder: temporary,
        })
    }

    /// What an acknowledgement of the store means, if it can be asked.
    pub(crate) fn store_settings(&self) -> Result<Option<String>, Failure> {
        self.server.as_ref().map(postgres::Server::settings).transpose()
    }

    pub(crate) async fn connect(&self, way: Way) -> std::io::Result<Line> {
        match way {
            Way::Direct => Line::connect(&self.to_psp, self.psp_address).await,
            Way::Proxy => Line::connect(&self.to_proxy, self.proxy_address).await,
            Way::Nginx => {
                let nginx = self.nginx.as_ref().ok_or_else(|| std::io::Error::other("nginx does not run"))?;
                Line::connect(&self.to_proxy, nginx.address).await
            }
        }
    }

    /// The ways there are.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let nginx = self.nginx.is_some().then_some(Way::Nginx);
        [Way::Direct, Way::Proxy].into_iter().chain(nginx).collect()
    }

    /// A call at the PSP that never answers.
    pub(crate) fn stalled_request(&self, at: u64) -> String {
        self.request(Way::Proxy, at).replacen("/psp/", "/stalled/", 1)
    }

    /// Processor time of nginx, if it runs.
    pub(crate) fn nginx_cpu_seconds(&self) -> Result<f64, Failure> {
        self.nginx.as_ref().map_or(Ok(0.0), Nginx::cpu_seconds)
    }

    /// The same call for either way: a payment method made from a card.
    pub(crate) fn request(&self, way: Way, at: u64) -> String {
        let card = &self.cards[usize::try_from(at).unwrap_or_default() % self.cards.len()];
        let (prefix, number, credential) = match way {
            Way::Direct => ("", &card.number, "authorization: Bearer sk_test_bench\r\n"),
            Way::Proxy => ("/psp", &card.token, ""),
            Way::Nginx => ("", &card.number, ""),
        };
        let body = format!("type=card&card[number]={number}&card[exp_month]=12&card[exp_year]=2030");
        format!(
            "POST {prefix}/v1/payment_methods HTTP/1.1\r\nhost: localhost\r\n{credential}\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    pub(crate) fn cpu_seconds(&self) -> Result<Pair<f64>, Failure> {
        Ok(Pair { proxy: self.proxy.cpu_seconds()?, vault: self.vault.cpu_seconds()? })
    }

    pub(crate) fn rss_kib(&self) -> Result<Pair<u64>, Failure> {
        Ok(Pair { proxy: self.proxy.rss_kib()?, vault: self.vault.rss_kib()? })
    }
}

/// Builds the programs beside this one; gives their folder.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let built = Command::new(env!("CARGO"))
        .current_dir(files::repository())
        .args(["build", "--release", "-p", "strongroom-vault", "-p", "strongroom-sandbox"])
        .args(["--bin", "strongroom-vault", "--example", "psp"])
        .status()?;
    if !built.success() {
        return Err("the vault and the sandbox PSP do not build".into());
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target folder")?;
    Ok(target.join("release"))
}

fn first_line(process: &mut Process) -> Result<String, Failure> {
    let out = process.0.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok(line)
}

fn connector(folder: &Path, workload: &str, ca: &str) -> Result<TlsConnector, Failure> {
    let pki = folder.join("pki");
    let mut config = client_config(&ClientTlsConfig {
        certificate_file: pki.join(format!("{workload}.pem")),
        key_file: pki.join(format!("{workload}.key")),
        ca_file: pki.join(ca),
        crl_files: Vec::new(),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Onboards a tenant and tokenizes cards of the test range.
fn stock(folder: &Path, vault: SocketAddr) -> Result<Vec<Card>, Failure> {
    let platform = connector(folder, "platform", "workload-ca.pem")?;
    let checkout = connector(folder, "checkout", "workload-ca.pem")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let call = |method: &str, path: &str, body: &str| {
            format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let mut line = Line::connect(&platform, vault).await?;
        let answer = line.ask(call("PUT", "/v1/tenants/acme", r#"{"groups":["merchants"]}"#).as_bytes()).await?;
        if !matches!(answer.status, 200 | 201) {
            return Err(format!("the tenant was not made: {}", answer.status).into());
        }
        let mut line = Line::connect(&checkout, vault).await?;
        let mut cards = Vec::new();
        for at in 0..CARDS {
            let number = number(at);
            let body = format!(r#"{{"number":"{number}","exp_month":12,"exp_year":2030}}"#);
            let answer = line.ask(call("POST", "/v1/tenants/acme/cards", &body).as_bytes()).await?;
            let made: serde_json::Value = serde_json::from_slice(line.body(&answer))?;
            let token = made["token"].as_str().ok_or_else(|| format!("no token: {}", answer.status))?.to_owned();
            cards.push(Card { token, number });
        }
        Ok(cards)
    })
}

/// A number of the default test range with its check digit (ISO/IEC 7812-1 annex B).
fn number(at: u64) -> String {
    let payload = format!("999999{at:09}");
    let worth = |(place, digit): (usize, u8)| {
        let digit = u32::from(digit - b'0');
        let doubled = if place % 2 == 0 { digit * 2 } else { digit };
        doubled / 10 + doubled % 10
    };
    let check = (10 - payload.bytes().rev().enumerate().map(worth).sum::<u32>() % 10) % 10;
    format!("{payload}{check}")
}
