//! What two people must have agreed to, and every way they have not.

use std::time::Duration;

use serde_json::json;
use strongroom_domain::Clock as _;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::client::Client;
use strongroom_sandbox::pki::{MintOptions, Server};

use super::ground::{EXPORTS, ON, agreed, approve, assert_refused, names, open, request, run, start, wanted};
use crate::service::{Service, VISA};

fn identity() -> age::x25519::Identity {
    age::x25519::Identity::generate()
}

#[tokio::test]
async fn exports_are_off_by_default_and_refused_without_the_grant() {
    let vault = start("").await;
    let wanted = wanted(&identity());
    for who in ["exporter-one", "exporter-two"] {
        assert_refused(&vault, &request(&vault, who, &wanted).await, 403, "export-refused", "exports-off")
            .await;
    }
    // Nobody shipped here may, whatever else they may; nor a service with the role, nor a person of another tenant.
    for who in ["importer", "orchestrator", "proxy", "platform", "checkout", "matcher", "intruder"] {
        let refused = request(&vault, who, &wanted).await;
        assert_eq!(
            (refused.status(), &refused.json()["type"]),
            (403, &json!("urn:strongroom:problem:forbidden")),
            "{who}"
        );
    }
    assert_refused(
        &vault,
        &request(&vault, "exporter-service", &wanted).await,
        403,
        "forbidden",
        "guardrail",
    )
    .await;
    let put = json!({ "groups": ["others"] });
    assert_eq!(vault.send("platform", "PUT", "/v1/tenants/globex", Some(&put)).await.status(), 201);
    let elsewhere = vault.send("exporter-one", "POST", "/v1/tenants/globex/exports", Some(&wanted)).await;
    assert_refused(&vault, &elsewhere, 403, "forbidden", "guardrail").await;
    let read = vault.send("exporter-one", "GET", "/v1/tenants/acme/cards", None).await;
    assert_eq!(read.status(), 403, "an exporter does nothing else");
}

#[tokio::test]
async fn one_person_is_not_two_whatever_they_hold() {
    let vault = start(ON).await;
    let asked = request(&vault, "exporter-one", &wanted(&identity())).await.json();
    let (id, sha256) = names(&asked);
    for who in ["exporter-one", "exporter-one-too"] {
        let refused = approve(&vault, who, &id, &sha256).await;
        assert_refused(&vault, &refused, 403, "export-refused", "same-person").await;
    }
    let second = vault.pki.mint("second", &MintOptions::client("exporter-one")).unwrap();
    let client = Client::new(&vault.pki, Some(&second), Server::Vault, vault.address).unwrap();
    let body = json!({ "sha256": sha256 }).to_string().into_bytes();
    let headers = [("content-type", "application/json")];
    let path = format!("{EXPORTS}/{id}/approval");
    let refused = client.send("PUT", &path, &headers, &body).await.unwrap();
    assert_refused(&vault, &refused, 403, "export-refused", "same-person").await;
    let certificates: std::collections::HashSet<_> = vault
        .entries()
        .await
        .iter()
        .filter(|entry| entry["rsn"] == "same-person")
        .map(|entry| entry["actor"]["cert_sha256"].to_string())
        .collect();
    assert_eq!(certificates.len(), 3, "three certificates, one person");

    let approved = approve(&vault, "exporter-two", &id, &sha256).await;
    assert_eq!((approved.status(), &approved.json()["state"]), (200, &json!("approved")));
    let entry = vault.newest("export.approve").await;
    assert_eq!((&entry["export"]["id"], &entry["export"]["request_sha256"]), (&json!(id), &json!(sha256)));
    let again = approve(&vault, "exporter-two", &id, &sha256).await;
    assert_eq!((again.status(), again.json()), (200, approved.json()), "the same word twice");
    assert_eq!(vault.newest("export.approve").await["rsn"], "unchanged");
    let third = approve(&vault, "exporter-three", &id, &sha256).await;
    assert_refused(&vault, &third, 409, "export-conflict", "approved-already").await;
}

