//! Aliases over the API: sixteen digits and the tokens of other vaults, each one card's, and only where they belong.

use std::sync::Arc;

use serde_json::{Value, json};
use strongroom_domain::alias::PanShaped;
use strongroom_domain::pan::luhn_holds;
use strongroom_domain::{Environment, Random};
use strongroom_perimeter::chance::SystemRandom;

use crate::service::{Service, VISA, wanted};

const CARDS: &str = "/v1/tenants/acme/cards";
const FOREIGN: &str = "c06d0789-0a38-40be-b7cc-c28a718f76f1";

async fn with_aliases() -> Service {
    let vault = Service::start().await;
    vault.onboard_as("acme", json!({ "formats": ["pan_shaped"] })).await;
    vault
}

async fn create(vault: &Service, card: Value) -> Value {
    let answer = vault.send("checkout", "POST", CARDS, Some(&card)).await;
    assert_eq!(answer.status(), 201, "{}", answer.json());
    answer.json()
}

async fn forward(vault: &Service, name: &str, attributes: &[&str]) -> (u16, Value) {
    let answer = vault.send("proxy", "POST", "/v1/forwards", Some(&wanted(&[name], attributes))).await;
    (answer.status(), answer.json())
}

#[tokio::test]
async fn sixteen_digits_lead_to_the_card_where_a_number_belongs_and_nowhere_else() {
    let vault = with_aliases().await;
    let card = create(&vault, json!({ "number": VISA, "cvc": "123", "format": "pan_shaped" })).await;
    let digits = card["pan_shaped"].as_str().unwrap();
    assert!(digits.starts_with("91") && digits.ends_with("4242") && !luhn_holds(digits.as_bytes()));
    let (status, body) = forward(&vault, digits, &["number", "cvc"]).await;
    assert_eq!((status, body["cards"][0]["number"].as_str()), (201, Some(VISA)), "{body}");
    let other =
        create(&vault, json!({ "number": VISA, "format": "pan_shaped", "exp_month": 1, "exp_year": 2031 }))
            .await;
    let digits_of_other = other["pan_shaped"].as_str().unwrap();
    assert_ne!(digits, digits_of_other);
    assert_eq!(forward(&vault, digits_of_other, &["exp"]).await.0, 404, "not where a number belongs");
    let shown = vault.send("orchestrator", "GET", &format!("{CARDS}/{digits}"), None).await;
    assert_eq!((shown.status(), shown.json()), (200, card.clone()));
    vault.onboard("globex").await;
    let elsewhere =
        vault.send("orchestrator", "GET", &format!("/v1/tenants/globex/cards/{digits}"), None).await;
    assert_eq!(elsewhere.status(), 404);
    assert_eq!(vault.send("orchestrator", "DELETE", &format!("{CARDS}/{digits}"), None).await.status(), 204);
    assert_eq!(forward(&vault, digits, &["number"]).await.0, 404);
    assert!(!vault.entries().await.iter().any(|entry| entry.to_string().contains(digits)), "not on the log");
}

#[tokio::test]
async fn a_tenant_that_does_not_ask_for_it_gets_no_pan_shaped_alias() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let answer =
        vault.send("checkout", "POST", CARDS, Some(&json!({ "number": VISA, "format": "pan_shaped" }))).await;
    assert_eq!((answer.status(), answer.json()["pointer"].as_str()), (422, Some("/format")));
    for settings in [
        json!({ "formats": ["token"] }),
        json!({ "formats": ["pan_shaped"], "facts": "none" }),
        json!({ "formats": ["digits"] }),
    ] {
        let answer = vault.send("platform", "PUT", "/v1/tenants/acme", Some(&settings)).await;
        assert_eq!(
            (answer.status(), answer.json()["pointer"].as_str()),
            (400, Some("/formats")),
            "{settings}"
        );
    }
}

