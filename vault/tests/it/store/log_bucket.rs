//! The signed log in object storage with object lock: a server from PyPI that speaks S3 over TLS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use strongroom_domain::BootId;
use strongroom_vault::audit::{
    BucketError, BucketExport, BucketExportError, ExportError, LogBucket, LogSigners, Refusal, Sequencer,
    Stepped, verify,
};
use strongroom_vault::config::BucketConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::both;
use super::faults::{Fault, FaultyStore};
use super::ground::Ground;
use super::signed_log::second_opinion_by;
use super::signers::{One, Successive, log_key, origin};
use crate::aws::emulator::{self, Emulator};
use crate::events::ground::Certificate;

const LONG: Duration = Duration::from_secs(60);
/// Less than an export waits for an answer.
const PATIENCE: Duration = Duration::from_secs(25);

both! {
    what_is_signed_is_exported_locked_and_verifies;
    a_key_is_handed_over_in_a_bucket_and_every_key_leads_to_the_newest;
}

/// The storage, and a bucket there.
pub(crate) struct Storage {
    _server: Emulator,
    folder: tempfile::TempDir,
    endpoint: String,
    authority: PathBuf,
}

impl Storage {
    /// A server with a bucket that locks, or does not.
    pub(crate) fn start(lock: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate::issue(folder.path(), "storage");
        let files = [&certificate.chain, &certificate.key].map(|file| file.display().to_string());
        let server = Emulator::start("moto_server", |port| {
            let [chain, key] = &files;
            ["--host", "127.0.0.1", "--port", &port, "--ssl-cert", chain, "--ssl-key", key]
                .map(str::to_owned)
                .to_vec()
        });
        let endpoint = server.endpoint().replace("http://127.0.0.1", "https://localhost");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "secret access key\n").unwrap();
        let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(&secret, private).unwrap();
        let storage = Self { _server: server, folder, endpoint, authority: certificate.authority };
        storage.administer(&["make", lock]);
        storage
    }

    pub(crate) fn administer(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/log_bucket/storage.py");
        let mut python = Command::new(emulator::environment().join("bin/python3"));
        python.args(["-B", script, &self.endpoint]).arg(&self.authority).arg("vault-log").args(arguments);
        let output = python.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Settings that lead here.
    pub(crate) fn settings(&self) -> String {
        format!(
            "endpoint = {:?}\nregion = \"us-east-1\"\nname = \"vault-log\"\nprefix = \"test/\"\naccess_key_id = \"vault\"\n\
             secret_access_key_file = {:?}\nroots_file = {:?}\nretention = {{ mode = \"COMPLIANCE\", days = 400 }}\n",
            self.endpoint,
            self.folder.path().join("secret"),
            self.authority
        )
    }

    fn bucket(&self, ground: &Ground, settings: &str) -> Arc<LogBucket> {
        let config: BucketConfig = toml::from_str(settings).unwrap();
        config.check().unwrap();
        Arc::new(LogBucket::open(&config, ground.clock.clone()).unwrap())
    }

    /// Lets this connection through to the storage, and those that come.
    fn relay(&self, listener: TcpListener, mut asked: TcpStream) -> JoinHandle<()> {
        let authority = self.endpoint.trim_start_matches("https://").replace("localhost", "127.0.0.1");
        tokio::spawn(async move {
            loop {
                let mut to = TcpStream::connect(&authority).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut asked, &mut to).await });
                (asked, _) = listener.accept().await.unwrap();
            }
        })
    }

    /// Its newest state, as a folder.
    pub(crate) fn fetched(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        self.administer(&["fetch", &copy.path().display().to_string()]);
        copy
    }
}

/// A replica's sequencer and its export.
fn replica(ground: &Ground, name: u128, storage: &Storage) -> (Sequencer, BucketExport) {
    replica_with(ground, name, storage.bucket(ground, &storage.settings()))
}

fn replica_with(ground: &Ground, name: u128, bucket: Arc<LogBucket>) -> (Sequencer, BucketExport) {
    replica_signing(ground, name, bucket, Arc::new(One(7)))
}

