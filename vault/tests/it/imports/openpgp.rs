//! OpenPGP files, by the real `gpg` in front of a pipe, as `vault/docs/import.md` says.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::ground::Ground;
use crate::crash::number;

const CARDS: u64 = 3_000;
const RECIPIENT: &str = "importer@strongroom.test";

/// A key ring of its own. Its agent ends with it.
struct KeyRing(PathBuf);

impl KeyRing {
    /// Makes a key for a folder's owner alone.
    fn new(folder: &Path) -> Self {
        use std::os::unix::fs::DirBuilderExt as _;
        let home = folder.join("gnupg");
        std::fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
        let ring = Self(home);
        let mut generate = ring.gpg(&["--pinentry-mode", "loopback", "--passphrase", ""]);
        run(generate.args(["--quick-generate-key", RECIPIENT, "future-default", "default", "never"]));
        ring
    }

    fn gpg(&self, args: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--homedir"]).arg(&self.0).args(args);
        command
    }

    /// `gpg --decrypt FILE |`
    fn decrypting(&self, file: &Path) -> Child {
        let mut command = self.gpg(&["--decrypt"]);
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "all"]).status();
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("this test needs gpg");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_openpgp_file_comes_in_by_gpg_goes_on_after_a_kill_and_leaves_no_plaintext() {
    let ground = Ground::on_sqlite();
    let keys = tempfile::tempdir().unwrap(); // a short path: the agent's socket is in it
    let ring = KeyRing::new(keys.path());
    let lines = (0..CARDS).map(|n| format!("{},12,2034,JANE Q CARDHOLDER", number(n)));
    ground.source("cards.csv", "number,exp_month,exp_year,holder", lines);
    let (plain, sealed) = (ground.path("cards.csv"), ground.path("cards.csv.gpg"));
    let mut encrypt = ring.gpg(&["--trust-model", "always", "--recipient", RECIPIENT, "--output"]);
    run(encrypt.arg(&sealed).arg("--encrypt").arg(&plain));
    let text = std::fs::read(&plain).unwrap();
    std::fs::remove_file(&plain).unwrap();

    let args = ["-", "--format", "csv"];
    let mut source = ring.decrypting(&sealed);
    let mut import = ground.import_piped(source.stdout.take().unwrap(), &args);
    ground.wait_for(&mut import, CARDS / 3);
    import.kill();
    source.wait().unwrap(); // of a broken pipe
    assert!(ground.acknowledged() < CARDS, "it was killed on the way");

    let mut source = ring.decrypting(&sealed);
    let ended = ground.import_piped(source.stdout.take().unwrap(), &args).end();
    assert!(source.wait().unwrap().success());
    assert_eq!((ended.status, &ground.report()["imported"]), (0, &json!(CARDS)), "{}", ended.told);
    assert_eq!(ground.report()["source"]["bytes"], text.len(), "the plaintext, as gpg gave it");
    let mapping = ground.mapping();
    assert_eq!(mapping.len() as u64, CARDS);
    for at in [0, CARDS / 2, CARDS - 1] {
        ground.assert_opens_to(&mapping[usize::try_from(at).unwrap()].1, &number(at));
    }
    ground.assert_no_file_holds(&number(1));
    ground.assert_no_file_holds(&number(CARDS - 1));
}
