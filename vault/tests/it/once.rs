//! A payment reference is let through once, its state is told, and what the PSP says later is written once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::client::Exchange;
use strongroom_sandbox::pki::Pki;

use crate::crash::{Vault, card as card_text, door, number, onboard, sound_log, store_of};
use crate::postgres::PostgresServer;
use crate::service::{Service, VISA, configuration, sqlite, wanted, wanted_once};

/// Longer than a forward may be silent.
const SILENT: Duration = Duration::from_secs(960);

fn card() -> Value {
    json!({ "number": VISA, "cvc": "737" })
}

async fn open(vault: &Service, token: &str, reference: &str) -> Exchange {
    let body = wanted_once(token, &["number"], reference);
    vault.send("proxy", "POST", "/v1/forwards", Some(&body)).await
}

fn id_of(opened: &Exchange) -> String {
    assert_eq!(opened.status(), 201, "{}", opened.json());
    opened.json()["id"].as_str().unwrap().to_owned()
}

fn assert_taken(answer: &Exchange, first: &str, state: &str) {
    let problem = answer.json();
    assert_eq!(answer.status(), 409, "{problem}");
    assert_eq!(problem["type"], "urn:strongroom:problem:payment-reference-taken");
    assert_eq!((&problem["forward_id"], &problem["state"]), (&json!(first), &json!(state)));
    assert!(!problem.to_string().contains(VISA) && !problem.to_string().contains("order-"), "{problem}");
}

async fn tell(vault: &Service, id: &str, outcome: &str) {
    let path = format!("/v1/forwards/{id}/outcome");
    let told = vault.send("proxy", "PUT", &path, Some(&json!({ "outcome": outcome }))).await;
    assert_eq!(told.status(), 204, "{}", told.json());
}

async fn reconcile(vault: &Service, who: &str, id: &str, body: &Value) -> Exchange {
    let path = format!("/v1/tenants/acme/forwards/{id}/reconcile");
    vault.send(who, "POST", &path, Some(body)).await
}

async fn story(vault: &Service, who: &str, id: &str) -> Value {
    let answer = vault.send(who, "GET", &format!("/v1/tenants/acme/forwards/{id}"), None).await;
    assert_eq!(answer.status(), 200, "{}", answer.json());
    answer.json()
}

#[tokio::test]
async fn the_second_payment_under_a_reference_is_refused_with_the_first_s_state() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let token = vault.tokenize("acme", &card()).await;
    let first = id_of(&open(&vault, &token, "order-1").await);
    let second = open(&vault, &token, " order-1 ").await;
    assert_taken(&second, &first, "in-flight");
    let entry = vault.newest("pan.forward").await;
    assert_eq!((&entry["out"], &entry["rsn"]), (&json!("denied"), &json!("payment-reference-taken")));

    // Its code is not used up by a refusal, and the refused card is another one's as well as the first's.
    let coded = wanted_once(&token, &["number", "cvc"], "order-1");
    assert_taken(&vault.send("proxy", "POST", "/v1/forwards", Some(&coded)).await, &first, "in-flight");
    let fresh =
        vault.send("proxy", "POST", "/v1/forwards", Some(&wanted_once(&token, &["cvc"], "order-2"))).await;
    assert_eq!(fresh.json()["cards"][0]["cvc"], "737", "{}", fresh.json());

    tell(&vault, &first, "answered").await;
    assert_taken(&open(&vault, &token, "order-1").await, &first, "answered");
    // Another tenant's reference, and another account's, are others.
    let foreign = vault.tokenize("globex", &card()).await;
    id_of(&open(&vault, &foreign, "order-1").await);
    let mut second_account = wanted_once(&token, &["number"], "order-1");
    second_account["account"] = json!("second");
    id_of(&vault.send("proxy", "POST", "/v1/forwards", Some(&second_account)).await);
    // A route whose PSP tells repeats apart is not asked for one, and looks at none.
    let mut passed = wanted(&[&token], &["number"]);
    passed["reference"] = json!("order-1");
    for _ in 0..2 {
        id_of(&vault.send("proxy", "POST", "/v1/forwards", Some(&passed)).await);
    }
}

