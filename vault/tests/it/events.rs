//! Events of cards over real TLS: to an independent receiver, to receivers that fail in every way, to a Kafka broker, through
//! kills of the vault and of the broker.

pub(crate) mod ground;
mod kafka;
mod kills;
pub(crate) mod python;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom_domain::Random as _;
use strongroom_perimeter::chance::SystemRandom;

use crate::service::{Service, VISA};
use ground::{AWAITED_MAX, Certificate, Got, Receiver, Reply, secret, webhook};
use python::PythonReceiver;

/// Attempts come quickly.
const QUICK: &str = "[events]\nretry_min_ms = 100\nretry_max_ms = 400\n";

async fn erase(vault: &Service, token: &str) {
    let path = format!("/v1/tenants/acme/cards/{token}");
    assert_eq!(vault.send("orchestrator", "DELETE", &path, None).await.status(), 204);
}

async fn restore(vault: &Service, token: &str) {
    let path = format!("/v1/tenants/acme/cards/{token}/restore");
    assert_eq!(vault.send("orchestrator", "POST", &path, None).await.status(), 200);
}

async fn card(vault: &Service) -> String {
    vault.tokenize("acme", &json!({ "number": VISA, "exp_month": 12, "exp_year": 2031 })).await
}

fn token_ref(token: &str) -> String {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    hash.update(b"strongroom/token/v1\0");
    hash.update(token);
    hex::encode(&hash.finalize()[..16])
}

/// A destination's events in a state, as the API lists them.
async fn listed(vault: &Service, destination: &str, state: &str) -> Vec<Value> {
    let path = format!("/v1/events?destination={destination}&state={state}");
    let answer = vault.send("platform", "GET", &path, None).await;
    assert_eq!(answer.status(), 200, "{}", answer.json());
    answer.json()["events"].as_array().unwrap().clone()
}

