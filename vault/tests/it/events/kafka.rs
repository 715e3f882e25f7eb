//! Events to a Kafka broker, read back by librdkafka: what a record is, in which order, and what becomes of it when broker or
//! vault is killed, or a destination cannot be written to.

mod broker;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;

use super::ground::{AWAITED_MAX, Certificate, Receiver, Reply, secret as webhook_secret};
use super::{QUICK, awaited, card, command, erase, listed, restore, token_ref};
use crate::aws::emulator::Emulator;
use crate::crash::{Vault, card as numbered, door, number, onboard};
use crate::service::{Service, VISA, configuration, sqlite};
use broker::{Broker, Misleading, Read, Records, sasl, secret, topic_at};

/// Starts a broker, off the runtime's threads.
async fn broker(folder: &Path, bucket: Option<String>, password: Option<&'static str>) -> Broker {
    let folder = folder.to_owned();
    let start = move || {
        let records = bucket.as_deref().map_or(Records::Memory, Records::Bucket);
        Broker::start(&folder, &records, password)
    };
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// Of each card, the sequences in the order they are in the topic, less repetitions; a card is in one partition.
fn of_each(got: &[Read]) -> BTreeMap<String, Vec<u64>> {
    let (mut seen, mut places, mut of_each) =
        (HashSet::new(), HashMap::new(), BTreeMap::<_, Vec<u64>>::new());
    for read in got {
        let place = places.entry(read.text("key").to_owned()).or_insert_with(|| read.0["partition"].clone());
        assert_eq!(*place, read.0["partition"], "a card is in one partition");
        if seen.insert(read.text("id").to_owned()) {
            of_each.entry(read.text("key").to_owned()).or_default().push(read.sequence());
        }
    }
    of_each
}

fn all(got: &[Read]) -> usize {
    of_each(got).values().map(Vec::len).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_consumer_reads_the_bytes_a_webhook_is_sent_under_the_cards_key() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), None, Some("correct horse")).await;
    let reader = tokio::task::block_in_place(|| broker.reader("cards"));
    let certificate = Certificate::issue(folder.path(), "receiver");
    let key = webhook_secret(folder.path(), "key", "A");
    let receiver = Receiver::start(&certificate, |_| Reply::Status(204)).await;
    let hook = receiver.webhook("hook", &certificate.authority, &[&key]);
    let vault = Service::start_limited(&(QUICK.to_owned() + &hook + &broker.topic("bus", "cards"))).await;
    vault.onboard("acme").await;
    let mut cards = Vec::new();
    for _ in 0..8 {
        cards.push(card(&vault).await);
    }
    for token in &cards {
        erase(&vault, token).await;
        restore(&vault, token).await;
    }
    let posted = receiver.awaited("every event posted", |got| got.len() == 24).await;
    let got = reader.awaited("every event written", |got| got.len() == 24).await;
    let posted: HashMap<&str, &[u8]> = posted.iter().map(|got| (got.id.as_str(), &got.body[..])).collect();
    for read in &got {
        assert_eq!(posted[read.text("id")], read.text("value").as_bytes(), "the same bytes");
        assert_eq!(
            read.0["headers"],
            json!([["content-type", "application/cloudevents+json; charset=utf-8"]])
        );
        assert_eq!(
            (read.text("key"), read.text("source")),
            (read.text("subject"), "urn:strongroom:test:tenant:acme")
        );
        assert_eq!(read.0["partition"], read.0["belongs"], "where librdkafka's murmur2 puts the key");
    }
    let wanted: BTreeMap<_, _> = cards.iter().map(|token| (token_ref(token), vec![1, 2, 3])).collect();
    assert_eq!(of_each(&got), wanted, "in the order of each card");
    assert!(got.iter().map(|read| read.0["partition"].to_string()).collect::<HashSet<_>>().len() > 1);
    let first = got.iter().find(|read| read.sequence() == 1).unwrap();
    assert_eq!(first.text("type"), "strongroom.card.created.v1");
    let facts = json!({
        "token_ref": first.text("key"), "tenant": "acme", "brand": "visa", "bin": &VISA[..8], "last4": &VISA[12..],
        "length": 16, "exp_month": 12, "exp_year": 2031, "expires_at": null, "version": 1,
    });
    assert_eq!(first.0["data"], facts, "the facts, and nothing else");
    vault.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_card_keeps_its_order_while_the_broker_is_killed_and_cut_off_and_the_vault_takes_cards() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = tokio::task::spawn_blocking(Emulator::moto).await.unwrap();
    make_bucket(&bucket.endpoint()).await;
    let mut broker = broker(folder.path(), Some(bucket.endpoint()), None).await;
    let reader = tokio::task::block_in_place(|| broker.reader("cards"));
    let vault = Service::start_limited(&(QUICK.to_owned() + &broker.topic("all", "cards"))).await;
    vault.onboard("acme").await;
    let mut cards = Vec::new();
    for _ in 0..10 {
        cards.push(card(&vault).await);
    }
    for round in 0..2 {
        // Not while it writes: killed then, this broker loses records that it acknowledged. What is under way is cut off below.
        reader.awaited("what is due", |got| all(got) == 10 + 20 * round).await;
        broker.kill();
        // Nothing of a request waits for a broker that is away.
        for token in &cards {
            erase(&vault, token).await;
        }
        tokio::task::block_in_place(|| broker.go_on());
        for token in &cards {
            restore(&vault, token).await;
        }
        for _ in 0..10 {
            broker.cut();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let got = reader.awaited("every event of every card", |got| all(got) == 50).await;
    let wanted: BTreeMap<_, _> = cards.iter().map(|token| (token_ref(token), vec![1, 2, 3, 4, 5])).collect();
    assert_eq!(of_each(&got), wanted, "in the order of each card, none missing");
    let mut values: HashMap<&str, &str> = HashMap::new();
    for read in &got {
        let first = values.entry(read.text("id")).or_insert(read.text("value"));
        assert_eq!(*first, read.text("value"), "an id is one event, however often it is written");
    }
    println!("50 events, {} written twice over two kills of the broker and twenty cuts", got.len() - 50);
    awaited(&vault, "all", "delivered", |events| events.len() == 50).await;
    vault.stop().await;
}

/// The bucket the broker keeps its records in.
async fn make_bucket(endpoint: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = endpoint.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request =
        format!("PUT /tansu HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_killed_while_it_writes_to_a_topic_writes_all_of_it_under_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    pki.client("checkout").unwrap();
    pki.client("platform").unwrap();
    let broker = broker(folder.path(), None, None).await;
    let reader = tokio::task::block_in_place(|| broker.reader("cards"));
    let text =
        configuration(folder.path(), &pki, &sqlite(folder.path())) + QUICK + &broker.topic("all", "cards");
    let text = text.replace("timeout_ms = 15000", "timeout_ms = 4500"); // and the next takes over in less than ten seconds
    let mut vault = Vault::prepare(folder.path(), "vault-1", &text);
    vault.start();
    vault.wait();
    onboard(pki.folder(), &vault).await;
    for round in 0..2_u64 {
        let mut door = door(pki.folder(), "checkout", vault.address());
        for n in round * 50..(round + 1) * 50 {
            let answer =
                door.send("POST", "/v1/tenants/acme/cards", &[], numbered(&number(n))).await.unwrap();
            assert_eq!(answer.status.as_u16(), 201, "{}", answer.json());
        }
        reader.awaited("some of the round", |got| all(got) > usize::try_from(round).unwrap() * 50).await;
        vault.kill();
        vault.start();
        vault.wait();
    }
    let got = reader.awaited("every event", |got| all(got) == 100).await;
    println!("100 events, {} written twice over two kills of the vault", got.len() - 100);
    vault.stop();
}

/// What this process counts, from the first call on.
fn counted() -> &'static PrometheusHandle {
    static COUNTED: OnceLock<PrometheusHandle> = OnceLock::new();
    COUNTED.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// Waits until an attempt at a destination ended like this.
async fn attempted(name: &str, outcome: &str) {
    let (name, outcome) = (format!("destination={name:?}"), format!("outcome={outcome:?}"));
    let is_it = |line: &str| {
        line.starts_with("strongroom_events_attempts_total")
            && line.contains(&name)
            && line.contains(&outcome)
    };
    let began = Instant::now();
    while !counted().render().lines().any(is_it) {
        assert!(began.elapsed() < AWAITED_MAX, "{name} {outcome}: {}", counted().render());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_cannot_be_written_to_gets_nothing_and_slows_nobody_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), None, Some("correct horse")).await;
    let reader = tokio::task::block_in_place(|| broker.reader("cards"));
    let misleading = tokio::task::spawn_blocking(|| Misleading::start("kafka.invalid:9092")).await.unwrap();
    let stranger = Certificate::issue(folder.path(), "stranger");
    let wrong = secret(folder.path(), "wrong.password", "battery staple");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = broker.topic("good", "cards");
    let named = |name: &str| good.replace("\"good\"", &format!("{name:?}"));
    let signing_in = good.lines().find(|line| line.starts_with("sasl")).unwrap();
    let shown = good.lines().filter(|line| line.starts_with("certificate") || line.starts_with("key"));
    let unshown = shown.fold(named("unshown"), |text, line| text.replace(line, ""));
    let authority = format!("{:?}", broker.server.authority);
    let (_older, older) = tokio::task::block_in_place(|| broker.older_gate());
    let silent_port = format!(":{}", silent.local_addr().unwrap().port());
    let gate_port = format!(":{}", broker.port);
    let topics = [
        QUICK.to_owned(),
        good.clone(),
        named("impostor").replace(&authority, &format!("{:?}", stranger.authority)),
        named("misnamed").replace("localhost:", "127.0.0.1:"),
        unshown,
        named("unsigned").replace(signing_in, ""),
        named("wrong").replace(signing_in, &sasl("scram-sha-256", &wrong)),
        named("plainly").replace(signing_in, &sasl("plain", &wrong)),
        named("missing").replace("topic = \"cards\"", "topic = \"nowhere\""),
        named("older").replace(&gate_port, &format!(":{older}")).replace(signing_in, ""),
        named("silent").replace(&gate_port, &silent_port),
        topic_at("closed", "cards", 1) + "plaintext = true\n",
        topic_at("misleading", "cards", misleading.port) + "plaintext = true\n",
    ];
    counted();
    let vault = Service::start_limited(&topics.concat()).await;
    vault.onboard("acme").await;
    for _ in 0..20 {
        card(&vault).await;
    }
    reader.awaited("what others cannot have", |got| all(got) == 20).await;
    let shut = ["impostor", "misnamed", "unshown", "unsigned", "wrong", "plainly", "missing", "older"];
    for name in shut.into_iter().chain(["silent", "closed", "misleading"]) {
        let events = listed(&vault, name, "pending").await;
        assert!(
            events.len() == 20 && events.iter().all(|event| event["attempts"] == 0),
            "{name}: {events:?}"
        );
    }
    attempted("good", "delivered").await;
    // A password that is put right is taken up without a restart.
    secret(folder.path(), "wrong.password", "correct horse");
    for name in ["wrong", "plainly"] {
        awaited(&vault, name, "delivered", |events| events.len() == 20).await;
    }
    let thrice = reader.awaited("each twice more", |got| got.len() >= 60).await;
    assert_eq!(all(&thrice), 20, "under the same ids");
    vault.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_topic_was_away_for_too_long_for_is_dead_and_replayed_under_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = broker(folder.path(), None, None).await;
    broker.kill();
    let vault = Service::start_limited(&(QUICK.to_owned() + &broker.topic("all", "cards"))).await;
    vault.onboard("acme").await;
    let token = card(&vault).await;
    erase(&vault, &token).await;
    let vault = vault.restart_after(Duration::from_secs(73 * 3600)).await;
    let dead = awaited(&vault, "all", "dead", |events| events.len() == 2).await;
    assert!(dead.iter().all(|event| event["token_ref"] == token_ref(&token)), "{dead:?}");
    let shown = command(&vault, &["list", "--dead"]).await;
    assert!(shown.lines().count() == 2 && !shown.contains(&VISA[..8]) && !shown.contains(&token), "{shown}");
    tokio::task::block_in_place(|| broker.go_on());
    let reader = tokio::task::block_in_place(|| broker.reader("cards"));
    let told = command(&vault, &["replay"]).await;
    assert!(told.contains("2 events are delivered again"), "{told}");
    let written = |got: &[Read]| got.iter().map(|read| read.text("id").to_owned()).collect::<HashSet<_>>();
    let ids: HashSet<String> = dead.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    reader.awaited("the dead", |got| ids.is_subset(&written(got))).await;
    awaited(&vault, "all", "dead", <[_]>::is_empty).await;
    vault.stop().await;
}
