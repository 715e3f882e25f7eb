//! A large export as processes: killed in the middle it says too much and never too little, the next run is whole, memory
//! stays what it was, and nothing of a card lies on any disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;
use strongroom_vault::config::VaultConfig;

use super::ground::{ON, command, ended, lines_of_cut, open, people, told};
use crate::crash::{Vault, number, onboard};
use crate::service::{configuration, grant, sqlite};

const CARDS: u64 = 20_000;
/// How much more memory a fresh process may take for a run: the page caches of its four connections (8 MiB each; 37 and 44 MiB
/// were measured with what the log's sequencer needs), a batch, the pieces. Robust on a busy machine rather than sharp.
const GROWTH_KIB_MAX: u64 = 64 * 1024;
const TIME_MAX: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_export_says_too_much_and_never_too_little_and_the_next_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let settings = format!("import_per_second = 100000\n{ON}cards_per_second = 4000\n");
    let text = configuration(folder.path(), &pki, &sqlite(folder.path())) + &settings;
    grant(folder.path(), &people());
    let mut vault = Vault::prepare(folder.path(), "vault-1", &text);
    vault.start();
    vault.wait();
    onboard(pki.folder(), &vault).await;
    let outside = tempfile::tempdir().unwrap();
    let cli = |who: &str, args: &[&str]| command(&pki, vault.address().port(), who, args, outside.path());
    import(&cli, outside.path()).await;

    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let cards_max = CARDS.to_string();
    let asked = ["--recipient", &recipient, "--purpose", "moving house", "--cards-max", &cards_max];
    let args = [&["card", "export", "request", "--tenant", "acme"][..], &asked].concat();
    let (status, text) = ended(cli("exporter-one", &args)).await;
    assert_eq!(status, 0, "{text}");
    let (id, sha256) = (told(&text, "export"), told(&text, "sha256"));
    let args = ["card", "export", "approve", "--tenant", "acme", "--export", &id, "--sha256", &sha256];
    assert_eq!(ended(cli("exporter-two", &args)).await.0, 0);

    let args = ["card", "export", "run", "--tenant", "acme", "--export", &id, "--out", "acme.age"];
    let part = outside.path().join("acme.age.part");
    let running = tokio::spawn(ended(cli("exporter-one", &args)));
    wait_until(|| std::fs::metadata(&part).is_ok_and(|file| file.len() > 400_000)).await;
    vault.kill();
    let (status, told) = running.await.unwrap();
    assert!(status == 1 && told.contains("broke") && told.contains("of no use"), "{told}");
    let cut = std::fs::read(&part).unwrap();
    assert!(open(&cut, &identity).is_none(), "what is cut does not open to its end");
    let (left, written) = (lines_of_cut(&cut, &identity), exported(&vault, 1).await);
    assert!(left > 1_000 && left <= written, "{left} cards left and {written} are on the log");
    std::fs::remove_file(&part).unwrap();

    vault.start();
    vault.wait();
    let before = memory_kib(&vault);
    let cli = |who: &str, args: &[&str]| command(&pki, vault.address().port(), who, args, outside.path());
    let (status, told) = ended(cli("exporter-two", &args)).await;
    assert_eq!(status, 0, "{told}");
    let grown = memory_kib(&vault).saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more");
    let lines = open(&std::fs::read(outside.path().join("acme.age")).unwrap(), &identity).unwrap();
    let numbers: std::collections::HashSet<_> = lines.iter().map(|line| line["number"].to_string()).collect();
    assert_eq!((lines.len() as u64, numbers.len() as u64), (CARDS, CARDS));
    assert_eq!(exported(&vault, 2).await as u64, CARDS);
    println!(
        "{left} of {CARDS} cards left before the kill, {written} were on the log; {grown} KiB more; {told}"
    );

    vault.stop();
    let config = VaultConfig::read(vault.config()).unwrap();
    let checked = strongroom_vault::app::check_audit(&config).await.unwrap();
    assert!(checked.is_sound() && checked.boots == 2, "{checked:?}");
    for folder in [folder.path(), outside.path()] {
        for n in [0, CARDS / 2, CARDS - 1] {
            assert_nowhere(folder, &number(n));
        }
    }
}

/// Fills the tenant, and removes the source.
async fn import(cli: &impl Fn(&str, &[&str]) -> std::process::Command, outside: &Path) {
    let line = |n| format!("{},12,2034,JANE Q CARDHOLDER\n", number(n));
    let text: String = std::iter::once("number,exp_month,exp_year,holder\n".to_owned())
        .chain((0..CARDS).map(line))
        .collect();
    std::fs::write(outside.join("cards.csv"), text).unwrap();
    let args = ["card", "import", "--tenant", "acme", "--state", "import", "cards.csv"];
    let (status, told) = ended(cli("importer", &args)).await;
    assert_eq!(status, 0, "{told}");
    std::fs::remove_file(outside.join("cards.csv")).unwrap();
}

async fn wait_until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < TIME_MAX, "it does not come to that");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// How many cards are on the log as handed over by this run.
async fn exported(vault: &Vault, run: u32) -> usize {
    let config = VaultConfig::read(vault.config()).unwrap();
    let store = strongroom_vault::app::open_store(&config.store).await.unwrap();
    let is_of = |entry: &Value| entry["evt"] == "pan.export" && entry["export"]["run"] == json!(run);
    let (mut after, mut found) = (None, 0);
    loop {
        let page = store.entries(after, 1_000).await.unwrap();
        let Some(last) = page.last() else { return found };
        after = Some(last.id);
        found += page
            .iter()
            .filter(|entry| is_of(&serde_json::from_slice(entry.leaf.as_bytes()).unwrap()))
            .count();
    }
}

/// The most memory the process ever had.
fn memory_kib(vault: &Vault) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", vault.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn assert_nowhere(folder: &Path, number: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, number);
        } else if !path.ends_with("strongroom-vault") {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!contains(&bytes, number.as_bytes()), "{}", path.display());
        }
    }
}

/// By the last digit first: most bytes are none.
fn contains(bytes: &[u8], digits: &[u8]) -> bool {
    let last = digits.len() - 1;
    let mut from = last;
    while let Some(at) = bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == digits[last]))
    {
        let end = from + at + 1;
        if &bytes[end - digits.len()..end] == digits {
            return true;
        }
        from = end;
    }
    false
}