#[tokio::test]
async fn nothing_leaves_that_was_not_agreed_to() {
    let vault = start(&format!("{ON}runs_max = 1\n")).await;
    let to = identity();
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let (id, sha256) = names(&request(&vault, "exporter-one", &wanted(&to)).await.json());
    assert_refused(&vault, &run(&vault, "exporter-one", &id).await, 409, "export-conflict", "not-approved")
        .await;

    // The approval of one request is none of another, not even of the same words.
    let (other, other_sha256) = names(&request(&vault, "exporter-one", &wanted(&to)).await.json());
    assert_ne!(sha256, other_sha256);
    for (id, said) in [(&id, &other_sha256), (&other, &sha256), (&id, &"00".repeat(32))] {
        let refused = approve(&vault, "exporter-two", id, said).await;
        assert_refused(&vault, &refused, 409, "export-conflict", "other-request").await;
    }
    assert_eq!(approve(&vault, "exporter-two", &id, "not a hash").await.json()["pointer"], "/sha256");
    assert_eq!(approve(&vault, "exporter-two", &id, &sha256).await.status(), 200);
    assert_refused(
        &vault,
        &run(&vault, "exporter-one", &other).await,
        409,
        "export-conflict",
        "not-approved",
    )
    .await;
    assert_refused(&vault, &run(&vault, "exporter-three", &id).await, 403, "export-refused", "not-theirs")
        .await;
    assert_eq!(run(&vault, "orchestrator", &id).await.status(), 403);
    let unknown = run(&vault, "exporter-one", "0190a0b0-c0d0-7e0f-8f00-112233445566").await;
    assert_refused(&vault, &unknown, 404, "export-not-found", "export-not-found").await;
    assert!(!vault.entries().await.iter().any(|entry| entry["evt"] == "pan.export"), "nothing left");

    let file = run(&vault, "exporter-one-too", &id).await;
    assert_eq!(open(&file.body(), &to).unwrap()[0]["number"], VISA, "the same person by another identity");
    assert_refused(&vault, &run(&vault, "exporter-two", &id).await, 409, "export-conflict", "runs-used-up")
        .await;

    // More cards than agreed: not one leaves.
    let few =
        agreed(&vault, &json!({ "recipient": to.to_public().to_string(), "cards_max": 1, "purpose": "few" }))
            .await;
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    assert_refused(
        &vault,
        &run(&vault, "exporter-one", &few).await,
        409,
        "export-conflict",
        "too-many-cards",
    )
    .await;

    // A suspended tenant rests.
    let rested = agreed(&vault, &wanted(&to)).await;
    let suspended = json!({ "groups": ["merchants"], "suspended": true });
    assert_eq!(vault.send("platform", "PUT", "/v1/tenants/acme", Some(&suspended)).await.status(), 200);
    assert_refused(&vault, &run(&vault, "exporter-one", &rested).await, 403, "forbidden", "guardrail").await;
    let exported = vault.entries().await.into_iter().filter(|entry| entry["evt"] == "pan.export");
    assert_eq!(exported.count(), 1);
}

#[tokio::test]
async fn a_request_is_over_when_its_time_is() {
    let vault = start(ON).await;
    let to = identity();
    let (id, sha256) = names(&request(&vault, "exporter-one", &wanted(&to)).await.json());
    let ready = agreed(&vault, &wanted(&to)).await;
    let vault = vault.restart_after(Duration::from_secs(24 * 3_600)).await;
    assert_refused(
        &vault,
        &approve(&vault, "exporter-two", &id, &sha256).await,
        409,
        "export-conflict",
        "expired",
    )
    .await;
    assert_refused(&vault, &run(&vault, "exporter-two", &ready).await, 409, "export-conflict", "expired")
        .await;
    let list = vault.send("exporter-two", "GET", EXPORTS, None).await.json();
    let states: Vec<_> = list["exports"].as_array().unwrap().iter().map(|export| &export["state"]).collect();
    assert_eq!(states, [&json!("over"), &json!("over")]);
    let shown = vault.send("exporter-two", "GET", &format!("{EXPORTS}/{ready}"), None).await.json();
    assert_eq!((&shown["approval"]["person"], &shown["runs"]), (&json!("two"), &json!([])));
}

#[tokio::test]
async fn each_part_of_a_request_is_checked_and_named() {
    let vault = start(ON).await;
    let right = wanted(&identity());
    let with = |name: &str, value: serde_json::Value| {
        let mut body = right.clone();
        body[name] = value;
        body
    };
    let late = SystemClock.now().plus(Duration::from_secs(25 * 3_600)).to_string();
    for (body, pointer) in [
        (with("recipient", json!("age1nobody")), Some("/recipient")),
        (with("recipient", json!("ssh-ed25519 AAAA")), Some("/recipient")),
        (with("cards_max", json!(0)), Some("/cards_max")),
        (with("cards_max", json!(400_001)), Some("/cards_max")),
        (with("not_after", json!(late)), Some("/not_after")),
        (with("not_after", json!("2020-01-01T00:00:00Z")), Some("/not_after")),
        (with("purpose", json!("")), Some("/purpose")),
        (with("purpose", json!(VISA)), Some("/purpose")),
        (with("filter", json!({ "brand": "nobody's" })), Some("/filter")),
        (with("filter", json!({ "last4": "4242" })), None),
        (with("surprise", json!(1)), None),
        (json!({}), Some("/recipient")),
    ] {
        let answer = request(&vault, "exporter-one", &body).await;
        assert_eq!((answer.status(), answer.json()["pointer"].as_str()), (400, pointer), "{body}");
    }
    let none = vault.send("exporter-one", "POST", "/v1/tenants/nobody/exports", Some(&right)).await;
    assert_eq!(none.status(), 403, "out of bounds, like every tenant that is in no group");
}