/// Waits until a destination's events in a state are as wanted.
async fn awaited(
    vault: &Service,
    destination: &str,
    state: &str,
    wanted: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let events = listed(vault, destination, state).await;
        if wanted(&events) {
            return events;
        }
        assert!(began.elapsed() < AWAITED_MAX, "{destination} {state}: {events:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of each card, the sequences that were taken, less those taken before.
fn taken_of_each(got: &[Got]) -> BTreeMap<String, Vec<u64>> {
    let (mut seen, mut taken) = (HashSet::new(), BTreeMap::<_, Vec<u64>>::new());
    for came in got.iter().filter(|came| came.taken) {
        if seen.insert(&came.id) {
            taken.entry(came.subject().to_owned()).or_default().push(came.sequence());
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_receiver_verifies_and_parses_every_event_through_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::issue(folder.path(), "receiver");
    let [first, second] = ["A", "B"].map(|letter| secret(folder.path(), &format!("{letter}.whsec"), letter));
    let held = secret(folder.path(), "held", "A");
    let receiver = {
        let held = held.clone();
        tokio::task::spawn_blocking(move || (PythonReceiver::start(&certificate, &held), certificate))
    };
    let (receiver, certificate) = receiver.await.unwrap();
    let hook = webhook("py", receiver.port, &certificate.authority, &[&first, &second]);
    let hook = format!("{QUICK}{hook}private_addresses = [\"127.0.0.1\", \"::1\"]\n");
    let vault = Service::start_limited(&hook).await;
    vault.onboard("acme").await;
    let token = card(&vault).await;
    let (told, _) = receiver.next();
    assert_eq!(told["type"], "strongroom.card.created.v1");
    assert_eq!(told["source"], "urn:strongroom:test:tenant:acme");
    assert_eq!(told["subject"], token_ref(&token));
    assert_eq!((&told["sequence"], &told["signatures"]), (&json!("1"), &json!(2)));
    let wanted = json!({
        "token_ref": token_ref(&token), "tenant": "acme", "brand": "visa", "bin": &VISA[..8], "last4": &VISA[12..],
        "length": 16, "exp_month": 12, "exp_year": 2031, "expires_at": null, "version": 1,
    });
    assert_eq!(told["data"], wanted, "the facts, and nothing else");
    // The receiver moves to the second secret while both sign.
    secret(folder.path(), "held", "B");
    erase(&vault, &token).await;
    let (told, _) = receiver.next();
    assert_eq!(
        (&told["type"], &told["data"]["reason"]),
        (&json!("strongroom.card.erased.v1"), &json!("caller"))
    );
    // A receiver whose secret is neither refuses; the vault takes a third one up without a restart.
    secret(folder.path(), "held", "C");
    restore(&vault, &token).await;
    assert_eq!(receiver.refusal(), "WebhookVerificationError");
    secret(folder.path(), "A.whsec", "C");
    let (told, _) = receiver.next();
    assert_eq!((&told["type"], &told["sequence"]), (&json!("strongroom.card.restored.v1"), &json!("3")));
    vault.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_card_keeps_its_order_while_the_receiver_fails_at_random() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::issue(folder.path(), "receiver");
    let key = secret(folder.path(), "key", "A");
    let receiver = Receiver::start(&certificate, |_| {
        let mut drawn = [0];
        SystemRandom::new().fill(&mut drawn).unwrap();
        match drawn[0] % 10 {
            0 => Reply::Status(500),
            1 => Reply::Status(404),
            2 => Reply::Break,
            3 => Reply::Redirect("https://localhost:1/".into()),
            _ => Reply::Status(204),
        }
    })
    .await;
    let hook = QUICK.to_owned() + &receiver.webhook("all", &certificate.authority, &[&key]);
    let vault = Service::start_limited(&hook).await;
    vault.onboard("acme").await;
    let mut cards = Vec::new();
    for _ in 0..12 {
        cards.push(card(&vault).await);
    }
    for _ in 0..2 {
        for token in &cards {
            erase(&vault, token).await;
        }
        for token in &cards {
            restore(&vault, token).await;
        }
    }
    let wanted: BTreeMap<_, _> = cards.iter().map(|token| (token_ref(token), vec![1, 2, 3, 4, 5])).collect();
    let got = receiver
        .awaited("every event of every card", |got| {
            taken_of_each(got).values().map(Vec::len).sum::<usize>() == 60
        })
        .await;
    assert_eq!(taken_of_each(&got), wanted, "in the order of each card, none missing");
    assert!(got.iter().any(|came| !came.taken), "some attempts failed");
    let mut bodies: HashMap<&str, &Got> = HashMap::new();
    for came in &got {
        let first = bodies.entry(&came.id).or_insert(came);
        assert_eq!(first.body, came.body, "an id is one event, however often it is sent");
    }
    vault.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_fails_in_its_own_way_gets_nothing_and_slows_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, stranger] = ["own", "stranger"].map(|name| Certificate::issue(folder.path(), name));
    let key = secret(folder.path(), "key", "A");
    let good = Receiver::start(&certificate, |_| Reply::Status(200)).await;
    let elsewhere = Receiver::start(&certificate, |_| Reply::Status(200)).await;
    let to = format!("https://localhost:{}/cards", elsewhere.address.port());
    let redirecting = Receiver::start(&certificate, move |_| Reply::Redirect(to.clone())).await;
    let failing = [
        ("refusing", "status-500", Receiver::start(&certificate, |_| Reply::Status(500)).await),
        ("gone", "status-410", Receiver::start(&certificate, |_| Reply::Status(410)).await),
        ("redirecting", "status-307", redirecting),
        ("huge", "answer-too-large", Receiver::start(&certificate, |_| Reply::Huge).await),
        ("silent", "timed-out", Receiver::start(&certificate, |_| Reply::Silence).await),
        ("breaking", "broken", Receiver::start(&certificate, |_| Reply::Break).await),
    ];
    let unreached = Receiver::start(&certificate, |_| Reply::Status(200)).await;
    let port = unreached.address.port();
    let mut hooks = QUICK.to_owned() + &good.webhook("good", &certificate.authority, &[&key]);
    for (name, _, receiver) in &failing {
        hooks += &receiver.webhook(name, &certificate.authority, &[&key]);
        hooks += "timeout_ms = 1500\n";
    }
    hooks += &unreached.webhook("stranger", &stranger.authority, &[&key]);
    hooks += &webhook("private", port, &certificate.authority, &[&key]);
    hooks += &webhook("closed", 1, &certificate.authority, &[&key]);
    hooks += "private_addresses = [\"127.0.0.1\", \"::1\"]\n";
    let vault = Service::start_limited(&hooks).await;
    vault.onboard("acme").await;
    for _ in 0..30 {
        card(&vault).await;
    }
    good.awaited("the others' failures", |got| got.len() >= 30).await;
    for (name, met, _) in &failing {
        let events =
            awaited(&vault, name, "pending", |events| events.iter().any(|event| event["met"] == *met)).await;
        assert_eq!(events.len(), 30, "{name}");
    }
    for name in ["stranger", "private", "closed"] {
        let events = listed(&vault, name, "pending").await;
        assert!(events.len() == 30 && events.iter().all(|event| event["attempts"] == 0), "{name}");
    }
    assert!(
        unreached.got().is_empty(),
        "nothing is sent to whoever is not who it must be, or where it must not be"
    );
    assert!(elsewhere.got().is_empty(), "a redirect is not followed");
    vault.stop().await;
}

async fn command(vault: &Service, words: &[&str]) -> String {
    let identity = vault.pki.client("platform").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
    let url = format!("https://localhost:{}", vault.address.port());
    command.arg("events").args(words).args(["--destination", "all", "--vault", &url]);
    command.arg("--certificate").arg(identity.certificate_pem_path).arg("--key").arg(identity.key_pem_path);
    command.arg("--ca").arg(vault.pki.ca_file());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_card_waits_alone_dies_in_time_and_is_replayed_under_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::issue(folder.path(), "receiver");
    let key = secret(folder.path(), "key", "A");
    let (healed, poisoned) =
        (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::OnceLock::<String>::new()));
    let (heal, poison) = (Arc::clone(&healed), Arc::clone(&poisoned));
    let receiver = Receiver::start(&certificate, move |got| {
        let first = poisoned.get_or_init(|| got.subject().to_owned());
        let refused = *first == got.subject() && !healed.load(Ordering::SeqCst);
        Reply::Status(if refused { 422 } else { 200 })
    })
    .await;
    let hook = QUICK.to_owned() + &receiver.webhook("all", &certificate.authority, &[&key]);
    let vault = Service::start_limited(&hook).await;
    vault.onboard("acme").await;
    let token = card(&vault).await;
    receiver.awaited("the first card", |got| !got.is_empty()).await;
    assert_eq!(*poison.get().unwrap(), token_ref(&token));
    erase(&vault, &token).await;
    for _ in 0..5 {
        card(&vault).await;
    }
    receiver.awaited("other cards", |got| taken_of_each(got).len() == 5).await;
    assert!(receiver.got().iter().all(|came| came.subject() != token_ref(&token) || came.sequence() == 1));
    assert!(listed(&vault, "all", "dead").await.is_empty());
    // After its time it is given up, and the card's next event is tried.
    let vault = vault.restart_after(Duration::from_secs(73 * 3600)).await;
    let dead = awaited(&vault, "all", "dead", |events| events.len() == 2).await;
    assert!(dead.iter().all(|event| event["met"] == "status-422" && event["token_ref"] == token_ref(&token)));
    let shown = command(&vault, &["list", "--dead"]).await;
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(!shown.contains(&VISA[..8]) && !shown.contains(&token), "no facts, no token: {shown}");
    heal.store(true, Ordering::SeqCst);
    let told = command(&vault, &["replay"]).await;
    assert!(told.contains("2 events are delivered again"), "{told}");
    // Of the poisoned card created, erased and, since its hold is over too, destroyed; five others.
    awaited(&vault, "all", "delivered", |events| events.len() == 8).await;
    let got = receiver.got();
    let taken = |came: &&Got| came.taken && came.subject() == token_ref(&token);
    let after: HashSet<&str> = got.iter().filter(taken).map(|came| came.id.as_str()).collect();
    assert!(dead.iter().all(|event| after.contains(event["id"].as_str().unwrap())), "the same ids");
    let entry = vault.newest("events.replay").await;
    assert_eq!((&entry["n"], &entry["cards"][0]), (&json!(2), &json!(token_ref(&token))));
    let again = command(&vault, &["replay", "--delivered"]).await;
    assert!(again.contains("8 events are delivered again"), "{again}");
    awaited(&vault, "all", "delivered", |events| events.len() == 8).await;
    for (query, pointer) in [
        ("", "/destination"),
        ("destination=all&state=lost", "/state"),
        ("destination=all&limit=0", "/limit"),
        ("destination=all&cursor=bcd", "/cursor"),
        ("destination=all&tenant=-", "/tenant"),
    ] {
        let answer = vault.send("platform", "GET", &format!("/v1/events?{query}"), None).await;
        assert_eq!((answer.status(), answer.json()["pointer"].as_str()), (400, Some(pointer)), "{query}");
    }
    let unknown = json!({ "destination": "nobody", "state": "dead" });
    let answer = vault.send("platform", "POST", "/v1/events/replay", Some(&unknown)).await;
    assert_eq!((answer.status(), answer.json()["pointer"].as_str()), (400, Some("/destination")));
    vault.stop().await;
}