#[tokio::test]
async fn the_token_of_another_vault_leads_to_the_card_and_never_to_two() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let card = create(
        &vault,
        json!({ "number": VISA, "cvc": "123", "exp_month": 1, "exp_year": 2031, "alias": FOREIGN }),
    )
    .await;
    assert_eq!(card["aliases"], json!([FOREIGN]));
    let shown = vault.send("orchestrator", "GET", &format!("{CARDS}/{FOREIGN}"), None).await;
    assert_eq!((shown.status(), shown.json()), (200, card.clone()));
    let (status, body) = forward(&vault, FOREIGN, &["number", "cvc", "exp"]).await;
    assert_eq!((status, body["cards"][0]["number"].as_str()), (201, Some(VISA)));
    assert_eq!(body["cards"][0]["cvc"], "123");

    let again = vault
        .send("checkout", "POST", CARDS, Some(&json!({ "number": "378282246310005", "alias": FOREIGN })))
        .await;
    assert_eq!(
        (again.status(), again.json()["type"].as_str()),
        (409, Some("urn:strongroom:problem:alias-taken"))
    );
    vault.onboard("globex").await;
    let foreign = vault
        .send(
            "checkout",
            "POST",
            "/v1/tenants/globex/cards",
            Some(&json!({ "number": VISA, "alias": FOREIGN })),
        )
        .await;
    assert_eq!(foreign.status(), 409, "unique in the vault: a forward finds the tenant by it");
    let batch = json!({ "cards": [
        { "number": VISA, "alias": FOREIGN },
        { "number": VISA, "alias": "card_00000001" },
        { "number": "378282246310005", "alias": "card_00000001" },
        { "number": VISA, "alias": "card_00000002" },
    ] });
    let results = vault.send("checkout", "POST", &format!("{CARDS}/batch"), Some(&batch)).await.json();
    let statuses: Vec<_> =
        (0..4).map(|place| results["results"][place]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [409, 201, 409, 201], "{results}");
    assert_eq!(results["results"][0]["problem"]["pointer"], "/cards/0/alias");
    assert_eq!(forward(&vault, "card_00000001", &["number"]).await.1["cards"][0]["number"], VISA);
    assert_eq!(forward(&vault, FOREIGN, &["number"]).await.1["cards"][0]["number"], VISA);
    for wrong in
        [VISA, "9198765432100005", "short", "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv", "with space 1"]
    {
        let answer =
            vault.send("checkout", "POST", CARDS, Some(&json!({ "number": VISA, "alias": wrong }))).await;
        assert_eq!((answer.status(), answer.json()["pointer"].as_str()), (422, Some("/alias")), "{wrong}");
    }
}

#[tokio::test]
async fn where_numbers_have_one_token_many_aliases_lead_to_it() {
    let vault = Service::start().await;
    vault.onboard_as("acme", json!({ "dedupe": "return-existing", "formats": ["pan_shaped"] })).await;
    let first = create(&vault, json!({ "number": VISA, "alias": "first-vault-1" })).await;
    let second =
        create(&vault, json!({ "number": VISA, "alias": "other-vault-1", "format": "pan_shaped" })).await;
    assert_eq!(second["token"], first["token"]);
    assert_eq!(second["aliases"], json!(["other-vault-1"]), "the answer says what the request said");
    let third =
        create(&vault, json!({ "number": VISA, "format": "pan_shaped", "alias": "first-vault-1" })).await;
    assert_eq!((&third["token"], &third["pan_shaped"]), (&first["token"], &second["pan_shaped"]));
    for name in ["first-vault-1", "other-vault-1", second["pan_shaped"].as_str().unwrap()] {
        assert_eq!(forward(&vault, name, &["number"]).await.0, 201, "{name}");
    }
    let taken = vault
        .send(
            "checkout",
            "POST",
            CARDS,
            Some(&json!({ "number": "378282246310005", "alias": "first-vault-1" })),
        )
        .await;
    assert_eq!(taken.status(), 409);
    assert_eq!(forward(&vault, "first-vault-1", &["number"]).await.1["cards"][0]["number"], VISA);
}

