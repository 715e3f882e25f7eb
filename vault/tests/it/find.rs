//! Asking the log of a whole vault: who may, what is found, what is written of it, and the commands.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::Token;
use strongroom_sandbox::pki::Pki;

use crate::service::{Service, VISA};

const ENTRIES: &str = "/v1/audit/entries";

pub(crate) async fn get(vault: &Service, who: &str, path: &str) -> Value {
    let answer = vault.send(who, "GET", path, None).await;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.json());
    answer.json()
}

/// Once everything written until now can be found.
pub(crate) async fn indexed(vault: &Service) {
    let written = vault.entries().await.len() as u64;
    for _ in 0..600 {
        if get(vault, "security", &format!("{ENTRIES}?limit=1")).await["indexed"].as_u64() >= Some(written) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{written} entries are not in the index");
}

fn reference(token: &str) -> String {
    Token::parse(token).unwrap().token_ref().to_string()
}

fn events(page: &Value) -> Vec<&str> {
    page["entries"].as_array().unwrap().iter().map(|found| found["entry"]["evt"].as_str().unwrap()).collect()
}

/// Two tenants with a card each; the first's was forwarded twice.
async fn two_tenants() -> (Service, String, String) {
    let vault = Service::start().await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let first = vault.tokenize("acme", &json!({ "number": VISA, "cvc": "123" })).await;
    let second = vault.tokenize("globex", &json!({ "number": "4000056655665556" })).await;
    for attributes in [["number", "cvc"].as_slice(), &["number"]] {
        assert_eq!(vault.forward(&first, attributes).await.status(), 201);
    }
    assert_eq!(vault.forward(&second, &["number"]).await.status(), 201);
    indexed(&vault).await;
    (vault, first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_security_team_finds_entries_and_every_look_is_on_the_log_without_the_token() {
    let (vault, token, _) = two_tenants().await;
    let by_token = format!("{ENTRIES}?order=oldest&token={token}");
    let found = get(&vault, "security", &by_token).await;
    assert_eq!(events(&found), ["pan.tokenize", "pan.forward", "pan.forward"]);
    let looked = vault.newest("audit.read").await;
    assert_eq!((&looked["rsn"], &looked["n"]), (&json!("find"), &json!(3)));
    assert_eq!(looked["cards"], json!([reference(&token)]));
    assert_eq!(looked["actor"]["id"], "spiffe://strongroom.test/security");
    assert_eq!(looked["pol"]["id"], json!(["security-reads-audit-and-evidence"]));
    // By its reference, and what is shown is the log's.
    let again =
        get(&vault, "security", &format!("{ENTRIES}?order=oldest&token={}&limit=2", reference(&token))).await;
    assert_eq!(again["entries"][0], found["entries"][0]);
    let entry = &found["entries"][1];
    assert_eq!((&entry["intact"], &entry["entry"]["dst"]["host"]), (&json!(true), &json!("api.psp.example")));
    assert_eq!(
        entry["id"],
        format!("{}/{}", entry["entry"]["boot_id"].as_str().unwrap(), entry["entry"]["instance_seq"])
    );
    let next = again["next_cursor"].as_str().unwrap();
    let rest = get(&vault, "security", &format!("{by_token}&limit=2&cursor={next}")).await;
    assert_eq!(rest["entries"][0], found["entries"][2]);
    assert_eq!(rest["next_cursor"], Value::Null);

    let proxy = "spiffe%3A%2F%2Fstrongroom.test%2Fproxy";
    let found = get(
        &vault,
        "security",
        &format!("{ENTRIES}?workload={proxy}&route=psp&outcome=success&verb=pan.forward&tenant=globex"),
    )
    .await;
    assert_eq!(events(&found), ["pan.forward"]);
    let nothing = get(&vault, "security", &format!("{ENTRIES}?until=2020-01-01T00:00:00Z")).await;
    assert_eq!((&nothing["entries"], &nothing["next_cursor"]), (&json!([]), &Value::Null));
    let whole = vault.entries().await.iter().map(Value::to_string).collect::<String>();
    assert!(!whole.contains("tok_test_"), "no token is on the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_reads_of_its_own_tenant_alone_and_of_no_other_by_any_parameter() {
    let (vault, first, second) = two_tenants().await;
    let vault = {
        let only = json!([{ "id": "spiffe://strongroom.test/acme-auditor", "roles": ["auditor"], "tenants": { "ids": ["acme"] } }]);
        crate::service::grant(vault.folder.path(), &only);
        let bundle = vault.folder.path().join("policies/bundle.toml");
        std::fs::write(&bundle, "version = 999\n").unwrap();
        vault.restart().await
    };
    let path = "/v1/tenants/acme/audit/entries";
    let found = get(&vault, "acme-auditor", &format!("{path}?order=oldest")).await;
    let entries = found["entries"].as_array().unwrap();
    assert!(entries.len() >= 4, "{found}");
    for entry in entries {
        assert_eq!(entry["entry"]["obj"]["tenant"], "acme", "{entry}");
    }
    let looked = vault.newest("audit.read").await;
    assert_eq!((&looked["obj"]["tenant"], &looked["rsn"]), (&json!("acme"), &json!("find")));
    assert_eq!(looked["pol"]["id"], json!(["auditor-reads-own-tenants-log"]));
    let of_other = get(&vault, "acme-auditor", &format!("{path}?token={second}")).await;
    assert_eq!(of_other["entries"], json!([]), "a token of another tenant is in no entry of this one");
    assert_eq!(
        events(&get(&vault, "acme-auditor", &format!("{path}?token={first}&verb=pan.tokenize")).await),
        ["pan.tokenize"]
    );
    for (who, path, status) in [
        ("acme-auditor", "/v1/tenants/globex/audit/entries", 403),
        ("acme-auditor", "/v1/tenants/acme/audit/entries?tenant=globex", 400),
        ("acme-auditor", ENTRIES, 403),
        ("acme-auditor", "/v1/audit/blast-radius?workload=spiffe%3A%2F%2Fa%2Fb", 403),
        ("security", path, 403),
        ("orchestrator", path, 403),
        ("platform", ENTRIES, 403),
    ] {
        let before = vault.entries().await.len();
        assert_eq!(vault.send(who, "GET", path, None).await.status(), status, "{who} {path}");
        let entries = vault.entries().await;
        let entry = entries.last().unwrap();
        assert_eq!(entries.len(), before + 1, "{who} {path}");
        assert_eq!((&entry["evt"], entry["out"] == "success"), (&json!("audit.read"), false), "{who} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_learns_of_no_other_tenants_alias() {
    const OWN: &str = "c06d0789-0a38-40be-b7cc-c28a718f76f1";
    const OTHERS: &str = "c06d0789-0a38-40be-b7cc-c28a718f76f2";
    const NOBODYS: &str = "c06d0789-0a38-40be-b7cc-c28a718f76f3";
    let auditor = json!([{ "id": "spiffe://strongroom.test/acme-auditor", "roles": ["auditor"], "tenants": { "ids": ["acme"] } }]);
    let vault = Service::start_granting(&auditor).await;
    vault.onboard("acme").await;
    vault.onboard("globex").await;
    let own = vault.tokenize("acme", &json!({ "number": VISA, "alias": OWN })).await;
    let others = vault.tokenize("globex", &json!({ "number": VISA, "alias": OTHERS })).await;
    indexed(&vault).await;
    let no_card = |alias: &str| {
        let name = strongroom_domain::CardName::parse(alias).unwrap();
        let strongroom_domain::CardName::Alias(alias) = name else { panic!("it is an alias") };
        alias.hash().of_no_card().token_ref().to_string()
    };
    let vault = &vault;
    let asked = async |who: &'static str, path: &str, alias: &str| {
        let found = get(vault, who, &format!("{path}?verb=pan.tokenize&token={alias}")).await;
        (found["entries"].as_array().unwrap().len(), vault.newest("audit.read").await["cards"].clone())
    };
    let of_tenant = "/v1/tenants/acme/audit/entries";
    assert_eq!(asked("acme-auditor", of_tenant, OWN).await, (1, json!([reference(&own)])));
    assert_eq!(asked("acme-auditor", of_tenant, NOBODYS).await, (0, json!([no_card(NOBODYS)])));
    assert_eq!(asked("acme-auditor", of_tenant, OTHERS).await, (0, json!([no_card(OTHERS)])));
    assert_eq!(asked("security", ENTRIES, OTHERS).await, (1, json!([reference(&others)])));
    // Nor that a row of another tenant was altered.
    change(&vault.folder.path().join("vault.db"), "UPDATE aliases SET mac = zeroblob(32)").await;
    assert_eq!(asked("acme-auditor", of_tenant, OTHERS).await, (0, json!([no_card(OTHERS)])));
    let own = vault.send("acme-auditor", "GET", &format!("{of_tenant}?token={OWN}"), None).await;
    assert_eq!(own.status(), 500, "of its own it is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blast_radius_lists_every_card_that_was_released_and_no_other() {
    let (vault, first, second) = two_tenants().await;
    let path = |workload: &str| {
        format!("/v1/audit/blast-radius?workload=spiffe%3A%2F%2Fstrongroom.test%2F{workload}")
    };
    let unused = vault.tokenize("acme", &json!({ "number": VISA })).await;
    let refused = vault.forward(&unused, &["cvc"]).await;
    assert_eq!(refused.status(), 404, "{}", refused.json());
    indexed(&vault).await;
    for workload in ["orchestrator", "proxy"] {
        let reached = get(&vault, "security", &path(workload)).await;
        let cards = reached["cards"].as_array().unwrap();
        assert_eq!(cards.len(), 2, "what was refused reached nobody: {reached}");
        let card = cards.iter().find(|card| card["token_ref"] == reference(&first)).unwrap();
        assert_eq!(
            (&card["bin"], &card["last4"], &card["tenant"]),
            (&json!("42424242"), &json!("4242"), &json!("acme"))
        );
        let releases = card["releases"].as_array().unwrap();
        assert_eq!(releases.len(), 2);
        assert_eq!((&releases[0]["host"], &releases[0]["route"]), (&json!("api.psp.example"), &json!("psp")));
        assert_eq!(releases[0]["attributes"], json!(["number", "cvc"]));
        let place = releases[1]["index"].as_u64().unwrap();
        let store = strongroom_vault::app::open_store(&vault.config.store).await.unwrap();
        let (_, leaf) = store.logged(place, 1).await.unwrap().remove(0);
        let entry: Value = serde_json::from_slice(leaf.as_bytes()).unwrap();
        assert_eq!(entry["dst"]["forward_id"], releases[1]["forward_id"]);
        assert!(cards.iter().any(|card| card["token_ref"] == reference(&second)));
    }
    let looked = vault.newest("audit.read").await;
    assert_eq!((&looked["rsn"], &looked["n"]), (&json!("blast-radius"), &json!(3)));
    assert_eq!(looked["cards"].as_array().unwrap().len(), 2, "who was looked at is named");
    let none = |query: &str| format!("{}{query}", path("orchestrator"));
    for nothing in [
        none("&until=2020-01-01T00:00:00Z"),
        none(&format!("&certificate_sha256={}", "11".repeat(32))),
        path("checkout"),
    ] {
        assert_eq!(get(&vault, "security", &nothing).await["cards"], json!([]), "{nothing}");
    }
    let same = none(&format!("&certificate_sha256={}&limit=1", "00".repeat(32)));
    let page = get(&vault, "security", &same).await;
    assert_eq!(page["cards"][0]["releases"].as_array().unwrap().len(), 1);
    assert!(page["next_cursor"].is_string());
}

/// How a command ended, and what it wrote.
async fn audit(vault: &Service, who: &str, words: &[&str]) -> (i32, String) {
    let identity = vault.pki.client(who).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-vault"));
    command
        .arg("audit")
        .args(words)
        .args(["--vault", &format!("https://localhost:{}", vault.address.port())]);
    command.arg("--certificate").arg(identity.certificate_pem_path).arg("--key").arg(identity.key_pem_path);
    command.arg("--ca").arg(vault.pki.ca_file());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(told).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_show_people_and_programs_what_was_found() {
    let (vault, first, _) = two_tenants().await;
    let (status, told) = audit(&vault, "security", &["find", "--token", &first, "--oldest"]).await;
    let lines: Vec<&str> = told.lines().collect();
    assert!(status == 0 && lines.len() == 4 && lines[3].starts_with("3 entries"), "{told}");
    let line = lines[1];
    for word in
        ["pan.forward success spiffe://strongroom.test/orchestrator", "host=api.psp.example", "by=spiffe"]
    {
        assert!(line.contains(word), "{line}");
    }
    let words = ["find", "--tenant", "acme", "--as-auditor", "--json", "-n", "1", "--verb", "pan.tokenize"];
    let (status, told) = audit(&vault, "auditor", &words).await;
    let found: Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!((status, &found["entry"]["obj"]["ref"]), (0, &json!(reference(&first))));
    let (status, told) = audit(&vault, "checkout", &["find"]).await;
    assert!(status == 1 && told.contains("403"), "{told}");

    let workload = Pki::spiffe_id("orchestrator");
    let (status, told) = audit(&vault, "security", &["blast-radius", "--workload", &workload]).await;
    assert!(status == 0 && told.contains("2 cards, 3 releases"), "{told}");
    assert!(told.contains("api.psp.example psp/default: 2 times"), "{told}");
    let (_, told) = audit(&vault, "security", &["blast-radius", "--workload", &workload, "--json"]).await;
    let cards: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counts: u64 = cards.iter().map(|card| card["reached"][0]["count"].as_u64().unwrap()).sum();
    assert_eq!((cards.len(), counts), (2, 3));
    // Changed in the database: told, shown no more, and the command fails.
    tamper(&vault.folder.path().join("vault.db")).await;
    let (status, told) = audit(&vault, "security", &["find", "--token", &first, "--oldest"]).await;
    assert!(
        status == 1 && told.contains("NOT THE ENTRY OF THE TREE") && told.contains("audit verify"),
        "{told}"
    );
}

/// Changes every release on the log, as somebody with all rights would.
async fn tamper(file: &std::path::Path) {
    let sql = "UPDATE audit_entries SET leaf = CAST(replace(CAST(leaf AS text), 'api.psp.example', 'api.xxx.example') AS blob)";
    change(file, sql).await;
}

async fn change(file: &std::path::Path, sql: &'static str) {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}