/// The code went with the first payment: what the second lacks is no reason to tell it less.
#[tokio::test]
async fn a_repeat_whose_code_is_gone_is_told_of_the_first_payment() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let ask = || {
        let body = wanted_once(&token, &["number", "cvc"], "order-1");
        let vault = &vault;
        async move { vault.send("proxy", "POST", "/v1/forwards", Some(&body)).await }
    };
    let first = id_of(&ask().await);
    assert_taken(&ask().await, &first, "in-flight");
    tell(&vault, &first, "answered").await;
    assert_taken(&ask().await, &first, "answered");
    let other = wanted_once(&token, &["number", "cvc"], "order-2");
    let other = vault.send("proxy", "POST", "/v1/forwards", Some(&other)).await;
    assert_eq!(other.json()["type"], "urn:strongroom:problem:attribute-unavailable");
}

#[tokio::test]
async fn a_reference_is_needed_usable_and_kept_nowhere() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let mut without = wanted_once(&token, &["number"], "x");
    without.as_object_mut().unwrap().remove("reference");
    let refused = vault.send("proxy", "POST", "/v1/forwards", Some(&without)).await;
    assert_eq!(refused.json()["type"], "urn:strongroom:problem:payment-reference-missing");
    for wrong in ["", "  ", "a\u{7}b", &"r".repeat(256), VISA, &token] {
        let refused = open(&vault, &token, wrong).await;
        assert_eq!(refused.status(), 400, "{wrong:?}: {}", refused.json());
        assert_eq!(refused.json()["pointer"], "/reference", "{wrong:?}");
    }
    let id = id_of(&open(&vault, &token, "order-marked-7c1f").await);
    assert_taken(&open(&vault, &token, "order-marked-7c1f").await, &id, "in-flight");
    assert_eq!(story(&vault, "orchestrator", &id).await["grounds"]["at_most_once"], true);
    let entries = serde_json::to_string(&vault.entries().await).unwrap();
    assert!(!entries.contains("order-marked"), "the reference is on the log");
    let (folder, _) = vault.stop().await;
    for file in std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()) {
        if file.is_file() {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.windows(12).any(|part| part == b"order-marked"), "{}", file.display());
        }
    }
}

#[tokio::test]
async fn a_forward_that_never_left_gives_its_reference_up() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let first = id_of(&open(&vault, &token, "order-1").await);
    tell(&vault, &first, "not-sent").await;
    let second = id_of(&open(&vault, &token, "order-1").await);
    assert_taken(&open(&vault, &token, "order-1").await, &second, "in-flight");
    // A proxy that changes its mind about the first changes nothing.
    let path = format!("/v1/forwards/{first}/outcome");
    let late = vault.send("proxy", "PUT", &path, Some(&json!({ "outcome": "answered" }))).await;
    assert_eq!(late.status(), 409);
    assert_taken(&open(&vault, &token, "order-1").await, &second, "in-flight");
}

#[tokio::test]
async fn a_forward_left_open_becomes_unknown_and_what_the_psp_says_is_written_once() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let [lost, arrived] =
        [id_of(&open(&vault, &token, "order-1").await), id_of(&open(&vault, &token, "order-2").await)];
    let (never, answered) = (
        json!({ "says": "never-arrived" }),
        json!({ "says": "answered", "status": 402, "psp_reference": "psp-77" }),
    );
    assert_eq!(reconcile(&vault, "reconciler", &lost, &never).await.status(), 409, "still open");
    tell(&vault, &arrived, "unknown").await;
    let early = reconcile(&vault, "reconciler", &arrived, &never).await;
    assert_eq!((early.status(), &early.json()["pointer"]), (409, &json!("/says")), "it may still arrive");
    assert_eq!(vault.newest("forward.reconcile").await["rsn"], "too-early");

    let vault = vault.restart_after(SILENT).await;
    let entry = vault.awaited("forward.outcome", "silent").await;
    assert_eq!((&entry["obj"]["ref"], &entry["actor"]["type"]), (&json!(lost), &json!("system")));
    assert_taken(&open(&vault, &token, "order-1").await, &lost, "unknown");
    assert_taken(&open(&vault, &token, "order-2").await, &arrived, "unknown");

    for (who, status) in [("orchestrator", 403), ("support", 403), ("proxy", 403), ("reconciler", 200)] {
        let told = reconcile(&vault, who, &arrived, &answered).await;
        assert_eq!(told.status(), status, "{who}: {}", told.json());
    }
    let entry = vault.newest("forward.reconcile").await;
    assert_eq!((&entry["rsn"], &entry["obj"]["ref"]), (&json!("answered"), &json!(arrived)));
    assert_eq!(entry["actor"]["id"], "spiffe://strongroom.test/reconciler");
    assert_eq!(reconcile(&vault, "reconciler", &arrived, &answered).await.status(), 200, "the same again");
    assert_eq!(vault.newest("forward.reconcile").await["rsn"], "unchanged");
    for other in [&never, &json!({ "says": "answered", "status": 200 })] {
        assert_eq!(reconcile(&vault, "reconciler", &arrived, other).await.status(), 409, "never taken back");
    }
    let shown = story(&vault, "orchestrator", &arrived).await;
    assert_eq!((&shown["state"], &shown["reconciled"]["status"]), (&json!("answered"), &json!(402)));
    assert_eq!(shown["reconciled"]["psp_reference"], "psp-77");
    assert_taken(&open(&vault, &token, "order-2").await, &arrived, "answered");

    let freed = reconcile(&vault, "reconciler", &lost, &never).await;
    assert_eq!((freed.status(), &freed.json()["state"]), (200, &json!("not-sent")), "{}", freed.json());
    let again = id_of(&open(&vault, &token, "order-1").await);
    assert_taken(&open(&vault, &token, "order-1").await, &again, "in-flight");
    let (path, word) = (format!("/v1/forwards/{lost}/outcome"), json!({ "outcome": "answered" }));
    let late = vault.send("proxy", "PUT", &path, Some(&word)).await;
    assert_eq!(late.status(), 409, "the proxy's late word changes nothing");
}

