//! Every page, who may see it, and its entry.

use serde_json::{Value, json};
use strongroom_domain::Token;

use super::{FOLLOWED, furnished, open, send, text};
use crate::find::indexed;
use crate::service::{Service, VISA};

fn reference(token: &str) -> String {
    Token::parse(token).unwrap().token_ref().to_string()
}

/// Event, reason and object of the entries that were written since there were so many.
fn since(entries: &[Value], before: usize) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    entries[before..]
        .iter()
        .map(|entry| (text(&entry["evt"]), text(&entry["rsn"]), text(&entry["obj"]["type"])))
        .collect()
}

/// Event, reason and kind of object of an entry.
type Look = (&'static str, &'static str, &'static str);

/// Each page: its path, a text that is on it, and the entries of one look: event, reason, kind of object.
fn pages(forward: &str, receipt: &str) -> Vec<(String, &'static str, Vec<Look>)> {
    vec![
        (
            "/console".into(),
            "Root of the newest checkpoint",
            vec![("audit.read", "overview", "log"), ("evidence.read", "keys", "service")],
        ),
        ("/console/live".into(), "Cards released to PSPs", vec![("audit.read", "overview", "log")]),
        ("/console/search".into(), "pan.tokenize", vec![("audit.read", "find", "log")]),
        (
            "/console/search?verb=pan.forward&order=oldest".into(),
            "explain this forward",
            vec![("audit.read", "find", "log")],
        ),
        ("/console/blast-radius".into(), "what a stolen identity reached", vec![]),
        (
            "/console/blast-radius?workload=spiffe%3A%2F%2Fstrongroom.test%2Forchestrator".into(),
            "42424242…4242",
            vec![("audit.read", "blast-radius", "log")],
        ),
        (
            format!("/console/tenants/acme/forwards/{forward}"),
            "Permitted",
            vec![("audit.read", "forward", "forward"), ("forward.read", "-", "forward")],
        ),
        (
            format!("/console/receipts/{receipt}"),
            "The checkpoint that signs the tree",
            vec![("audit.read", "-", "receipt")],
        ),
        (
            "/console/access".into(),
            "security-reads-audit-and-evidence",
            vec![("evidence.read", "access", "service")],
        ),
        (
            "/console/access?action=OpenForward".into(),
            "api.psp.example",
            vec![("evidence.read", "access", "service")],
        ),
        ("/console/evidence".into(), "Make and download", vec![("audit.read", "find", "log")]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_page_is_for_the_security_role_and_each_look_is_on_the_log() {
    let (vault, token, forward) = furnished().await;
    let first = vault.newest("pan.forward").await;
    let receipt = format!("{}.{}", first["boot_id"].as_str().unwrap(), first["instance_seq"]);
    for (path, shows, looks) in pages(&forward, &receipt) {
        let before = vault.entries().await.len();
        let answer = open(&vault, "security", &path).await;
        let page = text(&answer);
        assert_eq!(answer.status(), 200, "{path}: {page}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(page.contains(shows), "{path}: {page}");
        assert!(!page.contains(&token) && !page.contains(VISA), "{path}");
        let entries = vault.entries().await;
        let written = since(&entries, before);
        let written: Vec<_> =
            written.iter().map(|(evt, rsn, kind)| (evt.as_str(), rsn.as_str(), kind.as_str())).collect();
        assert_eq!(written, looks, "{path}");
        for entry in &entries[before..] {
            assert_eq!(
                (&entry["out"], &entry["actor"]["id"]),
                (&json!("success"), &json!("spiffe://strongroom.test/security"))
            );
        }
        if looks.is_empty() {
            continue; // the form alone
        }
        assert!(answer.header("strongroom-receipt").is_some(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_role_is_refused_every_page_and_each_refusal_is_on_the_log() {
    let (vault, _, forward) = furnished().await;
    let first = vault.newest("pan.forward").await;
    let receipt = format!("{}.{}", first["boot_id"].as_str().unwrap(), first["instance_seq"]);
    let paths: Vec<String> = pages(&forward, &receipt).into_iter().map(|(path, ..)| path).collect();
    let forms = [
        ("/console/search", "token=tok"),
        ("/console/search", "tenant=acme"),
        ("/console/evidence/bundle", "from=2026-01-01&to=2026-02-01"),
    ];
    for who in ["checkout", "orchestrator", "platform", "intruder", "auditor"] {
        let asked = paths.iter().map(|path| (path.as_str(), None));
        for (path, form) in asked.chain(forms.map(|(path, form)| (path, Some(form)))) {
            let searches = who == "auditor" && path.starts_with("/console/search");
            if searches || (who == "auditor" && path.contains("/forwards/")) {
                continue; // of its own tenants: the next test
            }
            let before = vault.entries().await.len();
            let answer = match form {
                None => open(&vault, who, path).await,
                Some(form) => send(&vault, who, path, form).await,
            };
            let page = text(&answer);
            assert_eq!(answer.status(), 403, "{who} {path}: {page}");
            assert!(
                page.contains("Policy does not allow this")
                    && page.contains("urn:strongroom:problem:forbidden"),
                "{page}"
            );
            assert!(
                !page.contains("spiffe://strongroom.test/security"),
                "nothing of what it refuses: {page}"
            );
            let entries = vault.entries().await;
            assert_eq!(entries.len(), before + 1, "{who} {path}: one entry");
            let entry = entries.last().unwrap();
            assert_eq!(
                (&entry["out"], &entry["actor"]["id"]),
                (&json!("denied"), &json!(format!("spiffe://strongroom.test/{who}"))),
                "{path}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_sees_its_own_tenants_entries_and_nothing_else() {
    let only = json!([{ "id": "spiffe://strongroom.test/acme-auditor", "roles": ["auditor"], "tenants": { "ids": ["acme"] } }]);
    let vault = Service::start_granting(&only).await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let own = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let other = vault.tokenize("globex", &json!({ "number": VISA })).await;
    let forwards = [super::forwarded(&vault, &own).await, super::forwarded(&vault, &other).await];
    indexed(&vault).await;
    let who = "acme-auditor";
    let before = vault.entries().await.len();
    let form = open(&vault, who, "/console/search").await;
    assert!(form.status() == 200 && text(&form).contains("say of which"), "{}", text(&form));
    assert_eq!(vault.entries().await.len(), before, "the form alone shows nothing of the log");
    for part in ["Blast radius", "Overview", "Access", "Evidence"] {
        assert!(!text(&form).contains(&format!(">{part}</a>")), "{part} is no link for an auditor");
    }
    let page = text(&open(&vault, who, "/console/search?tenant=acme").await);
    assert!(page.contains("pan.tokenize") && page.contains(&reference(&own)[..8]), "{page}");
    assert!(!page.contains("globex") && !page.contains("/console/receipts/"), "{page}");
    let looked = vault.newest("audit.read").await;
    assert_eq!((&looked["obj"]["tenant"], &looked["rsn"]), (&json!("acme"), &json!("find")));
    // By another tenant's token or forward: as if there were none.
    let found = send(&vault, who, "/console/search", &format!("tenant=acme&token={other}")).await;
    assert!(found.status() == 200 && text(&found).contains("Nothing fits"), "{}", text(&found));
    let story = open(&vault, who, &format!("/console/tenants/acme/forwards/{}", forwards[0])).await;
    let page = text(&story);
    assert!(story.status() == 200 && page.contains("api.psp.example"), "{page}");
    assert!(
        page.contains("may not read forwards of this tenant"),
        "what the proxy told is another grant: {page}"
    );
    for (path, status) in [
        (format!("/console/tenants/acme/forwards/{}", forwards[1]), 404),
        (format!("/console/tenants/globex/forwards/{}", forwards[1]), 403),
        ("/console/search?tenant=globex".to_owned(), 403),
    ] {
        assert_eq!(open(&vault, who, &path).await.status(), status, "{path}");
        assert_eq!(vault.newest("audit.read").await["out"], "denied", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_by_post_alone_and_is_on_no_page() {
    let (vault, token, _) = furnished().await;
    let answer = send(&vault, "security", "/console/search", &format!("token={token}&order=oldest")).await;
    let page = text(&answer);
    assert_eq!(answer.status(), 200, "{page}");
    assert!(page.contains("pan.tokenize") && page.contains("pan.forward"), "{page}");
    assert!(!page.contains(&token) && page.contains(&reference(&token)), "{page}");
    assert_eq!(vault.newest("audit.read").await["cards"], json!([reference(&token)]));
    let linked = open(&vault, "security", &format!("/console/search?card={}", reference(&token))).await;
    assert!(linked.status() == 200 && text(&linked).contains("pan.forward"));
    for refused in [format!("card={token}"), format!("token={token}")] {
        let answer = open(&vault, "security", &format!("/console/search?{refused}")).await;
        assert!(answer.status() == 400 && !text(&answer).contains(&token), "{}", text(&answer));
    }
    // Without a token there is nothing to hide: the question becomes an address.
    let answer =
        send(&vault, "security", "/console/search", "token=&tenant=acme&verb=&from=2026-01-01T00%3A00").await;
    assert_eq!(
        (answer.status(), answer.header("location")),
        (303, Some("/console/search?from=2026-01-01T00%3A00%3A00Z&tenant=acme"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_search_hold_every_entry_once() {
    let (vault, token, _) = furnished().await;
    for _ in 0..60 {
        assert_eq!(vault.forward(&token, &["number"]).await.status(), 201);
    }
    indexed(&vault).await;
    let (mut path, mut seen) =
        (format!("/console/search?card={}&verb=pan.forward", reference(&token)), Vec::new());
    for _ in 0..4 {
        let page = text(&open(&vault, "security", &path).await);
        seen.extend(
            page.split("/console/receipts/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()),
        );
        let Some((_, rest)) = page.split_once("rel=\"next\" href=\"") else { break };
        path = rest.split('"').next().unwrap().replace("&amp;", "&");
    }
    assert_eq!(seen.len(), 61);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 61);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_is_downloaded_once_it_is_on_the_log() {
    let (vault, ..) = furnished().await;
    let today = strongroom_domain::Clock::now(&strongroom_perimeter::clock::SystemClock).to_string();
    let form = format!("from=2026-01-01&to={}&sample=2", &today[..10]);
    let answer = send(&vault, "security", "/console/evidence/bundle", &form).await;
    assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&answer.body()));
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    let name = format!("attachment; filename=\"evidence-2026-01-01-to-{}.zip\"", &today[..10]);
    assert_eq!(answer.header("content-disposition"), Some(name.as_str()));
    let entry = vault.newest("evidence.make").await;
    assert_eq!(Some(entry["obj"]["ref"].as_str().unwrap()), answer.header("strongroom-evidence-manifest"));
    assert!(zip::ZipArchive::new(std::io::Cursor::new(answer.body())).unwrap().len() > 20);
    indexed(&vault).await;
    let page = text(&open(&vault, "security", "/console/evidence").await);
    assert!(page.contains(entry["obj"]["ref"].as_str().unwrap()), "it is told of on the page: {page}");
    let wrong = send(&vault, "security", "/console/evidence/bundle", "from=2026-03-01&to=2026-02-01").await;
    assert!(wrong.status() == 400 && text(&wrong).contains("the period ends before it begins"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_look_share_one_reading_and_each_is_on_the_log() {
    let (vault, ..) = furnished().await;
    let before = vault.entries().await.len();
    let looks = (0..20).map(|_| open(&vault, "security", "/console/live"));
    let pages = futures_util::future::join_all(looks).await;
    let of: std::collections::BTreeSet<String> =
        pages.iter().map(|page| text(page).split("As of ").nth(1).unwrap()[..60].to_owned()).collect();
    assert!(of.len() < 20, "one reading serves for a while: {of:?}");
    assert_eq!(vault.entries().await.len(), before + 20);
    let plain = vault.client("security").send("GET", "/console/live", &[FOLLOWED[1]], &[]).await.unwrap();
    assert_eq!(plain.status(), 200);
}