#[tokio::test]
async fn an_alias_row_that_was_moved_or_altered_leads_nowhere() {
    use sqlx::{ConnectOptions as _, Executor as _};
    let vault = with_aliases().await;
    vault.onboard_as("globex", json!({ "formats": ["pan_shaped"] })).await;
    let victim = create(&vault, json!({ "number": "378282246310005", "alias": "victim-0001" })).await;
    let mut names = Vec::new();
    for n in 0..4 {
        names.push(format!("thief-000{n}"));
        create(&vault, json!({ "number": VISA, "alias": names[n] })).await;
    }
    let path = vault.folder.path().join("vault.db");
    let mut database = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let of_victim = "(SELECT token_hash FROM aliases WHERE alias = 'victim-0001')";
    for (n, change) in [
        format!("token_hash = {of_victim}"),
        "tenant = 'globex'".to_owned(),
        "mac = (SELECT mac FROM aliases WHERE alias = 'victim-0001')".to_owned(),
        "created_at = created_at + 1".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let sql = format!("UPDATE aliases SET {change} WHERE alias = 'thief-000{n}'");
        assert_eq!(database.execute(sqlx::AssertSqlSafe(sql)).await.unwrap().rows_affected(), 1);
        let (status, body) = forward(&vault, &names[n], &["number"]).await;
        assert_eq!(status, 500, "{change}: {body}");
        assert_eq!(vault.newest("pan.forward").await["rsn"], "tampered");
    }
    // A row copied under a name of the thief's own choosing.
    let copied = format!(
        "INSERT INTO aliases (alias_hash, tenant, kind, alias, token_hash, mac, created_at, mac_key) \
         SELECT x'{}', tenant, kind, 'made-up-0001', token_hash, mac, created_at, mac_key FROM aliases WHERE alias = 'victim-0001'",
        hex::encode(strongroom_domain::Alias::parse("made-up-0001").unwrap().hash().as_bytes()),
    );
    database.execute(sqlx::AssertSqlSafe(copied)).await.unwrap();
    assert_eq!(forward(&vault, "made-up-0001", &["number"]).await.0, 500);
    assert_eq!(forward(&vault, "victim-0001", &["number"]).await.0, 201);
    assert_eq!(forward(&vault, victim["token"].as_str().unwrap(), &["number"]).await.0, 201);
}

/// Draws the same alias again and again, as if no other were free.
struct Stuck(SystemRandom);

impl Random for Stuck {
    fn fill(&self, out: &mut [u8]) -> Result<(), strongroom_domain::RandomUnavailable> {
        // Only aliases are drawn from 24 bytes.
        if out.len() == 24 {
            out.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n);
            return Ok(());
        }
        self.0.fill(out)
    }
}

#[tokio::test]
async fn a_space_that_runs_thin_is_said_so_after_a_bounded_number_of_draws() {
    let vault = Service::start_with(Arc::new(Stuck(SystemRandom::new()))).await;
    vault.onboard_as("acme", json!({ "formats": ["pan_shaped"] })).await;
    let card = |number: &str| json!({ "number": number, "format": "pan_shaped" });
    create(&vault, card(VISA)).await;
    let thin = vault.send("checkout", "POST", CARDS, Some(&card(VISA))).await;
    assert_eq!(
        (thin.status(), thin.json()["type"].as_str()),
        (503, Some("urn:strongroom:problem:alias-space-thin"))
    );
    assert_eq!(thin.header("retry-after"), Some("1"));
    let batch = json!({ "cards": [card(VISA), { "number": VISA }] });
    let results = vault.send("checkout", "POST", &format!("{CARDS}/batch"), Some(&batch)).await.json();
    assert_eq!(
        (&results["results"][0]["status"], &results["results"][1]["status"]),
        (&json!(503), &json!(201))
    );
    // Other last four digits are another space; without an alias there is always room.
    create(&vault, card("5555555555554444")).await;
    create(&vault, json!({ "number": VISA })).await;
}

/// How often a draw meets one that is taken: a measurement against the arithmetic of birthdays.
#[test]
fn draws_collide_as_often_as_chance_says() {
    let random = SystemRandom::new();
    let mut seen = std::collections::HashSet::new();
    let mut collisions = 0_u32;
    const DRAWS: u32 = 300_000;
    for _ in 0..DRAWS {
        let alias = PanShaped::generate(Environment::Test, b"4242", &random).unwrap();
        let middle: u64 = alias.as_str()[2..12].parse().unwrap();
        collisions += u32::from(!seen.insert(middle));
    }
    // Nine in ten of 10^10 draws are aliases; the expected number of collisions is n² / 2m.
    let expected = f64::from(DRAWS).powi(2) / 2.0 / 9e9;
    println!(
        "{DRAWS} aliases of one last four: {collisions} collisions, {expected:.1} expected; with a million of one last \
         four taken, one draw in {:.0} collides, and eight in a row once in 10^{:.0}",
        9e9 / 1e6,
        8.0 * (9e9_f64 / 1e6).log10(),
    );
    assert!(f64::from(collisions) < expected + 6.0 * expected.sqrt().max(1.0));
}
