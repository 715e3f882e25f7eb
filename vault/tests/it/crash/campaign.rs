//! One run: load, rounds of killing and starting again, then the reckoning.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;

use super::client::{Client, Job, door};
use super::process::Vault;
use super::{setting, verify};
use crate::postgres::PostgresServer;
use crate::service::{configuration, sqlite};

/// Requests that must be in flight when the blow falls.
const IN_FLIGHT_MIN: u64 = 64;
/// How long work may take to go on after a restart, or to reach a number.
const PROGRESS_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a database stays away at most.
const AWAY_MS_MAX: u64 = 400;
/// The longest extra wait before a blow.
const WAIT_MS_MAX: u64 = 600;

/// What is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Victim {
    Vault,
    Postgres,
}

/// A vault, its store, its client.
pub(super) struct Campaign {
    victim: Victim,
    folder: tempfile::TempDir,
    pki: Pki,
    postgres: Option<PostgresServer>,
    vault: Vault,
    rounds: u64,
    acknowledged_min: u64,
    chance: Chance,
}

impl Campaign {
    pub(super) fn on_sqlite(victim: Victim) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path());
        Self::on(victim, folder, None, &store)
    }

    pub(super) fn on_postgres(victim: Victim) -> Self {
        let server = PostgresServer::start();
        let store = store_of(&server);
        Self::on(victim, tempfile::tempdir().unwrap(), Some(server), &store)
    }

    fn on(victim: Victim, folder: tempfile::TempDir, postgres: Option<PostgresServer>, store: &str) -> Self {
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let vault = Vault::prepare(folder.path(), "vault-1", &configuration(folder.path(), &pki, store));
        let number = |name, usually| setting(name).map_or(usually, |text| text.parse().unwrap());
        let (rounds, acknowledged_min) =
            (number("STRONGROOM_CRASH_ROUNDS", 3), number("STRONGROOM_CRASH_ACKS", 1_000));
        let chance = Chance::new();
        Self { victim, folder, pki, postgres, vault, rounds, acknowledged_min, chance }
    }

    pub(super) fn run(mut self) {
        let began = Instant::now();
        let on = if self.postgres.is_some() { "postgres" } else { "sqlite" };
        println!("killing {:?} on {on}: seed {}", self.victim, self.chance.seed);
        self.vault.start();
        self.vault.wait();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(onboard(self.pki.folder(), &self.vault));
        let job = Job {
            address: self.vault.address(),
            journal: self.folder.path().join("journal"),
            certificates: self.pki.folder().to_owned(),
        };
        let mut client = Client::start(&job, &self.pki);
        let (mut in_flight_min, mut back_max) = (u64::MAX, Duration::ZERO);
        for round in 0..self.rounds {
            self.wait_for(&mut client, self.acknowledged_min * (round + 1) / (self.rounds + 1));
            in_flight_min = in_flight_min.min(self.load(&mut client));
            let before = client.acknowledged();
            self.blow();
            let again = Instant::now();
            self.wait_for(&mut client, before + IN_FLIGHT_MIN * 2);
            back_max = back_max.max(again.elapsed());
        }
        self.wait_for(&mut client, self.acknowledged_min);
        self.vault.assert_running();
        let (lost, turned_away) = client.finish();
        let killed_in = began.elapsed();
        let boots = if self.victim == Victim::Vault { self.rounds + 1 } else { 1 };
        let found = runtime.block_on(verify::everything(&job, &mut self.vault, boots));
        println!(
            "killed {:?} on {on}: {} rounds, at least {in_flight_min} requests in flight, {lost} answers lost, \
             {turned_away} turned away, at most {} ms until work went on; {} acknowledgements, {} tokens opened, \
             {} keys repeated, {} answered forwards matched, {} outcomes, {} entries; {:.1} s and {:.1} s to verify",
            self.victim,
            self.rounds,
            back_max.as_millis(),
            found.cards,
            found.opened,
            found.repeated,
            found.forwards,
            found.outcomes,
            found.entries,
            killed_in.as_secs_f64(),
            (began.elapsed() - killed_in).as_secs_f64(),
        );
        assert!(found.cards >= self.acknowledged_min);
    }

    /// Waits until this many cards are acknowledged.
    fn wait_for(&mut self, client: &mut Client, acknowledged: u64) {
        let began = Instant::now();
        while client.acknowledged() < acknowledged {
            client.assert_running();
            self.vault.assert_running();
            assert!(
                began.elapsed() < PROGRESS_TIME_MAX,
                "no progress: {} of {acknowledged}",
                client.acknowledged()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a random moment at which enough is in flight.
    fn load(&mut self, client: &mut Client) -> u64 {
        std::thread::sleep(Duration::from_micros(self.chance.below(WAIT_MS_MAX * 1_000)));
        let began = Instant::now();
        loop {
            let in_flight = client.in_flight();
            if in_flight >= IN_FLIGHT_MIN {
                return in_flight;
            }
            assert!(began.elapsed() < PROGRESS_TIME_MAX, "only {in_flight} requests in flight");
            std::thread::sleep(Duration::from_micros(self.chance.below(10_000)));
        }
    }

    fn blow(&mut self) {
        match self.victim {
            Victim::Vault => {
                self.vault.kill();
                self.vault.start();
            }
            Victim::Postgres => {
                let server = self.postgres.as_mut().unwrap();
                server.kill();
                std::thread::sleep(Duration::from_millis(self.chance.below(AWAY_MS_MAX)));
                server.restart();
            }
        }
    }
}

/// The store's part of a configuration.
pub(crate) fn store_of(server: &PostgresServer) -> String {
    let options = server.options();
    format!(
        "driver = \"postgres\"\nhost = {:?}\nuser = {:?}\ndatabase = {:?}\ntls = \"off\"",
        options.host, options.user, options.database
    )
}

/// Onboards the tenant all cards are of.
pub(crate) async fn onboard(pki: &Path, vault: &Vault) {
    let mut door = door(pki, "platform", vault.address());
    let body = json!({ "groups": ["merchants"] }).to_string();
    let answer = door.send("PUT", "/v1/tenants/acme", &[], body).await.unwrap();
    assert!(matches!(answer.status.as_u16(), 200 | 201), "{}", answer.json());
}

/// Moments at random, the same for the same seed (SplitMix64).
struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    fn new() -> Self {
        let seed = setting("STRONGROOM_CRASH_SEED").map_or_else(
            || {
                let mut bytes = [0; 8];
                let random = strongroom_perimeter::chance::SystemRandom::new();
                strongroom_domain::Random::fill(&random, &mut bytes).unwrap();
                u64::from_be_bytes(bytes)
            },
            |text| text.parse().unwrap(),
        );
        Self { seed, state: seed }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