#[tokio::test]
async fn what_is_said_of_a_forward_is_checked_and_another_tenant_s_is_none() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let outside = json!({ "groups": ["others"] });
    assert_eq!(vault.send("platform", "PUT", "/v1/tenants/globex", Some(&outside)).await.status(), 201);
    let token = vault.tokenize("acme", &card()).await;
    let id = id_of(&open(&vault, &token, "order-1").await);
    tell(&vault, &id, "unknown").await;
    for wrong in [
        json!({}),
        json!({ "says": "charged" }),
        json!({ "says": "answered", "status": 99 }),
        json!({ "says": "answered", "psp_reference": VISA }),
        json!({ "says": "answered", "psp_reference": token }),
        json!({ "says": "answered", "psp_reference": "two words" }),
        json!({ "says": "answered", "surprise": 1 }),
    ] {
        assert_eq!(reconcile(&vault, "reconciler", &id, &wrong).await.status(), 400, "{wrong}");
    }
    let unknown = "0190a0b0-c0d0-7e0f-8f00-112233445566";
    let says = json!({ "says": "answered" });
    assert_eq!(reconcile(&vault, "reconciler", unknown, &says).await.status(), 404);
    assert_eq!(reconcile(&vault, "reconciler", "x", &says).await.status(), 404);
    for (path, status) in [
        (format!("/v1/tenants/acme/forwards/{unknown}"), 404),
        (format!("/v1/tenants/globex/forwards/{id}"), 403),
        ("/v1/tenants/acme/forwards/x".to_owned(), 404),
    ] {
        let answer = vault.send("orchestrator", "GET", &path, None).await;
        assert_eq!(answer.status(), status, "{path}: {}", answer.json());
    }
    assert_eq!(story(&vault, "orchestrator", &id).await["state"], "unknown", "nothing was written");
}

