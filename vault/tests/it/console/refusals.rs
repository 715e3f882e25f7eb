//! What is refused, how browsers and programs are told, and the headers of every answer.

use std::time::Duration;

use serde_json::json;
use strongroom_domain::Clock as _;
use strongroom_perimeter::clock::SystemClock;

use super::story::change;
use super::{FOLLOWED, FORM, furnished, open, send, text};
use crate::service::VISA;

const HEADERS: [(&str, &str); 9] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("vary", "accept, sec-fetch-site"),
    (
        "permissions-policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_headers_and_a_browser_gets_problems_as_pages() {
    let (vault, token, _) = furnished().await;
    let number = format!("/console/search?workload={VISA}");
    let unknown = "/console/receipts/0190a0b0-c0d0-7e0f-8f00-112233445566.1";
    for (who, path, status, says) in [
        ("security", "/console", 200, "Overview"),
        ("security", "/console/live", 200, "As of"),
        ("checkout", "/console", 403, "Policy does not allow this"),
        ("security", "/console/nothing", 404, "There is nothing here"),
        ("security", unknown, 404, "No such receipt"),
        ("security", "/console/tenants/acme/forwards/x", 404, "No such forward"),
        ("security", "/console/search?order=random", 400, "order is not newest or oldest"),
        ("security", "/console/search?unheard=of", 400, "a parameter this call does not know"),
        ("security", &number, 400, "a card number stands in the path"),
        ("security", "/console/evidence/bundle", 405, "This path does not take this method"),
    ] {
        let page = open(&vault, who, path).await;
        assert_eq!(page.status(), status, "{path}: {}", text(&page));
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(text(&page).contains(says), "{path}: {}", text(&page));
        assert!(!text(&page).contains(&token) && !text(&page).contains(VISA), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "style-src 'sha256-",
            "script-src 'sha256-",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        for (name, value) in HEADERS {
            assert_eq!(page.header(name), Some(value), "{path}: {name}");
        }
        if status >= 400 {
            let plain = vault.send(who, "GET", path, None).await;
            assert_eq!(
                (plain.status(), plain.header("content-type")),
                (status, Some("application/problem+json")),
                "{path}"
            );
            assert_eq!(plain.json()["status"], status, "{path}");
            assert_eq!(plain.header("x-frame-options"), Some("DENY"), "{path}");
        }
    }
    let api = vault.send("security", "GET", "/v1/audit/entries?limit=1", None).await;
    assert_eq!(api.header("content-security-policy"), None, "the API is as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_site_makes_a_browser_send_does_nothing() {
    let (vault, token, _) = furnished().await;
    let token = format!("token={token}");
    let port = vault.address.port();
    let (here, there) = (format!("https://localhost:{port}"), format!("https://localhost:{}", port ^ 1));
    let with = |site: &'static str| [FOLLOWED[0], ("sec-fetch-site", site), FOLLOWED[2], FOLLOWED[3], FORM];
    for (method, path, headers, status) in [
        ("POST", "/console/search", with("cross-site").to_vec(), 403),
        ("POST", "/console/search", with("same-site").to_vec(), 403),
        ("POST", "/console/search", with("none").to_vec(), 403),
        ("POST", "/console/evidence/bundle", with("cross-site").to_vec(), 403),
        ("POST", "/console/search", vec![FORM], 403),
        ("POST", "/console/search", vec![FORM, ("origin", there.as_str())], 403),
        ("POST", "/console/search", vec![FORM, ("origin", "null")], 403),
        ("POST", "/console/search", vec![FORM, ("origin", here.as_str())], 200),
        ("POST", "/console/search", with("same-origin").to_vec(), 200),
        ("GET", "/console", with("cross-site").to_vec(), 200),
        (
            "GET",
            "/console",
            vec![
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ],
            403,
        ),
        ("GET", "/console/live", vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")], 403),
        (
            "GET",
            "/console/evidence",
            vec![
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            403,
        ),
    ] {
        let body = if method == "POST" { token.as_bytes() } else { &[] };
        let answer = vault.client("security").send(method, path, &headers, body).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path} {headers:?}: {}", text(&answer));
        let entries = vault.entries().await;
        let entry = entries.last().unwrap();
        if status == 403 {
            assert_eq!(
                (&entry["out"], &entry["rsn"], &entry["obj"]["ref"]),
                (&json!("failure"), &json!("forbidden"), &json!("/console"))
            );
        }
    }
}

/// None of these needs a body or a header a page elsewhere could not have a browser send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_of_the_api_is_done_for_another_site() {
    let (vault, token, _) = furnished().await;
    let restore = format!("/v1/tenants/acme/cards/{token}/restore");
    let run = "/v1/tenants/acme/exports/0190a0b0-c0d0-7e0f-8f00-112233445566/runs";
    for (who, method, path, event) in [
        (
            "security",
            "GET",
            "/v1/evidence?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z",
            "evidence.make",
        ),
        ("custodian", "POST", "/v1/keys/audit-signing/successor", "dek.create"),
        ("platform", "POST", restore.as_str(), "record.restore"),
        ("security", "POST", run, "export.run"),
    ] {
        for site in ["cross-site", "same-site", "elsewhere"] {
            let headers = [("sec-fetch-site", site), FOLLOWED[2], FOLLOWED[3]];
            let before = vault.entries().await.len();
            let answer = vault.client(who).send(method, path, &headers, &[]).await.unwrap();
            assert_eq!(answer.status(), 403, "{method} {path} {site}: {}", text(&answer));
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
            assert_eq!(answer.json()["type"], "urn:strongroom:problem:forbidden", "{path}");
            let entries = vault.entries().await;
            assert_eq!(entries.len(), before + 1, "{method} {path} {site}: one entry");
            let entry = &entries[before];
            assert_eq!(
                (&entry["evt"], &entry["out"], &entry["rsn"], &entry["obj"]["ref"]),
                (&json!("authz.deny"), &json!("failure"), &json!("forbidden"), &json!("/v1"))
            );
            assert_eq!(entry["actor"]["id"], format!("spiffe://strongroom.test/{who}"));
        }
        // From this site, typed, or by a program: policy decides.
        for headers in [&[("sec-fetch-site", "same-origin")][..], &[("sec-fetch-site", "none")], &[]] {
            let before = vault.entries().await.len();
            let answer = vault.client("intruder").send(method, path, headers, &[]).await.unwrap();
            assert!(matches!(answer.status(), 403 | 404), "{method} {path}: {}", text(&answer));
            let entries = vault.entries().await;
            assert_eq!(entries.len(), before + 1, "{method} {path} {headers:?}: one entry");
            assert_eq!((&entries[before]["evt"], &entries[before]["out"]), (&json!(event), &json!("denied")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_making_from_the_console_that_fails_is_one_entry() {
    let (vault, ..) = furnished().await;
    let now = SystemClock.now();
    let form = format!("from={}&to={now}&sample=1", now.minus(Duration::from_secs(86_400)));
    let made = send(&vault, "security", "/console/evidence/bundle", &form).await;
    assert_eq!(made.status(), 200, "{}", String::from_utf8_lossy(&made.body()));
    change(&vault, "UPDATE audit_entries SET leaf = CAST(replace(CAST(leaf AS text), 'pan.tokenize', 'pan.lookup') AS blob)").await;
    let failed = send(&vault, "security", "/console/evidence/bundle", &form).await;
    assert_eq!(failed.status(), 500, "{}", String::from_utf8_lossy(&failed.body()));
    let entries = vault.entries().await;
    let told = |event: &str| {
        let by_security =
            entries.iter().filter(|entry| entry["actor"]["id"] == "spiffe://strongroom.test/security");
        by_security.filter(|entry| entry["evt"] == event).collect::<Vec<_>>()
    };
    assert_eq!(told("tamper").len(), 1, "{:?}", told("tamper"));
    assert_eq!(told("tamper")[0]["rsn"], "log-damaged");
    assert_eq!(told("evidence.make").len(), 1, "that of the one before: {:?}", told("evidence.make"));
    // What is refused before it is made has its own, of the console.
    let before = vault.entries().await.len();
    let wrong = send(&vault, "security", "/console/evidence/bundle", "from=2026-03-01&to=2026-02-01").await;
    assert_eq!(wrong.status(), 400);
    let entries = vault.entries().await;
    let told = entries[before..].iter().filter(|entry| entry["evt"] == "evidence.make");
    let told: Vec<_> = told.map(|entry| (&entry["rsn"], &entry["obj"]["ref"])).collect();
    assert_eq!(told, [(&json!("invalid-request"), &json!("POST /console/evidence/bundle"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_another_field_gets_into_no_address() {
    let (vault, token, _) = furnished().await;
    let shaped = format!("{}bb", &token[..41]); // with wrong check letters, or those by chance
    for value in [&token, &shaped, &format!("+{token}+")] {
        for field in ["workload", "tenant", "route", "verb", "outcome", "from", "until", "order"] {
            let form = format!("{field}={value}");
            let sent = send(&vault, "security", "/console/search", &form).await;
            assert_eq!((sent.status(), sent.header("location")), (400, None), "{form}: {}", text(&sent));
            let opened = open(&vault, "security", &format!("/console/search?{form}")).await;
            assert_eq!(opened.status(), 400, "{form}: {}", text(&opened));
            for page in [text(&sent), text(&opened)] {
                assert!(!page.contains("tok_test_") && page.contains("a token stands in a field"), "{page}");
            }
        }
    }
    assert!(!vault.entries().await.iter().any(|entry| entry.to_string().contains("tok_test_")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_number_in_a_form_is_refused_and_is_nowhere() {
    let (vault, ..) = furnished().await;
    for form in [
        format!("token={VISA}"),
        format!("workload={VISA}"),
        format!("token=a&tenant={VISA}"),
        format!("{VISA}=1"),
    ] {
        let answer = send(&vault, "security", "/console/search", &form).await;
        assert!(answer.status() == 400 && !text(&answer).contains(VISA), "{form}: {}", text(&answer));
        assert!(answer.header("location").is_none());
    }
    let not_found = send(&vault, "security", "/console/search", "token=tok_test_x").await;
    assert!(not_found.status() == 400 && !text(&not_found).contains("tok_test_x"), "{}", text(&not_found));
    assert!(!vault.entries().await.iter().any(|entry| entry.to_string().contains(VISA)));
    let odd = vault
        .client("security")
        .send("POST", "/console/search", &[FOLLOWED[1], ("content-type", "text/plain")], b"token=a")
        .await
        .unwrap();
    assert_eq!(odd.status(), 415);
    let long = format!("token={}", "a".repeat(70_000));
    assert_eq!(send(&vault, "security", "/console/search", &long).await.status(), 413);
}
