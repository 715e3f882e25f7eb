//! The configuration files of both services, as a person would write them for this folder.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use strongroom_domain::Environment;
use strongroom_domain::route::{Account, Route};

use super::HouseError;
use super::folder::{Folder, read_if_there};
use crate::pki::{Pki, Server};

/// The sandbox's limits: far above the defaults, so that load tests meet the machine and not a limit.
const LIMITS: &str = "# Far above the defaults (200, 50, 100000, 10): a sandbox is for trying things out.\n\
    [limits]\ntokenize_per_second = 1000000\nforward_per_second = 1000000\n\
    forward_per_day = 1000000000\ntoken_forwards_per_minute = 1000000\n";

/// How often certificates and lists are looked at: soon enough to see a revocation happen.
const RELOAD: &str = "reload_interval_ms = 500\n";

pub(super) struct Addresses {
    pub(super) vault: SocketAddr,
    pub(super) vault_ops: SocketAddr,
    pub(super) proxy: SocketAddr,
    pub(super) proxy_ops: SocketAddr,
}

/// What a house may set differently in `vault.toml`.
pub(super) struct Ground {
    /// What follows `[store]`.
    pub(super) store: String,
    /// Whole tables.
    pub(super) settings: String,
}

pub(super) fn sqlite(folder: &Folder) -> String {
    format!("driver = \"sqlite\"\npath = {:?}\n", folder.database())
}

pub(super) fn vault(
    folder: &Folder,
    pki: &Pki,
    ground: &Ground,
    level: &str,
    at: &Addresses,
) -> Result<String, HouseError> {
    let (api, limits) = (listener(pki, Server::Vault, at.vault)?, LIMITS);
    let Ground { store, settings } = ground;
    Ok(format!(
        "# Written by strongroom-sandbox at every start.\n\
         environment = \"test\"\ninstance = \"sandbox\"\n\n\
         [api]\n{api}\n[api.limits]\n{RELOAD}\n\
         [ops]\naddress = \"{}\"\n\n\
         [store]\n{store}\n\
         [kms]\nprovider = \"file\"\nkey_file = {:?}\n\n\
         [policies]\nfolder = {:?}\n\n\
         {limits}\n\
         [audit]\nfolder = {:?}\n\n\
         {settings}\n\
         [telemetry]\nlevel = \"{level}\"\nfile = {:?}\n",
        at.vault_ops,
        folder.kms_key(),
        folder.policies(),
        folder.signed_log(),
        folder.log(),
    ))
}

pub(super) fn proxy(folder: &Folder, pki: &Pki, level: &str, at: &Addresses) -> Result<String, HouseError> {
    let listener = listener(pki, Server::Proxy, at.proxy)?;
    let client = pki.client("proxy")?;
    Ok(format!(
        "# Written by strongroom-sandbox at every start.\n\
         environment = \"test\"\npolicies_folder = {:?}\nsecrets_folder = {:?}\n\
         # Every route whose account has its credential in the secrets folder, or needs none there.\n\
         routes = {:?}\n\n\
         [listener]\n{listener}\n[listener.limits]\n{RELOAD}\n\
         [connect]\nca_certificate_file = {:?}\nca_key_file = {:?}\n\n\
         [ops]\naddress = \"{}\"\n\n\
         [vault]\nurls = [\"https://localhost:{}\"]\n\n\
         [vault.tls]\ncertificate_file = {:?}\nkey_file = {:?}\nca_file = {:?}\n\n\
         [telemetry]\nlevel = \"{level}\"\nfile = {:?}\n",
        folder.policies(),
        folder.secrets(),
        Vec::from_iter(usable_routes(folder)?),
        super::connect::certificate(folder),
        super::connect::key(folder),
        at.proxy_ops,
        at.vault.port(),
        client.certificate_pem_path,
        client.key_pem_path,
        pki.ca_file(),
        folder.log(),
    ))
}

fn listener(pki: &Pki, server: Server, address: SocketAddr) -> Result<String, HouseError> {
    let identity = pki.server(server)?;
    Ok(format!(
        "address = \"{address}\"\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\ncrl_files = [{:?}]\n",
        identity.certificate_pem_path,
        identity.key_pem_path,
        pki.ca_file(),
        pki.crl_file(),
    ))
}

/// Routes the proxy can serve: those whose account needs no credential of ours, or has it. What cannot be read is named
/// too, so that the proxy says what is wrong.
pub(super) fn usable_routes(folder: &Folder) -> Result<BTreeSet<String>, HouseError> {
    let routes = folder.policies().join("routes");
    let listed = std::fs::read_dir(&routes).map_err(|error| HouseError::file(&routes, error))?;
    let mut usable = BTreeSet::new();
    for file in listed {
        let path = file.map_err(|error| HouseError::file(&routes, error))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|ending| ending == "toml") && is_usable(folder, &path, stem)? {
            usable.insert(stem.to_owned());
        }
    }
    Ok(usable)
}

fn is_usable(folder: &Folder, route: &Path, name: &str) -> Result<bool, HouseError> {
    let account = folder.policies().join("accounts").join(name).join("default.toml");
    let (Some(route), Some(account)) = (read_if_there(route)?, read_if_there(&account)?) else {
        return Ok(name == super::ROUTE_NAME);
    };
    let parsed = Route::parse(name, &route, Environment::Test)
        .map(|route| Account::parse("default", &account, &route));
    Ok(match parsed {
        Ok(Ok(account)) => account.secret_files().all(|file| folder.secrets().join(file).is_file()),
        _ => true,
    })
}
