//! The proxy's connect authority: for the hosts of every route it serves, kept while it is for all of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use strongroom_domain::{Clock, Environment};
use strongroom_proxy::app::StartError;
use strongroom_proxy::authority::{self, Authority};
use strongroom_proxy::registry::RegistryError;
use strongroom_proxy::route;

use super::HouseError;
use super::folder::Folder;

/// As long as a root of the sandbox lives at least.
const LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What callers trust in tunnels.
pub(super) fn certificate(folder: &Folder) -> PathBuf {
    folder.pki().join("connect-ca.pem")
}

/// What the proxy keeps.
pub(super) fn key(folder: &Folder) -> PathBuf {
    folder.pki().join("connect-ca.key")
}

/// Makes the authority if it is absent, has ended, or is not for some host.
pub(super) fn ensure(
    folder: &Folder,
    routes: &BTreeSet<String>,
    clock: &dyn Clock,
) -> Result<(), HouseError> {
    let registered = route::read(&folder.policies(), None, Environment::Test, Some(routes))
        .map_err(|error| StartError::Registry(RegistryError::Routes(error)))?;
    let hosts: BTreeSet<_> = registered.iter().map(|one| one.upstream().host).collect();
    let (certificate, key) = (certificate(folder), key(folder));
    let kept = Authority::read(&certificate, &key, clock.now())
        .is_ok_and(|authority| hosts.iter().all(|host| authority.permits(host)));
    if !kept {
        remove(&certificate)?;
        remove(&key)?;
        authority::create(&hosts, &folder.pki(), clock.now(), LIFE)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), HouseError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(HouseError::file(path, error)),
        _ => Ok(()),
    }
}