/// Whoever writes to the database and has no key can bring about no export.
#[tokio::test]
async fn what_the_database_alone_says_is_no_export() {
    let vault = start(ON).await;
    let to = identity();
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let id = agreed(&vault, &wanted(&to)).await;
    let (forged, _) = names(&request(&vault, "exporter-one", &wanted(&to)).await.json());
    let mine = identity().to_public().to_string();
    let theirs = to.to_public().to_string();
    let uuid = |id: &str| format!("x'{}'", id.replace('-', ""));
    for (sql, id) in [
        (
            format!(
                "UPDATE exports SET request = replace(request, '{theirs}', '{mine}') WHERE id = {}",
                uuid(&id)
            ),
            &id,
        ),
        (
            format!(
                "UPDATE exports SET approver = 'two', approval = (SELECT approval FROM exports WHERE id = {}) WHERE id = {}",
                uuid(&id),
                uuid(&forged)
            ),
            &forged,
        ),
    ] {
        tamper(&vault, &sql).await;
        for who in ["exporter-one", "exporter-two"] {
            let refused = run(&vault, who, id).await;
            assert_eq!(refused.status(), 500, "{sql}");
            let entry = vault.entries().await.pop().unwrap();
            assert_eq!((&entry["out"], &entry["rsn"]), (&json!("failure"), &json!("tampered")), "{entry}");
        }
    }
    let same = format!(
        "UPDATE exports SET approver = requester, approval = '{{}}' WHERE approver IS NULL OR id = {}",
        uuid(&id)
    );
    assert!(try_tamper(&vault, &same).await.is_err(), "the table itself wants two people");
}

async fn try_tamper(vault: &Service, sql: &str) -> Result<(), sqlx::Error> {
    use sqlx::Connection as _;
    let path = vault.folder.path().join("vault.db");
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

async fn tamper(vault: &Service, sql: &str) {
    try_tamper(vault, sql).await.unwrap();
}

#[tokio::test]
async fn a_run_keeps_its_rate_alone_and_ends_when_the_tenant_is_suspended() {
    let vault = start(&format!("{ON}cards_per_second = 100\ncards_max = 1000\n")).await;
    let to = identity();
    for batch in 0..5 {
        let cards: Vec<_> =
            (0..100).map(|n| json!({ "number": crate::crash::number(batch * 100 + n) })).collect();
        let body = json!({ "cards": cards });
        let path = "/v1/tenants/acme/cards/batch";
        assert_eq!(vault.send("importer", "POST", path, Some(&body)).await.status(), 200);
    }
    let id = agreed(&vault, &wanted(&to)).await;
    let began = std::time::Instant::now();
    let (whole, other) = tokio::join!(run(&vault, "exporter-one", &id), async {
        vault.awaited("export.run", "began").await;
        run(&vault, "exporter-two", &id).await
    });
    assert_eq!(open(&whole.body(), &to).unwrap().len(), 500);
    assert!(began.elapsed() > Duration::from_secs(3), "a hundred a second");
    assert_eq!((other.status(), other.header("retry-after")), (429, Some("1")), "{}", other.json());
    let entry = vault.entries().await.into_iter().find(|entry| entry["rsn"] == "another-run").unwrap();
    assert_eq!((&entry["evt"], &entry["out"]), (&json!("export.run"), &json!("denied")));

    // Suspended under way: the file has no end.
    let (cut, ()) = tokio::join!(
        async {
            let client = vault.client("exporter-one");
            client.send("POST", &format!("{EXPORTS}/{id}/runs"), &[], &[]).await
        },
        async {
            while vault.entries().await.iter().filter(|entry| entry["export"]["run"] == 2).count() < 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let suspended = json!({ "groups": ["merchants"], "suspended": true });
            assert_eq!(
                vault.send("platform", "PUT", "/v1/tenants/acme", Some(&suspended)).await.status(),
                200
            );
        }
    );
    let cut = cut.expect_err("an answer without an end").exchange;
    assert!(open(&cut.body(), &to).is_none());
    let entry = vault.awaited("export.run", "guardrail").await;
    assert_eq!((&entry["out"], &entry["export"]["run"]), (&json!("failure"), &json!(2)), "{entry}");
    assert!(entry["n"].as_u64().unwrap() < 500, "{entry}");
}

/// A person whose grant was taken back did not agree, whenever it was.
#[tokio::test]
async fn who_lost_the_grant_does_not_agree_any_more() {
    let vault = start(ON).await;
    let to = identity();
    vault.tokenize("acme", &json!({ "number": VISA })).await;
    let id = agreed(&vault, &wanted(&to)).await;
    let folder = vault.folder.path();
    let file = folder.join("policies/workloads.json");
    let mut workloads: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    workloads["workloads"]
        .as_array_mut()
        .unwrap()
        .retain(|who| who["id"] != "spiffe://strongroom.test/exporter-two");
    std::fs::write(&file, workloads.to_string()).unwrap();
    let vault = vault.restart().await;
    assert_refused(
        &vault,
        &run(&vault, "exporter-one", &id).await,
        403,
        "export-refused",
        "no-longer-theirs",
    )
    .await;
    assert_eq!(run(&vault, "exporter-two", &id).await.status(), 403);
}
