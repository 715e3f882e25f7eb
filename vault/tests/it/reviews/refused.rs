//! What is no review, and who may not.

use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{file, review, said, shown, signed};
use crate::service::Service;

async fn kept(vault: &Service) -> i64 {
    let path = vault.folder.path().join("vault.db");
    let mut database =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM reviews").fetch_one(&mut database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_people_with_the_grant_review_and_every_refusal_is_on_the_log() {
    let grants = json!([{ "id": "spiffe://strongroom.test/lead", "person": "lead", "roles": ["security"] },
        { "id": "spiffe://strongroom.test/robot", "roles": ["reviewer"] }]);
    let vault = Service::start_granting(&grants).await;
    for kind in ["access", "log"] {
        let text = said(&shown(&vault, "reviewer", kind).await, "approved", "");
        for who in ["intruder", "checkout", "platform", "security", "robot"] {
            let exchange = vault.send(who, "GET", &format!("/v1/reviews/{kind}"), None).await;
            assert_eq!(exchange.status(), 403, "{who} {kind}");
            let exchange = file(&vault, who, kind, &signed(&vault, who, who, &text)).await;
            assert_eq!(exchange.status(), 403, "{who} {kind}");
            let entry = vault.newest(&format!("review.{kind}")).await;
            assert_eq!(
                (&entry["out"], &entry["actor"]["id"]),
                (&json!("denied"), &json!(format!("spiffe://strongroom.test/{who}")))
            );
        }
    }
    assert_eq!(kept(&vault).await, 0);
    assert_eq!(review(&vault, "lead", "log", "approved", "").await["number"], 1);
    for path in ["/v1/reviews/cards", "/v1/reviews/Log"] {
        assert_eq!(vault.send("reviewer", "GET", path, None).await.status(), 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_persons_own_key_did_not_sign_as_it_was_shown_is_refused() {
    let grants =
        json!([{ "id": "spiffe://strongroom.test/second", "person": "second", "roles": ["reviewer"] }]);
    let vault = Service::start_granting(&grants).await;
    let drawn = shown(&vault, "reviewer", "access").await;
    let text = said(&drawn, "approved", "");
    let altered = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        text.replacen(from, to, 1)
    };
    let bundle = drawn["record"]["access"]["bundle_sha256"].as_str().unwrap();
    let matrix = drawn["record"]["access"]["access_sha256"].as_str().unwrap();
    let own = |text: &str| signed(&vault, "reviewer", "reviewer", text);
    let with_other_record = {
        let mut body = own(&text);
        body["record"] = own(&altered("\"approved\"", "\"follow-up\""))["record"].clone();
        body
    };
    let cases: Vec<(&str, Value, u16)> = vec![
        ("another's key", signed(&vault, "second", "reviewer", &text), 400),
        ("another's certificate", signed(&vault, "second", "second", &text), 400),
        ("another record than was signed", with_other_record, 400),
        ("not canonical", own(&format!("{text} ")), 400),
        ("another person", own(&altered("\"sandbox-reviewer\"", "\"second\"")), 409),
        ("another bundle", own(&altered(bundle, &"0".repeat(64))), 409),
        ("another matrix", own(&altered(matrix, &"0".repeat(64))), 409),
        ("a number to come", own(&altered("\"number\":1", "\"number\":2")), 409),
        ("another environment", own(&altered("\"test\"", "\"live\"")), 409),
        ("the other kind", own(&said(&shown(&vault, "reviewer", "log").await, "approved", "")), 409),
        ("nothing", json!({}), 400),
        ("more", json!({ "record": "e30=", "signature": "e30=", "certificate": "e30=", "more": 1 }), 400),
        ("no base64", json!({ "record": "{}", "signature": "e30=", "certificate": "e30=" }), 400),
    ];
    for (what, body, status) in cases {
        let exchange = file(&vault, "reviewer", "access", &body).await;
        assert_eq!(exchange.status(), status, "{what}: {}", exchange.json());
        let entry = vault.newest("review.access").await;
        assert_eq!(entry["out"], "failure", "{what}: {entry}");
    }
    // Remarks: bounded, and no place for a card number.
    let remark = |remarks: &str| altered("\"remarks\":\"\"", &format!("\"remarks\":\"{remarks}\""));
    for (remarks, slug) in [
        ("4242424242424242", "pan-in-request"),
        ("seen 4242-4242-4242-4242 there", "pan-in-request"),
        (&*"x".repeat(1_001), "invalid-request"),
    ] {
        let exchange = file(&vault, "reviewer", "access", &own(&remark(remarks))).await;
        let problem = exchange.json();
        assert_eq!((exchange.status(), &problem["pointer"]), (400, &json!("/record")), "{problem}");
        assert_eq!(problem["type"], format!("urn:strongroom:problem:{slug}"));
        assert!(!problem.to_string().contains("4242"), "{problem}");
    }
    assert_eq!(kept(&vault).await, 0);

    // As it was shown it is filed, and twice is once.
    let exchange = file(&vault, "reviewer", "access", &own(&text)).await;
    assert_eq!(exchange.status(), 201, "{}", exchange.json());
    let again = file(&vault, "reviewer", "access", &own(&text)).await;
    assert_eq!((again.status(), &again.json()["sha256"]), (200, &exchange.json()["sha256"]));
    assert_eq!(vault.newest("review.access").await["rsn"], "unchanged");
    // Whoever drew the same number is too late.
    let mut late = shown(&vault, "second", "access").await;
    late["record"]["number"] = json!(1);
    late["record"].as_object_mut().unwrap().remove("previous");
    let late = signed(&vault, "second", "second", &said(&late, "approved", ""));
    assert_eq!(file(&vault, "second", "access", &late).await.status(), 409);
    assert_eq!(kept(&vault).await, 1);
}

/// The bundle that is read is not the one in force any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_that_changed_after_it_was_shown_is_shown_again() {
    let vault = Service::start().await;
    let text = said(&shown(&vault, "reviewer", "access").await, "approved", "");
    let file_of = vault.folder.path().join("policies/bundle.toml");
    let bundle = std::fs::read_to_string(&file_of).unwrap();
    let version: u64 = bundle.rsplit("version = ").next().unwrap().trim().parse().unwrap();
    let next = bundle.replace(&format!("version = {version}"), &format!("version = {}", version + 1));
    std::fs::write(&file_of, next).unwrap();
    vault.awaited("policy.activate", "changed").await;
    let exchange = file(&vault, "reviewer", "access", &signed(&vault, "reviewer", "reviewer", &text)).await;
    assert_eq!(exchange.status(), 409, "{}", exchange.json());
    assert_eq!(review(&vault, "reviewer", "access", "approved", "").await["number"], 1);
}

/// Somebody with full rights to the database changes an entry, or the last review, so that the next one begins elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_review_is_made_of_a_log_that_is_not_the_one_that_was_signed() {
    let vault = Service::start().await;
    review(&vault, "reviewer", "log", "approved", "").await;
    let path = vault.folder.path().join("vault.db");
    let url = format!("sqlite://{}", path.display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let record: String =
        sqlx::query_scalar("SELECT record FROM reviews").fetch_one(&mut database).await.unwrap();
    let from = record.replace("\"from\":0", "\"from\":1");
    for (change, back) in [(from, record.clone()), (record.replace("\"size\":", "\"size\":9"), record)] {
        sqlx::query("UPDATE reviews SET record = ?1").bind(change).execute(&mut database).await.unwrap();
        let exchange = vault.send("reviewer", "GET", "/v1/reviews/log", None).await;
        assert_eq!(exchange.status(), 500);
        assert_eq!(vault.newest("tamper").await["rsn"], "log-damaged");
        sqlx::query("UPDATE reviews SET record = ?1").bind(back).execute(&mut database).await.unwrap();
    }
    // An entry that is still to be reviewed.
    assert_eq!(vault.send("intruder", "GET", "/v1/tenants", None).await.status(), 403);
    let drawn = shown(&vault, "reviewer", "log").await;
    assert!(
        drawn["digest"]["events"].as_array().unwrap().iter().any(|row| row["outcome"] == "denied"),
        "{drawn}"
    );
    let change = "UPDATE audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), '\"out\":\"denied\"', '\"out\":\"success\"') AS BLOB) \
                  WHERE instr(CAST(leaf AS TEXT), 'spiffe://strongroom.test/intruder') > 0";
    assert!(sqlx::query(change).execute(&mut database).await.unwrap().rows_affected() >= 1);
    assert_eq!(vault.send("reviewer", "GET", "/v1/reviews/log", None).await.status(), 500);
    let body = signed(&vault, "reviewer", "reviewer", &said(&drawn, "approved", ""));
    assert_eq!(file(&vault, "reviewer", "log", &body).await.status(), 500);
    database.close().await.unwrap();
}
