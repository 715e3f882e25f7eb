//! The release before this one goes on while this one's `migrate` runs, and beside this one; each opens the other's cards.
//!
//! `.ci/run compat` builds that release and names its folder in `STRONGROOM_PREVIOUS`: `strongroom-vault`, the program, and
//! `tree`, its source. SQLite takes one serving process, so there the old one stops before the new one starts.
//!
//! Promises: every request of the whole change is answered as it is on any other day; the log of both is one sound log.
//! Does not promise: what the release before did not know. It gives no fingerprint to a card, for one.

mod load;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;

use crate::crash::{Vault, onboard, setting, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::{bundle, configuration, sqlite};
use load::Load;

/// Work that must be done in each state.
const WORK: u64 = 300;

/// Sections of the configuration that came after the release before.
const NEW_SECTIONS: &[&str] =
    &["[audit]", "[audit.bucket]", "[watch]", "[watch.suspend]", "[watch.syslog]", "[reviews]", "[evidence]"];

/// Both releases on one store.
struct Change {
    folder: tempfile::TempDir,
    pki: Pki,
    old: Vault,
    new: Vault,
    load: Arc<Load>,
}

impl Change {
    fn on(folder: tempfile::TempDir, store: &str) -> Self {
        let previous = setting("STRONGROOM_PREVIOUS").map(PathBuf::from);
        let previous = previous.expect("`.ci/run compat` builds the release before and says where it is");
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let text = configuration(folder.path(), &pki, store);
        let [of_new, of_old] =
            ["policies", "policies-before"].map(|name| format!("{:?}", folder.path().join(name)));
        assert!(text.contains(&of_new));
        bundle(&previous.join("tree/policies"), &folder.path().join("policies-before"));
        let program = previous.join("strongroom-vault");
        let old = Vault::of(program, folder.path(), "vault-1", &before(&text).replace(&of_new, &of_old));
        let program = Path::new(env!("CARGO_BIN_EXE_strongroom-vault")).to_owned();
        let new = Vault::of(program, folder.path(), "vault-2", &text);
        let load = Arc::new(Load::new(pki.folder()));
        Self { folder, pki, old, new, load }
    }

    /// The release before, at work.
    async fn begin(&mut self) {
        self.old.migrate();
        self.old.start();
        self.old.wait();
        onboard(self.pki.folder(), &self.old).await;
        self.load.begin("old", self.old.address());
        self.load.work(WORK).await;
    }

    /// This release's `migrate` beside it. A schema that is migrated already would show nothing.
    async fn migrate(&mut self) {
        let before = self.load.done();
        let told = tokio::task::block_in_place(|| self.new.migrate());
        let during = self.load.done() - before;
        println!("migrated while {during} requests were answered: {}", told.trim());
        self.load.work(WORK).await;
        self.old.assert_running();
    }

    async fn old_stops(&mut self) {
        self.load.end("old").await;
        tokio::task::block_in_place(|| self.old.stop());
    }

    fn new_starts(&mut self) {
        self.new.start();
        tokio::task::block_in_place(|| self.new.wait());
        self.load.begin("new", self.new.address());
    }

    /// Nothing was refused, every card opens at the new release, and the log of both boots is one.
    async fn end(mut self) {
        self.load.work(WORK).await;
        self.load.end("new").await;
        let opened = self.load.open_all(self.new.address()).await;
        tokio::task::block_in_place(|| self.new.stop());
        let log = sound_log(self.new.config(), 2).await;
        println!("{opened} cards of both open; {} entries; {}", log.entries, self.load.story());
        assert_eq!(self.load.faults(), Vec::<String>::new());
        assert_eq!(log.cards.len(), opened);
        drop(self.folder);
    }
}

/// The configuration without sections the release before does not know: it refuses them.
fn before(text: &str) -> String {
    let mut known = true;
    let is_known = |line: &&str| {
        known = if line.starts_with('[') { !NEW_SECTIONS.contains(line) } else { known };
        known
    };
    text.split_inclusive('\n')
        .map(str::trim_end)
        .filter(is_known)
        .map(|line| line.to_owned() + "\n")
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a build of the release before: `.ci/run compat`"]
async fn the_release_before_serves_while_postgres_is_migrated_and_beside_this_one() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let mut change = Change::on(tempfile::tempdir().unwrap(), &store_of(&server));
    change.begin().await;
    change.migrate().await;
    change.new_starts();
    change.load.until_each_opened_the_others(WORK).await;
    change.old_stops().await;
    change.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a build of the release before: `.ci/run compat`"]
async fn the_release_before_serves_while_sqlite_is_migrated_and_this_one_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let mut change = Change::on(folder, &store);
    change.begin().await;
    change.migrate().await;
    change.old_stops().await;
    change.new_starts();
    change.end().await;
}