#[tokio::test]
async fn a_forward_tells_its_whole_story() {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    let token = vault.tokenize("acme", &card()).await;
    let mut wanted = wanted_once(&token, &["number", "cvc"], "order-1");
    wanted["origin"] = json!("192.0.2.7:50000");
    let id = id_of(&vault.send("proxy", "POST", "/v1/forwards", Some(&wanted)).await);
    let told = json!({
        "outcome": "answered", "status": 201, "upstream_ms": 12, "scrubbed": 2, "pan_suspected": 1,
        "psp_request_id": "req_1", "timings": { "plan_us": 80, "open_us": 900, "upstream_us": 12_000 },
    });
    let path = format!("/v1/forwards/{id}/outcome");
    assert_eq!(vault.send("proxy", "PUT", &path, Some(&told)).await.status(), 204);
    let shown = story(&vault, "orchestrator", &id).await;
    for (pointer, value) in [
        ("/state", json!("answered")),
        ("/tenant", json!("acme")),
        ("/caller", json!("spiffe://strongroom.test/orchestrator")),
        ("/proxy", json!("spiffe://strongroom.test/proxy")),
        ("/route", json!("once")),
        ("/account", json!("default")),
        ("/host", json!("api.once.example")),
        ("/path", json!("/payments")),
        ("/attributes", json!(["number", "cvc"])),
        ("/grounds/origin", json!("192.0.2.7:50000")),
        ("/grounds/call", json!("/payments")),
        ("/grounds/policies", json!(["proxy-forwards-for-orchestrators"])),
        ("/grounds/caller_cert_sha256", json!("00".repeat(32))),
        ("/grounds/route_sha256", wanted["route_sha256"].clone()),
        ("/grounds/at_most_once", json!(true)),
        ("/outcome/status", json!(201)),
        ("/outcome/scrubbed", json!(2)),
        ("/outcome/pan_suspected", json!(1)),
        ("/outcome/psp_request_id", json!("req_1")),
        ("/outcome/timings", json!({ "plan_us": 80, "open_us": 900, "upstream_us": 12_000 })),
        ("/reconciled", Value::Null),
    ] {
        assert_eq!(shown.pointer(pointer), Some(&value), "{pointer} of {shown}");
    }
    // Its request finds its entry, and the entry the card.
    let entry = vault.newest("pan.forward").await;
    assert_eq!(shown["grounds"]["request_id"], entry["req"]["id"]);
    assert_eq!(
        (&shown["cards"][0], &shown["grounds"]["bundle_sha256"]),
        (&entry["obj"]["ref"], &entry["pol"]["sha256"])
    );
    let own = vault.send("proxy", "GET", &format!("/v1/forwards/{id}"), None).await.json();
    assert_eq!(own, shown, "one story, whoever may read it");
    let entry = vault.newest("forward.read").await;
    assert_eq!((&entry["out"], &entry["obj"]["ref"]), (&json!("success"), &json!(id)));
}

/// Killed between opening and outcome: the reference stays taken, and nothing needs help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_killed_before_the_outcome_keeps_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &sqlite(folder.path()));
    let mut vault = Vault::prepare(folder.path(), "vault-1", &text);
    vault.start();
    vault.wait();
    onboard(pki.folder(), &vault).await;
    let token = tokenized(&pki, &vault).await;
    let body = wanted_once(&token, &["number"], "order-1").to_string();
    let mut proxy = door(pki.folder(), "proxy", vault.address());
    let opened = proxy.send("POST", "/v1/forwards", &[], body.clone()).await.unwrap();
    assert_eq!(opened.status.as_u16(), 201, "{}", opened.json());
    let first = opened.json()["id"].clone();
    vault.kill();
    vault.start();
    vault.wait();
    let mut proxy = door(pki.folder(), "proxy", vault.address());
    let second = proxy.send("POST", "/v1/forwards", &[], body).await.unwrap();
    let problem = second.json();
    assert_eq!(second.status.as_u16(), 409, "{problem}");
    assert_eq!((&problem["forward_id"], &problem["state"]), (&first, &json!("in-flight")));
    vault.stop();
}

async fn tokenized(pki: &Pki, vault: &Vault) -> String {
    let mut door = door(pki.folder(), "checkout", vault.address());
    let answer = door.send("POST", "/v1/tenants/acme/cards", &[], card_text(&number(1))).await.unwrap();
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.json());
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// A hundred at once at two replicas on one database: one leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_payments_at_two_replicas_under_one_reference_one_leaves() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &store_of(&server));
    let mut vaults = ["vault-1", "vault-2"].map(|name| Vault::prepare(folder.path(), name, &text));
    vaults.iter_mut().for_each(Vault::start);
    vaults.iter_mut().for_each(Vault::wait);
    onboard(pki.folder(), &vaults[0]).await;
    let token = tokenized(&pki, &vaults[0]).await;
    let asked = (0..100).map(|n| {
        let mut proxy = door(pki.folder(), "proxy", vaults[n % 2].address());
        let body = wanted_once(&token, &["number"], "order-1").to_string();
        async move { proxy.send("POST", "/v1/forwards", &[], body).await.unwrap() }
    });
    let answers = join_all(asked).await;
    let opened: Vec<Value> =
        answers.iter().filter(|answer| answer.status.as_u16() == 201).map(|answer| answer.json()).collect();
    let [first] = &opened[..] else { panic!("{} payments left", opened.len()) };
    for answer in answers.iter().filter(|answer| answer.status.as_u16() != 201) {
        let problem = answer.json();
        assert_eq!(answer.status.as_u16(), 409, "{problem}");
        assert_eq!((&problem["forward_id"], &problem["state"]), (&first["id"], &json!("in-flight")));
    }
    vaults.iter_mut().for_each(Vault::stop);
    sound_log(vaults[0].config(), 2).await;
}