fn replica_signing(
    ground: &Ground,
    name: u128,
    bucket: Arc<LogBucket>,
    signers: Arc<dyn LogSigners>,
) -> (Sequencer, BucketExport) {
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(name));
    let sequencer =
        Sequencer::new(Arc::clone(&ground.store), ground.clock.clone(), holder, signers, &origin(), None);
    sequencer.exporting_to(bucket)
}

async fn write(ground: &Ground, entries: u64) {
    let (committer, task, _) = ground.committer().await;
    let notes = (0..entries).map(|_| committer.commit(ground.note()));
    for done in futures_util::future::join_all(notes).await {
        done.unwrap();
    }
    task.stop().await;
}

fn sound(folder: &Path, size: u64) {
    let found = verify(&folder.join("test"), &log_key(7), |_, _| {}).unwrap();
    assert_eq!((found.damage, found.entries), (None, size));
}

async fn what_is_signed_is_exported_locked_and_verifies(ground: Ground) {
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    // Objects are held from the storage's own now on.
    ground.clock.go_on_to_now();
    let (mut first, export) = replica(&ground, 1, &storage);
    write(&ground, 300).await;
    assert_eq!(first.step().await.unwrap(), Stepped::Sequenced { entries: 302, size: 302 });
    let older = export.newest().unwrap();
    assert_eq!(export.export(&older).await.unwrap(), 302);
    sound(storage.fetched().path(), 302);

    // Another replica takes over and goes on from what is there; the first one's older checkpoint replaces nothing.
    ground.clock.go_on(LONG);
    let (mut second, goes_on) = replica(&ground, 2, &storage);
    write(&ground, 250).await;
    assert_eq!(second.step().await.unwrap(), Stepped::Sequenced { entries: 252, size: 554 });
    assert_eq!(goes_on.export(&goes_on.newest().unwrap()).await.unwrap(), 554);
    assert_eq!(export.export(&older).await.unwrap(), 302);
    sound(storage.fetched().path(), 554);
    assert_eq!(storage.administer(&["versions", "test/checkpoint"]).trim(), "2");

    // The storage holds every object, whoever asks; forms that are not full for a day.
    let locks = storage.administer(&["locks"]);
    assert!(locks.lines().count() >= 8, "{locks}");
    for line in locks.lines() {
        let lock: Value = serde_json::from_str(line).unwrap();
        let days = if lock[0].as_str().unwrap().contains(".p/") { 1 } else { 400 };
        assert_eq!(
            (&lock[1], lock[2].as_i64(), &lock[3]),
            (&"COMPLIANCE".into(), Some(days), &false.into()),
            "{lock}"
        );
    }
}

