//! Marked cards go in by every door and fail in every way; then they are nowhere but at the PSP.
//!
//! One house (vault, proxy, sandbox PSP over real mTLS, logs at trace level) on each store. What is searched: the
//! database while it is live and after it is closed, its write-ahead log, every log line, the audit log, metrics, and every
//! answer the proxy or the vault gave, but for the one answer that is meant to carry card data. It is searched for the numbers that
//! went in, in every form; and for whatever looks like a card number, as `vault scan` does.

mod console;
mod ends;
mod events;
mod exports;
mod find;
mod forwards;
mod ground;
mod keys;
mod receipts;
mod reviews;
mod shapes;
mod updates;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use strongroom_sandbox::psp::cards;
use strongroom_sandbox::search::{Needles, Report, Searcher};

use crate::postgres::PostgresServer;
use crate::service::plain_get;
use ground::{Ground, Request, is_findable};
use keys::data_keys;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marked_cards_are_nowhere_but_at_the_psp_on_sqlite() {
    campaign(Ground::new(None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marked_cards_are_nowhere_but_at_the_psp_on_postgres() {
    campaign(Ground::new(Some(PostgresServer::start())).await).await;
}

async fn campaign(mut ground: Ground) {
    cards_by_every_door(&mut ground).await;
    batches_by_every_door(&mut ground).await;
    names_by_every_door(&mut ground).await;
    ends::ends_by_every_door(&mut ground).await;
    ends::lists_of_tenants_by_every_door(&mut ground).await;
    ends::suspensions_by_every_door(&mut ground).await;
    events::events_by_every_door(&mut ground).await;
    exports::exports_by_every_door(&mut ground).await;
    updates::changes_by_every_door(&mut ground).await;
    tenants_by_every_door(&mut ground).await;
    forwards::forwards_by_every_door(&mut ground).await;
    charges_that_end_in_every_way(&mut ground).await;
    find::questions_by_every_door(&mut ground).await;
    receipts::receipts_by_every_door(&mut ground).await;
    console::pages_by_every_door(&mut ground).await;
    requests_the_proxy_refuses(&mut ground).await;
    reviews::reviews_by_every_door(&mut ground).await;
    reviews::successors_by_every_door(&mut ground).await;
    ends::evidence_of_it_all(&mut ground).await;
    reviews::evidence_with_proofs(&mut ground).await;
    let metrics = [
        plain_get(ground.house.vault_ops(), "/metrics").await,
        plain_get(ground.house.proxy_ops(), "/metrics").await,
    ];
    for page in &metrics {
        assert!(
            page.contains("strongroom_log_pan_scrubbed_total 0"),
            "the last-line scrubber had nothing to do: {page}"
        );
    }
    for metric in
        ["strongroom_events_attempts_total", "strongroom_events_lag_seconds", "outcome=\"delivered\""]
    {
        assert!(metrics[0].contains(metric), "{metric}: {}", metrics[0]);
    }
    let keys = data_keys(&ground.house).await;
    let searcher = searcher(&ground, &keys);
    positive_control(&ground, &searcher);
    assert!(
        !shapes::in_path(ground.house.psp().log_file()).is_empty(),
        "the PSP's log is full of card numbers"
    );
    let mut by_shape = shapes::in_bytes(&ground.answers);
    let mut report = searcher.bytes(&ground.answers);
    metrics.iter().for_each(|page| report.merge(searcher.bytes(page.as_bytes())));
    report.merge(events::delivered(&ground, &searcher));
    report.merge(at_rest(&ground, &searcher));
    let log = ground.house.log_file().to_owned();
    let without_vault = without_a_vault(&mut ground).await;
    report.merge(searcher.bytes(&without_vault));
    let Ground { house, at_rest: folders, mut postgres, covered, forwards, _folder: folder, .. } = ground;
    house.stop().await;
    postgres.iter_mut().for_each(PostgresServer::stop);
    folders.iter().for_each(|folder| report.merge(searcher.path(folder).unwrap()));
    report.merge(searcher.path(&log).unwrap());
    let at_rest = folders.iter().chain([&log]).flat_map(|path| shapes::in_path(path));
    by_shape.extend(at_rest.filter(|(_, finding)| !shapes::is_a_row_of_facts(finding)).map(
        |(path, finding)| {
            println!("{}: {finding:?}", path.display());
            finding
        },
    ));
    assert!(
        by_shape.is_empty(),
        "something looks like a card number, whether it went in or not: {by_shape:#?}"
    );
    assert!(std::fs::metadata(&log).unwrap().len() > 10_000, "the log is at trace level");
    tell(&report, &covered, forwards, keys.len());
    assert!(report.is_clean(), "{:#?}", report.hits);
    assert_covered(&covered);
    drop((folder, postgres));
}

async fn cards_by_every_door(ground: &mut Ground) {
    const CARDS: &str = "/v1/tenants/acme/cards";
    let number = ground.mark("stored");
    let code = ground.code("7391");
    let card = json!({ "number": number, "cvc": code, "exp_month": 3, "exp_year": 2031, "holder": "JANE Q CARDHOLDER" });
    let token = ground.token(&card).await;
    let key = Request::json("POST", CARDS, &card).with("idempotency-key", "leak-1");
    assert_eq!(ground.vault("createCard", "checkout", key).await.status(), 201);
    let again = Request::json("POST", CARDS, &card).with("idempotency-key", "leak-1");
    assert_eq!(ground.vault("createCard", "checkout", again).await.status(), 201);
    let other = json!({ "number": ground.mark("reused key"), "cvc": "1212" });
    let reused = Request::json("POST", CARDS, &other).with("idempotency-key", "leak-1");
    assert_eq!(ground.vault("createCard", "checkout", reused).await.status(), 422);

    let bad = ground.mark("check digit");
    let bad = format!("{}{}", &bad[..15], (bad.as_bytes()[15] - b'0' + 1) % 10);
    ground.needles.push(("wrong check digit".into(), bad.clone()));
    let live = ground.known("4532015112830366");
    let marks: Vec<String> = (0..12).map(|_| ground.mark("refused")).collect();
    let long = format!(r#"{{"number":"{}","metadata":{{"x":"{}"}}}}"#, marks[0], "y".repeat(80_000));
    let refused = [
        Request::json("POST", CARDS, &json!({ "number": bad })),
        Request::json("POST", CARDS, &json!({ "number": live })),
        Request::text("POST", CARDS, &long),
        Request::text("POST", CARDS, &format!(r#"{{"number":"{}""#, marks[1])),
        Request::text("POST", CARDS, &format!(r#"{{"number":"{}","{}":1}}"#, marks[2], marks[3])),
        Request::text("POST", CARDS, &format!(r#"{{"number":{}}}"#, marks[4])),
        Request::text("POST", CARDS, &format!(r#"{{"number":"{0}","number":"{0}"}}"#, marks[5])),
        Request::json("POST", CARDS, &json!({ "number": marks[6], "holder": marks[7] })),
        Request::json("POST", CARDS, &json!({ "number": marks[8], "metadata": { "note": marks[9] } })),
        Request::json(
            "POST",
            CARDS,
            &json!({ "number": marks[10], "cvc": "99x9", "exp_month": 44, "exp_year": 2031 }),
        ),
        Request::json("POST", CARDS, &json!({ "number": marks[11] })).with("content-type", "text/plain"),
        Request::json("POST", "/v1/tenants/nobody/cards", &json!({ "number": marks[11] })),
        Request::json("POST", CARDS, &json!({ "number": marks[11] })).with("x-note", &marks[9]),
        Request::json("POST", CARDS, &json!({ "number": marks[11] })).with("idempotency-key", &marks[9]),
    ];
    for request in refused {
        let answer = ground.vault("createCard", "checkout", request).await;
        assert!((400..500).contains(&answer.status()), "{}", answer.json());
    }
    let denied = json!({ "number": ground.mark("denied"), "cvc": "3434" });
    assert_eq!(
        ground.vault("createCard", "orchestrator", Request::json("POST", CARDS, &denied)).await.status(),
        403
    );

    cards_read_by_every_door(ground, &token, &number).await;
    let path = format!("{CARDS}/{token}");
    assert_eq!(ground.vault("showCard", "orchestrator", Request::bare("GET", &path)).await.status(), 200);
    let by_number = format!("{CARDS}/{number}");
    let by_query = format!("{path}?number={number}");
    for (operation, method) in [("showCard", "GET"), ("eraseCard", "DELETE")] {
        for path in [
            by_number.as_str(),
            by_query.as_str(),
            "/v1/tenants/acme/cards/tok_test_x",
            "/v1/tenants/nobody/cards/x",
        ] {
            let answer = ground.vault(operation, "orchestrator", Request::bare(method, path)).await;
            assert!(matches!(answer.status(), 400 | 404), "{method}");
        }
        assert_eq!(ground.vault(operation, "security", Request::bare(method, &path)).await.status(), 404);
    }
    assert_eq!(ground.vault("eraseCard", "orchestrator", Request::bare("DELETE", &path)).await.status(), 204);
    assert_eq!(ground.vault("showCard", "orchestrator", Request::bare("GET", &path)).await.status(), 404);
}

async fn batches_by_every_door(ground: &mut Ground) {
    const BATCH: &str = "/v1/tenants/acme/cards/batch";
    let marks: Vec<String> = (0..8).map(|_| ground.mark("batch")).collect();
    let code = ground.code("4826");
    let wrong = format!("{}{}", &marks[1][..15], (marks[1].as_bytes()[15] - b'0' + 1) % 10);
    ground.needles.push(("wrong check digit of a batch".into(), wrong.clone()));
    let cards = json!({ "cards": [
        { "number": marks[0], "cvc": code, "holder": "JANE Q CARDHOLDER" },
        { "number": wrong },
        { "number": marks[2], "holder": marks[3] },
        { "number": marks[4], "cvc": "48x6" },
    ] });
    for _ in 0..2 {
        let request = Request::json("POST", BATCH, &cards).with("idempotency-key", "leak-batch");
        let answer = ground.vault("createCards", "checkout", request).await;
        let statuses: Vec<_> =
            (0..4).map(|place| answer.json()["results"][place]["status"].clone()).collect();
        assert_eq!(statuses, [json!(201), json!(422), json!(422), json!(422)]);
    }
    let long =
        format!(r#"{{"cards":[{{"number":"{}","metadata":{{"x":"{}"}}}}]}}"#, marks[5], "y".repeat(300_000));
    let refused = [
        Request::json("POST", BATCH, &json!({ "cards": [{ "number": marks[5] }, { marks[6].as_str(): 1 }] })),
        Request::json(
            "POST",
            BATCH,
            &json!({ "cards": [{ "number": marks[5], "metadata": { "note": marks[6] } }] }),
        ),
        Request::text("POST", BATCH, &format!(r#"{{"cards":[{{"number":"{}"}}"#, marks[5])),
        Request::text("POST", BATCH, &long),
        Request::json("POST", BATCH, &json!({ "cards": marks })).with("idempotency-key", "leak-batch"),
        Request::json("POST", BATCH, &json!({ "cards": [{ "number": marks[7] }] }))
            .with("idempotency-key", "leak-batch"),
    ];
    for request in refused {
        let answer = ground.vault("createCards", "checkout", request).await;
        assert!((400..500).contains(&answer.status()), "{}", answer.json());
    }
    let denied = json!({ "cards": [{ "number": marks[7], "cvc": "4747" }] });
    assert_eq!(
        ground.vault("createCards", "orchestrator", Request::json("POST", BATCH, &denied)).await.status(),
        403
    );
}

async fn cards_read_by_every_door(ground: &mut Ground, token: &str, number: &str) {
    const CARDS: &str = "/v1/tenants/acme/cards";
    const LOOKUP: &str = "/v1/tenants/acme/cards/lookup";
    let found = json!({ "tokens": [token, "unknown"] });
    let answer = ground.vault("lookupCards", "orchestrator", Request::json("POST", LOOKUP, &found)).await;
    assert_eq!(answer.json()["results"][0]["status"], 200, "{}", answer.json());
    for (who, body) in [
        ("orchestrator", json!({ "tokens": [token, number] })),
        ("orchestrator", json!({ "tokens": [token], number: 1 })),
        ("orchestrator", json!({ "tokens": number })),
        ("checkout", json!({ "tokens": [number] })),
    ] {
        let answer = ground.vault("lookupCards", who, Request::json("POST", LOOKUP, &body)).await;
        assert!(matches!(answer.status(), 400 | 403), "{}", answer.json());
    }
    assert_eq!(ground.vault("listCards", "orchestrator", Request::bare("GET", CARDS)).await.status(), 200);
    for query in
        [format!("{number}=1"), format!("last4={number}"), format!("cursor={number}"), "limit=x".into()]
    {
        let path = format!("{CARDS}?{query}");
        assert_eq!(
            ground.vault("listCards", "orchestrator", Request::bare("GET", &path)).await.status(),
            400
        );
    }
    assert_eq!(ground.vault("listCards", "checkout", Request::bare("GET", CARDS)).await.status(), 403);
}

/// Fingerprints, `pan_shaped` aliases and those of other vaults.
async fn names_by_every_door(ground: &mut Ground) {
    const CARDS: &str = "/v1/tenants/named/cards";
    const MATCH: &str = "/v1/tenants/named/cards/match";
    let settings = json!({ "groups": ["merchants"], "dedupe": "return-existing", "fingerprints": true, "formats": ["pan_shaped"] });
    let put = Request::json("PUT", "/v1/tenants/named", &settings);
    assert_eq!(ground.vault("putTenant", "platform", put).await.status(), 201);
    let (number, code) = (ground.mark("named"), ground.code("5937"));
    let card = json!({ "number": number, "cvc": code, "format": "pan_shaped", "alias": "leak-named-1" });
    for _ in 0..2 {
        let request = Request::json("POST", CARDS, &card);
        assert_eq!(ground.vault("createCard", "checkout", request).await.status(), 201);
    }
    let marks: Vec<String> = (0..4).map(|_| ground.mark("alias")).collect();
    for refused in [
        json!({ "number": marks[0], "alias": marks[1] }),
        json!({ "number": marks[0], "alias": format!("x{}", marks[1]) }),
        json!({ "number": marks[2], "alias": "leak-named-1" }),
    ] {
        let request = Request::json("POST", CARDS, &refused);
        let answer = ground.vault("createCard", "checkout", request).await;
        assert!(matches!(answer.status(), 409 | 422), "{}", answer.json());
    }
    let matching = Request::json("POST", MATCH, &json!({ "token": "leak-named-1" }));
    let matched = ground.vault("matchCards", "matcher", matching).await;
    assert_eq!((matched.status(), matched.json()["tokens"].as_array().map(Vec::len)), (200, Some(1)));
    for (who, body) in [
        ("matcher", json!({ "token": marks[3] })),
        ("matcher", json!({ "fingerprint": marks[3] })),
        ("matcher", json!({ "fingerprint": "00".repeat(32), "token": marks[3] })),
        ("checkout", json!({ "token": "leak-named-1" })),
    ] {
        let answer = ground.vault("matchCards", who, Request::json("POST", MATCH, &body)).await;
        assert!((400..500).contains(&answer.status()), "{}", answer.json());
    }
}

async fn tenants_by_every_door(ground: &mut Ground) {
    let number = ground.mark("tenant");
    let put = |body: &Value| Request::json("PUT", "/v1/tenants/leaks", body);
    assert_eq!(
        ground.vault("putTenant", "platform", put(&json!({ "groups": ["merchants"] }))).await.status(),
        201
    );
    let with_field = json!({ number.as_str(): true });
    let with_group = json!({ "groups": [number] });
    for body in [&with_field, &with_group] {
        assert_eq!(ground.vault("putTenant", "platform", put(body)).await.status(), 400);
    }
    assert_eq!(ground.vault("putTenant", "checkout", put(&json!({}))).await.status(), 403);
    let path = format!("/v1/tenants/{number}");
    assert_eq!(ground.vault("showTenant", "platform", Request::bare("GET", &path)).await.status(), 400);
    assert_eq!(
        ground.vault("showTenant", "platform", Request::bare("GET", "/v1/tenants/none")).await.status(),
        404
    );
    assert_eq!(
        ground.vault("showTenant", "checkout", Request::bare("GET", "/v1/tenants/leaks")).await.status(),
        403
    );
    assert_eq!(
        ground.vault("showTenant", "platform", Request::bare("GET", "/v1/tenants/leaks")).await.status(),
        200
    );
}

/// Charges whose card decides how the PSP answers.
const ENDINGS: &[(&str, &str, &[u16])] = &[
    ("approved", cards::APPROVED, &[200]),
    ("declined", cards::DECLINED, &[402]),
    ("incorrect number", cards::INCORRECT_NUMBER, &[402]),
    ("slow", cards::SLOW, &[200]),
    ("reset after read", cards::RESET, &[502]),
    ("cut answer", cards::CUT, &[502]),
    ("redirect", cards::REDIRECT, &[502]),
    ("garbage", cards::GARBAGE, &[200, 502]),
    ("gzip", cards::GZIP, &[200]),
    ("deflate", cards::DEFLATE, &[200]),
    ("echo", cards::ECHO, &[200]),
    ("server error", cards::SERVER_ERROR, &[500]),
];

async fn charges_that_end_in_every_way(ground: &mut Ground) {
    for (place, (door, number, statuses)) in ENDINGS.iter().enumerate() {
        let (number, code) = (ground.known(number), ground.code(&format!("61{place:02}")));
        let card = json!({ "number": number, "cvc": code, "exp_month": 11, "exp_year": 2033, "holder": "JANE Q CARDHOLDER" });
        let token = ground.token(&card).await;
        let form = format!(
            "amount=1000&currency=eur&confirm=true&payment_method_data[type]=card&payment_method_data[card][number]={token}\
             &payment_method_data[card][cvc]=000&payment_method_data[card][exp_month]=1&payment_method_data[card][exp_year]=2030"
        );
        let answer = ground.proxy(door, Request::form("/sandbox/v1/payment_intents", &form)).await;
        assert!(statuses.contains(&answer.status()), "{door}: {} {}", answer.status(), answer.json());
        let token = ground.token(&card).await;
        let body = json!({ "amount": 5, "card": { "number": token, "cvc": "0", "expiry_month": 1, "expiry_year": 2030, "name": "x" } });
        let request =
            Request::json("POST", "/sandbox/json/payments", &body).with("authorization", "Bearer strongroom");
        ground.proxy(&format!("{door}, JSON"), request).await;
    }
}

async fn requests_the_proxy_refuses(ground: &mut Ground) {
    let number = ground.mark("refused by the proxy");
    let token = ground.token(&json!({ "number": ground.needles[0].1.clone() })).await;
    let methods = "/sandbox/v1/payment_methods";
    let in_path = format!("/sandbox/v1/payment_methods/{number}");
    let in_query = format!("/sandbox/v1/payment_intents/pi_1?note={number}");
    let plain = format!("type=card&card[number]={number}");
    let beside = format!("type=card&card[number]={token}&metadata[note]={number}");
    let misplaced = format!("type=card&metadata[note]={token}&card[number]={token}");
    let unavailable = format!("type=card&card[number]={token}&card[cvc]=000");
    let get = |path| Request::bare("GET", path).with("authorization", "Bearer strongroom");
    let refused = [
        ("card number in the number's place", Request::form(methods, &plain)),
        ("card number beside a token", Request::form(methods, &beside)),
        ("misplaced token", Request::form(methods, &misplaced)),
        ("no such value", Request::form(methods, &unavailable)),
        ("card number in the path", get(&in_path)),
        ("card number in the query", get(&in_query)),
        ("card number in a header", get("/sandbox/v1/payment_intents/pi_1").with("x-note", &number)),
        ("unknown route", Request::form("/nowhere/v1/charges", &plain)),
        ("unlisted call", Request::form("/sandbox/v1/unlisted", &plain)),
        ("a credential of its own", Request::form(methods, &plain).with("authorization", &number)),
    ];
    for (door, request) in refused {
        let answer = ground.proxy(door, request).await;
        assert!((400..500).contains(&answer.status()), "{door}: {}", answer.status());
        assert!(answer.json()["error"].is_object(), "{door}: SDKs read it as an error");
    }
}

/// The last failure: the vault is gone.
async fn without_a_vault(ground: &mut Ground) -> Vec<u8> {
    let token = ground.token(&json!({ "number": ground.needles[0].1.clone() })).await;
    ground.house.stop_vault().await;
    let form = format!("type=card&card[number]={token}");
    let answer = ground.proxy("vault gone", Request::form("/sandbox/v1/payment_methods", &form)).await;
    assert_eq!(answer.status(), 424);
    answer.received
}

fn searcher(ground: &Ground, keys: &[(String, Vec<u8>)]) -> Searcher {
    let mut needles = Needles::new();
    for (label, number) in &ground.needles {
        needles.number(label, number);
    }
    for (label, code) in &ground.codes {
        needles.cvc(label, code);
    }
    for (label, key) in keys {
        needles.key(label, key);
    }
    needles.compile().unwrap()
}

/// The searcher finds what is there: every charged number in the PSP's log, and everything in a planted page.
fn positive_control(ground: &Ground, searcher: &Searcher) {
    let psp = searcher.path(ground.house.psp().log_file()).unwrap();
    for (door, number, _) in ENDINGS.iter().filter(|(_, number, _)| is_findable(number)) {
        let (label, _) = ground.needles.iter().find(|(_, known)| known == number).unwrap();
        assert!(psp.found(label), "{door}: the PSP got its number");
    }
    let folder = tempfile::tempdir().unwrap();
    for (label, number) in &ground.needles {
        let page = [vec![0_u8; 4_000], number.clone().into_bytes(), vec![0; 4_000]].concat();
        let file = folder.path().join("page");
        std::fs::write(&file, page).unwrap();
        assert!(searcher.path(&file).unwrap().found(label), "{label}");
    }
}

fn at_rest(ground: &Ground, searcher: &Searcher) -> Report {
    let mut report = Report::default();
    for folder in &ground.at_rest {
        report.merge(searcher.path(folder).unwrap());
    }
    if ground.postgres.is_none() {
        let wal = ground.house.folder().database().with_extension("db-wal");
        assert!(
            wal.exists() && std::fs::metadata(&wal).unwrap().len() > 0,
            "the live write-ahead log was searched"
        );
    }
    report
}

fn tell(report: &Report, covered: &BTreeMap<String, (u32, u32)>, forwards: u32, keys: usize) {
    let (done, refused) =
        covered.values().fold((0, 0), |(done, refused), (more, less)| (done + more, refused + less));
    println!(
        "searched {} bytes in {} files: {} hits; {} doors, {done} requests done, {refused} refused, {forwards} forwards; {keys} data keys",
        report.bytes,
        report.files,
        report.hits.len(),
        covered.len(),
    );
}

/// Every operation of the contract was done and was refused.
fn assert_covered(covered: &BTreeMap<String, (u32, u32)>) {
    let contract = serde_json::to_value(strongroom_vault::http::contract()).unwrap();
    for methods in contract["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            let (done, refused) = covered.get(id).copied().unwrap_or_default();
            assert!(done >= 1 && refused >= 3, "{id}: {done} done, {refused} refused");
        }
    }
}