/// Also over a hand-over that was never the newest checkpoint there, and by a replica that knows of no hand-over.
async fn a_key_is_handed_over_in_a_bucket_and_every_key_leads_to_the_newest(ground: Ground) {
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    ground.clock.go_on_to_now();
    let (first_keys, second_keys) = (Successive::from(7), Successive::from(8));
    let bucket = || storage.bucket(&ground, &storage.settings());
    let (mut first, export) = replica_signing(&ground, 1, bucket(), first_keys.clone());
    write(&ground, 300).await;
    first.step().await.unwrap();
    let older = export.newest().unwrap();
    export.export(&older).await.unwrap();
    first_keys.now(8);
    for size in [604, 906] {
        write(&ground, 300).await;
        assert_eq!(first.step().await.unwrap(), Stepped::Sequenced { entries: 302, size });
    }
    ground.clock.go_on(LONG);
    let (mut second, goes_on) = replica_signing(&ground, 2, bucket(), second_keys);
    write(&ground, 10).await;
    assert_eq!(second.step().await.unwrap(), Stepped::Sequenced { entries: 12, size: 918 });
    assert_eq!(goes_on.export(&goes_on.newest().unwrap()).await.unwrap(), 918);
    // What the first one published last, before and after the hand-over, is no contradiction to what stands there.
    assert_eq!(export.export(&older).await.unwrap(), 302);
    assert_eq!(export.export(&export.newest().unwrap()).await.unwrap(), 906);
    let copy = storage.fetched();
    let folder = copy.path().join("test");
    assert!(folder.join("handover/000").is_file() && !folder.join("handover/001").exists());
    for number in [7, 8] {
        let found = verify(&folder, &log_key(number), |_, _| {}).unwrap();
        assert_eq!((found.damage, found.entries), (None, 918));
        assert!(second_opinion_by(&folder, &log_key(number)).starts_with("918 entries"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_contradicts_stops_the_signing_and_is_not_written_over() {
    let ground = Ground::sqlite().await;
    ground.clock.go_on_to_now();
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    let (mut sequencer, export) = replica(&ground, 1, &storage);
    write(&ground, 20).await;
    sequencer.step().await.unwrap();
    export.export(&export.newest().unwrap()).await.unwrap();
    // The database is put back to before the export: nothing is signed, nothing is exported.
    let before = Ground::sqlite().await;
    before.clock.go_on_to_now();
    write(&before, 5).await;
    let (mut restored, _) = replica(&before, 2, &storage);
    assert_eq!(restored.step().await.unwrap(), Stepped::Refused(Refusal::RolledBack));
    // Longer, and another past.
    write(&before, 50).await;
    let holder = BootId::from_uuid(uuid::Uuid::from_u128(3));
    let mut alone = Sequencer::new(
        Arc::clone(&before.store),
        before.clock.clone(),
        holder,
        Arc::new(One(7)),
        &origin(),
        None,
    );
    assert_eq!(alone.step().await.unwrap(), Stepped::Sequenced { entries: 59, size: 59 });
    before.clock.go_on(LONG);
    let (mut forked, _) = replica(&before, 4, &storage);
    assert_eq!(forked.step().await.unwrap(), Stepped::Refused(Refusal::Forked));
    // What is no checkpoint of this log is not taken for one, nor replaced.
    storage.administer(&["spoil", "test/checkpoint"]);
    write(&ground, 5).await;
    sequencer.step().await.unwrap();
    let newest = export.newest().unwrap();
    assert!(matches!(export.export(&newest).await, Err(BucketExportError::Contradicted)));
    assert_eq!(storage.administer(&["versions", "test/checkpoint"]).trim(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_answers_after_a_lease_s_end_stops_no_log() {
    let ground = Ground::sqlite().await;
    ground.clock.go_on_to_now();
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    write(&ground, 20).await;
    // The way of one replica to the storage is slow: nothing comes through until it is let through.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", relay.local_addr().unwrap().port());
    let settings = storage.settings().replace(&storage.endpoint, &endpoint);
    let (mut slow, goes_on) = replica_with(&ground, 1, storage.bucket(&ground, &settings));
    let stepping = tokio::spawn(async move { (slow.step().await.unwrap(), slow) });
    let (asked, _) = relay.accept().await.unwrap();
    // Meanwhile a lease ends, and another replica signs and exports, more than once.
    ground.clock.go_on(LONG);
    let (mut fast, export) = replica(&ground, 2, &storage);
    for (entries, size) in [(22, 22), (302, 324)] {
        assert_eq!(fast.step().await.unwrap(), Stepped::Sequenced { entries, size });
        export.export(&export.newest().unwrap()).await.unwrap();
        write(&ground, 300).await;
    }
    let relaying = storage.relay(relay, asked);
    let (stepped, mut slow) = stepping.await.unwrap();
    assert_eq!(stepped, Stepped::Waiting);
    assert_eq!(slow.step().await.unwrap(), Stepped::Waiting);
    // It is not refused for good: a lease later it goes on from what the other signed.
    ground.clock.go_on(LONG);
    assert_eq!(slow.step().await.unwrap(), Stepped::Sequenced { entries: 302, size: 626 });
    drop(goes_on);
    relaying.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_in_a_bucket_is_never_ahead_and_has_no_gap_after_a_crash() {
    let mut ground = Ground::sqlite().await;
    ground.clock.go_on_to_now();
    let faults = FaultyStore::under(&mut ground, &[]);
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    // A log that soon ends its first file of the history, exported so far.
    write(&ground, 1).await;
    let many = "WITH RECURSIVE n(seq) AS (SELECT 3 UNION ALL SELECT seq + 1 FROM n WHERE seq < 65499)";
    let insert = format!("INSERT INTO audit_entries {many} SELECT boot_id, seq, X'7b7d' FROM audit_boots, n");
    ground.tamper(&insert).await;
    ground.tamper("UPDATE audit_boots SET next_seq = 65500").await;
    let (mut sequencer, export) = replica(&ground, 1, &storage);
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 65_500, size: 65_500 });
    let first = export.newest().unwrap();
    storage.administer(&["put", "test/checkpoint", &first.note]);
    write(&ground, 300).await;
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 302, size: 65_802 });
    let second = export.newest().unwrap();
    let versions = || {
        ["test/checkpoint", "test/history/000"]
            .map(|name| storage.administer(&["versions", name]).trim().to_owned())
    };

    // The process ends before the history is written: the checkpoint is there, and not the other way round.
    faults.lock().unwrap().push_back(Fault::Away);
    assert!(export.export(&second).await.is_err());
    assert_eq!(versions(), ["2", "0"]);
    // The next one makes up for it, once, though there is nothing else to export.
    for _ in 0..2 {
        let (_, next) = replica(&ground, 1, &storage);
        assert_eq!(next.export(&second).await.unwrap(), 65_802);
        assert_eq!(versions(), ["2", "1"]);
    }
    let history = std::fs::read_to_string(storage.fetched().path().join("test/history/000")).unwrap();
    assert_eq!(history, format!("{}\n", first.note));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_waits_for_the_storage_ends_with_the_process_and_is_made_once_more() {
    let ground = Ground::sqlite().await;
    ground.clock.go_on_to_now();
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    let (mut sequencer, export) = replica(&ground, 1, &storage);
    write(&ground, 5).await;
    sequencer.step().await.unwrap();
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", relay.local_addr().unwrap().port());
    let bucket = storage.bucket(&ground, &storage.settings().replace(&storage.endpoint, &endpoint));
    let (_tell, published) = watch::channel(export.newest());
    let waits = BucketExport::new(Arc::clone(&ground.store), ground.clock.clone(), bucket, published);
    let stop = CancellationToken::new();
    let running = tokio::spawn(waits.run(stop.clone()));
    // It asks and gets no answer when the process is told to end: it asks anew, before it would give the answer up.
    let (_unanswered, _) = relay.accept().await.unwrap();
    stop.cancel();
    let (asked, _) = timeout(PATIENCE, relay.accept()).await.expect("the export hangs").unwrap();
    let relaying = storage.relay(relay, asked);
    running.await.unwrap();
    relaying.abort();
    sound(storage.fetched().path(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cannot_ask_the_bucket_signs_nothing_and_leaves_it_to_another() {
    let ground = Ground::sqlite().await;
    ground.clock.go_on_to_now();
    let storage = tokio::task::spawn_blocking(|| Storage::start("locked")).await.unwrap();
    write(&ground, 5).await;
    let nowhere = storage.settings().replace(&storage.endpoint, "https://localhost:1");
    let (mut cut_off, _) = replica_with(&ground, 1, storage.bucket(&ground, &nowhere));
    assert!(cut_off.step().await.is_err());
    assert_eq!(ground.store.newest_checkpoint().await.unwrap(), None);
    let (mut other, _) = replica(&ground, 2, &storage);
    assert_eq!(other.step().await.unwrap(), Stepped::Sequenced { entries: 7, size: 7 });
    assert_eq!(cut_off.step().await.unwrap(), Stepped::Waiting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_not_lock_gets_no_checkpoint() {
    let ground = Ground::sqlite().await;
    ground.clock.go_on_to_now();
    let storage = tokio::task::spawn_blocking(|| Storage::start("open")).await.unwrap();
    let (mut sequencer, export) = replica(&ground, 1, &storage);
    write(&ground, 5).await;
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 7, size: 7 });
    let refused = export.export(&export.newest().unwrap()).await.unwrap_err();
    let refused = match refused {
        BucketExportError::Export(ExportError::Bucket(refused)) => refused,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused, BucketError::Refused(_) | BucketError::Unlocked), "{refused:?}");
    assert!(!storage.fetched().path().join("test/checkpoint").exists());
    // Signing goes on meanwhile.
    write(&ground, 5).await;
    assert_eq!(sequencer.step().await.unwrap(), Stepped::Sequenced { entries: 7, size: 14 });
}
